//! The state beside a timeline: what changed for the client that the timeline does not show.
//!
//! The keys that may have changed are read off the mainline's log, so a delta costs O(changes), never O(members). Each key
//! that no event of the timeline sets gets its present value: that also carries what a resolution changed, which no
//! timeline shows. Each that the timeline does set gets its value at the timeline's start, if the client may not have it.
//!
//! With `use_state_after`, the present value of every changed key is sent, and the client ignores the timeline for state.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use ruma::events::StateEventType;

use crate::{
    rooms::EventFilter,
    store::{Esn, Result, RoomKey, Ssk, StateRef, StoreError, Stored, UserKey, View},
};

/// Where the client stands, and what it is about to be shown.
pub(super) struct Delta<'a> {
    pub(super) view: &'a dyn View,
    pub(super) room: RoomKey,
    /// A place of the mainline that the client has seen all of; `None` for a client that knows nothing.
    pub(super) seen: Option<u64>,
    /// The state before the timeline.
    pub(super) start: StateRef,
    /// The state that the client ends up with.
    pub(super) end: StateRef,
    /// The events of the timeline as the client gets them.
    pub(super) timeline: &'a [Stored],
    pub(super) after: bool,
}

impl Delta<'_> {
    /// The state events to send for the changed keys. Under lazy loading, the members named in `extra` come along, and in a
    /// first answer no others.
    pub(super) fn events(
        &self,
        changed: &BTreeMap<Ssk, StateEventType>,
        filter: EventFilter<'_>,
        extra: &BTreeSet<UserKey>,
    ) -> Result<Vec<Stored>> {
        let shown = self.shown_keys();
        let mut wanted = BTreeMap::new();
        let lazy = filter.lazy_members();
        for (ssk, kind) in changed {
            let is_member = *kind == StateEventType::RoomMember;
            // A change of membership is always told; only those who were always there may wait until they speak.
            if !filter.takes_type(&kind.to_string()) || (is_member && lazy && self.seen.is_none()) {
                continue;
            }
            wanted.extend(self.value(*ssk, &shown)?.map(|esn| (*ssk, esn)));
        }
        if lazy && filter.takes_type("m.room.member") {
            for user in extra {
                let Some(ssk) = member_key(self.view, *user)? else { continue };
                if !wanted.contains_key(&ssk) {
                    wanted.extend(self.member_value(ssk, &shown)?.map(|esn| (ssk, esn)));
                }
            }
        }
        let mut events = Vec::with_capacity(wanted.len());
        for esn in wanted.into_values() {
            let stored = Stored::must(self.view, esn)?;
            if filter.takes(&stored.pdu) {
                events.push(stored);
            }
        }
        Ok(events)
    }

    fn shown_keys(&self) -> BTreeMap<Ssk, BTreeSet<Esn>> {
        let mut shown: BTreeMap<Ssk, BTreeSet<Esn>> = BTreeMap::new();
        for stored in self.timeline {
            if let Some(ssk) = stored.header.ssk {
                shown.entry(ssk).or_default().insert(stored.esn);
            }
        }
        shown
    }

    /// The keys whose value may be another than the client knows, with their types.
    pub(super) fn changed_keys(&self) -> Result<BTreeMap<Ssk, StateEventType>> {
        let keys = match self.seen {
            None => self.end.all(self.view, self.room)?.into_keys().collect(),
            Some(seen) => self.keys_since(seen)?,
        };
        keys.into_iter().map(|ssk| Ok((ssk, ssk.names(self.view)?.0))).collect()
    }

    fn keys_since(&self, seen: u64) -> Result<BTreeSet<Ssk>> {
        let mut keys = BTreeSet::new();
        let (from, to) = ((self.room.0, seen), (self.room.0, self.end.seq));
        if seen < self.end.seq {
            for row in self.view.st_log()?.between(Bound::Excluded(from), Bound::Included(to))? {
                keys.insert(Ssk(row?.1.value().0));
            }
        }
        keys.extend(self.end.overrides(self.view, self.room)?.into_keys());
        Ok(keys)
    }

    /// The event to send for a changed key.
    fn value(&self, ssk: Ssk, shown: &BTreeMap<Ssk, BTreeSet<Esn>>) -> Result<Option<Esn>> {
        let Some(shown) = shown.get(&ssk).filter(|_| !self.after) else {
            return self.end.entry(self.view, self.room, ssk);
        };
        let at_start = self.start.entry(self.view, self.room, ssk)?;
        let known = match self.seen {
            Some(seq) => StateRef { seq, patch: 0 }.entry(self.view, self.room, ssk)?,
            None => None,
        };
        Ok(at_start.filter(|esn| Some(*esn) != known && !shown.contains(esn)))
    }

    /// The member event for someone who speaks in the timeline.
    fn member_value(&self, ssk: Ssk, shown: &BTreeMap<Ssk, BTreeSet<Esn>>) -> Result<Option<Esn>> {
        let at = if self.after { self.end } else { self.start };
        let value = match at.entry(self.view, self.room, ssk)? {
            Some(esn) => Some(esn),
            None => self.end.entry(self.view, self.room, ssk)?,
        };
        let shown = shown.get(&ssk).filter(|_| !self.after);
        Ok(value.filter(|esn| shown.is_none_or(|shown| !shown.contains(esn))))
    }
}

fn member_key(view: &dyn View, user: UserKey) -> Result<Option<Ssk>, StoreError> {
    Ssk::find(view, &StateEventType::RoomMember, user.id(view)?.as_str())
}

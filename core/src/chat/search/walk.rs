//! Several timelines backwards, as one: the message with the latest clock comes first.
//!
//! Clocks of other phones are wrong now and then. Within a room the timeline's own order holds, so a wrong clock moves a
//! message among rooms and never loses one.

use std::{
    collections::{BinaryHeap, HashMap},
    ops::Bound,
};

use ruma::{RoomId, UserId, events::TimelineEventType};

use crate::{
    chat::{ChatError, Inner},
    rooms::{
        self, Room,
        relations::Relation,
        visibility::{Access, UserSight},
    },
    store::{Esn, Result, RoomKey, Snapshot, Stored, View},
};

/// Where the search of a room, or of all, begins.
pub(super) fn starts(inner: &Inner, room: Option<&RoomId>) -> Result<Vec<(RoomKey, u64)>, ChatError> {
    let view = inner.home.store.snapshot()?;
    let Some(id) = room else {
        let mut places = Vec::new();
        for (room, _) in rooms::standings(&view, inner.me.user_key)? {
            places.extend(end(&view, room, &inner.me.user)?.map(|end| (room, end)));
        }
        return Ok(places);
    };
    let unknown = || ChatError::NotFound("there is no such room among yours".into());
    let room = RoomKey::find(&view, id)?.ok_or_else(unknown)?;
    Ok(vec![(room, end(&view, room, &inner.me.user)?.ok_or_else(unknown)?)])
}

/// Before which place the timeline ends for a user. `None`: they may read nothing of it.
fn end(view: &dyn View, room: RoomKey, user: &UserId) -> Result<Option<u64>> {
    let Some(room) = Room::by_key(view, room)? else { return Ok(None) };
    Ok(Access::of(view, &room, user)?.map(|access| access.end))
}

/// What a walk came by.
pub(super) struct Walked {
    /// Messages, newest first.
    pub(super) messages: Vec<(RoomKey, Stored)>,
    /// How many events it looked at, messages or not.
    pub(super) events: usize,
    /// Where the rooms stand now that are not at their start.
    pub(super) places: Vec<(RoomKey, u64)>,
}

/// A walk through rooms, over one snapshot.
pub(super) struct Walk {
    view: Snapshot,
    heads: BinaryHeap<Head>,
}

/// The newest event of a room that was not walked by yet. Ordered by clock, then by room so that a walk is repeatable.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    ts: u64,
    room: u32,
    pos: u64,
    esn: Esn,
}

impl Walk {
    /// Stands below some places.
    pub(super) fn new(inner: &Inner, places: &[(RoomKey, u64)]) -> Result<Self> {
        let mut walk = Self { view: inner.home.store.snapshot()?, heads: BinaryHeap::with_capacity(places.len()) };
        for (room, below) in places {
            // A cursor may be old: whoever left meanwhile reads no further than that.
            if let Some(end) = end(&walk.view, *room, &inner.me.user)? {
                walk.step(*room, end.min(*below))?;
            }
        }
        Ok(walk)
    }

    /// Goes on until it has come by so many messages or ten times as many other events.
    pub(super) fn messages(mut self, inner: &Inner, wanted: usize) -> Result<Walked> {
        let mut walked = Walked { messages: Vec::new(), events: 0, places: Vec::new() };
        let mut found = Vec::new();
        while found.len() < wanted && walked.events < wanted * 10 {
            let Some(head) = self.heads.pop() else { break };
            walked.events += 1;
            self.step(RoomKey(head.room), head.pos)?;
            found.push(head);
        }
        let mut sights = HashMap::new();
        for head in found {
            let room = RoomKey(head.room);
            let stored = Stored::must(&self.view, head.esn)?;
            let sight = match sights.entry(room.0) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(UserSight::new(&self.view, room, &inner.me.user)?)
                }
            };
            if is_message(&stored) && sight.sees(&stored)? {
                walked.messages.push((room, stored));
            }
        }
        walked.places = self.heads.into_iter().map(|head| (RoomKey(head.room), head.pos + 1)).collect();
        walked.places.sort_unstable();
        Ok(walked)
    }

    /// Puts the newest event of a room below a place among the heads.
    fn step(&mut self, room: RoomKey, below: u64) -> Result<()> {
        let mut rows = self.view.tl()?.between(Bound::Included((room.0, 0)), Bound::Excluded((room.0, below)))?;
        let Some(row) = rows.next_back() else { return Ok(()) };
        let (key, esn) = row?;
        let (pos, esn) = (key.value().1, esn.value());
        let ts = Stored::must(&self.view, esn)?.pdu.origin_server_ts.0;
        self.heads.push(Head { ts, room: room.0, pos, esn });
        Ok(())
    }
}

/// Whether an event may say something of its own. What an edit says is found at the message that it changes.
fn is_message(stored: &Stored) -> bool {
    use TimelineEventType as T;
    let is_talk = matches!(stored.pdu.kind, T::RoomMessage | T::RoomEncrypted | T::Sticker);
    let is_own = || Relation::of(&stored.pdu).is_none_or(|relation| relation.rel_type == "m.thread");
    is_talk && !stored.pdu.is_state() && !stored.header.flags.redacted && is_own()
}

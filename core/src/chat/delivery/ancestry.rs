//! Which events build on which: whoever made an event had all that it builds on.
//!
//! The events that an event builds on never change, so they are walked once, down to the place that is asked about, and
//! remembered. Invariant: a walk is bounded. What lies beyond its bound is not proven, and so is not said.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::{
    store::{Esn, Result, Stored, UserKey, View},
    types::limits::{ANCESTRIES_KEPT_MAX, ANCESTRY_STEPS_MAX, READS_PROVEN_MAX},
};

/// What is known of the events that others build on.
#[derive(Debug, Default)]
pub(crate) struct Ancestry {
    walks: HashMap<Esn, Walk>,
    proven: HashSet<(Esn, UserKey)>,
}

/// The ancestors of an event, down to a place.
#[derive(Debug, Default)]
struct Walk {
    seen: BTreeSet<Esn>,
    /// Where it goes on: by place, so that it goes down evenly.
    open: BTreeMap<u64, Esn>,
    steps: usize,
}

impl Ancestry {
    /// Whether somebody is known to have read an event.
    pub(super) fn is_proven(&self, event: Esn, user: UserKey) -> bool {
        self.proven.contains(&(event, user))
    }

    /// Remembers that somebody has read an event.
    pub(super) fn prove(&mut self, event: Esn, user: UserKey) {
        if self.proven.len() >= READS_PROVEN_MAX {
            self.proven.clear();
        }
        self.proven.insert((event, user));
    }

    /// Whether an event builds on another one, whose place is given.
    pub(super) fn builds_on(&mut self, view: &dyn View, event: Esn, (other, pos): (Esn, u64)) -> Result<bool> {
        if self.walks.len() >= ANCESTRIES_KEPT_MAX && !self.walks.contains_key(&event) {
            self.walks.clear();
        }
        let walk = match self.walks.entry(event) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Walk::from(view, event)?),
        };
        walk.down_to(view, pos)?;
        Ok(walk.seen.contains(&other))
    }
}

impl Walk {
    fn from(view: &dyn View, event: Esn) -> Result<Self> {
        let mut walk = Self::default();
        if let Some(header) = Stored::header(view, event)? {
            walk.open.insert(header.pos, event);
        }
        Ok(walk)
    }

    fn down_to(&mut self, view: &dyn View, pos: u64) -> Result<()> {
        while let Some(next) = self.open.last_entry()
            && *next.key() >= pos
            && self.steps < ANCESTRY_STEPS_MAX
        {
            self.steps += 1;
            let event = Stored::must(view, next.remove())?;
            self.seen.insert(event.esn);
            for id in &event.pdu.prev_events {
                let Some(esn) = Stored::find(view, id)? else { continue };
                let header = Stored::header(view, esn)?;
                // What has no place on the timeline is not walked through: less is proven then, and nothing wrongly.
                if let Some(header) = header.filter(|header| header.pos != 0 && !self.seen.contains(&esn)) {
                    self.open.insert(header.pos, esn);
                }
            }
        }
        Ok(())
    }
}

//! Who is within reach, and what each of them is known to have: told by them, or acknowledged by them.
//!
//! It lives in memory alone. A server that goes and returns starts with nothing known, since it may have lost its file.
//! Invariant: what is remembered of one server is bounded, whatever it tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};

/// Rooms remembered for each server. A forgotten one costs one needless advertisement.
const KNOWN_ROOMS_MAX: usize = 1_000;
/// Events remembered for each room: heads are few, and what is no head any more is of no use here.
const KNOWN_EVENTS_MAX: usize = 64;

/// The servers within reach.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    near: BTreeMap<OwnedServerName, Neighbour>,
    times_seen: u64,
}

#[derive(Debug, Default)]
struct Neighbour {
    seen: u64,
    known: BTreeMap<OwnedRoomId, VecDeque<OwnedEventId>>,
}

impl Neighbours {
    pub(super) fn seen(&mut self, server: &ServerName) {
        self.times_seen += 1;
        self.near.insert(server.to_owned(), Neighbour { seen: self.times_seen, known: BTreeMap::new() });
    }

    pub(super) fn gone(&mut self, server: &ServerName) {
        self.near.remove(server);
    }

    pub(super) fn names(&self) -> Vec<OwnedServerName> {
        self.near.keys().cloned().collect()
    }

    pub(super) fn contains(&self, server: &ServerName) -> bool {
        self.near.contains_key(server)
    }

    pub(super) fn contact(&self, server: &ServerName) -> u64 {
        self.near.get(server).map_or(0, |neighbour| neighbour.seen)
    }

    pub(super) fn has(&mut self, server: &ServerName, room: &RoomId, events: &[OwnedEventId]) {
        let Some(neighbour) = self.near.get_mut(server) else { return };
        if neighbour.known.len() >= KNOWN_ROOMS_MAX && !neighbour.known.contains_key(room) {
            neighbour.known.pop_first();
        }
        let known = neighbour.known.entry(room.to_owned()).or_default();
        for event in events {
            if !known.contains(event) {
                known.push_back(event.clone());
            }
        }
        let surplus = known.len().saturating_sub(KNOWN_EVENTS_MAX);
        known.drain(..surplus);
    }

    pub(super) fn lacks(&self, server: &ServerName, room: &RoomId, events: &[OwnedEventId]) -> BTreeSet<OwnedEventId> {
        let known = self.near.get(server).and_then(|neighbour| neighbour.known.get(room));
        events.iter().filter(|event| known.is_none_or(|known| !known.contains(event))).cloned().collect()
    }
}

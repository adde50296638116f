//! One lock for each room, so that a room's session is handed out and used by one message at a time, and what the last one
//! found to be in order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use matrix_sdk_crypto::olm::OutboundGroupSession;
use ruma::{OwnedRoomId, RoomId};

use crate::types::Millis;

/// Rooms whose state is kept. A room that was dropped costs one look at its members.
const ROOMS_MAX: usize = 500;

/// A session that every reader was given or is owed.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// The room's state that its readers come from.
    pub(super) seq: u64,
    /// How often devices changed before.
    pub(super) devices: u64,
    /// The session. Its own count of messages stands still: the machine uses another copy.
    pub(super) session: OutboundGroupSession,
    /// Messages that it may still encrypt.
    pub(super) left: u64,
    /// Until when it may be used.
    pub(super) until: Millis,
}

impl Ready {
    /// Whether a message may be encrypted without another look at who reads it.
    pub(super) fn holds(&self, seq: u64, devices: u64, now: Millis) -> bool {
        self.seq == seq && self.devices == devices && self.left > 0 && now < self.until && !self.session.expired()
    }
}

/// What is locked for a room.
pub(super) type RoomLock = Arc<tokio::sync::Mutex<Option<Ready>>>;

/// The locks of all rooms.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<BTreeMap<OwnedRoomId, RoomLock>>);

impl Rooms {
    /// The lock of a room.
    pub(super) fn of(&self, room: &RoomId) -> RoomLock {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() >= ROOMS_MAX && !rooms.contains_key(room) {
            // A lock that somebody holds must stay the only one of its room.
            rooms.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        rooms.entry(room.to_owned()).or_default().clone()
    }
}

//! Rooms that this server is about to enter: another server has our join already, and we do not have the room yet.
//!
//! Events that arrive in between must not be refused as those of an unknown room: their senders would pass them over.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedRoomId, RoomId};

/// The rooms that joins are under way for, each with their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Doorstep(Arc<Mutex<BTreeMap<OwnedRoomId, usize>>>);

/// A join under way. It ends when this is dropped.
#[derive(Debug)]
pub struct Entering {
    doorstep: Doorstep,
    room: OwnedRoomId,
}

impl Doorstep {
    pub(super) fn enter(&self, room: &RoomId) -> Entering {
        *self.lock().entry(room.to_owned()).or_default() += 1;
        Entering { doorstep: self.clone(), room: room.to_owned() }
    }

    pub(super) fn holds(&self, room: &RoomId) -> bool {
        self.lock().contains_key(room)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OwnedRoomId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let mut rooms = self.doorstep.lock();
        if let Some(count) = rooms.get_mut(&self.room) {
            *count -= 1;
            if *count == 0 {
                rooms.remove(&self.room);
            }
        }
    }
}

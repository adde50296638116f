//! Events that the engine reads again and again: a room's power levels, its create event, the members who speak.
//!
//! Only a write transaction has this memory, and it forgets an event when its row is written anew, so what it answers is
//! what the row says. It lives between batches and is dropped when one is abandoned.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use super::Esn;
use crate::event::Pdu;

/// Events kept: at 64 KiB at the most, and 1 KB as a rule, 16 MB at worst and a quarter of a megabyte in practice.
const EVENTS_MAX: usize = 256;

/// The engine's memory of events.
#[derive(Debug, Default)]
pub struct Recent(RefCell<BTreeMap<Esn, Arc<Pdu>>>);

impl Recent {
    pub(super) fn find(&self, esn: Esn) -> Option<Arc<Pdu>> {
        self.0.borrow().get(&esn).cloned()
    }

    pub(super) fn keep(&self, esn: Esn, pdu: &Arc<Pdu>) {
        let mut events = self.0.borrow_mut();
        // All at once rather than one by one: what is in use comes back with the next event.
        if events.len() >= EVENTS_MAX {
            events.clear();
        }
        events.insert(esn, pdu.clone());
    }

    pub(super) fn forget(&self, esn: Esn) {
        self.0.borrow_mut().remove(&esn);
    }
}

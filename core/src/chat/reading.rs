//! Reading events in clear: what has been decrypted once is remembered, and what a list needs is decrypted between two looks.
//!
//! A list is read from a snapshot by plain functions, which cannot wait. They take what is in clear already and note what is
//! not; that is decrypted, and the list is read again ([`settled`]). What could not be decrypted is not remembered: its key may
//! come at any moment.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::value::RawValue;

use super::{
    Inner,
    crypto::{Clear, Trust},
    memory::Memory,
    names::Names,
};
use crate::{
    rooms::Room,
    store::{Esn, Result, RoomKey, Stored, View},
    types::limits::{CLEAR_BYTES_KEPT_MAX, NAMES_KEPT_MAX},
};

/// The type of an event whose content is encrypted.
pub(crate) const ENCRYPTED: &str = "m.room.encrypted";
/// Looks at one list. An event leads to its edits, to what it answers and to its thread, and no further.
const LOOKS_MAX: usize = 5;

/// What is remembered between reads.
#[derive(Debug)]
pub(crate) struct Reads {
    clear: Mutex<Memory<Esn, Arc<Opened>>>,
    names: Mutex<Memory<RoomKey, Arc<Names>>>,
}

/// What an event says in clear.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// Its type.
    pub(crate) kind: String,
    /// Its content.
    pub(crate) content: Box<RawValue>,
    /// How sure it is that the sender wrote it. `None` for what came without encryption.
    pub(crate) trust: Option<Trust>,
}

/// An event as far as it can be read.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// It can.
    Clear(Arc<Opened>),
    /// It cannot.
    Shut {
        /// Whether that may change.
        waiting: bool,
        /// Why.
        reason: String,
    },
}

impl Default for Reads {
    fn default() -> Self {
        Self { clear: Mutex::new(Memory::new(CLEAR_BYTES_KEPT_MAX)), names: Mutex::new(Memory::new(NAMES_KEPT_MAX)) }
    }
}

impl Reads {
    fn clear(&self) -> MutexGuard<'_, Memory<Esn, Arc<Opened>>> {
        self.clear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_names(&self) -> MutexGuard<'_, Memory<RoomKey, Arc<Names>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of a room as of a view.
    pub(crate) fn names(&self, view: &dyn View, room: &Room) -> Result<Arc<Names>> {
        let known = self.known_names().find(&room.key);
        let names = match known {
            Some(names) if names.are_of(room) => return Ok(names),
            Some(names) => names.moved_on(view, room)?,
            None => Names::of(view, room)?,
        };
        let names = Arc::new(names);
        self.known_names().keep(room.key, names.clone(), names.len() + 1);
        Ok(names)
    }
}

/// A look at the store, and what could not be read in it.
pub(crate) struct Look<'a> {
    /// The client.
    pub(crate) inner: &'a Inner,
    /// The store.
    pub(crate) view: &'a dyn View,
    found: &'a HashMap<Esn, Reading>,
    wanted: BTreeMap<Esn, Stored>,
}

impl Look<'_> {
    /// An event, if it can be read without waiting. Otherwise it counts as waiting, and this look is not the last.
    pub(crate) fn open(&mut self, stored: &Stored) -> Reading {
        if let Some(plain) = plain(self.inner, stored) {
            return Reading::Clear(plain);
        }
        if let Some(opened) = self.inner.reads.clear().find(&stored.esn) {
            return Reading::Clear(opened);
        }
        if let Some(reading) = self.found.get(&stored.esn) {
            return reading.clone();
        }
        self.wanted.insert(stored.esn, stored.clone());
        Reading::Shut { waiting: true, reason: String::new() }
    }
}

/// Reads a list, as often as it takes until all that can be decrypted is. `read` is called anew for each look.
pub(crate) async fn settled<T>(inner: &Inner, mut read: impl FnMut(&mut Look<'_>) -> Result<T> + Send) -> Result<T> {
    settled_beside(inner, || (), |look, ()| read(look)).await
}

/// As [`settled`], for a list that is made of something beside the store too. That is looked at before the store each time,
/// so that what moves from there into the store is seen twice rather than not at all.
pub(crate) async fn settled_beside<B, T>(
    inner: &Inner,
    beside: impl Fn() -> B + Send,
    mut read: impl FnMut(&mut Look<'_>, B) -> Result<T> + Send,
) -> Result<T> {
    let mut found = HashMap::new();
    let mut looks = 0;
    loop {
        looks += 1;
        let wanted = {
            let beside = beside();
            let view = inner.home.store.snapshot()?;
            let mut look = Look { inner, view: &view, found: &found, wanted: BTreeMap::new() };
            let list = read(&mut look, beside)?;
            if look.wanted.is_empty() || looks > LOOKS_MAX {
                return Ok(list);
            }
            look.wanted
        };
        for (esn, stored) in wanted {
            found.insert(esn, decrypted(inner, &stored).await?);
        }
    }
}

/// An event that is not encrypted, or whose content is gone.
fn plain(inner: &Inner, stored: &Stored) -> Option<Arc<Opened>> {
    let kind = stored.pdu.kind.to_string();
    let is_redacted = stored.header.flags.redacted;
    if is_redacted {
        inner.reads.clear().forget(&stored.esn);
    } else if kind == ENCRYPTED && !stored.pdu.is_state() {
        return None;
    }
    Some(Arc::new(Opened { kind, content: stored.pdu.content.clone(), trust: None }))
}

/// One event in clear, decrypted if need be.
pub(crate) async fn decrypted(inner: &Inner, stored: &Stored) -> Result<Reading> {
    if let Some(plain) = plain(inner, stored) {
        return Ok(Reading::Clear(plain));
    }
    if let Some(opened) = inner.reads.clear().find(&stored.esn) {
        return Ok(Reading::Clear(opened));
    }
    Ok(match inner.crypto.decrypt(&stored.pdu.room_id, stored).await? {
        Clear::Event { kind, content, trust } => {
            let weight = kind.len() + content.get().len();
            let opened = Arc::new(Opened { kind, content, trust: Some(trust) });
            inner.reads.clear().keep(stored.esn, opened.clone(), weight);
            Reading::Clear(opened)
        }
        Clear::Waiting { reason } => Reading::Shut { waiting: true, reason },
        Clear::Never { reason } => Reading::Shut { waiting: false, reason },
    })
}

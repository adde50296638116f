//! Room state as a mainline and patches.
//!
//! `st` is a versioned map of the room's *current* state over its own sequence of changes. The state at an event is a place
//! on that mainline, and usually nothing else; where a fork differs from the mainline, a patch lists the differences.
//!
//! Invariant: the current state of a room is `StateRef { seq: record.seq, patch: 0 }`. A row of `st` is never rewritten, so
//! a place on the mainline means the same for ever.

use std::{collections::BTreeMap, ops::Bound};

use serde::{Deserialize, Serialize};

use super::{Esn, Result, RoomKey, RoomRecord, Ssk, StoreError, View, WriteTx};

/// A state of a room: a place on the mainline, and a patch over it (0 for none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateRef {
    /// Changes of the mainline up to and including this one.
    pub seq: u64,
    /// The patch over it.
    pub patch: u64,
}

/// What a patch says: for each key the event that holds it, or `None` where the mainline's entry does not hold.
pub type Overrides = BTreeMap<Ssk, Option<Esn>>;

/// A change of a room's current state: the key, the event that held it, the event that holds it now.
pub type Change = (Ssk, Option<Esn>, Option<Esn>);

/// The keys in which two states differ, each with its event here and there.
pub type Difference = BTreeMap<Ssk, (Option<Esn>, Option<Esn>)>;

/// 0 in a row means "no event"; events count from 1.
fn present(esn: Esn) -> Option<Esn> {
    (esn != 0).then_some(esn)
}

impl StateRef {
    /// The event that holds a key in this state.
    ///
    /// # Errors
    /// When the database fails.
    pub fn entry(self, view: &dyn View, room: RoomKey, ssk: Ssk) -> Result<Option<Esn>> {
        if self.patch != 0
            && let Some(entry) = self.overrides(view, room)?.get(&ssk)
        {
            return Ok(*entry);
        }
        self.mainline_entry(view, room, ssk)
    }

    /// The entry of the mainline at this place, whatever the patch says.
    fn mainline_entry(self, view: &dyn View, room: RoomKey, ssk: Ssk) -> Result<Option<Esn>> {
        let from = Bound::Included((room.0, ssk.0, 0));
        let to = Bound::Included((room.0, ssk.0, self.seq));
        match view.st()?.between(from, to)?.next_back() {
            Some(row) => Ok(present(row?.1.value())),
            None => Ok(None),
        }
    }

    /// The patch.
    ///
    /// # Errors
    /// When the database fails.
    pub fn overrides(self, view: &dyn View, room: RoomKey) -> Result<Overrides> {
        if self.patch == 0 {
            return Ok(Overrides::new());
        }
        let row = view.patch()?.row((room.0, self.patch))?;
        let row =
            row.ok_or_else(|| StoreError::Corrupt(format!("patch {} of room {} is missing", self.patch, room.0)))?;
        let rows: Vec<(Ssk, Esn)> = postcard::from_bytes(row.value())?;
        Ok(rows.into_iter().map(|(ssk, esn)| (ssk, present(esn))).collect())
    }

    /// The whole state. O(changes the room ever had).
    ///
    /// # Errors
    /// When the database fails.
    pub fn all(self, view: &dyn View, room: RoomKey) -> Result<BTreeMap<Ssk, Esn>> {
        let mut state = BTreeMap::new();
        let from = Bound::Included((room.0, 0, 0));
        let to = Bound::Included((room.0, u32::MAX, u64::MAX));
        for row in view.st()?.between(from, to)? {
            let (key, esn) = row?;
            let (_, ssk, seq) = key.value();
            if seq <= self.seq {
                match present(esn.value()) {
                    Some(esn) => state.insert(Ssk(ssk), esn),
                    None => state.remove(&Ssk(ssk)),
                };
            }
        }
        for (ssk, entry) in self.overrides(view, room)? {
            match entry {
                Some(esn) => state.insert(ssk, esn),
                None => state.remove(&ssk),
            };
        }
        Ok(state)
    }

    /// The keys in which two states may differ, each with its entry here and there. O(changes between them).
    ///
    /// # Errors
    /// When the database fails.
    pub fn difference(self, other: Self, view: &dyn View, room: RoomKey) -> Result<Difference> {
        if self == other {
            return Ok(BTreeMap::new());
        }
        let mut keys: std::collections::BTreeSet<Ssk> = self.overrides(view, room)?.into_keys().collect();
        keys.extend(other.overrides(view, room)?.into_keys());
        let (low, high) = (self.seq.min(other.seq), self.seq.max(other.seq));
        for row in view.st_log()?.between(Bound::Excluded((room.0, low)), Bound::Included((room.0, high)))? {
            keys.insert(Ssk(row?.1.value().0));
        }
        let mut difference = BTreeMap::new();
        for ssk in keys {
            let (here, there) = (self.entry(view, room, ssk)?, other.entry(view, room, ssk)?);
            if here != there {
                difference.insert(ssk, (here, there));
            }
        }
        Ok(difference)
    }

    /// The state that differs from this one in `changes`, as a patch over the same place of the mainline.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn patched(
        self,
        tx: &mut WriteTx<'_>,
        room: RoomKey,
        record: &mut RoomRecord,
        changes: &Overrides,
    ) -> Result<Self> {
        let mut overrides = self.overrides(tx, room)?;
        let mut changed = false;
        for (ssk, entry) in changes {
            if self.entry(tx, room, *ssk)? == *entry {
                continue;
            }
            changed = true;
            if self.mainline_entry(tx, room, *ssk)? == *entry {
                overrides.remove(ssk);
            } else {
                overrides.insert(*ssk, *entry);
            }
        }
        if !changed {
            return Ok(self);
        }
        if overrides.is_empty() {
            return Ok(Self { seq: self.seq, patch: 0 });
        }
        let rows: Vec<(Ssk, Esn)> = overrides.into_iter().map(|(ssk, entry)| (ssk, entry.unwrap_or(0))).collect();
        let bytes = postcard::to_stdvec(&rows)?;
        let patch = record.next_patch;
        record.next_patch += 1;
        tx.write().patch.insert((room.0, patch), bytes.as_slice())?;
        Ok(Self { seq: self.seq, patch })
    }
}

impl RoomRecord {
    /// The current state.
    pub fn current(&self) -> StateRef {
        StateRef { seq: self.seq, patch: 0 }
    }

    /// Moves the current state on by some changes, and answers those that changed something: key, old, new.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn advance(&mut self, tx: &mut WriteTx<'_>, room: RoomKey, changes: &Overrides) -> Result<Vec<Change>> {
        let mut changed = Vec::new();
        for (ssk, new) in changes {
            let old = self.current().entry(tx, room, *ssk)?;
            if old == *new {
                continue;
            }
            self.seq += 1;
            let (old_row, new_row) = (old.unwrap_or(0), new.unwrap_or(0));
            let tables = tx.write();
            tables.st.insert((room.0, ssk.0, self.seq), new_row)?;
            tables.st_log.insert((room.0, self.seq), (ssk.0, old_row, new_row))?;
            changed.push((*ssk, old, *new));
        }
        Ok(changed)
    }
}

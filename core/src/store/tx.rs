//! The engine's transaction as a job sees it: all tables, the counters, and what the commit has to announce.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
};

use super::{Esn, Recent, Record, Result, tables::WriteTables};

/// Where the next number of each kind comes from. Recovered from the tables' last keys at open, so no row is written for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) next_esn: Esn,
    pub(super) next_n: u64,
    pub(super) next_intern: [u32; 8],
}

/// What the engine tells the world after the commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touched {
    pub(super) log: bool,
    pub(super) outbox: bool,
}

/// Values that the engine keeps between jobs because they are dear to rebuild (a room's auth graph). They are dropped when
/// a batch is abandoned, since they may have seen writes that never were.
#[derive(Default)]
pub(super) struct Scratch {
    kept: BTreeMap<TypeId, Box<dyn Any + Send>>,
    recent: Recent,
}

/// A write transaction.
///
/// Invariant: a job validates fully before its first write. One that fails after a write costs its whole batch a replay.
pub struct WriteTx<'t> {
    tables: WriteTables<'t>,
    pub(super) counters: Counters,
    pub(super) touched: Touched,
    pub(super) dirty: bool,
    pub(super) scratch: Scratch,
    pub(super) recent: Recent,
}

impl<'t> WriteTx<'t> {
    pub(super) fn new(tables: WriteTables<'t>, counters: Counters, mut scratch: Scratch) -> Self {
        let recent = std::mem::take(&mut scratch.recent);
        Self { tables, counters, touched: Touched::default(), dirty: false, scratch, recent }
    }

    pub(super) fn into_parts(self) -> (Counters, Touched, Scratch) {
        (self.counters, self.touched, Scratch { recent: self.recent, ..self.scratch })
    }

    pub(super) fn read(&self) -> &WriteTables<'t> {
        &self.tables
    }

    /// The tables, to be written.
    pub(crate) fn write(&mut self) -> &mut WriteTables<'t> {
        self.dirty = true;
        &mut self.tables
    }

    /// A number for a new event.
    pub(super) fn new_esn(&mut self) -> Esn {
        let esn = self.counters.next_esn;
        self.counters.next_esn += 1;
        esn
    }

    /// The position that the next log row will have.
    pub fn next_n(&self) -> u64 {
        self.counters.next_n
    }

    /// Adds a row to the one log and answers its position.
    ///
    /// # Errors
    /// When the database fails.
    pub fn log(&mut self, row: &super::LogRow) -> Result<u64> {
        let n = self.counters.next_n;
        let bytes = row.encode()?;
        self.write().log.insert(n, bytes.as_slice())?;
        self.counters.next_n = n + 1;
        self.touched.log = true;
        Ok(n)
    }

    /// Says that the outbox has new work, so that its sender wakes after the commit.
    pub fn wake_outbox(&mut self) {
        self.touched.outbox = true;
    }

    /// A value kept between jobs, made by `Default` when it is not there.
    pub fn kept<T: Default + Send + 'static>(&mut self) -> &mut T {
        let slot = self.scratch.kept.entry(TypeId::of::<T>()).or_insert_with(|| Box::<T>::default());
        // The slot is keyed by its own type, so the cast holds.
        slot.downcast_mut::<T>().unwrap_or_else(|| unreachable!("a slot holds its own type"))
    }

    /// Takes a kept value out, so that it can be used beside the transaction; hand it back with [`WriteTx::keep`].
    pub fn take_kept<T: Default + Send + 'static>(&mut self) -> T {
        std::mem::take(self.kept::<T>())
    }

    /// Hands a kept value back.
    pub fn keep<T: Default + Send + 'static>(&mut self, value: T) {
        *self.kept::<T>() = value;
    }
}

impl std::fmt::Debug for WriteTx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteTx").field("counters", &self.counters).finish_non_exhaustive()
    }
}

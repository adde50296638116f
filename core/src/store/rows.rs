//! Reading: one face for a table in a snapshot and a table in a write transaction.
//!
//! Functions that read take `&dyn View`, so that each of them is compiled once and serves both a request (from a snapshot)
//! and the engine (inside its transaction). What a row means is known only here and in the schema: below are bytes.

use std::{marker::PhantomData, ops::Bound, sync::Arc};

use redb::{AccessGuard, Range, ReadOnlyTable, ReadableTable, StorageError, Table as RawTable};

use super::{
    Result,
    coded::{Buffer, Coded, decoded, encoded},
    tables::ReadTables,
};

pub use super::tables::View;

/// What every table is to redb.
pub(super) type Raw = &'static [u8];

/// A table of redb's that can be read.
pub(super) trait RawRows {
    fn get(&self, key: &[u8]) -> Result<Option<AccessGuard<'_, Raw>>>;

    fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Range<'_, Raw, Raw>>;
}

macro_rules! raw_rows {
    ($table:ty) => {
        impl RawRows for $table {
            fn get(&self, key: &[u8]) -> Result<Option<AccessGuard<'_, Raw>>> {
                Ok(ReadableTable::get(self, key)?)
            }

            fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Range<'_, Raw, Raw>> {
                Ok(ReadableTable::range::<&[u8]>(self, (from, to))?)
            }
        }
    };
}
raw_rows!(ReadOnlyTable<Raw, Raw>);
raw_rows!(RawTable<'_, Raw, Raw>);

/// A table that can be read.
pub struct Rows<'t, K, V> {
    raw: &'t dyn RawRows,
    of: PhantomData<fn() -> (K, V)>,
}

impl<'t, K: Coded, V: Coded> Rows<'t, K, V> {
    pub(super) fn new(raw: &'t dyn RawRows) -> Self {
        Self { raw, of: PhantomData }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn row(&self, key: K::Of<'_>) -> Result<Option<Cell<'t, V>>> {
        Ok(self.raw.get(&encoded::<K>(key))?.map(Cell::new))
    }

    /// The rows between two keys, in order, from both ends.
    ///
    /// # Errors
    /// When the database fails.
    pub fn between(&self, from: Bound<K::Of<'_>>, to: Bound<K::Of<'_>>) -> Result<Span<'t, K, V>> {
        let (from, to) = (bound::<K>(from), bound::<K>(to));
        Ok(Span { raw: self.raw.range(as_bytes(&from), as_bytes(&to))?, of: PhantomData })
    }
}

/// A bound as bytes.
pub(super) fn bound<K: Coded>(bound: Bound<K::Of<'_>>) -> Bound<Buffer> {
    bound.map(|key| encoded::<K>(key))
}

pub(super) fn as_bytes(bound: &Bound<Buffer>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| key.as_slice())
}

/// A key or a value as it lies in the store.
pub struct Cell<'t, T> {
    raw: AccessGuard<'t, Raw>,
    of: PhantomData<fn() -> T>,
}

impl<'t, T: Coded> Cell<'t, T> {
    pub(super) fn new(raw: AccessGuard<'t, Raw>) -> Self {
        Self { raw, of: PhantomData }
    }

    /// What it is.
    pub fn value(&self) -> T::Of<'_> {
        decoded::<T>(self.raw.value())
    }
}

/// Rows in order.
pub struct Span<'t, K, V> {
    raw: Range<'t, Raw, Raw>,
    of: PhantomData<fn() -> (K, V)>,
}

/// One row of a [`Span`].
type Row<'t, K, V> = Result<(Cell<'t, K>, Cell<'t, V>), StorageError>;

fn typed<'t, K: Coded, V: Coded>(
    row: Result<(AccessGuard<'t, Raw>, AccessGuard<'t, Raw>), StorageError>,
) -> Row<'t, K, V> {
    row.map(|(key, value)| (Cell::new(key), Cell::new(value)))
}

impl<'t, K: Coded, V: Coded> Iterator for Span<'t, K, V> {
    type Item = Row<'t, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        self.raw.next().map(typed)
    }
}

impl<K: Coded, V: Coded> DoubleEndedIterator for Span<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.raw.next_back().map(typed)
    }
}

/// The store as it was at one commit. Holding one keeps its pages from reuse, so it lives for one request.
pub struct Snapshot {
    pub(super) tables: ReadTables,
    /// Goes last, as the proof that the tables are gone.
    pub(super) _reader: Arc<()>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

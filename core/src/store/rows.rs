//! Reading: one object-safe face for a table in a snapshot and a table in a write transaction.
//!
//! Functions that read take `&dyn View`, so that each of them is compiled once and serves both a request (from a snapshot)
//! and the engine (inside its transaction).

use std::{ops::Bound, sync::Arc};

use redb::{AccessGuard, Key, Range, ReadOnlyTable, ReadableTable, Table, Value};

use super::{Result, tables::ReadTables};

pub use super::tables::View;

/// A table that can be read.
pub trait Rows<K: Key + 'static, V: Value + 'static> {
    /// The value of a key.
    ///
    /// # Errors
    /// When the database fails.
    fn row<'k>(&self, key: K::SelfType<'k>) -> Result<Option<AccessGuard<'_, V>>>;

    /// The rows between two keys, in order, from both ends.
    ///
    /// # Errors
    /// When the database fails.
    fn between<'k>(&self, from: Bound<K::SelfType<'k>>, to: Bound<K::SelfType<'k>>) -> Result<Range<'_, K, V>>;
}

macro_rules! rows {
    ($table:ty) => {
        impl<K: Key + 'static, V: Value + 'static> Rows<K, V> for $table {
            fn row<'k>(&self, key: K::SelfType<'k>) -> Result<Option<AccessGuard<'_, V>>> {
                Ok(ReadableTable::get(self, key)?)
            }

            fn between<'k>(&self, from: Bound<K::SelfType<'k>>, to: Bound<K::SelfType<'k>>) -> Result<Range<'_, K, V>> {
                Ok(ReadableTable::range(self, (from, to))?)
            }
        }
    };
}
rows!(ReadOnlyTable<K, V>);
rows!(Table<'_, K, V>);

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

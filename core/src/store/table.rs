//! Writing: a table inside a write transaction.

use std::{
    marker::PhantomData,
    ops::{Bound, RangeBounds},
};

use redb::{StorageError, Table as RawTable};

use super::{
    coded::{Coded, decoded, encoded},
    rows::{Cell, Raw, Rows, as_bytes, bound},
};

/// A table, open for writing.
pub(crate) struct Table<'t, K, V> {
    raw: RawTable<'t, Raw, Raw>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<'t, K: Coded, V: Coded> Table<'t, K, V> {
    pub(super) fn new(raw: RawTable<'t, Raw, Raw>) -> Self {
        Self { raw, of: PhantomData }
    }

    /// To be read.
    pub(super) fn rows(&self) -> Rows<'_, K, V> {
        Rows::new(&self.raw)
    }

    /// Puts a row in, and answers the value that it replaces.
    pub(crate) fn insert(&mut self, key: K::Of<'_>, value: V::Of<'_>) -> Result<Option<Cell<'_, V>>, StorageError> {
        Ok(self.raw.insert(encoded::<K>(key).as_slice(), encoded::<V>(value).as_slice())?.map(Cell::new))
    }

    /// Takes a row out, and answers its value.
    pub(crate) fn remove(&mut self, key: K::Of<'_>) -> Result<Option<Cell<'_, V>>, StorageError> {
        Ok(self.raw.remove(encoded::<K>(key).as_slice())?.map(Cell::new))
    }

    /// Takes out every row that is not wanted.
    pub(crate) fn retain(
        &mut self,
        mut wanted: impl for<'r> FnMut(K::Of<'r>, V::Of<'r>) -> bool,
    ) -> Result<(), StorageError> {
        // Behind a pointer, so that redb's half is compiled once and not for every closure.
        let mut wanted = |key: &[u8], value: &[u8]| wanted(decoded::<K>(key), decoded::<V>(value));
        let wanted: &mut dyn FnMut(&[u8], &[u8]) -> bool = &mut wanted;
        self.raw.retain(wanted)
    }

    /// Takes all rows between two keys out.
    pub(crate) fn remove_in<'k>(&mut self, keys: impl RangeBounds<K::Of<'k>>) -> Result<(), StorageError> {
        let end = |end: Bound<&K::Of<'k>>| bound::<K>(end.map(|key| *key));
        let (from, to) = (end(keys.start_bound()), end(keys.end_bound()));
        let unwanted: fn(&[u8], &[u8]) -> bool = |_, _| false;
        self.raw.retain_in::<&[u8], _>((as_bytes(&from), as_bytes(&to)), unwanted)
    }

    /// The last row.
    pub(super) fn last(&self) -> super::Result<Option<(Cell<'_, K>, Cell<'_, V>)>> {
        Ok(self.rows().between(Bound::Unbounded, Bound::Unbounded)?.next_back().transpose()?)
    }
}

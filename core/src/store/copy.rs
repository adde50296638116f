//! A copy of the whole store as it was at one commit, into a file of its own, while the engine goes on.
//!
//! The file itself cannot be copied: the engine writes to it meanwhile, and a copy that mixes two moments opens as a
//! damaged one. So the rows of one snapshot are read table by table, by the schema's own list, and written into a fresh
//! file in bounded batches. The copy lacks the mark of a clean end, so that whoever opens it gives log positions beyond all
//! that the original may have given since.

use std::{
    fs::File,
    ops::{Bound, ControlFlow},
    path::Path,
};

use redb::{Builder, Database, Range, Table, TableDefinition, WriteTransaction, backends::FileBackend};

use super::{
    Result, Store, StoreError,
    rows::{Raw, RawRows},
};
use crate::types::limits::{STORE_CACHE_BYTES, STORE_COPY_BATCH_BYTES};

/// Why a store was not copied. What there is of the copy is of no use then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The store, or the copy, failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy's file could not be made. One that exists is not overwritten.
    #[error("the file of the copy cannot be made: {0}")]
    File(#[from] std::io::Error),
    /// The caller called it off.
    #[error("the copy was called off")]
    CalledOff,
}

impl Store {
    /// Copies the store as of the last commit into a new file. After each batch `on_rows` is told how many rows of how many
    /// are copied, and says whether to go on. It reads and writes everything: call it off the async threads.
    ///
    /// # Errors
    /// See [`CopyError`]; the half-made file is the caller's to remove.
    pub fn copy_to(&self, path: &Path, on_rows: &mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<(), CopyError> {
        let from = self.snapshot()?.tables;
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let backend = FileBackend::new(file).map_err(StoreError::from)?;
        let mut builder = Builder::new();
        builder.set_cache_size(STORE_CACHE_BYTES);
        let into = builder.create_with_backend(backend).map_err(StoreError::from)?;
        let total = from.rows_in_all()?;
        let mut copy = Copying { into: &into, txn: None, bytes: 0, rows: 0, total, on_rows };
        from.copy(&mut copy)?;
        copy.commit()
    }
}

/// A copy in the making.
pub(super) struct Copying<'a> {
    into: &'a Database,
    /// The batch: begun by the first table that needs it, since redb has one writer at a time.
    txn: Option<WriteTransaction>,
    /// Bytes of keys and values in the batch.
    bytes: usize,
    rows: u64,
    total: u64,
    on_rows: &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>,
}

impl Copying<'_> {
    /// Copies one table.
    pub(super) fn table(
        &mut self,
        definition: TableDefinition<'static, Raw, Raw>,
        from: &dyn RawRows,
    ) -> Result<(), CopyError> {
        let mut rows = from.range(Bound::Unbounded, Bound::Unbounded)?;
        loop {
            let txn = match self.txn.take() {
                Some(txn) => txn,
                None => self.into.begin_write().map_err(StoreError::from)?,
            };
            let mut table = txn.open_table(definition).map_err(StoreError::from)?;
            let (copied, bytes) = fill(&mut table, &mut rows, STORE_COPY_BATCH_BYTES.saturating_sub(self.bytes))?;
            drop(table);
            self.txn = Some(txn);
            self.rows += copied;
            self.bytes += bytes;
            if self.bytes < STORE_COPY_BATCH_BYTES {
                return Ok(());
            }
            self.commit()?;
        }
    }

    fn commit(&mut self) -> Result<(), CopyError> {
        if let Some(mut txn) = self.txn.take() {
            // The copy opens in milliseconds, like every file of ours.
            txn.set_quick_repair(true);
            txn.commit().map_err(StoreError::from)?;
        }
        self.bytes = 0;
        match (self.on_rows)(self.rows, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(CopyError::CalledOff),
        }
    }
}

/// Copies rows until they hold `bytes_max` bytes. Answers how many rows and bytes; fewer bytes when there are no more.
fn fill(table: &mut Table<'_, Raw, Raw>, rows: &mut Range<'_, Raw, Raw>, bytes_max: usize) -> Result<(u64, usize)> {
    let (mut copied, mut bytes) = (0, 0);
    while bytes < bytes_max {
        let Some(row) = rows.next() else { break };
        let (key, value) = row?;
        bytes += key.value().len() + value.value().len();
        table.insert(key.value(), value.value())?;
        copied += 1;
    }
    Ok((copied, bytes))
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;
    use crate::store::{LogKind, LogRow, StoreConfig, View};

    const ROW_BYTES: usize = 60_000;

    fn open(path: &Path) -> Store {
        Store::open(&StoreConfig::file(path.to_owned()), server_name!("a.example")).unwrap()
    }

    async fn fill_with(store: &Store, rows: std::ops::Range<u32>) {
        for number in rows {
            let job = move |tx: &mut super::super::WriteTx<'_>| -> Result<()> {
                tx.log(&LogRow { kind: LogKind::State, room: number, user: 0, esn: 0 })?;
                tx.write().filter.insert((1, number), vec![number as u8; ROW_BYTES].as_slice())?;
                Ok(())
            };
            store.write_soon(job).await.unwrap();
        }
    }

    fn filters(store: &Store) -> Vec<(u32, usize, u8)> {
        let view = store.snapshot().unwrap();
        let rows = view.filter().unwrap().between(Bound::Unbounded, Bound::Unbounded).unwrap();
        rows.map(|row| row.unwrap())
            .map(|(key, value)| (key.value().1, value.value().len(), value.value()[0]))
            .collect()
    }

    #[tokio::test]
    async fn a_copy_is_one_moment_of_a_store_that_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (original, copy) = (dir.path().join("original"), dir.path().join("copy"));
        let store = open(&original);
        fill_with(&store, 0..300).await;
        let wanted = filters(&store);
        let (mut told, mut batches) = (0, 0);
        // Between two batches of the copy the engine commits something else, which is no part of the moment.
        let write_on = |number: u32| {
            let store = store.clone();
            let writing = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(fill_with(&store, number..number + 1));
            });
            writing.join().unwrap();
        };
        let copied = store.copy_to(&copy, &mut |rows, total| {
            assert!(rows > told && rows <= total);
            told = rows;
            batches += 1;
            write_on(1_000 + batches);
            ControlFlow::Continue(())
        });
        copied.unwrap();
        assert!(batches > 3, "18 MB went in {batches} batches");
        let last_n = *store.log_watch().borrow();
        let copy = open(&copy);
        assert_eq!(filters(&copy), wanted);
        assert!(filters(&store).len() > wanted.len());
        assert!(*copy.log_watch().borrow() > last_n, "no position of the log means two things");
        fill_with(&copy, 5_000..5_001).await;
    }

    #[tokio::test]
    async fn a_copy_can_be_called_off_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (original, copy) = (dir.path().join("original"), dir.path().join("copy"));
        let store = open(&original);
        fill_with(&store, 0..150).await;
        let mut batches = 0;
        let called_off = store.copy_to(&copy, &mut |_, _| {
            batches += 1;
            ControlFlow::Break(())
        });
        assert!(matches!(called_off, Err(CopyError::CalledOff)));
        assert_eq!(batches, 1, "it ended with the batch in which it was called off");
        let taken = store.copy_to(&original, &mut |_, _| ControlFlow::Continue(()));
        assert!(matches!(taken, Err(CopyError::File(_))));
        store.close().unwrap();
        let closed = store.copy_to(&dir.path().join("other"), &mut |_, _| ControlFlow::Continue(()));
        assert!(matches!(closed, Err(CopyError::Store(StoreError::Closed))));
    }
}

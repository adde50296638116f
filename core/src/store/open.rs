//! Opening the file: foreign, newer and too old files are refused, an unclean end is noticed.

use std::{cmp::Ordering, ops::Bound, path::PathBuf, sync::Arc};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, TableError};
use ruma::{OwnedServerName, ServerName};
use tokio::sync::watch;

use super::{
    Backend, Cell, Result, SCHEMA_VERSION, Snapshot, StoreError, Threading, WriteTx,
    engine::{Engine, Writer},
    records::meta,
    tables::{ReadTables, WriteTables},
    tx::Counters,
};
use crate::types::limits::{RELEASE_POLL, RELEASE_WAIT_MAX, STORE_CACHE_BYTES};

/// After an unclean end, soft commits may be gone whose log positions clients hold in their sync tokens. The log goes on
/// this much further, so that no position ever means two things.
const UNCLEAN_JUMP: u64 = 1 << 20;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where the bytes lie.
    pub backend: Backend,
    /// Where the engine runs.
    pub threading: Threading,
    /// Pages that redb keeps in memory, in bytes.
    pub cache_bytes: usize,
}

impl StoreConfig {
    /// As a phone runs it: a file, a thread, a small cache.
    pub fn file(path: PathBuf) -> Self {
        Self { backend: Backend::File(path), threading: Threading::Thread, cache_bytes: STORE_CACHE_BYTES }
    }

    /// For a test that needs no disk.
    pub fn memory() -> Self {
        Self { backend: Backend::Memory, threading: Threading::Inline, cache_bytes: STORE_CACHE_BYTES }
    }
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("the database is in use by another Hearth process")]
    Locked,
    /// Not one of ours.
    #[error("the file is no Hearth database ({0}); name another data directory, or move the file away")]
    Foreign(String),
    /// Made by a later version of Hearth.
    #[error("the database has schema {found}, and this Hearth knows {SCHEMA_VERSION} at most: use a newer Hearth")]
    Newer {
        /// The file's schema.
        found: u32,
    },
    /// Made before rows lay in the file as they do now (schema 1). No Hearth that was released did so.
    #[error(
        "the database was made by a Hearth before the first release: export it with that one, or name another data directory"
    )]
    Older,
    /// Another server's file.
    #[error("the database belongs to {found}, not to {wanted}: use its own key, or another data directory")]
    OtherServer {
        /// Whose it is.
        found: String,
        /// Who opens it.
        wanted: OwnedServerName,
    },
    /// Reading or writing failed.
    #[error("the database cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// The files of media cannot be used.
    #[error("the media directory cannot be used: {0}")]
    Media(String),
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            // redb tells a file that is not its own by its magic number.
            DatabaseError::Storage(redb::StorageError::Io(io)) if io.kind() == std::io::ErrorKind::InvalidData => {
                Self::Foreign(io.to_string())
            }
            DatabaseError::Storage(redb::StorageError::Corrupted(why)) => Self::Foreign(why),
            other => Self::Store(other.into()),
        }
    }
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: std::sync::Mutex<Option<Arc<Database>>>,
    engine: Engine,
    log: watch::Receiver<u64>,
    outbox: watch::Receiver<u64>,
    failed: watch::Receiver<Option<StoreError>>,
    /// Every snapshot has a clone: as long as one lives, it holds the file.
    readers: Arc<()>,
}

impl Store {
    /// Opens or creates the store of `server`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: &StoreConfig, server: &ServerName) -> Result<Self, OpenError> {
        let db = Arc::new(database(config)?);
        let counters = prepare(&db, server)?;
        let (log_tx, log) = watch::channel(counters.next_n.saturating_sub(1));
        let (outbox_tx, outbox) = watch::channel(counters.next_n.saturating_sub(1));
        let (failed_tx, failed) = watch::channel(None);
        let writer = Writer::new(db.clone(), counters, log_tx, outbox_tx, failed_tx);
        let engine = Engine::start(writer, config.threading)?;
        let db = std::sync::Mutex::new(Some(db));
        Ok(Self { inner: Arc::new(Inner { db, engine, log, outbox, failed, readers: Arc::default() }) })
    }

    /// The store as of the last commit.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after [`Store::close`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let db = self.database()?;
        Ok(Snapshot { tables: ReadTables::new(db.begin_read()?), _reader: self.inner.readers.clone() })
    }

    /// Runs a job in the engine and answers after the commit that holds it, which is on disk by then.
    ///
    /// The job may run more than once; it must depend on the transaction alone.
    ///
    /// # Errors
    /// The job's own, or the store's.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.inner.engine.write(job, true).await
    }

    /// As [`Store::write`], but the answer promises no durability: the commit reaches the disk within a second.
    ///
    /// # Errors
    /// The job's own, or the store's.
    pub async fn write_soon<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.inner.engine.write(job, false).await
    }

    /// Makes all soft commits durable, as when the app goes to the background.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn flush(&self) -> Result<()> {
        self.inner.engine.flush().await
    }

    /// The last position of the log, and a way to wait for the next.
    pub fn log_watch(&self) -> watch::Receiver<u64> {
        self.inner.log.clone()
    }

    /// Moves when the outbox has new work.
    pub fn outbox_watch(&self) -> watch::Receiver<u64> {
        self.inner.outbox.clone()
    }

    /// Waits until the database fails for good, as with a full disk, and says why. Never returns otherwise.
    pub async fn failed(&self) -> StoreError {
        let mut failed = self.inner.failed.clone();
        match failed.wait_for(Option::is_some).await.map(|error| error.clone()) {
            Ok(Some(error)) => error,
            _ => std::future::pending().await,
        }
    }

    /// Ends the engine, marks the file clean, and lets go of it and of its lock. Later calls answer [`StoreError::Closed`].
    ///
    /// # Errors
    /// When the last write fails; the file is let go of all the same.
    pub fn close(&self) -> Result<()> {
        self.inner.engine.stop();
        let Some(db) = self.take_database() else { return Ok(()) };
        let mut txn = db.begin_write()?;
        txn.set_quick_repair(true);
        WriteTables::open(&txn)?.meta.insert(meta::CLEAN, [1].as_slice())?;
        txn.commit()?;
        Ok(())
    }

    /// Waits, after [`Store::close`], until the last snapshot is gone too. Then nothing of the process holds the file or its
    /// lock.
    ///
    /// # Errors
    /// [`StoreError::Held`] when something goes on reading for longer than any request may.
    pub async fn released(&self) -> Result<()> {
        let gone = async {
            while Arc::strong_count(&self.inner.readers) > 1 {
                tokio::time::sleep(RELEASE_POLL).await;
            }
        };
        tokio::time::timeout(RELEASE_WAIT_MAX, gone).await.map_err(|_| StoreError::Held)
    }

    /// Lets go of the file as a killed process does: no flush, no clean mark. For simulation, after [`CrashDisk::crash`]:
    /// redb itself writes what it holds when it is dropped, unless its disk is gone by then.
    ///
    /// [`CrashDisk::crash`]: super::CrashDisk::crash
    pub fn kill(&self) {
        self.inner.engine.kill();
        drop(self.take_database());
    }

    fn database(&self) -> Result<Arc<Database>> {
        self.inner.db.lock().ok().and_then(|db| db.clone()).ok_or(StoreError::Closed)
    }

    fn take_database(&self) -> Option<Arc<Database>> {
        self.inner.db.lock().ok().and_then(|mut db| db.take())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

fn database(config: &StoreConfig) -> Result<Database, OpenError> {
    let mut builder = Builder::new();
    builder.set_cache_size(config.cache_bytes);
    Ok(match &config.backend {
        Backend::File(path) => builder.create(path)?,
        Backend::Memory => builder.create_with_backend(redb::backends::InMemoryBackend::new())?,
        Backend::Crash(disk) => builder.create_with_backend(disk.open())?,
    })
}

/// Checks whose file it is, migrates it, makes the tables, takes the clean mark away, and recovers the counters.
fn prepare(db: &Database, server: &ServerName) -> Result<Counters, OpenError> {
    let store = |error: redb::TransactionError| OpenError::Store(error.into());
    let mut txn = db.begin_write().map_err(store)?;
    txn.set_quick_repair(true);
    let mut tables = WriteTables::open(&txn).map_err(|error| match error {
        TableError::TableTypeMismatch { .. } => OpenError::Older,
        other => OpenError::Store(other.into()),
    })?;
    let row = |tables: &WriteTables<'_>, key: u8| -> Result<Option<Vec<u8>>> {
        Ok(tables.meta.rows().row(key)?.map(|row| row.value().to_vec()))
    };
    match row(&tables, meta::SCHEMA)? {
        None => {
            let version = SCHEMA_VERSION.to_le_bytes();
            tables.meta.insert(meta::SCHEMA, version.as_slice()).map_err(StoreError::from)?;
            tables.meta.insert(meta::SERVER_NAME, server.as_bytes()).map_err(StoreError::from)?;
            tables.meta.insert(meta::CLEAN, [1].as_slice()).map_err(StoreError::from)?;
        }
        Some(version) => {
            let found = version.try_into().map_or(0, u32::from_le_bytes);
            match found.cmp(&SCHEMA_VERSION) {
                Ordering::Greater => return Err(OpenError::Newer { found }),
                Ordering::Equal => {}
                // There was one version before this one, and its rows are of another kind to redb.
                Ordering::Less => return Err(OpenError::Foreign(format!("schema version {found}"))),
            }
        }
    }
    let owner = row(&tables, meta::SERVER_NAME)?.unwrap_or_default();
    if owner != server.as_bytes() {
        let found = String::from_utf8_lossy(&owner).into_owned();
        return Err(OpenError::OtherServer { found, wanted: server.to_owned() });
    }
    let clean = tables.meta.remove(meta::CLEAN).map_err(StoreError::from)?.is_some();
    let counters = recover(&tables, clean)?;
    drop(tables);
    txn.commit().map_err(StoreError::from)?;
    Ok(counters)
}

fn recover(tables: &WriteTables<'_>, clean: bool) -> Result<Counters> {
    let last = |key: Option<Cell<'_, u64>>| key.map_or(0, |key| key.value());
    let next_esn = last(tables.ev.last()?.map(|row| row.0)) + 1;
    let logged = last(tables.log.last()?.map(|row| row.0)).max(last(tables.out_log.last()?.map(|row| row.0)));
    let next_n = logged + 1 + if clean { 0 } else { UNCLEAN_JUMP };
    let mut counters = Counters { next_esn, next_n, next_intern: [1; 8] };
    for (kind, next) in (0_u8..).zip(counters.next_intern.iter_mut()) {
        let mut rows = tables.intern_r.rows().between(Bound::Included((kind, 0)), Bound::Included((kind, u32::MAX)))?;
        if let Some(row) = rows.next_back() {
            *next = row?.0.value().1 + 1;
        }
    }
    Ok(counters)
}

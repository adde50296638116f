//! Everything that outlives the process: one redb file, its schema, snapshots, and the engine that alone writes to it; and
//! the files that are too large for it (`blobs`).
//!
//! Readers take a [`Snapshot`] and never block. Writers hand a job to [`Store::write`]; the engine runs whatever has
//! queued up in one transaction and commits once (group commit). A job may be run again when another job of its batch
//! failed, so it must be a function of the transaction alone.
//!
//! Invariants: redb stays behind this module. All writes go through the engine. A snapshot lives for one request. Nothing
//! waits for the network in a job. A reply that promises durability goes out after the commit.

mod aside;
mod backend;
mod blobs;
mod coded;
mod copy;
mod engine;
mod events;
mod intern;
mod open;
mod recent;
mod records;
mod rows;
mod state;
mod table;
mod tables;
mod tx;
pub(crate) mod txns;

pub(crate) use aside::aside;
pub use backend::{Backend, CrashDisk};
pub(crate) use blobs::blob_path;
pub use blobs::{Blob, BlobHash, BlobPlace, BlobStream, Blobs, Draft, Finished, MemoryDisk};
pub use copy::CopyError;
pub use engine::Threading;
pub(crate) use events::id_prefix;
pub use events::{Flags, Header, Stored};
pub use intern::{Kind, RoomKey, ServerKey, Ssk, ThreadKey, UserKey};
pub use open::{OpenError, Store, StoreConfig};
pub use recent::Recent;
pub use records::*;
pub use rows::{Cell, Rows, Snapshot, Span, View};
pub use state::{Change, Difference, Overrides, StateRef};
pub use tables::SCHEMA_VERSION;
pub use tx::WriteTx;

/// The number of an event in the store: dense, in order of arrival, never reused.
pub type Esn = u64;

/// The store failed. None of these is the caller's fault; the API answers them with `M_UNKNOWN`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// redb could not read or write: a full disk, a damaged file, a vanished medium.
    #[error("the database failed: {0}")]
    Database(String),
    /// A row does not decode, or an index points nowhere.
    #[error("the database is inconsistent: {0}")]
    Corrupt(String),
    /// The engine has been stopped.
    #[error("the database is closed")]
    Closed,
    /// The engine has been stopped, and somebody still reads.
    #[error("the database is closed, but something still reads it")]
    Held,
    /// A job panicked; nothing of it was kept.
    #[error("an internal error was contained: {0}")]
    Panicked(String),
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(error.to_string())
            }
        }
    )*};
}
from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::DatabaseError);

impl From<postcard::Error> for StoreError {
    fn from(error: postcard::Error) -> Self {
        Self::Corrupt(format!("a record does not decode: {error}"))
    }
}

/// What a store operation answers.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;

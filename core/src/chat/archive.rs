//! Everything in one file under a passphrase: the server's key, the store key, the database and the media.
//!
//! An export is a moment of a node that runs on: the database is copied from one snapshot (`Store::copy_to`), and what
//! goes out is sealed in chunks (`seal`), so that neither a large database nor a large video needs memory. It is written
//! under another name and renamed when it is whole.
//!
//! An import unpacks beside its destination, opens the database to prove that it is one, and is renamed into place as one
//! directory by [`Imported::put_in_place`]: before that the destination is untouched, after it everything is there. Between
//! the two the host hands the keys to whatever keeps them.
//!
//! What a restored phone must not do is say two things with one key. Its database is older than what it said last, so an
//! import throws away what counts upwards: the room keys that messages were being sent with, and the one-time keys that may
//! have been given away since. New ones are made by themselves. The positions of the log jump as after any unclean end.
//!
//! Invariants: nothing half-written bears its final name. What a file says sizes nothing before it was authenticated.

mod entry;
mod export;
mod import;
mod seal;

use std::{io, path::PathBuf};

use zeroize::Zeroizing;

pub use self::{
    export::export,
    import::{Imported, Layout, import, staging_path},
    seal::Passphrase,
};
use super::{ChatError, vault::StoreKey, work::Cancelled};
use crate::store::{CopyError, StoreError};

/// The keys that lie outside of the database. Wiped from memory when they are dropped.
#[derive(Clone)]
pub struct Secrets {
    /// The server's ed25519 key: 32 bytes of seed.
    pub identity_key: Zeroizing<[u8; 32]>,
    /// What the platform's keystore holds for the vault.
    pub store_key: StoreKey,
}

impl Secrets {
    /// From the bytes of the server's key, and the store key.
    pub fn new(identity_key: [u8; 32], store_key: StoreKey) -> Self {
        Self { identity_key: Zeroizing::new(identity_key), store_key }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// Why there is no archive, or nothing was taken from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Another kind of file.
    #[error("the file is no Hearth archive")]
    Foreign,
    /// Made by a later Hearth.
    #[error("the archive has format {found}, which this Hearth does not know: use a newer Hearth")]
    Newer {
        /// The file's version.
        found: u16,
    },
    /// Its database was made by a later Hearth.
    #[error("the database in the archive cannot be used: {0}")]
    Database(String),
    /// The passphrase is another one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// A passphrase that nobody should use.
    #[error("{0}")]
    Passphrase(&'static str),
    /// The end is missing.
    #[error("the archive was cut off: copy it again, in full")]
    Truncated,
    /// Something in it was changed.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// There is something already.
    #[error("{} exists already and is not overwritten", .0.display())]
    Occupied(PathBuf),
    /// Reading or writing failed.
    #[error("a file could not be read or written: {0}")]
    Io(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was called off.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<CopyError> for ArchiveError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Store(error) => Self::Store(error),
            CopyError::File(error) => Self::Io(error),
            CopyError::CalledOff => Self::Cancelled(Cancelled),
        }
    }
}

impl From<ArchiveError> for ChatError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Cancelled(Cancelled) => Self::Cancelled,
            ArchiveError::WrongPassphrase => Self::Crypto(error.to_string()),
            other => Self::Invalid(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;

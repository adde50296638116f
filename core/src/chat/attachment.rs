//! Files in messages: sealed and stored before they are sent, fetched and opened when somebody asks for them.
//!
//! A file goes through a cipher into our own media store as a stream, so that a long video needs the memory of a buffer; the
//! message names the store's URI and the key (`prepare`). The other phones fetch what is sealed from this one over
//! federation when their person opens it, keep it in their own store, and decrypt from there (`Chat::download`). So a
//! download that breaks off fetches nothing twice, and what lies in the media store is unreadable without the room's keys.
//!
//! Invariants: nothing appears at its destination before its hash was checked. Nothing that a sender claims (a size, a name,
//! a picture's measures) sizes our memory or leads a path. No more than a few files are on their way at once.

mod cipher;
mod download;
mod record;
mod upload;

use std::{
    fs::File,
    io::{self, Seek},
    path::PathBuf,
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::record::Attachment;
pub(crate) use self::upload::{discard, prepare};
use super::{ChatError, work::Cancelled};
use crate::{media::MediaError, store::StoreError, types::limits::TRANSFERS_AT_ONCE_MAX};

/// Where a file to be sent comes from.
#[derive(Debug)]
pub enum Source {
    /// A path.
    Path(PathBuf),
    /// An open file, as a platform hands over what another app shares. Read from its start, or as it comes if it is a pipe.
    File(File),
}

impl Source {
    fn open(self) -> Result<File, AttachmentError> {
        match self {
            Self::Path(path) => File::open(path).map_err(AttachmentError::Read),
            Self::File(mut file) => {
                // A pipe has no start to go back to.
                let _: io::Result<()> = file.rewind();
                Ok(file)
            }
        }
    }
}

/// What a file is to those who see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// Anything else.
    File,
}

/// What the sender says of a file.
#[derive(Clone, Debug)]
pub struct FileInfo {
    /// Its name. What leads anywhere in it is taken out.
    pub name: String,
    /// Its media type.
    pub mime: Option<String>,
    /// How it is shown.
    pub kind: Kind,
    /// What the sender writes about it.
    pub caption: Option<String>,
    /// Pixels from left to right. Found out for pictures.
    pub width: Option<u32>,
    /// Pixels from top to bottom. Found out for pictures.
    pub height: Option<u32>,
    /// How long it plays.
    pub duration: Option<Duration>,
}

impl FileInfo {
    /// A file of which only this is known.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        let name = name.into();
        Self { name, kind, mime: None, caption: None, width: None, height: None, duration: None }
    }
}

/// Why a file was not sent or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// More than we send or fetch.
    #[error("the file is larger than {} MiB", .bytes_max / (1024 * 1024))]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The file could not be read.
    #[error("the file could not be read: {0}")]
    Read(#[source] io::Error),
    /// The file could not be written.
    #[error("the file could not be written: {0}")]
    Write(#[source] io::Error),
    /// What came is not what the sender sealed: whoever keeps it changed it. Nothing of it was kept.
    #[error("the file is not the one that was sent, and was refused")]
    WrongHash,
    /// The message does not say how to open it.
    #[error("the file cannot be opened: {0}")]
    Unusable(String),
    /// There is no such file, or no thumbnail.
    #[error("{0}")]
    NotFound(&'static str),
    /// The media store, or the server that has the file.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was called off.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<AttachmentError> for ChatError {
    fn from(error: AttachmentError) -> Self {
        let text = error.to_string();
        match error {
            AttachmentError::TooLarge { .. } => Self::TooLarge(text),
            AttachmentError::WrongHash | AttachmentError::Unusable(_) => Self::Crypto(text),
            AttachmentError::NotFound(_) => Self::NotFound(text),
            AttachmentError::Read(_) | AttachmentError::Write(_) => Self::Invalid(text),
            AttachmentError::Store(error) => error.into(),
            AttachmentError::Cancelled(Cancelled) => Self::Cancelled,
            AttachmentError::Media(error) => match error {
                MediaError::NotFound => Self::NotFound(text),
                MediaError::TooLarge { .. } | MediaError::RemoteTooLarge | MediaError::Full => Self::TooLarge(text),
                MediaError::Unreachable(_) | MediaError::Remote(_) | MediaError::NotYetUploaded => Self::Network(text),
                MediaError::Store(error) => error.into(),
                _ => Self::Invalid(text),
            },
        }
    }
}

/// The files that are on their way in or out.
#[derive(Debug)]
pub(crate) struct Transfers {
    turns: Semaphore,
}

impl Transfers {
    /// Waits until there is room for one more.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, AttachmentError> {
        self.turns.acquire().await.map_err(|_| StoreError::Closed.into())
    }
}

impl Default for Transfers {
    fn default() -> Self {
        Self { turns: Semaphore::new(TRANSFERS_AT_ONCE_MAX) }
    }
}

#[cfg(test)]
mod tests;

//! The content repository's ground: its files, its bounds, and what is under way.
//!
//! What is fetched from another server is fetched once, whoever asks for it meanwhile: all of them hold one [`Flight`], and
//! whoever has its turn does the work. When that one gives up, the next takes the work up where it was left; when it fails,
//! all hear of it. No task of its own, so a fetch that nobody waits for ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};

use super::bell::Bell;
use crate::{
    store::{BlobPlace, Blobs, MemoryDisk, StoreError},
    types::limits::{MEDIA_BYTES_MAX, MEDIA_CACHE_BYTES_MAX, MEDIA_FETCHES_MAX},
};

/// How the content repository is set up.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Where its files lie.
    pub place: BlobPlace,
    /// Bytes of one upload, and of one file of another server.
    pub bytes_max: u64,
    /// Bytes of what can be had again: media of other servers, and thumbnails.
    pub cache_bytes_max: u64,
}

impl MediaConfig {
    /// As a phone runs it: files in a directory of their own.
    pub fn folder(path: std::path::PathBuf) -> Self {
        Self::at(BlobPlace::Folder(path))
    }

    /// For a test that needs no disk.
    pub fn memory() -> Self {
        Self::at(BlobPlace::Memory(MemoryDisk::new()))
    }

    /// At a place, with the usual bounds.
    pub fn at(place: BlobPlace) -> Self {
        Self { place, bytes_max: MEDIA_BYTES_MAX, cache_bytes_max: MEDIA_CACHE_BYTES_MAX }
    }
}

/// Why a file of another server could not be had, as all who wait for it hear it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There is no such file.
    #[error("the other server has no such media")]
    NotFound,
    /// Its upload is awaited there.
    #[error("it has not been uploaded yet")]
    NotYetUploaded,
    /// It is larger than we are ready to keep, or than the other server is ready to send.
    #[error("it is too large")]
    TooLarge,
    /// No answer, or one that broke off. A later try may do better, and goes on where this one ended if it can.
    #[error("{0}")]
    Unreachable(String),
    /// The other server will not give it, or gave what cannot be used.
    #[error("{0}")]
    Refused(String),
    /// Our disk failed.
    #[error("the media could not be written: {0}")]
    Disk(String),
    /// Our database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here.
    pub done: u64,
    /// Bytes in all, if the other side said it.
    pub total: Option<u64>,
}

/// One piece of work that several may wait for.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// Held by whoever does the work; afterwards it holds how that failed.
    pub(crate) turn: AsyncMutex<Option<FetchError>>,
    progress: Mutex<Progress>,
    moves: Bell,
}

impl Flight {
    /// The one who works is this far.
    pub(crate) fn tell(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        self.moves.ring();
    }

    /// How far the one who works is, once that was told more than `seen` times; and how often it was.
    pub(crate) async fn progress_after(&self, seen: u64) -> (Progress, u64) {
        self.moves.after(seen).await;
        (*self.progress.lock().unwrap_or_else(PoisonError::into_inner), self.moves.count())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Repository {
    /// The files.
    pub blobs: Blobs,
    /// Bytes of one file.
    pub(crate) bytes_max: u64,
    /// Bytes of what may go.
    pub(crate) cache_bytes_max: u64,
    /// Transfers that may run.
    pub(crate) fetches: Semaphore,
    flights: Mutex<BTreeMap<[u8; 32], Weak<Flight>>>,
    /// Held from before a file gets its name until its row is asked for, and while files go whose rows went. Without it, a
    /// file could go that a new row speaks of.
    door: Arc<AsyncMutex<()>>,
    uploads: Bell,
}

impl Repository {
    /// A repository over files that are open and swept.
    pub(crate) fn new(blobs: Blobs, config: &MediaConfig) -> Self {
        Self {
            blobs,
            bytes_max: config.bytes_max,
            cache_bytes_max: config.cache_bytes_max,
            fetches: Semaphore::new(MEDIA_FETCHES_MAX),
            flights: Mutex::default(),
            door: Arc::default(),
            uploads: Bell::default(),
        }
    }

    /// The work on a media, which is shared with all who hold it already.
    pub(crate) fn flight(&self, media: &[u8; 32]) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(media).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::<Flight>::default();
        flights.insert(*media, Arc::downgrade(&flight));
        flight
    }

    /// The media that somebody works on or waits for.
    pub(crate) fn flying(&self) -> BTreeSet<[u8; 32]> {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.iter().filter(|(_, flight)| flight.strong_count() > 0).map(|(media, _)| *media).collect()
    }

    /// Waits for the right to name files or to remove named ones.
    pub(crate) async fn door(&self) -> OwnedMutexGuard<()> {
        self.door.clone().lock_owned().await
    }

    /// An upload that may be waited for is here.
    pub(crate) fn note_upload(&self) {
        self.uploads.ring();
    }

    /// How many of them came.
    pub(crate) fn uploads(&self) -> u64 {
        self.uploads.count()
    }

    /// Waits until more than `seen` of them came.
    pub(crate) async fn upload_after(&self, seen: u64) {
        self.uploads.after(seen).await;
    }
}

//! The files of media: content-addressed blobs beside the database, and what is being written.
//!
//! A blob is the file `blobs/aa/<SHA-256 in hex>`. What is being written is the file `parts/<number>`; when it is whole it is
//! synced, renamed to its hash, and only then a row of the database speaks of it. So a kill leaves at worst a file that no row
//! knows, which [`Blobs::sweep`] removes at the next start. All files lie under one directory, so that wiping them is wiping
//! it.
//!
//! A [`BlobDisk`] is where the files lie: a folder, or memory that can lose what was not synced. Everything async here does
//! its work aside.
//!
//! Invariants: a blob never changes. A part has one writer. Deliberately absent: which blob is whose, and when it may go:
//! rows know that (`media`).

mod draft;
mod folder;
mod memory;

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, stream};

pub(crate) use self::folder::blob_path;
pub use self::{
    draft::{Draft, Finished},
    memory::MemoryDisk,
};
use super::{OpenError, Result, aside};
use crate::types::limits::BLOB_READ_BYTES;

/// The SHA-256 of a blob.
pub type BlobHash = [u8; 32];

/// The bytes of a blob, as they are read.
pub type BlobStream = stream::BoxStream<'static, io::Result<Bytes>>;

/// Where the files of media lie.
#[derive(Clone, Debug)]
pub enum BlobPlace {
    /// A directory of their own.
    Folder(PathBuf),
    /// Memory that survives [`MemoryDisk::crash`] up to what was synced.
    Memory(MemoryDisk),
}

/// A file that is read or written.
pub trait BlobFile: Read + Write + Seek + Send + Sync {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the medium fails.
    fn sync(&mut self) -> io::Result<()>;
}

/// Where files lie. Nothing here is async: callers do it aside.
pub(super) trait BlobDisk: Send + Sync + fmt::Debug {
    /// A new part.
    fn create(&self, part: u64) -> io::Result<Box<dyn BlobFile>>;
    /// A part that is there.
    fn reopen(&self, part: u64) -> io::Result<Box<dyn BlobFile>>;
    /// Makes a synced part the blob of its hash, durably.
    fn keep(&self, part: u64, hash: &BlobHash) -> io::Result<()>;
    /// Removes a part.
    fn discard(&self, part: u64) -> io::Result<()>;
    /// A blob, to be read.
    fn open(&self, hash: &BlobHash) -> io::Result<Box<dyn BlobFile>>;
    /// Removes a blob.
    fn remove(&self, hash: &BlobHash) -> io::Result<()>;
    /// All parts.
    fn parts(&self) -> io::Result<Vec<u64>>;
    /// All blobs.
    fn blobs(&self) -> io::Result<Vec<BlobHash>>;
    /// The path of a blob, if it has one.
    fn path(&self, hash: &BlobHash) -> Option<PathBuf>;
}

/// The blobs of one homeserver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    disk: Arc<dyn BlobDisk>,
    next_part: Arc<AtomicU64>,
}

impl Blobs {
    /// Opens a place, which is made if it is not there.
    ///
    /// # Errors
    /// [`OpenError::Media`] when the directory cannot be made or read.
    pub fn open(place: &BlobPlace) -> Result<Self, OpenError> {
        let open = || -> io::Result<Self> {
            let disk: Arc<dyn BlobDisk> = match place {
                BlobPlace::Folder(path) => Arc::new(folder::Folder::open(path)?),
                BlobPlace::Memory(disk) => Arc::new(disk.open()),
            };
            let next_part = disk.parts()?.into_iter().max().map_or(0, |last| last + 1);
            Ok(Self { disk, next_part: Arc::new(AtomicU64::new(next_part)) })
        };
        open().map_err(|error| OpenError::Media(error.to_string()))
    }

    /// A new file to write into.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn draft(&self) -> io::Result<Draft> {
        let number = self.next_part.fetch_add(1, Ordering::SeqCst);
        Draft::create(self.disk.clone(), number).await
    }

    /// A file to go on writing into. What it holds is read and hashed.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    pub async fn resume(&self, part: u64) -> io::Result<Draft> {
        Draft::resume(self.disk.clone(), part).await
    }

    /// Makes a finished file the blob of its hash. One that is there already is the same and is replaced.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn keep(&self, finished: Finished) -> io::Result<()> {
        work(move || finished.keep()).await
    }

    /// A blob to read.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    pub async fn read(&self, hash: BlobHash) -> io::Result<Blob> {
        let blobs = self.clone();
        work(move || blobs.read_here(&hash)).await
    }

    /// As [`Blobs::read`], for those who are aside already.
    ///
    /// # Errors
    /// As [`Blobs::read`].
    pub(crate) fn read_here(&self, hash: &BlobHash) -> io::Result<Blob> {
        let mut file = self.disk.open(hash)?;
        let len = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        Ok(Blob { file, len })
    }

    /// Removes blobs, and lets go of `guard` when they are gone, even when nobody waits for it.
    pub async fn remove<G: Send + 'static>(&self, hashes: Vec<BlobHash>, guard: G) {
        let disk = self.disk.clone();
        let removed = aside(move || {
            for hash in hashes {
                note("a blob", disk.remove(&hash));
            }
            drop(guard);
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "blobs stay behind until the next start");
        }
    }

    /// Removes a part.
    pub async fn discard(&self, part: u64) {
        let disk = self.disk.clone();
        note("a part", work(move || disk.discard(part)).await);
    }

    /// Removes what a kill left behind: the blobs and parts that are not known. Only before anything is written.
    ///
    /// # Errors
    /// When the directory cannot be read, or `is_known` fails.
    pub fn sweep(
        &self,
        mut is_known: impl FnMut(&BlobHash) -> Result<bool>,
        known_parts: &BTreeSet<u64>,
    ) -> Result<(), OpenError> {
        let unreadable = |error: io::Error| OpenError::Media(error.to_string());
        for hash in self.disk.blobs().map_err(unreadable)? {
            if !is_known(&hash)? {
                note("a blob", self.disk.remove(&hash));
            }
        }
        for part in self.disk.parts().map_err(unreadable)? {
            if !known_parts.contains(&part) {
                note("a part", self.disk.discard(part));
            }
        }
        Ok(())
    }

    /// The path of a blob's file, where files have paths.
    pub fn path(&self, hash: &BlobHash) -> Option<PathBuf> {
        self.disk.path(hash)
    }

    /// How many blobs and parts there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.disk.blobs().unwrap().len(), self.disk.parts().unwrap().len())
    }
}

/// A blob that is open. It stays readable when it is removed meanwhile.
pub struct Blob {
    file: Box<dyn BlobFile>,
    len: u64,
}

impl Blob {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Some of its bytes, in pieces of [`BLOB_READ_BYTES`]. What lies beyond its end is an error of the stream.
    pub fn stream(self, range: Range<u64>) -> BlobStream {
        stream::try_unfold((self.file, range), |(mut file, range)| async move {
            let wanted = range.end.saturating_sub(range.start).min(BLOB_READ_BYTES as u64);
            if wanted == 0 {
                return Ok(None);
            }
            let (file, piece) = work(move || {
                let mut piece = vec![0; wanted as usize];
                file.seek(SeekFrom::Start(range.start))?;
                file.read_exact(&mut piece)?;
                Ok((file, piece))
            })
            .await?;
            Ok(Some((Bytes::from(piece), (file, range.start + wanted..range.end))))
        })
        .boxed()
    }

    /// It as a file for those who read in place.
    pub fn into_reader(self) -> BufReader<Box<dyn BlobFile>> {
        BufReader::new(self.file)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len)
    }
}

/// File work, done aside.
async fn work<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    aside(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A file that cannot be removed costs space and nothing else; the next start tries again.
fn note(what: &str, removed: io::Result<()>) {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(%error, "{what} stays behind"),
        _ => {}
    }
}

#[cfg(test)]
mod tests;

//! Blobs in memory, for tests and simulation: a disk that forgets in a crash what was not synced, as a phone's does whose
//! battery falls out.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{BlobDisk, BlobFile, BlobHash};

/// A disk in memory. Clones are the same disk; handles of before a crash fail from then on.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<Files>>,
    epoch: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Files {
    parts: BTreeMap<u64, Content>,
    blobs: BTreeMap<BlobHash, Content>,
}

type Content = Arc<Mutex<Stored>>;

#[derive(Debug, Default)]
struct Stored {
    bytes: Vec<u8>,
    synced: usize,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pulls the plug: what was not synced is gone.
    pub fn crash(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let mut files = lock(&self.files);
        for content in files.parts.values_mut() {
            let bytes = {
                let stored = lock(content);
                stored.bytes.get(..stored.synced).unwrap_or_default().to_vec()
            };
            // A new one, so that whoever still holds the old one writes nowhere.
            *content = Arc::new(Mutex::new(Stored { synced: bytes.len(), bytes }));
        }
        files.parts.retain(|_, content| lock(content).synced > 0);
    }

    pub(super) fn open(&self) -> Handle {
        Handle { disk: self.clone(), epoch: self.epoch.load(Ordering::SeqCst) }
    }
}

/// One opening of a [`MemoryDisk`].
#[derive(Debug)]
pub(super) struct Handle {
    disk: MemoryDisk,
    epoch: u64,
}

impl Handle {
    fn alive(&self) -> io::Result<MutexGuard<'_, Files>> {
        if self.disk.epoch.load(Ordering::SeqCst) == self.epoch {
            Ok(lock(&self.disk.files))
        } else {
            Err(io::Error::other("the power is gone"))
        }
    }
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn file(content: &Content) -> Box<dyn BlobFile> {
    Box::new(MemoryFile { content: content.clone(), at: 0 })
}

impl BlobDisk for Handle {
    fn create(&self, part: u64) -> io::Result<Box<dyn BlobFile>> {
        let content = Content::default();
        let file = file(&content);
        self.alive()?.parts.insert(part, content);
        Ok(file)
    }

    fn reopen(&self, part: u64) -> io::Result<Box<dyn BlobFile>> {
        self.alive()?.parts.get(&part).map(file).ok_or_else(missing)
    }

    fn keep(&self, part: u64, hash: &BlobHash) -> io::Result<()> {
        let mut files = self.alive()?;
        let content = files.parts.remove(&part).ok_or_else(missing)?;
        files.blobs.insert(*hash, content);
        Ok(())
    }

    fn discard(&self, part: u64) -> io::Result<()> {
        self.alive()?.parts.remove(&part).map(drop).ok_or_else(missing)
    }

    fn open(&self, hash: &BlobHash) -> io::Result<Box<dyn BlobFile>> {
        self.alive()?.blobs.get(hash).map(file).ok_or_else(missing)
    }

    fn remove(&self, hash: &BlobHash) -> io::Result<()> {
        self.alive()?.blobs.remove(hash).map(drop).ok_or_else(missing)
    }

    fn parts(&self) -> io::Result<Vec<u64>> {
        Ok(self.alive()?.parts.keys().copied().collect())
    }

    fn blobs(&self) -> io::Result<Vec<BlobHash>> {
        Ok(self.alive()?.blobs.keys().copied().collect())
    }

    fn path(&self, _: &BlobHash) -> Option<PathBuf> {
        None
    }
}

struct MemoryFile {
    content: Content,
    at: usize,
}

impl Read for MemoryFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let stored = lock(&self.content);
        let read = stored.bytes.get(self.at..).unwrap_or_default().read(out)?;
        self.at += read;
        Ok(read)
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stored = lock(&self.content);
        // Parts are only ever written at their end.
        if self.at != stored.bytes.len() {
            return Err(io::Error::other("a part grows at its end alone"));
        }
        stored.bytes.extend_from_slice(bytes);
        self.at = stored.bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for MemoryFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = lock(&self.content).bytes.len() as u64;
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(off) => len.checked_add_signed(off),
            SeekFrom::Current(off) => (self.at as u64).checked_add_signed(off),
        };
        let at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.at = usize::try_from(at).map_err(io::Error::other)?;
        Ok(at)
    }
}

impl BlobFile for MemoryFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut stored = lock(&self.content);
        stored.synced = stored.bytes.len();
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Where the bytes lie: a file, memory, or a disk that forgets what was not synced.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::StorageBackend;

type BackendIoError = std::io::Error;

/// Where the store keeps its bytes.
#[derive(Clone, Debug)]
pub enum Backend {
    /// One file.
    File(PathBuf),
    /// Memory, gone with the process.
    Memory,
    /// Memory that survives [`CrashDisk::crash`] up to its last sync.
    Crash(CrashDisk),
}

const BLOCK_BYTES: usize = 4096;

/// A disk for tests: writes since the last sync are lost in a crash, as on a phone whose battery falls out.
///
/// Handles of before the crash fail from then on, so a server that was killed cannot write to the disk of its successor.
#[derive(Clone, Debug, Default)]
pub struct CrashDisk {
    disk: Arc<Mutex<Disk>>,
    epoch: Arc<AtomicU64>,
}

#[derive(Default)]
struct Disk {
    bytes: Vec<u8>,
    synced_len: usize,
    /// What the blocks written since the last sync held before.
    undo: BTreeMap<usize, Vec<u8>>,
}

impl CrashDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pulls the plug: all that was not synced is gone.
    pub fn crash(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let mut disk = lock(&self.disk);
        let undo = std::mem::take(&mut disk.undo);
        let len = disk.synced_len;
        disk.bytes.resize(len, 0);
        for (block, old) in undo {
            let start = block * BLOCK_BYTES;
            let end = (start + old.len()).min(len);
            if let (Some(place), Some(old)) = (disk.bytes.get_mut(start..end), old.get(..end.saturating_sub(start))) {
                place.copy_from_slice(old);
            }
        }
    }

    pub(super) fn open(&self) -> CrashHandle {
        CrashHandle { disk: self.clone(), epoch: self.epoch.load(Ordering::SeqCst) }
    }
}

/// One opening of a [`CrashDisk`].
#[derive(Debug)]
pub(super) struct CrashHandle {
    disk: CrashDisk,
    epoch: u64,
}

impl CrashHandle {
    fn alive(&self) -> Result<MutexGuard<'_, Disk>, BackendIoError> {
        if self.disk.epoch.load(Ordering::SeqCst) == self.epoch {
            Ok(lock(&self.disk.disk))
        } else {
            Err(std::io::Error::other("the power is gone"))
        }
    }
}

impl Disk {
    fn remember(&mut self, start: usize, end: usize) {
        for block in start / BLOCK_BYTES..=end.saturating_sub(1) / BLOCK_BYTES {
            let from = block * BLOCK_BYTES;
            let to = (from + BLOCK_BYTES).min(self.bytes.len());
            let old = || self.bytes.get(from..to).unwrap_or_default().to_vec();
            self.undo.entry(block).or_insert_with(old);
        }
    }
}

impl StorageBackend for CrashHandle {
    fn len(&self) -> Result<u64, BackendIoError> {
        Ok(self.alive()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BackendIoError> {
        let disk = self.alive()?;
        let start = offset as usize;
        let bytes = disk.bytes.get(start..start + out.len()).ok_or_else(beyond_the_end)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), BackendIoError> {
        let mut disk = self.alive()?;
        let old = disk.bytes.len();
        if (len as usize) < old {
            disk.remember(len as usize, old);
        }
        disk.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), BackendIoError> {
        let mut disk = self.alive()?;
        disk.undo.clear();
        disk.synced_len = disk.bytes.len();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), BackendIoError> {
        let mut disk = self.alive()?;
        let start = offset as usize;
        disk.remember(start, start + data.len());
        let place = disk.bytes.get_mut(start..start + data.len()).ok_or_else(beyond_the_end)?;
        place.copy_from_slice(data);
        Ok(())
    }
}

fn beyond_the_end() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "beyond the end of the disk")
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({} bytes, {} blocks unsynced)", self.bytes.len(), self.undo.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

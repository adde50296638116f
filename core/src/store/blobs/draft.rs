//! A file while it is written: gathered, hashed and written aside, and removed unless somebody wants it.

use std::{
    fmt,
    io::{self, Read, SeekFrom, Write},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{BlobDisk, BlobFile, BlobHash, note, work};
use crate::types::limits::BLOB_WRITE_BYTES;

/// A file that grows.
///
/// Dropping it removes it, unless [`Draft::stay`] said otherwise.
pub struct Draft {
    part: Part,
    /// `None` while a write is under way, and for good when one was given up or failed: what is in the file then is not known.
    writer: Option<Writer>,
    gathered: Vec<u8>,
    len: u64,
}

struct Writer {
    file: Box<dyn BlobFile>,
    hash: Sha256,
}

/// A file that is whole, synced, and waits to be kept. Dropping it removes it.
#[derive(Debug)]
pub struct Finished {
    part: Part,
    /// The SHA-256 of its content.
    pub hash: BlobHash,
    /// Its length in bytes.
    pub len: u64,
}

/// A part's file, removed on drop unless it stays.
#[derive(Debug)]
struct Part {
    disk: Arc<dyn BlobDisk>,
    number: u64,
    stays: bool,
}

impl Draft {
    pub(super) async fn create(disk: Arc<dyn BlobDisk>, number: u64) -> io::Result<Self> {
        let part = Part { disk, number, stays: false };
        work(move || {
            let file = part.disk.create(number)?;
            Ok(Self::new(part, Writer { file, hash: Sha256::new() }, 0))
        })
        .await
    }

    pub(super) async fn resume(disk: Arc<dyn BlobDisk>, number: u64) -> io::Result<Self> {
        let part = Part { disk, number, stays: true };
        work(move || {
            let mut writer = Writer { file: part.disk.reopen(number)?, hash: Sha256::new() };
            let len = writer.hash_all()?;
            Ok(Self::new(part, writer, len))
        })
        .await
    }

    fn new(part: Part, writer: Writer, len: u64) -> Self {
        Self { part, writer: Some(writer), gathered: Vec::with_capacity(BLOB_WRITE_BYTES), len }
    }

    /// The number of its file.
    pub fn number(&self) -> u64 {
        self.part.number
    }

    /// The bytes that it got so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it got no bytes yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// From now on it stays when it is dropped, up to what was gathered and not written yet.
    pub fn stay(&mut self) {
        self.part.stays = true;
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// When the disk fails, or an earlier write was given up half-way.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if self.gathered.len() < BLOB_WRITE_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Adds what `fill` writes at the end, aside, and answers what that answers.
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub async fn fill<T: Send + 'static>(
        mut self,
        fill: impl FnOnce(&mut dyn Write) -> T + Send + 'static,
    ) -> io::Result<(Self, T)> {
        self.flush().await?;
        let mut writer = self.take_writer()?;
        work(move || {
            let mut filling = Filling { writer: &mut writer, len: 0, failed: false };
            let done = fill(&mut filling);
            let Filling { len, failed, .. } = filling;
            self.len += len;
            self.writer = (!failed).then_some(writer);
            Ok((self, done))
        })
        .await
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub async fn flush(&mut self) -> io::Result<()> {
        let mut writer = self.take_writer()?;
        let gathered = std::mem::take(&mut self.gathered);
        let (writer, mut gathered) = work(move || {
            writer.hash.update(&gathered);
            writer.file.write_all(&gathered)?;
            Ok((writer, gathered))
        })
        .await?;
        gathered.clear();
        (self.writer, self.gathered) = (Some(writer), gathered);
        Ok(())
    }

    /// Ends it and makes it durable.
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub async fn finish(mut self) -> io::Result<Finished> {
        self.flush().await?;
        let mut writer = self.take_writer()?;
        let Self { mut part, len, .. } = self;
        work(move || {
            writer.file.sync()?;
            part.stays = false;
            Ok(Finished { part, hash: writer.hash.finalize().into(), len })
        })
        .await
    }

    fn take_writer(&mut self) -> io::Result<Writer> {
        self.writer.take().ok_or_else(|| io::Error::other("an earlier write was given up"))
    }
}

impl Writer {
    /// Reads the file from its start into the hash, and stands at its end.
    fn hash_all(&mut self) -> io::Result<u64> {
        let mut piece = vec![0; BLOB_WRITE_BYTES];
        let mut len = 0;
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            let read = self.file.read(&mut piece)?;
            if read == 0 {
                return Ok(len);
            }
            self.hash.update(piece.get(..read).unwrap_or_default());
            len += read as u64;
        }
    }
}

/// A draft's file for those who write in place.
struct Filling<'a> {
    writer: &'a mut Writer,
    len: u64,
    failed: bool,
}

impl Write for Filling<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.file.write(bytes);
        match &written {
            Ok(count) => {
                self.writer.hash.update(bytes.get(..*count).unwrap_or_default());
                self.len += *count as u64;
            }
            Err(error) => self.failed |= error.kind() != io::ErrorKind::Interrupted,
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Finished {
    pub(super) fn keep(mut self) -> io::Result<()> {
        self.part.disk.keep(self.part.number, &self.hash)?;
        // There is no such part any more.
        self.part.stays = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.stays {
            note("a part", self.disk.discard(self.number));
        }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({}, {} bytes)", self.part.number, self.len)
    }
}

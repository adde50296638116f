//! Blobs in a directory: `blobs/aa/<hex>` and `parts/<number>`.
//!
//! A rename is durable when its directory is synced, so keeping a blob syncs it. Where a directory cannot be opened as a file
//! (Windows), the file system's own journal has to do.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{BlobDisk, BlobFile, BlobHash};

/// The directory of the blobs.
const BLOBS: &str = "blobs";

#[derive(Debug)]
pub(super) struct Folder {
    blobs: PathBuf,
    parts: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let folder = Self { blobs: path.join(BLOBS), parts: path.join("parts") };
        fs::create_dir_all(&folder.blobs)?;
        fs::create_dir_all(&folder.parts)?;
        Ok(folder)
    }

    fn part(&self, number: u64) -> PathBuf {
        self.parts.join(number.to_string())
    }

    fn blob(&self, hash: &BlobHash) -> PathBuf {
        blob_in(&self.blobs, hash)
    }
}

/// Where the folder of a [`BlobPlace::Folder`](super::BlobPlace::Folder) has a blob.
pub(crate) fn blob_path(folder: &Path, hash: &BlobHash) -> PathBuf {
    blob_in(&folder.join(BLOBS), hash)
}

fn blob_in(blobs: &Path, hash: &BlobHash) -> PathBuf {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    blobs.join(hex.get(..2).unwrap_or_default()).join(hex)
}

impl BlobFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl BlobDisk for Folder {
    fn create(&self, part: u64) -> io::Result<Box<dyn BlobFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).create_new(true).open(self.part(part))?))
    }

    fn reopen(&self, part: u64) -> io::Result<Box<dyn BlobFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.part(part))?))
    }

    fn keep(&self, part: u64, hash: &BlobHash) -> io::Result<()> {
        let path = self.blob(hash);
        let folder = path.parent().unwrap_or(&self.blobs);
        if !folder.exists() {
            fs::create_dir_all(folder)?;
            sync_folder(&self.blobs)?;
        }
        fs::rename(self.part(part), &path)?;
        sync_folder(folder)
    }

    fn discard(&self, part: u64) -> io::Result<()> {
        fs::remove_file(self.part(part))
    }

    fn open(&self, hash: &BlobHash) -> io::Result<Box<dyn BlobFile>> {
        Ok(Box::new(File::open(self.blob(hash))?))
    }

    fn remove(&self, hash: &BlobHash) -> io::Result<()> {
        fs::remove_file(self.blob(hash))
    }

    fn parts(&self) -> io::Result<Vec<u64>> {
        let names = names(&self.parts)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn blobs(&self) -> io::Result<Vec<BlobHash>> {
        let mut hashes = Vec::new();
        for folder in names(&self.blobs)? {
            hashes.extend(names(&self.blobs.join(folder))?.iter().filter_map(|name| hash_of(name)));
        }
        Ok(hashes)
    }

    fn path(&self, hash: &BlobHash) -> Option<PathBuf> {
        Some(self.blob(hash))
    }
}

/// The names in a directory. What is no text is not ours.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn hash_of(name: &str) -> Option<BlobHash> {
    let byte = |at: usize| u8::from_str_radix(name.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..name.len().div_ceil(2)).map(byte).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

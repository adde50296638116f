//! The content repository: files with a name on the net, ours and other servers'. Client-server API, "Content repository".
//!
//! A file is content-addressed: its bytes lie once on the disk under their hash (`store::Blobs`), and a row says that an
//! `mxc://` name is that hash. What a user uploads stays. What comes from other servers, and thumbnails, can be had again:
//! when they are more than `MediaConfig::cache_bytes_max`, the least recently used go.
//!
//! [`store_file`] takes a stream of bytes in; [`open`] hands a file out, and fetches it from the server that has it when it
//! is not here ([`fetch_with_progress`] does only that). A fetch is shared by all who want the file, ends when nobody wants it
//! any more, and goes on where it broke off when the other server allows that. [`thumbnail`] makes pictures smaller.
//!
//! Invariants: a file is synced before its row is written, and its row is gone before it is removed. No file is in memory as
//! a whole, thumbnails aside. What another server sends is bounded before it is written.
//!
//! Deliberately absent: previews of URLs, since a phone in a mesh does not ask the internet who asked it; redirects to other
//! places, since there is nothing here that could follow them; a ban list.

mod address;
mod error;
mod fetch;
mod keep;
mod multipart;
mod picture;
mod rows;
mod thumbnail;
mod upload;

use std::{io, ops::Bound, path::PathBuf, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use ruma::MxcUri;
use tokio::time::{Instant, timeout_at};

pub use self::{
    address::Address,
    error::MediaError,
    thumbnail::{ThumbnailSize, thumbnail},
    upload::{NewMedia, create, fill, store_file, upload_allowed},
};
pub(crate) use self::{multipart::Frame, thumbnail::thumbnail_at};
pub(crate) use self::{
    picture::{Look, look},
    upload::store_written,
};
pub use crate::home::{MediaConfig, Progress};
use crate::{
    home::{Home, Repository},
    store::{Blob, BlobHash, BlobStream, Blobs, MediaRecord, OpenError, PartRecord, Record, Store, View},
    types::limits::MEDIA_WAIT_MAX,
};

/// What a file is called, as its uploader or the other server said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its content type. Not checked against its content.
    pub content_type: String,
    /// Its name, if it has one.
    pub filename: Option<String>,
    /// The SHA-256 of its content.
    pub hash: BlobHash,
}

/// A file that is here and open. It stays readable when it is evicted meanwhile.
#[derive(Debug)]
pub struct Opened {
    /// What it is called.
    pub meta: Meta,
    /// Its length in bytes.
    pub len: u64,
    /// Its content.
    pub blob: Blob,
}

impl Opened {
    /// All of its bytes, in small pieces.
    pub fn into_stream(self) -> BlobStream {
        self.blob.stream(0..self.len)
    }
}

/// Opens the repository's files and removes what a kill left behind.
///
/// # Errors
/// When the directory cannot be used, or the database fails.
pub fn repository(config: &MediaConfig, store: &Store) -> Result<Repository, OpenError> {
    let blobs = Blobs::open(&config.place)?;
    let view = store.snapshot()?;
    let mut parts = std::collections::BTreeSet::new();
    for row in view.media_part()?.between(Bound::Unbounded, Bound::Unbounded)? {
        let (_, record) = row.map_err(crate::store::StoreError::from)?;
        parts.insert(PartRecord::decode(record.value())?.number);
    }
    blobs.sweep(|hash| Ok(view.blob()?.row(hash)?.is_some()), &parts)?;
    Ok(Repository::new(blobs, config))
}

/// Opens a file. One of another server that is not here is fetched first; `wait` bounds the time until it begins to arrive,
/// and the time that an upload is waited for.
///
/// # Errors
/// See [`MediaError`].
pub async fn open(home: &Home, uri: &MxcUri, wait: Duration) -> Result<Opened, MediaError> {
    open_at(home, &Address::of(uri)?, wait).await
}

/// As [`open`], for an address.
///
/// # Errors
/// See [`MediaError`].
pub(crate) async fn open_at(home: &Home, address: &Address, wait: Duration) -> Result<Opened, MediaError> {
    obtain(home, address, wait, &mut |_| {}).await
}

/// Fetches a file of another server unless it is here, and tells how far it is, at least at every piece that arrives. Dropping
/// the future gives the fetch up; the next one goes on where it was, if the other server allows that.
///
/// # Errors
/// See [`MediaError`].
pub async fn fetch_with_progress(
    home: &Home,
    uri: &MxcUri,
    wait: Duration,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(), MediaError> {
    obtain(home, &Address::of(uri)?, wait, &mut progress).await.map(drop)
}

/// All bytes of a file, for small ones.
///
/// # Errors
/// [`MediaError::TooLarge`] for a file of more than `bytes_max` bytes; otherwise as [`open`].
pub async fn read_all(home: &Home, uri: &MxcUri, wait: Duration, bytes_max: u64) -> Result<Bytes, MediaError> {
    let opened = open(home, uri, wait).await?;
    if opened.len > bytes_max {
        return Err(MediaError::TooLarge { bytes_max });
    }
    let mut bytes = Vec::with_capacity(opened.len as usize);
    let mut pieces = opened.into_stream();
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// The path of a file that is here, where files have paths. It may go at any time unless it is an upload of this server.
///
/// # Errors
/// When the name is none, or the database fails.
pub fn path_of(home: &Home, uri: &MxcUri) -> Result<Option<PathBuf>, MediaError> {
    let record = rows::find(&home.store.snapshot()?, &Address::of(uri)?.key())?;
    Ok(record.and_then(|record| home.repository.blobs.path(&record.blob?)))
}

/// How many bytes one file may have.
pub fn bytes_max(home: &Home) -> u64 {
    home.repository.bytes_max
}

/// Whether the content of a file is here.
///
/// # Errors
/// When the name is none, or the database fails.
pub fn is_here(home: &Home, uri: &MxcUri) -> Result<bool, MediaError> {
    let record = rows::find(&home.store.snapshot()?, &Address::of(uri)?.key())?;
    Ok(record.is_some_and(|record| record.blob.is_some()))
}

/// Takes a file away: what an own user uploaded and nobody names, or what came from another server and is wrong.
///
/// # Errors
/// When the name is none, or the database fails.
pub(crate) async fn forget(home: &Home, uri: &MxcUri) -> Result<(), MediaError> {
    keep::forget(home, Address::of(uri)?.key()).await
}

/// A file can go between its fetch and its opening when the cache is full of others. More often than this it will not.
const OBTAIN_ATTEMPTS: usize = 3;

async fn obtain(
    home: &Home,
    address: &Address,
    wait: Duration,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Opened, MediaError> {
    let wait = wait.min(MEDIA_WAIT_MAX);
    let until = Instant::now() + wait;
    for _ in 0..OBTAIN_ATTEMPTS {
        if home.is_local(&address.server) {
            uploaded(home, address, until).await?;
        }
        if let Some(opened) = held(home, &address.key()).await? {
            progress(Progress { done: opened.len, total: Some(opened.len) });
            return Ok(opened);
        }
        if home.is_local(&address.server) {
            return Err(MediaError::NotFound);
        }
        fetch::fetch(home, address, &fetch::Wish::Whole, wait, progress).await?;
    }
    Err(MediaError::Disk("the file goes as soon as it comes".into()))
}

/// Waits until an upload that is awaited is here.
async fn uploaded(home: &Home, address: &Address, until: Instant) -> Result<(), MediaError> {
    loop {
        let seen = home.repository.uploads();
        let record = rows::find(&home.store.snapshot()?, &address.key())?;
        let record = record.filter(|record| !rows::is_expired(record, home.now()));
        if record.ok_or(MediaError::NotFound)?.blob.is_some() {
            return Ok(());
        }
        timeout_at(until, home.repository.upload_after(seen)).await.map_err(|_| MediaError::NotYetUploaded)?;
    }
}

/// Opens a file that is here, and notes that it was used.
async fn held(home: &Home, key: &address::MediaKey) -> Result<Option<Opened>, MediaError> {
    let Some(record) = rows::find(&home.store.snapshot()?, key)? else { return Ok(None) };
    let MediaRecord { blob: Some(hash), content_type, filename, place, .. } = record else { return Ok(None) };
    let blob = match home.repository.blobs.read(hash).await {
        Ok(blob) => blob,
        // Its row went after we had read it; or the file is lost, and what can be had again is had again.
        Err(error) if error.kind() == io::ErrorKind::NotFound && place.is_some() => {
            tracing::debug!("a cached file is gone");
            keep::forget(home, *key).await?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    keep::note_use(home, *key, place).await?;
    let meta = Meta { content_type, filename, hash };
    Ok(Some(Opened { meta, len: blob.len(), blob }))
}

#[cfg(test)]
mod tests;

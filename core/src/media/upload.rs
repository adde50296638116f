//! Files that users of this server upload: at once, or to an id that was created before.
//!
//! The bytes go to the disk as they come and are counted on the way; a file that turns out too large leaves nothing.

use std::{
    io::{self, Write},
    pin::pin,
};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http::HeaderValue;
use ruma::{OwnedMxcUri, UserId};

use super::{Address, MediaError, keep, rows};
use crate::{
    home::Home,
    store::{Finished, MediaRecord, UserKey},
    types::{
        Millis,
        limits::{MEDIA_CONTENT_TYPE_BYTES_MAX, MEDIA_FILENAME_BYTES_MAX},
    },
};

/// The content type of what has none.
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Characters of a media id: 142 bits, so that nobody guesses one. Knowing it is all that reading takes.
const MEDIA_ID_CHARS: usize = 24;

/// What a new file is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMedia {
    /// Its content type. `None`, or one that is none: `application/octet-stream`.
    pub content_type: Option<String>,
    /// Its name.
    pub filename: Option<String>,
}

/// Stores a file of a user of this server under a new name. `progress` hears how many bytes are stored after each piece.
///
/// # Errors
/// [`MediaError::TooLarge`], [`MediaError::Full`], [`MediaError::LongName`], [`MediaError::Source`] when `source` fails, and
/// the disk's and the database's.
pub async fn store_file(
    home: &Home,
    user: &UserId,
    source: impl Stream<Item = io::Result<Bytes>> + Send,
    info: NewMedia,
    progress: impl Fn(u64) + Send,
) -> Result<OwnedMxcUri, MediaError> {
    let (content_type, filename) = checked(info)?;
    let finished = written(home, source, progress).await?;
    stored(home, user, finished, content_type, filename).await
}

/// As [`store_file`], for a file that `write` writes, aside: it has the disk for itself and may block. Answers what `write`
/// answers, too. It must not write more than the repository takes of one file.
///
/// # Errors
/// Those of `write`, and as [`store_file`].
pub(crate) async fn store_written<T, E>(
    home: &Home,
    user: &UserId,
    info: NewMedia,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E> + Send + 'static,
) -> Result<(OwnedMxcUri, T), E>
where
    T: Send + 'static,
    E: From<MediaError> + Send + 'static,
{
    let disk = |error: io::Error| E::from(error.into());
    let (content_type, filename) = checked(info)?;
    let draft = home.repository.blobs.draft().await.map_err(disk)?;
    let (draft, written) = draft.fill(write).await.map_err(disk)?;
    let written = written?;
    let finished = draft.finish().await.map_err(disk)?;
    Ok((stored(home, user, finished, content_type, filename).await?, written))
}

/// Gives a finished file a new name and a user.
async fn stored(
    home: &Home,
    user: &UserId,
    finished: Finished,
    content_type: String,
    filename: Option<String>,
) -> Result<OwnedMxcUri, MediaError> {
    let address = new_address(home);
    let (key, user, created) = (address.key(), user.to_owned(), home.now().0);
    let (blob, len) = (Some(finished.hash), finished.len);
    keep::keep(home, Some(finished), move |tx| {
        if let Some(user) = UserKey::find(tx, &user)? {
            rows::allows(tx, user, len)?;
        }
        let uploader = Some(UserKey::intern(tx, &user)?);
        let (content_type, filename) = (content_type.clone(), filename.clone());
        let record = MediaRecord { blob, len, content_type, filename, uploader, created, place: None, expires: None };
        rows::put(tx, &key, &record)?;
        Ok(Vec::new())
    })
    .await?;
    Ok(address.uri())
}

/// A name for a file that will be uploaded later, and until when, in ms. Client-server API, `POST /_matrix/media/v1/create`.
///
/// # Errors
/// [`MediaError::TooManyPending`], and the database's.
pub async fn create(home: &Home, user: UserKey) -> Result<(OwnedMxcUri, Millis), MediaError> {
    let (address, now) = (new_address(home), home.now());
    let key = address.key();
    let expires = home.store.write(move |tx| rows::put_pending(tx, &key, user, now)).await?;
    Ok((address.uri(), Millis(expires)))
}

/// Whether a user may upload to a name, if one is given, and as many bytes as they announce.
///
/// # Errors
/// As [`fill`], as far as it can be known before the first byte.
pub fn upload_allowed(
    home: &Home,
    user: UserKey,
    address: Option<&Address>,
    announced: Option<u64>,
) -> Result<(), MediaError> {
    let view = home.store.snapshot()?;
    if let Some(address) = address {
        rows::pending(&view, &address.key(), user, home.now())?;
    }
    let bytes_max = home.repository.bytes_max;
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(MediaError::TooLarge { bytes_max });
    }
    rows::allows(&view, user, announced.unwrap_or(0))
}

/// Stores a file under a name that was created before.
///
/// # Errors
/// [`MediaError::NotFound`] for a name that was not created or has expired, [`MediaError::NotYours`],
/// [`MediaError::AlreadyUploaded`], and as [`store_file`].
pub async fn fill(
    home: &Home,
    user: UserKey,
    address: &Address,
    source: impl Stream<Item = io::Result<Bytes>> + Send,
    info: NewMedia,
) -> Result<(), MediaError> {
    let (content_type, filename) = checked(info)?;
    let (key, now) = (address.key(), home.now());
    let finished = written(home, source, |_| {}).await?;
    let (blob, len) = (Some(finished.hash), finished.len);
    keep::keep(home, Some(finished), move |tx| {
        let waiting = rows::pending(tx, &key, user, now)?;
        rows::allows(tx, user, len)?;
        let (content_type, filename) = (content_type.clone(), filename.clone());
        rows::put(tx, &key, &MediaRecord { blob, len, content_type, filename, expires: None, ..waiting })?;
        rows::arrived(tx, &key, user)?;
        Ok(Vec::new())
    })
    .await?;
    home.repository.note_upload();
    Ok(())
}

async fn written(
    home: &Home,
    source: impl Stream<Item = io::Result<Bytes>> + Send,
    progress: impl Fn(u64) + Send,
) -> Result<Finished, MediaError> {
    let bytes_max = home.repository.bytes_max;
    let mut draft = home.repository.blobs.draft().await?;
    let mut source = pin!(source);
    while let Some(piece) = source.try_next().await.map_err(|error| MediaError::Source(error.to_string()))? {
        if draft.len() + piece.len() as u64 > bytes_max {
            return Err(MediaError::TooLarge { bytes_max });
        }
        draft.write(&piece).await?;
        progress(draft.len());
    }
    Ok(draft.finish().await?)
}

fn new_address(home: &Home) -> Address {
    Address { server: home.server_name().to_owned(), id: home.ports.random.token(MEDIA_ID_CHARS) }
}

fn checked(info: NewMedia) -> Result<(String, Option<String>), MediaError> {
    let filename = info.filename.filter(|name| !name.is_empty());
    if filename.as_ref().is_some_and(|name| name.len() > MEDIA_FILENAME_BYTES_MAX) {
        return Err(MediaError::LongName);
    }
    Ok((content_type(info.content_type.as_deref()), filename))
}

/// A content type that can stand in a header.
pub(super) fn content_type(said: Option<&str>) -> String {
    let said = said.map(str::trim).filter(|said| !said.is_empty() && said.len() <= MEDIA_CONTENT_TYPE_BYTES_MAX);
    let said = said.filter(|said| HeaderValue::from_str(said).is_ok_and(|value| value.to_str().is_ok()));
    said.unwrap_or(UNKNOWN_TYPE).to_owned()
}

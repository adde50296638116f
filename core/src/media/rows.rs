//! The rows of the content repository, as functions over a view or a transaction.
//!
//! A blob counts the media that are it; when the last of them goes, the blob's row goes, and the caller removes the file after
//! the commit. What may go has a place in the order of use: a number that only grows.

use std::{collections::BTreeSet, ops::Bound};

use super::{MediaError, address::MediaKey};
use crate::{
    home::Home,
    store::{BlobHash, MediaRecord, PartRecord, Record, Result, UserKey, View, WriteTx},
    types::{
        Millis,
        limits::{
            MEDIA_FILE_BYTES_MIN, MEDIA_PARTS_BYTES_MAX, MEDIA_PENDING_LIFETIME, MEDIA_PENDING_MAX,
            MEDIA_USER_BYTES_MAX,
        },
    },
};

/// The owner of what may go.
const NOBODY: u32 = 0;

/// Places between a file's own and the last one within which it counts as just used: each move is a write.
const RECENT_PLACES: u64 = 64;

/// A file.
pub(super) fn find(view: &dyn View, key: &MediaKey) -> Result<Option<MediaRecord>> {
    view.media()?.row(key)?.map(|row| MediaRecord::decode(row.value())).transpose()
}

/// Whether a file's upload is awaited no more.
pub(super) fn is_expired(record: &MediaRecord, now: Millis) -> bool {
    record.blob.is_none() && record.expires.is_some_and(|expires| expires <= now.0)
}

/// Whether a user may upload so many bytes more.
pub(super) fn allows(view: &dyn View, user: UserKey, bytes: u64) -> Result<(), MediaError> {
    let sum = sum(view, user.0)?.saturating_add(charge(bytes));
    if sum > MEDIA_USER_BYTES_MAX { Err(MediaError::Full) } else { Ok(()) }
}

/// What a file counts.
fn charge(bytes: u64) -> u64 {
    bytes.max(MEDIA_FILE_BYTES_MIN)
}

fn sum(view: &dyn View, owner: u32) -> Result<u64> {
    Ok(view.media_sum()?.row(owner)?.map_or(0, |row| row.value()))
}

fn owner(record: &MediaRecord) -> u32 {
    record.uploader.map_or(NOBODY, |user| user.0)
}

/// Adds a file that stays.
pub(super) fn put(tx: &mut WriteTx<'_>, key: &MediaKey, record: &MediaRecord) -> Result<()> {
    if let Some(hash) = &record.blob {
        let (refs, _) = tx.blob()?.row(hash)?.map_or((0, 0), |row| row.value());
        let sum = sum(tx, owner(record))?;
        let tables = tx.write();
        tables.blob.insert(hash, (refs + 1, record.len))?;
        tables.media_sum.insert(owner(record), sum + charge(record.len))?;
    }
    let bytes = record.encode()?;
    tx.write().media.insert(key, bytes.as_slice())?;
    Ok(())
}

/// Adds a file that may go, and lets others go until all of them are `bytes_max` at the most. Answers the blobs that no row
/// speaks of any more.
pub(super) fn put_cached(
    tx: &mut WriteTx<'_>,
    key: &MediaKey,
    mut record: MediaRecord,
    bytes_max: u64,
) -> Result<Vec<BlobHash>> {
    let mut gone = Vec::new();
    gone.extend(remove(tx, key)?);
    let place = last_place(tx)? + 1;
    record.place = Some(place);
    put(tx, key, &record)?;
    tx.write().media_used.insert(place, key)?;
    while sum(tx, NOBODY)? > bytes_max {
        let oldest = {
            let mut rows = tx.media_used()?.between(Bound::Unbounded, Bound::Excluded(place))?;
            rows.next().transpose()?.map(|(_, key)| *key.value())
        };
        let Some(oldest) = oldest else { break };
        gone.extend(remove(tx, &oldest)?);
    }
    // What went first may be what the new row speaks of.
    gone.retain(|hash| tx.blob().and_then(|blobs| Ok(blobs.row(hash)?.is_none())).unwrap_or(false));
    Ok(gone)
}

/// Takes a file away that may go. Answers its blob if no other file is it.
pub(super) fn remove(tx: &mut WriteTx<'_>, key: &MediaKey) -> Result<Option<BlobHash>> {
    let Some(record) = find(tx, key)? else { return Ok(None) };
    let sum = sum(tx, owner(&record))?;
    let tables = tx.write();
    tables.media.remove(key)?;
    if let Some(place) = record.place {
        tables.media_used.remove(place)?;
    }
    let Some(hash) = record.blob else { return Ok(None) };
    tables.media_sum.insert(owner(&record), sum.saturating_sub(charge(record.len)))?;
    let (refs, len) = tx.blob()?.row(&hash)?.map_or((0, 0), |row| row.value());
    if refs > 1 {
        tx.write().blob.insert(&hash, (refs - 1, len))?;
        return Ok(None);
    }
    tx.write().blob.remove(&hash)?;
    Ok(Some(hash))
}

/// Whether a use of a file is worth a write.
pub(super) fn is_stale(view: &dyn View, place: u64) -> Result<bool> {
    Ok(place + RECENT_PLACES <= last_place(view)?)
}

/// Moves a file that may go to the end of the order of use.
pub(super) fn used(tx: &mut WriteTx<'_>, key: &MediaKey) -> Result<()> {
    let Some(mut record) = find(tx, key)? else { return Ok(()) };
    let Some(old) = record.place else { return Ok(()) };
    let place = last_place(tx)? + 1;
    record.place = Some(place);
    let bytes = record.encode()?;
    let tables = tx.write();
    tables.media_used.remove(old)?;
    tables.media_used.insert(place, key)?;
    tables.media.insert(key, bytes.as_slice())?;
    Ok(())
}

fn last_place(view: &dyn View) -> Result<u64> {
    let mut rows = view.media_used()?.between(Bound::Unbounded, Bound::Unbounded)?;
    Ok(rows.next_back().transpose()?.map_or(0, |(place, _)| place.value()))
}

/// Adds an id whose upload is awaited. Answers until when.
pub(super) fn put_pending(tx: &mut WriteTx<'_>, key: &MediaKey, user: UserKey, now: Millis) -> Result<u64, MediaError> {
    let (expired, waiting): (Vec<_>, Vec<_>) = due(tx, user)?.into_iter().partition(|(_, expires)| *expires <= now.0);
    if waiting.len() >= MEDIA_PENDING_MAX {
        let first = waiting.iter().map(|(_, expires)| *expires).min().unwrap_or(now.0);
        return Err(MediaError::TooManyPending { retry_after_ms: first - now.0 });
    }
    for (old, _) in expired {
        remove(tx, &old)?;
        arrived(tx, &old, user)?;
    }
    let expires = now.0 + MEDIA_PENDING_LIFETIME.as_millis() as u64;
    let record = MediaRecord {
        blob: None,
        len: 0,
        content_type: String::new(),
        filename: None,
        uploader: Some(user),
        created: now.0,
        place: None,
        expires: Some(expires),
    };
    put(tx, key, &record)?;
    awaited(tx, key, user, expires)?;
    Ok(expires)
}

/// The ids of a user whose upload is awaited, and until when.
fn due(view: &dyn View, user: UserKey) -> Result<Vec<(MediaKey, u64)>> {
    let ends = (Bound::Included((user.0, &[0; 32])), Bound::Included((user.0, &[u8::MAX; 32])));
    let mut due = Vec::new();
    for row in view.media_due()?.between(ends.0, ends.1)? {
        let (place, expires) = row?;
        due.push((*place.value().1, expires.value()));
    }
    Ok(due)
}

/// An id that a user may upload to.
pub(super) fn pending(view: &dyn View, key: &MediaKey, user: UserKey, now: Millis) -> Result<MediaRecord, MediaError> {
    let record = find(view, key)?.ok_or(MediaError::NotFound)?;
    if record.uploader != Some(user) {
        return Err(MediaError::NotYours);
    }
    if record.blob.is_some() {
        return Err(MediaError::AlreadyUploaded);
    }
    if is_expired(&record, now) { Err(MediaError::NotFound) } else { Ok(record) }
}

fn awaited(tx: &mut WriteTx<'_>, key: &MediaKey, user: UserKey, expires: u64) -> Result<()> {
    tx.write().media_due.insert((user.0, key), expires)?;
    Ok(())
}

/// An id that was awaited is awaited no more.
pub(super) fn arrived(tx: &mut WriteTx<'_>, key: &MediaKey, user: UserKey) -> Result<()> {
    tx.write().media_due.remove((user.0, key))?;
    Ok(())
}

/// A transfer that broke off.
pub(super) fn part(view: &dyn View, key: &MediaKey) -> Result<Option<PartRecord>> {
    view.media_part()?.row(key)?.map(|row| PartRecord::decode(row.value())).transpose()
}

/// Adds a transfer that may break off, in place of others where they would be too many. Answers the numbers of the files of
/// those.
pub(super) fn put_part(
    tx: &mut WriteTx<'_>,
    key: &MediaKey,
    record: &PartRecord,
    flying: &BTreeSet<MediaKey>,
) -> Result<Vec<u64>> {
    let mut others = Vec::new();
    for row in tx.media_part()?.between(Bound::Unbounded, Bound::Unbounded)? {
        let (other, bytes) = row?;
        others.push((*other.value(), PartRecord::decode(bytes.value())?));
    }
    let (replaced, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(other, _)| other == key);
    let mut gone: Vec<u64> = replaced.into_iter().map(|(_, old)| old.number).collect();
    let mut sum = charge(record.len) + others.iter().map(|(_, other)| charge(other.len)).sum::<u64>();
    for (other, old) in others.into_iter().filter(|(other, _)| !flying.contains(other)) {
        if sum <= MEDIA_PARTS_BYTES_MAX {
            break;
        }
        sum -= charge(old.len);
        tx.write().media_part.remove(&other)?;
        gone.push(old.number);
    }
    let bytes = record.encode()?;
    tx.write().media_part.insert(key, bytes.as_slice())?;
    Ok(gone)
}

/// Takes a transfer's row away.
pub(super) fn remove_part(tx: &mut WriteTx<'_>, key: &MediaKey) -> Result<()> {
    tx.write().media_part.remove(key)?;
    Ok(())
}

/// A record of a file that may go.
pub(super) fn cached(
    home: &Home,
    hash: BlobHash,
    len: u64,
    content_type: String,
    filename: Option<String>,
) -> MediaRecord {
    let created = home.now().0;
    MediaRecord { blob: Some(hash), len, content_type, filename, uploader: None, created, place: None, expires: None }
}

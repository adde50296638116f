//! What follows what in an archive, before it is sealed: a length, a postcard record, and for files their bytes.
//!
//! The order is fixed: what it is, the keys, the database, the blobs, the end.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    ArchiveError,
    seal::{Opener, Sealer},
};
use crate::chat::work::Pace;

/// Bytes of one record: a server name and a few numbers.
const RECORD_BYTES_MAX: u32 = 4_096;
/// Bytes that are read from a file at once.
const BUFFER_BYTES: usize = 65_536;

/// A record. The order of the kinds is part of the format.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// What the archive is.
    About(About),
    /// The keys: the server's, then the vault's.
    Secrets([u8; 32], [u8; 32]),
    /// The database; so many bytes follow.
    Database(u64),
    /// A file of the media store, by the SHA-256 of its bytes; so many follow.
    Blob([u8; 32], u64),
    /// There were so many blobs, and that is all.
    End(u64),
}

/// What an archive is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The server whose everything this is.
    pub(super) server: String,
    /// When it was made, in ms.
    pub(super) made: u64,
    /// Bytes of the database and of all blobs together, as far as was known at the start.
    pub(super) bytes: u64,
}

/// Writes a record.
pub(super) fn put<W: Write>(out: &mut Sealer<W>, entry: &Entry) -> Result<(), ArchiveError> {
    let failed = |error: postcard::Error| io::Error::other(error);
    let bytes = Zeroizing::new(postcard::to_stdvec(entry).map_err(failed)?);
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&len.to_le_bytes())?;
    Ok(out.write_all(&bytes)?)
}

/// Reads a record.
pub(super) fn take<R: Read>(from: &mut Opener<R>) -> Result<Entry, ArchiveError> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > RECORD_BYTES_MAX {
        return Err(ArchiveError::Damaged("a record is larger than any of ours".into()));
    }
    let mut bytes = Zeroizing::new(vec![0; len as usize]);
    from.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(|error| ArchiveError::Damaged(format!("a record does not decode: {error}")))
}

/// Copies a file's bytes into the archive.
pub(super) fn put_bytes<W: Write>(
    out: &mut Sealer<W>,
    mut from: impl Read,
    bytes: u64,
    pace: &Pace,
) -> Result<(), ArchiveError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = bytes;
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(place) = buffer.get_mut(..want) else { break };
        from.read_exact(place)?;
        out.write_all(place)?;
        left -= want as u64;
        pace.step(want)?;
    }
    Ok(())
}

/// Copies a file's bytes out of the archive. `seen` is shown all of them, in order.
pub(super) fn take_bytes<R: Read>(
    from: &mut Opener<R>,
    mut out: impl Write,
    bytes: u64,
    pace: &Pace,
    mut seen: impl FnMut(&[u8]),
) -> Result<(), ArchiveError> {
    let mut left = bytes;
    while left > 0 {
        let more = from.more()?;
        let now = more.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let more = more.get(..now).unwrap_or_default();
        out.write_all(more)?;
        seen(more);
        from.skip(now);
        left -= now as u64;
        pace.step(now)?;
    }
    Ok(())
}

//! Names that were seen before, so that what is sent twice is taken once: message ids of other servers, transaction ids of
//! clients.
//!
//! The memory survives a restart, because the repeat of a transaction may well come after one, and it is bounded for each
//! owner, so that one who makes names up forgets only its own.

use std::ops::Bound;

use sha2::{Digest, Sha256};

use crate::{
    store::{Result, View, WriteTx},
    types::limits::SEEN_MAX,
};

/// Whose names they are.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Message ids of a server; the owner is the server's number, or 0 for all servers that no room has brought here.
    Message = 1,
    /// Transaction ids of a local user's devices; the owner is the user's number.
    Transaction = 2,
}

/// The hash that stands for a name of several parts.
pub(super) fn name_of(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Sha256::new();
    for part in parts {
        // The length first, so that no two lists of parts look the same.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().first_chunk::<16>().copied().unwrap_or_default()
}

/// Remembers a name. Answers whether it is new.
///
/// # Errors
/// When the database fails.
pub(super) fn is_new(tx: &mut WriteTx<'_>, kind: Kind, owner: u32, name: &[u8; 16]) -> Result<bool> {
    let kind = kind as u8;
    if tx.seen()?.row((kind, owner, name))?.is_some() {
        return Ok(false);
    }
    let order = (Bound::Included((kind, owner, 0)), Bound::Included((kind, owner, u64::MAX)));
    let last = tx.seen_order()?.between(order.0, order.1)?.next_back();
    let number = last.transpose()?.map_or(0, |row| row.0.value().2 + 1);
    let tables = tx.write();
    tables.seen.insert((kind, owner, name), number)?;
    tables.seen_order.insert((kind, owner, number), name)?;
    // Numbers are dense, so there is one to forget for each that is new.
    if let Some(old) = number.checked_sub(SEEN_MAX)
        && let Some(forgotten) = tables.seen_order.remove((kind, owner, old))?.map(|row| *row.value())
    {
        tables.seen.remove((kind, owner, &forgotten))?;
    }
    Ok(true)
}

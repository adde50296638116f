//! Sessions: an access token, and the device that it speaks for.
//!
//! A token is kept as its SHA-256 only, so that a stolen database opens no session. It carries 190 random bits, so a plain
//! hash without salt is enough, and finding it is one lookup whose timing says nothing of use.

use sha2::{Digest, Sha256};

use crate::store::{Record, Result, TokenRecord, UserKey, View};

/// Characters of an access token: 190 bits.
pub const TOKEN_CHARS: usize = 32;

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub user: UserKey,
    /// On which device.
    pub device: String,
}

/// The session of a token, if there is one.
///
/// # Errors
/// When the database fails.
pub fn of_token(view: &dyn View, token: &str) -> Result<Option<Session>> {
    let hash = hash(token);
    let Some(row) = view.token()?.row(&hash)? else { return Ok(None) };
    let TokenRecord { user, device } = TokenRecord::decode(row.value())?;
    Ok(Some(Session { user, device }))
}

/// What the database keeps of a token.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

//! Account data: what a user's clients keep for one another, global or for one room.
//!
//! The content is the clients' own affair and is kept as they wrote it. Two types are the server's to write, the fully read
//! marker and the push rules: [`set`] refuses them, `put` is for the features that own them. Client-server API, "Client
//! Config".
//!
//! Deliberately absent: a request that takes account data away. The specification has none; clients write `{}`.

use std::ops::Bound;

use serde_json::value::RawValue;

use crate::{
    store::{LogKind, LogRow, Result, RoomKey, StoreError, UserKey, View, WriteTx},
    types::limits,
};

/// The marker up to which a room is read.
pub const FULLY_READ: &str = "m.fully_read";
/// The push rules.
pub const PUSH_RULES: &str = "m.push_rules";
/// The tags of a room.
pub const TAG: &str = "m.tag";
/// Whom the user ignores.
pub const IGNORED_USER_LIST: &str = "m.ignored_user_list";

/// Why account data could not be set.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountDataError {
    /// The server writes it.
    #[error("`{0}` is set by other means, not as account data")]
    Managed(String),
    /// The type's name is empty or too long.
    #[error("a type has 1 to {} bytes", limits::ID_BYTES_MAX)]
    BadType,
    /// The content is no JSON object.
    #[error("account data must be a JSON object")]
    NoObject,
    /// The content is too large.
    #[error("one piece of account data has at most {} bytes", limits::ACCOUNT_DATA_BYTES_MAX)]
    TooLarge,
    /// There are too many types.
    #[error("there are {} types of account data in one place, which is the limit", limits::ACCOUNT_DATA_ITEMS_MAX)]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A piece of account data.
#[derive(Clone, Debug)]
pub struct AccountData {
    /// Its type.
    pub kind: String,
    /// Its content, an object.
    pub content: Box<RawValue>,
}

/// A user's account data of a type, global or in a room, as it was set. Of push rules that were never changed there is
/// none: see [`push::content`](super::push::content).
///
/// # Errors
/// When the database fails.
pub fn get(view: &dyn View, user: UserKey, room: Option<RoomKey>, kind: &str) -> Result<Option<Box<RawValue>>> {
    let row = view.acct()?.row((user.0, number(room), kind.as_bytes()))?;
    row.map(|row| parsed(row.value().1)).transpose()
}

/// Sets account data. Answers whether anything changed.
///
/// # Errors
/// See [`AccountDataError`].
pub fn set(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    room: Option<RoomKey>,
    kind: &str,
    content: &str,
) -> Result<bool, AccountDataError> {
    if [FULLY_READ, PUSH_RULES].contains(&kind) {
        return Err(AccountDataError::Managed(kind.to_owned()));
    }
    put(tx, user, room, kind, content)
}

/// As [`set`], also for what the server writes.
///
/// # Errors
/// See [`AccountDataError`].
pub(crate) fn put(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    room: Option<RoomKey>,
    kind: &str,
    content: &str,
) -> Result<bool, AccountDataError> {
    if kind.is_empty() || kind.len() > limits::ID_BYTES_MAX {
        return Err(AccountDataError::BadType);
    }
    if content.len() > limits::ACCOUNT_DATA_BYTES_MAX {
        return Err(AccountDataError::TooLarge);
    }
    if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(content).is_err() {
        return Err(AccountDataError::NoObject);
    }
    let key = (user.0, number(room), kind.as_bytes());
    let old = tx.acct()?.row(key)?.map(|row| row.value().1 == content.as_bytes());
    match old {
        Some(true) => return Ok(false),
        Some(false) => {}
        None if count(tx, user, room)? >= limits::ACCOUNT_DATA_ITEMS_MAX => {
            return Err(AccountDataError::TooMany);
        }
        None => {}
    }
    let n = tx.log(&LogRow { kind: LogKind::AccountData, room: number(room), user: user.0, esn: 0 })?;
    tx.write().acct.insert(key, (n, content.as_bytes())).map_err(StoreError::from)?;
    Ok(true)
}

/// Takes a piece of a user's global account data away. Clients that know it keep what they have: this is for what nothing
/// refers to any more.
///
/// # Errors
/// When the database fails.
pub(crate) fn remove(tx: &mut WriteTx<'_>, user: UserKey, kind: &str) -> Result<()> {
    tx.write().acct.remove((user.0, number(None), kind.as_bytes()))?;
    Ok(())
}

/// The log position at which account data of a type was last set; 0 for never.
///
/// # Errors
/// When the database fails.
pub(crate) fn changed_at(view: &dyn View, user: UserKey, room: Option<RoomKey>, kind: &str) -> Result<u64> {
    Ok(view.acct()?.row((user.0, number(room), kind.as_bytes()))?.map_or(0, |row| row.value().0))
}

/// A user's account data that was set after a log position, global or in a room, by type.
///
/// # Errors
/// When the database fails.
pub fn changed_since(view: &dyn View, user: UserKey, room: Option<RoomKey>, n: u64) -> Result<Vec<AccountData>> {
    let mut changed = Vec::new();
    let (from, to) = span(user, room);
    for row in view.acct()?.between(from, to)? {
        let (key, value) = row?;
        let (at, content) = value.value();
        if at > n {
            let kind = String::from_utf8_lossy(key.value().2).into_owned();
            changed.push(AccountData { kind, content: parsed(content)? });
        }
    }
    Ok(changed)
}

/// Forgets all account data of a user.
///
/// # Errors
/// When the database fails.
pub fn remove_all(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    let end = user.0.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded((next, 0, [].as_slice())));
    tx.write().acct.remove_in((Bound::Included((user.0, 0, [].as_slice())), end))?;
    Ok(())
}

fn count(view: &dyn View, user: UserKey, room: Option<RoomKey>) -> Result<usize> {
    let (from, to) = span(user, room);
    Ok(view.acct()?.between(from, to)?.count())
}

type Place<'a> = (u32, u32, &'a [u8]);

/// All types of one place.
fn span<'a>(user: UserKey, room: Option<RoomKey>) -> (Bound<Place<'a>>, Bound<Place<'a>>) {
    let room = number(room);
    let end = room.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded((user.0, next, [].as_slice())));
    (Bound::Included((user.0, room, [].as_slice())), end)
}

fn number(room: Option<RoomKey>) -> u32 {
    room.map_or(0, |room| room.0)
}

fn parsed(content: &[u8]) -> Result<Box<RawValue>> {
    serde_json::from_slice(content).map_err(|error| StoreError::Corrupt(format!("account data: {error}")))
}

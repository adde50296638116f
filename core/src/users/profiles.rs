//! Profiles: what a user shows of themselves, outside of any room.
//!
//! One JSON object for each user. `displayname` and `avatar_url` are also copied into the user's member events, which is
//! the rooms' business. The same table holds what other servers told of their users, so that a face does not vanish with
//! the phone that it belongs to.

use serde_json::{Map, Value};

use crate::{
    store::{LogKind, LogRow, Result, StoreError, UserKey, View, WriteTx},
    types::limits,
};

/// A profile's fields.
pub type Profile = Map<String, Value>;

/// The fields that member events copy.
pub const MEMBER_FIELDS: [&str; 2] = ["displayname", "avatar_url"];

/// Why a profile field could not be set.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Not of the common namespaced identifier grammar.
    #[error("`{0}` is not a name that a profile field can have: use a-z, 0-9, `-`, `_` and `.`, a letter first")]
    BadName(String),
    /// The field's name is too long.
    #[error("the field's name is longer than {} bytes", limits::ID_BYTES_MAX)]
    LongName,
    /// A field that member events copy is too long.
    #[error("the field is longer than {} bytes", limits::PROFILE_FIELD_BYTES_MAX)]
    LongField,
    /// The whole profile would be too large.
    #[error("the profile would be larger than {} bytes", limits::PROFILE_BYTES_MAX)]
    LongProfile,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The profile of a user; empty when there is none.
///
/// # Errors
/// When the database fails.
pub fn find(view: &dyn View, user: UserKey) -> Result<Profile> {
    let Some(row) = view.profile()?.row(user.0)? else { return Ok(Profile::new()) };
    serde_json::from_slice(row.value()).map_err(|error| StoreError::Corrupt(format!("profile {}: {error}", user.0)))
}

/// Sets a field, or takes it away when there is no value. Answers whether anything changed.
///
/// # Errors
/// See [`ProfileError`].
pub fn set(tx: &mut WriteTx<'_>, user: UserKey, name: &str, value: Option<Value>) -> Result<bool, ProfileError> {
    let mut profile = find(tx, user)?;
    if profile.get(name) == value.as_ref() {
        return Ok(false);
    }
    match value {
        Some(value) => {
            check(name, &value)?;
            profile.insert(name.to_owned(), value);
        }
        None => {
            profile.remove(name);
        }
    }
    put(tx, user, &profile)?;
    tx.log(&LogRow { kind: LogKind::Profile, room: 0, user: user.0, esn: 0 })?;
    Ok(true)
}

/// Replaces a profile by what another server told of its user, and answers whether anything changed. No row of the log:
/// nobody here is shown that profile but by asking for it.
///
/// # Errors
/// [`ProfileError::LongProfile`], and the store's.
pub fn replace(tx: &mut WriteTx<'_>, user: UserKey, profile: &Profile) -> Result<bool, ProfileError> {
    if find(tx, user)? == *profile {
        return Ok(false);
    }
    put(tx, user, profile)?;
    Ok(true)
}

/// Takes a whole profile away.
///
/// # Errors
/// When the database fails.
pub fn remove(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    if tx.write().profile.remove(user.0)?.is_some() {
        tx.log(&LogRow { kind: LogKind::Profile, room: 0, user: user.0, esn: 0 })?;
    }
    Ok(())
}

fn put(tx: &mut WriteTx<'_>, user: UserKey, profile: &Profile) -> Result<(), ProfileError> {
    let bytes = serde_json::to_vec(profile).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    if bytes.len() > limits::PROFILE_BYTES_MAX {
        return Err(ProfileError::LongProfile);
    }
    tx.write().profile.insert(user.0, bytes.as_slice()).map_err(StoreError::from)?;
    Ok(())
}

/// Client-server API, "Profiles": names follow the common namespaced identifier grammar. A member event has room for 64 KiB
/// in all, so what goes into it is held short.
fn check(name: &str, value: &Value) -> Result<(), ProfileError> {
    if name.len() > limits::ID_BYTES_MAX {
        return Err(ProfileError::LongName);
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.bytes().all(allowed) {
        return Err(ProfileError::BadName(name.to_owned()));
    }
    let bytes = value.as_str().map_or(0, str::len);
    if MEMBER_FIELDS.contains(&name) && bytes > limits::PROFILE_FIELD_BYTES_MAX {
        return Err(ProfileError::LongField);
    }
    Ok(())
}

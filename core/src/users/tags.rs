//! The tags of a user's rooms: the account data `m.tag`. Client-server API, "Room Tagging".
//!
//! Clients may also write it as any account data, so what is no map of tags counts as none.

use serde_json::{Map, Value, json};

use super::account_data::{self, AccountDataError, TAG};
use crate::store::{Result, RoomKey, UserKey, View, WriteTx};

/// The tags of a room: each with its order and what else clients wrote beside it.
///
/// # Errors
/// When the database fails.
pub fn of(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Map<String, Value>> {
    let content = account_data::get(view, user, Some(room), TAG)?;
    let content = content.and_then(|content| serde_json::from_str::<Map<String, Value>>(content.get()).ok());
    match content.and_then(|mut content| content.remove("tags")) {
        Some(Value::Object(tags)) => Ok(tags),
        _ => Ok(Map::new()),
    }
}

/// Gives a room a tag, or takes it away when there is nothing to say of it.
///
/// # Errors
/// See [`AccountDataError`].
pub fn set(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    room: RoomKey,
    tag: &str,
    info: Option<Value>,
) -> Result<bool, AccountDataError> {
    let mut tags = of(tx, user, room)?;
    match info {
        Some(info) => {
            tags.insert(tag.to_owned(), info);
        }
        None if tags.remove(tag).is_none() => return Ok(false),
        None => {}
    }
    account_data::set(tx, user, Some(room), TAG, &json!({ "tags": tags }).to_string())
}

//! Which rooms are conversations with one person: `m.direct` in the account data. Client-server API, "Direct Messaging".

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedRoomId, RoomId, UserId};
use serde_json::Value;

use super::{ChatError, Inner};
use crate::{
    store::{Result, UserKey, View},
    users::account_data::{self, AccountDataError},
};

/// The type of the account data.
const DIRECT: &str = "m.direct";

/// For each user, whose id is any text here, rooms. Other clients write it too, so what is malformed is kept and passed over.
type Content = BTreeMap<String, Value>;

fn content(view: &dyn View, me: UserKey) -> Result<Content> {
    let raw = account_data::get(view, me, None, DIRECT)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default())
}

/// The rooms that are conversations with one person.
pub(crate) fn rooms(view: &dyn View, me: UserKey) -> Result<BTreeSet<OwnedRoomId>> {
    let content = content(view, me)?;
    let rooms = content.values().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    Ok(rooms.filter_map(|room| OwnedRoomId::try_from(room).ok()).collect())
}

/// Remembers that a room is a conversation with somebody.
pub(crate) async fn mark(inner: &Inner, room: &RoomId, user: &UserId) -> Result<(), ChatError> {
    let (me, room, user) = (inner.me.user_key, room.to_string(), user.to_string());
    let job = move |tx: &mut crate::store::WriteTx<'_>| {
        let mut content = content(tx, me)?;
        let rooms = content.entry(user.clone()).or_insert_with(|| Value::Array(Vec::new()));
        match rooms {
            Value::Array(rooms) if rooms.iter().any(|other| other.as_str() == Some(&room)) => return Ok(()),
            Value::Array(rooms) => rooms.push(Value::String(room.clone())),
            other => *other = Value::Array(vec![Value::String(room.clone())]),
        }
        let content = serde_json::to_string(&content).unwrap_or_default();
        account_data::set(tx, me, None, DIRECT, &content).map(drop)
    };
    inner.home.store.write::<_, AccountDataError, _>(job).await.map_err(|error| match error {
        AccountDataError::Store(error) => error.into(),
        error => ChatError::Invalid(error.to_string()),
    })
}

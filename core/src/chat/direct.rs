//! Which rooms are conversations with one person: `m.direct` in the account data. Client-server API, "Direct Messaging".

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedRoomId, RoomId, UserId};
use serde_json::Value;

use super::{
    Chat, ChatError, Inner,
    room::{NewRoom, Room},
};
use crate::{
    rooms,
    store::{Result, Standing, UserKey, View},
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

impl Chat {
    /// A conversation with one person: the busiest that there is and that they are in or asked into, or a new one, to which
    /// they are invited.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for somebody of this homeserver who does not exist; [`ChatError::Invalid`] for ourselves.
    pub async fn direct_room(&self, user: &UserId) -> Result<Room, ChatError> {
        if *user == *self.inner.me.user {
            return Err(ChatError::Invalid("a conversation has two people".into()));
        }
        match self.known_direct_room(user)? {
            Some(id) => self.room(&id),
            None => {
                self.create_room(NewRoom { invite: vec![user.to_owned()], direct: true, ..NewRoom::default() }).await
            }
        }
    }

    fn known_direct_room(&self, user: &UserId) -> Result<Option<OwnedRoomId>, ChatError> {
        let view = self.inner.home.store.snapshot()?;
        let content = content(&view, self.inner.me.user_key)?;
        let mut best = None;
        let marked = content.get(user.as_str()).and_then(Value::as_array).into_iter().flatten();
        for id in marked.filter_map(Value::as_str).filter_map(|room| RoomId::parse(room).ok()) {
            let Some(room) = rooms::Room::find(&view, &id)? else { continue };
            let is_theirs = |member: rooms::Member| matches!(member.standing, Standing::Join | Standing::Invite);
            if room.is_joined(&view, &self.inner.me.user)? && room.member(&view, user)?.is_some_and(is_theirs) {
                best = best.max(Some((room.record.last_n, id)));
            }
        }
        Ok(best.map(|(_, id)| id))
    }
}

//! Typing notifications. Client-server API and server-server API, "Typing Notifications".
//!
//! Nothing of them is stored. Other servers are told while they are within reach, each by one request at a time that says
//! what is so by then: a slow neighbour is told less often, not later and later.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, stream::FuturesUnordered};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::json;
use tokio::time::Duration;

use super::Room;
use crate::{
    home::Home,
    outbox,
    store::{Result, RoomKey, StoreError},
    types::limits::{TRANSACTION_EDUS_MAX, TYPING_HEARD_FOR, TYPING_TIMEOUT_MAX, TYPING_TOLD_AT_ONCE_MAX},
};

/// Why typing could not be told of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypingError {
    /// The user is not in the room.
    #[error("you are not in {0}")]
    NotIn(OwnedRoomId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A local user types in a room, for a while at most [`TYPING_TIMEOUT_MAX`], or no more.
///
/// # Errors
/// See [`TypingError`].
pub fn set(home: &Home, user: &UserId, room: &RoomId, typing: bool, timeout: Duration) -> Result<(), TypingError> {
    let view = home.store.snapshot()?;
    let room = Room::find(&view, room)?.ok_or_else(|| TypingError::NotIn(room.to_owned()))?;
    if !room.is_joined(&view, user)? {
        return Err(TypingError::NotIn(room.id));
    }
    home.set_typing(room.key, user, typing.then(|| timeout.min(TYPING_TIMEOUT_MAX)));
    Ok(())
}

/// Takes another server's word that a user of its types in a room, or no more. Passed over unless that user is in it.
///
/// # Errors
/// When the database fails.
pub(crate) fn hear(home: &Home, origin: &ServerName, room: &RoomId, user: &UserId, typing: bool) -> Result<()> {
    let view = home.store.snapshot()?;
    let Some(room) = Room::find(&view, room)? else { return Ok(()) };
    if user.server_name() == origin && room.record.joined_local > 0 && room.is_joined(&view, user)? {
        home.set_typing(room.key, user, typing.then_some(TYPING_HEARD_FOR));
    }
    Ok(())
}

/// What each server is to be told: for each room and user, whether they type.
type ToTell = BTreeMap<OwnedServerName, BTreeMap<(OwnedRoomId, OwnedUserId), bool>>;

/// Tells the servers within reach who types here, until the store closes. Without a typist it sleeps.
pub async fn run(home: Arc<Home>) {
    let mut to_tell = ToTell::new();
    let mut busy = BTreeSet::new();
    let mut telling = FuturesUnordered::new();
    loop {
        match gather(&home, home.take_typing_to_tell(), &mut to_tell) {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "the rooms of those who type could not be read"),
        }
        while telling.len() < TYPING_TOLD_AT_ONCE_MAX
            && let Some(server) = to_tell.keys().find(|server| !busy.contains(*server)).cloned()
        {
            let news = to_tell.remove(&server).unwrap_or_default();
            busy.insert(server.clone());
            telling.push(tell(&home, server, news));
        }
        tokio::select! {
            biased;
            Some(server) = telling.next(), if !telling.is_empty() => {
                busy.remove(&server);
            }
            () = home.typing_to_tell() => {}
        }
    }
}

/// Adds news to what the servers near are to be told. Newer news of the same user and room replaces older.
fn gather(home: &Home, news: BTreeMap<(RoomKey, OwnedUserId), bool>, to_tell: &mut ToTell) -> Result<()> {
    if news.is_empty() {
        return Ok(());
    }
    let view = home.store.snapshot()?;
    for ((room, user), typing) in news {
        let Some(room) = Room::by_key(&view, room)? else { continue };
        for server in room.servers(&view)? {
            let server = server.name(&view)?;
            if home.is_near(&server) {
                to_tell.entry(server).or_default().insert((room.id.clone(), user.clone()), typing);
            }
        }
    }
    Ok(())
}

async fn tell(
    home: &Home,
    server: OwnedServerName,
    news: BTreeMap<(OwnedRoomId, OwnedUserId), bool>,
) -> OwnedServerName {
    let edu = |((room, user), typing): ((OwnedRoomId, OwnedUserId), bool)| {
        let content = json!({ "room_id": room, "user_id": user, "typing": typing });
        json!({ "edu_type": "m.typing", "content": content }).to_string()
    };
    let edus = news.into_iter().take(TRANSACTION_EDUS_MAX).map(edu).collect();
    if let Err(error) = outbox::tell_now(home, &server, edus).await {
        tracing::debug!(%error, %server, "a server could not be told of typing");
    }
    server
}

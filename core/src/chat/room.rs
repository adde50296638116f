//! Rooms as a person handles them: making and entering them, who is in them, what they are called, who is typing.
//!
//! The steps are the same functions that the client-server API calls. What needs another server (joining a room elsewhere)
//! waits for it, within the bound that any client waits; everything else is done here and told to the others later.

mod making;
mod members;
mod typing;

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::json;

pub use self::{
    making::NewRoom,
    members::{MemberInfo, Permissions, RoomInfo},
    typing::{TypingFeed, Typist},
};
use super::{
    Chat, ChatError, Inner,
    timeline::{Focus, Timeline},
};
use crate::{
    api::client::steps,
    rooms::{
        self, NewEvent, RoomError,
        membership::{self, Action, Step},
    },
    store::{RoomKey, Standing},
};

/// A room. Cheap to clone.
#[derive(Clone)]
pub struct Room {
    inner: Arc<Inner>,
    id: OwnedRoomId,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Chat {
    /// A room that we are in, were in, or are asked into.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for any other.
    pub fn room(&self, id: &RoomId) -> Result<Room, ChatError> {
        let unknown = || ChatError::NotFound(format!("there is no room {id} here"));
        let view = self.inner.home.store.snapshot()?;
        let key = RoomKey::find(&view, id)?.ok_or_else(unknown)?;
        rooms::standing(&view, self.inner.me.user_key, key)?.ok_or_else(unknown)?;
        Ok(Room { inner: self.inner.clone(), id: id.to_owned() })
    }
}

impl Room {
    /// Its id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Its messages.
    pub fn timeline(&self) -> Timeline {
        Timeline::new(self.inner.clone(), self.id.clone(), Focus::Main)
    }

    /// The messages of the thread that starts from one.
    pub fn thread(&self, root: OwnedEventId) -> Timeline {
        Timeline::new(self.inner.clone(), self.id.clone(), Focus::Thread(root))
    }

    /// Asks somebody in. Somebody whose phone is out of reach is asked when it comes by.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`] when the room, or their server, forbids it.
    pub async fn invite(&self, user: &UserId) -> Result<(), ChatError> {
        let step = Step::new(Action::Invite, &self.id, &self.inner.me.user, user, None);
        steps::invite(&self.inner.home, step).await?;
        Ok(())
    }

    /// Leaves the room, turns an invite down, or takes a knock back.
    ///
    /// # Errors
    /// [`ChatError::Network`] when an invite from elsewhere cannot be turned down now.
    pub async fn leave(&self, reason: Option<String>) -> Result<(), ChatError> {
        Ok(steps::leave(&self.inner.home, &self.inner.me.user, &self.id, reason).await?)
    }

    /// Removes a room that we have left from everything that we see.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for a room that we are in.
    pub async fn forget(&self) -> Result<(), ChatError> {
        Ok(membership::forget(&self.inner.home, &self.inner.me.user, &self.id).await?)
    }

    /// Puts somebody out, or takes an invite back.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`].
    pub async fn kick(&self, user: &UserId, reason: Option<String>) -> Result<(), ChatError> {
        self.act(Action::Kick, user, reason).await
    }

    /// Puts somebody out for good.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`].
    pub async fn ban(&self, user: &UserId, reason: Option<String>) -> Result<(), ChatError> {
        self.act(Action::Ban, user, reason).await
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`].
    pub async fn unban(&self, user: &UserId, reason: Option<String>) -> Result<(), ChatError> {
        self.act(Action::Unban, user, reason).await
    }

    async fn act(&self, action: Action, user: &UserId, reason: Option<String>) -> Result<(), ChatError> {
        membership::act(&self.inner.home, Step::new(action, &self.id, &self.inner.me.user, user, reason)).await?;
        Ok(())
    }

    /// Gives the room a name; an empty one takes it away.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], [`ChatError::TooLarge`].
    pub async fn set_name(&self, name: &str) -> Result<(), ChatError> {
        self.set(StateEventType::RoomName, json!({ "name": name })).await
    }

    /// Says what the room is about.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`], [`ChatError::TooLarge`].
    pub async fn set_topic(&self, topic: &str) -> Result<(), ChatError> {
        // The rich form and the plain one. Client-server API, `m.room.topic`.
        self.set(StateEventType::RoomTopic, json!({ "topic": topic, "m.topic": { "m.text": [{ "body": topic }] } }))
            .await
    }

    /// Gives the room a picture, an `mxc:` URI, or takes it away.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`].
    pub async fn set_avatar(&self, uri: Option<&str>) -> Result<(), ChatError> {
        let content = uri.map_or_else(|| json!({}), |uri| json!({ "url": uri }));
        self.set(StateEventType::RoomAvatar, content).await
    }

    async fn set(&self, kind: StateEventType, content: serde_json::Value) -> Result<(), ChatError> {
        let content: CanonicalJsonObject =
            serde_json::from_value(content).map_err(|error| ChatError::Invalid(error.to_string()))?;
        let kind = TimelineEventType::from(kind.to_string());
        rooms::send(&self.inner.home, NewEvent::state(&self.id, &self.inner.me.user, kind, "", content)).await?;
        Ok(())
    }

    fn found(&self, view: &dyn crate::store::View) -> Result<rooms::Room, ChatError> {
        Ok(rooms::Room::find(view, &self.id)?.ok_or_else(|| RoomError::UnknownRoom(self.id.clone()))?)
    }

    fn standing(&self, view: &dyn crate::store::View) -> Result<Option<Standing>, ChatError> {
        let Some(key) = RoomKey::find(view, &self.id)? else { return Ok(None) };
        Ok(rooms::standing(view, self.inner.me.user_key, key)?.map(|record| record.standing))
    }
}

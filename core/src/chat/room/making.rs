//! Making a room, and entering one.

use ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, OwnedUserId, events::StateEventType};
use serde_json::{Value, json};

use crate::{
    api::client::steps,
    chat::{Chat, ChatError, direct, room::Room},
    rooms::create::{self, InitialEvent, Preset},
    store::{InviteRecord, Record, RoomKey, View},
};

/// What a new room shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRoom {
    /// Its name.
    pub name: Option<String>,
    /// What it is about.
    pub topic: Option<String>,
    /// Whom to ask in.
    pub invite: Vec<OwnedUserId>,
    /// Whether anybody may come in.
    pub public: bool,
    /// Whether it is a conversation with one person, who then has the same power in it as we.
    pub direct: bool,
    /// Whether messages in it are encrypted. If this is not said, they are unless the room is public. Encryption is never
    /// taken back.
    pub encrypted: Option<bool>,
}

impl Chat {
    /// Makes a room. Those who are out of reach are asked in when they come by.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for an invited user of this homeserver who does not exist; [`ChatError::Invalid`].
    pub async fn create_room(&self, new: NewRoom) -> Result<Room, ChatError> {
        let (home, me) = (&self.inner.home, &self.inner.me);
        for user in new.invite.iter().filter(|user| home.is_local(user.server_name())) {
            steps::must_exist(home, user)?;
        }
        let preset = match (new.public, new.direct) {
            (true, _) => Preset::PublicChat,
            (false, true) => Preset::TrustedPrivateChat,
            (false, false) => Preset::PrivateChat,
        };
        let mut room = create::NewRoom::new(me.user.clone(), preset);
        if new.encrypted.unwrap_or(!new.public) {
            let content = serde_json::from_value(json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
            let content = content.map_err(|error| ChatError::Invalid(error.to_string()))?;
            room.initial_state.push(InitialEvent {
                kind: StateEventType::RoomEncryption,
                state_key: String::new(),
                content,
            });
        }
        room.name = new.name.filter(|name| !name.is_empty());
        room.topic = new.topic.filter(|topic| !topic.is_empty());
        room.is_direct = new.direct;
        room.invites.clone_from(&new.invite);
        let id = create::create(home, room).await?;
        if new.direct {
            for user in &new.invite {
                direct::mark(&self.inner, &id, user).await?;
            }
        }
        steps::invite_afar(home, &me.user, &id, &new.invite, new.direct).await;
        Ok(Room { inner: self.inner.clone(), id })
    }

    /// Enters a room, by its id or its address. `via` are servers that may know it, beside those that are known to.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for an address that nobody gave; [`ChatError::Forbidden`]; [`ChatError::Network`] when a room
    /// elsewhere cannot be entered now.
    pub async fn join(&self, room: OwnedRoomOrAliasId, via: Vec<OwnedServerName>) -> Result<Room, ChatError> {
        let (home, me) = (&self.inner.home, &self.inner.me);
        let (id, via) = steps::resolve(home, room, via).await?;
        let asked_by = self.direct_inviter(&id)?;
        steps::join(home, &me.user, &id, &via, None).await?;
        if let Some(user) = asked_by {
            direct::mark(&self.inner, &id, &user).await?;
        }
        Ok(Room { inner: self.inner.clone(), id })
    }

    /// Who asks us into a conversation with them alone.
    fn direct_inviter(&self, room: &OwnedRoomId) -> Result<Option<OwnedUserId>, ChatError> {
        #[derive(serde::Deserialize)]
        struct Event {
            sender: OwnedUserId,
            content: serde_json::Map<String, Value>,
        }
        let view = self.inner.home.store.snapshot()?;
        let Some(key) = RoomKey::find(&view, room)? else { return Ok(None) };
        let Some(row) = view.inv()?.row((self.inner.me.user_key.0, key.0))? else { return Ok(None) };
        let event = serde_json::from_str::<Event>(&InviteRecord::decode(row.value())?.event).ok();
        let is_direct = |event: &Event| event.content.get("is_direct") == Some(&Value::Bool(true));
        Ok(event.filter(is_direct).map(|event| event.sender))
    }
}

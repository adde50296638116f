//! The list of rooms, and what leads into one.

use std::sync::Arc;

use hearth_core::chat::NewRoom as Wish;

use crate::{
    error::NodeError,
    node::{Node, Running, Shared},
    parse::{alias_or_room, room_id, servers, user_id, user_ids},
    records::{NewRoom, RoomDiff, RoomSummary},
    room::Room,
    watch::{TaskHandle, follow},
};

/// Whoever wants to know of changes of the list of rooms.
#[uniffi::export(foreign)]
pub trait RoomsListener: Send + Sync {
    /// Takes a batch of changes. The first one is a `Reset`, and so is the first after a pause. One call at a time; while it
    /// runs nothing piles up.
    fn on_change(&self, diffs: Vec<RoomDiff>);
}

/// The person's rooms.
#[derive(uniffi::Object)]
pub struct Rooms {
    shared: Arc<Shared>,
}

#[uniffi::export]
impl Node {
    /// The person's rooms.
    pub fn rooms(&self) -> Arc<Rooms> {
        Arc::new(Rooms { shared: self.shared.clone() })
    }
}

#[uniffi::export]
impl Rooms {
    /// Tells a listener of the list, and of every change of it, until the answer is cancelled or dropped. Works in any state of
    /// the node: the list comes once the node runs.
    ///
    /// # Errors
    /// [`NodeError::Internal`] when the runtime has ended.
    pub fn subscribe(&self, listener: Arc<dyn RoomsListener>) -> Result<Arc<TaskHandle>, NodeError> {
        let open = |running: &Arc<Running>| Arc::new(running.chat.rooms());
        let next = |feed: Arc<hearth_core::chat::RoomFeed>| async move { feed.next().await };
        follow(&self.shared, open, next, move |diffs| listener.on_change(RoomDiff::batch(diffs)))
    }

    /// The list as it is now.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`], [`NodeError::Storage`].
    pub async fn list(&self) -> Result<Vec<RoomSummary>, NodeError> {
        self.shared
            .with(async |running| {
                let mut rows = Vec::new();
                hearth_core::chat::feed::apply(&mut rows, &running.chat.rooms().next().await.unwrap_or_default());
                Ok(rows.into_iter().map(RoomSummary::from).collect())
            })
            .await
    }

    /// Makes a room. Encrypted unless it is public.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no user id, [`NodeError::NotFound`] for somebody of this node who does not exist.
    pub async fn create(&self, room: NewRoom) -> Result<Arc<Room>, NodeError> {
        let wish = Wish {
            name: room.name,
            topic: room.topic,
            invite: user_ids(&room.invite)?,
            public: room.public,
            direct: room.direct,
            encrypted: room.encrypted,
        };
        let shared = self.shared.clone();
        self.shared
            .with(async |running| {
                let room = running.chat.create_room(wish).await?;
                Ok(Arc::new(Room::new(shared, room.id().to_owned())))
            })
            .await
    }

    /// Accepts an invite, or enters a room by its id or address. `via` are names of servers that may be in it.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`], [`NodeError::NotFound`], [`NodeError::Network`] when nobody in the room is within reach.
    pub async fn join(&self, id_or_alias: String, via: Vec<String>) -> Result<Arc<Room>, NodeError> {
        let (room, via, shared) = (alias_or_room(&id_or_alias)?, servers(&via)?, self.shared.clone());
        self.shared
            .with(async |running| {
                let room = running.chat.join(room, via).await?;
                Ok(Arc::new(Room::new(shared, room.id().to_owned())))
            })
            .await
    }

    /// A conversation with one person: the one that there is, or a new one, to which they are invited.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no user id.
    pub async fn direct(&self, user: String) -> Result<Arc<Room>, NodeError> {
        let (user, shared) = (user_id(&user)?, self.shared.clone());
        self.shared
            .with(async move |running| {
                let room = running.chat.direct_room(&user).await?;
                Ok(Arc::new(Room::new(shared, room.id().to_owned())))
            })
            .await
    }

    /// A handle on a room. Whether there is such a room is found out when it is used.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no room id.
    pub fn get(&self, id: String) -> Result<Arc<Room>, NodeError> {
        Ok(Arc::new(Room::new(self.shared.clone(), room_id(&id)?)))
    }
}

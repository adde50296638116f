//! One room: who is in it, what it is called, what may be done in it. What was said in it is its timeline's.

use std::sync::Arc;

use hearth_core::{
    chat::{self, TypingFeed},
    types::OwnedRoomId,
};

use crate::{
    error::NodeError,
    node::{Running, Shared},
    parse::{event_id, user_id},
    records::{Member, RoomInfo, Typist},
    timeline::Timeline,
    watch::{TaskHandle, follow},
};

/// Whoever wants to know who is typing.
#[uniffi::export(foreign)]
pub trait TypingListener: Send + Sync {
    /// Takes everybody who is typing now, without us.
    fn on_typing(&self, typists: Vec<Typist>);
}

/// A room.
#[derive(uniffi::Object)]
pub struct Room {
    shared: Arc<Shared>,
    id: OwnedRoomId,
}

impl Room {
    pub(crate) fn new(shared: Arc<Shared>, id: OwnedRoomId) -> Self {
        Self { shared, id }
    }

    async fn with<T, Fut>(&self, work: impl FnOnce(chat::Room) -> Fut + Send + 'static) -> Result<T, NodeError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, NodeError>> + Send + 'static,
    {
        let id = self.id.clone();
        self.shared.with(async move |running| work(running.chat.room(&id)?).await).await
    }
}

#[uniffi::export]
impl Room {
    /// Its id.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// The room in detail.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for a room that is not here, or of which only an invite is known.
    pub async fn info(&self) -> Result<RoomInfo, NodeError> {
        self.with(async |room| Ok(room.info()?.into())).await
    }

    /// Everybody who is in it, was asked in, asks to be let in, or was put out for good.
    ///
    /// # Errors
    /// As [`Room::info`].
    pub async fn members(&self) -> Result<Vec<Member>, NodeError> {
        self.with(async |room| Ok(room.members()?.into_iter().map(Into::into).collect())).await
    }

    /// Asks somebody in. Who is out of reach is asked when they come by.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`], [`NodeError::InvalidInput`].
    pub async fn invite(&self, user: String) -> Result<(), NodeError> {
        let user = user_id(&user)?;
        self.with(async move |room| Ok(room.invite(&user).await?)).await
    }

    /// Leaves it, or turns an invite to it down.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Storage`].
    pub async fn leave(&self) -> Result<(), NodeError> {
        self.with(async |room| Ok(room.leave(None).await?)).await
    }

    /// Puts somebody out.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`].
    pub async fn kick(&self, user: String, reason: Option<String>) -> Result<(), NodeError> {
        let user = user_id(&user)?;
        self.with(async move |room| Ok(room.kick(&user, reason).await?)).await
    }

    /// Puts somebody out for good.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`].
    pub async fn ban(&self, user: String, reason: Option<String>) -> Result<(), NodeError> {
        let user = user_id(&user)?;
        self.with(async move |room| Ok(room.ban(&user, reason).await?)).await
    }

    /// Names it.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`], [`NodeError::InvalidInput`].
    pub async fn set_name(&self, name: String) -> Result<(), NodeError> {
        self.with(async move |room| Ok(room.set_name(&name).await?)).await
    }

    /// Says what it is about.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`], [`NodeError::InvalidInput`].
    pub async fn set_topic(&self, topic: String) -> Result<(), NodeError> {
        self.with(async move |room| Ok(room.set_topic(&topic).await?)).await
    }

    /// Tells the others in it that the person is typing, or is not any more. Call it again while they type.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`] for who is not in it.
    pub async fn set_typing(&self, typing: bool) -> Result<(), NodeError> {
        self.with(async move |room| Ok(room.set_typing(typing)?)).await
    }

    /// Tells a listener who is typing, until the answer is cancelled or dropped.
    ///
    /// # Errors
    /// [`NodeError::Internal`] when the runtime has ended.
    pub fn subscribe_typing(&self, listener: Arc<dyn TypingListener>) -> Result<Arc<TaskHandle>, NodeError> {
        let id = self.id.clone();
        let open = move |running: &Arc<Running>| running.chat.room(&id).ok().map(|room| Arc::new(room.typing()));
        let next = |feed: Option<Arc<TypingFeed>>| async move { feed?.next().await };
        follow(&self.shared, open, next, move |typists: Vec<chat::Typist>| {
            listener.on_typing(typists.into_iter().map(Into::into).collect());
        })
    }

    /// What was said in it. Each call makes a timeline of its own, for one listener.
    pub fn timeline(&self) -> Arc<Timeline> {
        Arc::new(Timeline::new(self.shared.clone(), self.id.clone(), None))
    }

    /// What was said in a thread.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no event id.
    pub fn thread(&self, root_event_id: String) -> Result<Arc<Timeline>, NodeError> {
        let root = event_id(&root_event_id)?;
        Ok(Arc::new(Timeline::new(self.shared.clone(), self.id.clone(), Some(root))))
    }
}

//! What was said in a room or a thread, and saying something.
//!
//! A timeline has one listener. What is shown to it, and how far back, is the client's [`chat::Timeline`]; after a pause there
//! is a new one, which begins with a `Reset`.

mod transfer;

use std::sync::{Arc, Mutex, PoisonError};

use hearth_core::{
    chat::{self, ItemId, TextMessage},
    types::{OwnedEventId, OwnedRoomId},
};

pub(crate) use self::transfer::watch_progress;
pub use self::transfer::{CancelToken, FileInfo, ProgressListener, SendHandle};
use crate::{
    error::NodeError,
    node::{Running, Shared},
    parse::{event_id, user_ids},
    records::{TextStyle, TimelineDiff},
    watch::{Life, TaskHandle, follow},
};

/// Whoever wants to know of changes of a timeline.
#[uniffi::export(foreign)]
pub trait TimelineListener: Send + Sync {
    /// Takes a batch of changes. The first one is a `Reset`, and so is the first after a pause. One call at a time; while it
    /// runs nothing piles up.
    fn on_change(&self, diffs: Vec<TimelineDiff>);
}

/// A text to be sent.
#[derive(Clone, Debug, uniffi::Record)]
pub struct OutgoingText {
    /// In plain words.
    pub body: String,
    /// In HTML.
    #[uniffi(default = None)]
    pub formatted: Option<String>,
    /// How it is meant.
    #[uniffi(default = None)]
    pub style: Option<TextStyle>,
    /// The event id of the message that it answers.
    #[uniffi(default = None)]
    pub reply_to: Option<String>,
    /// The user ids of those whom it is to reach in particular.
    #[uniffi(default = [])]
    pub mentions: Vec<String>,
}

/// What was said in a room or a thread.
#[derive(uniffi::Object)]
pub struct Timeline {
    shared: Arc<Shared>,
    place: Arc<Place>,
}

/// Which timeline, and the client's own while the node runs.
struct Place {
    room: OwnedRoomId,
    thread: Option<OwnedEventId>,
    open: Mutex<Option<(Arc<Running>, Arc<chat::Timeline>)>>,
    listener: Mutex<Option<Life>>,
}

impl Place {
    /// The client's timeline, made anew when another one runs than before.
    fn current(&self, running: &Arc<Running>) -> Result<Arc<chat::Timeline>, NodeError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, timeline)) = &*open
            && Arc::ptr_eq(of, running)
        {
            return Ok(timeline.clone());
        }
        let room = running.chat.room(&self.room)?;
        let timeline = Arc::new(match &self.thread {
            Some(root) => room.thread(root.clone()),
            None => room.timeline(),
        });
        *open = Some((running.clone(), timeline.clone()));
        Ok(timeline)
    }
}

impl Timeline {
    pub(crate) fn new(shared: Arc<Shared>, room: OwnedRoomId, thread: Option<OwnedEventId>) -> Self {
        let (open, listener) = (Mutex::default(), Mutex::default());
        Self { shared, place: Arc::new(Place { room, thread, open, listener }) }
    }

    async fn with<T, Fut>(&self, work: impl FnOnce(Arc<chat::Timeline>) -> Fut + Send + 'static) -> Result<T, NodeError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, NodeError>> + Send + 'static,
    {
        let place = self.place.clone();
        self.shared.with(async move |running| work(place.current(&running)?).await).await
    }
}

#[uniffi::export]
impl Timeline {
    /// Tells a listener of the newest messages, and of every change, until the answer is cancelled or dropped.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] while this timeline has a listener: take another timeline.
    pub fn subscribe(&self, listener: Arc<dyn TimelineListener>) -> Result<Arc<TaskHandle>, NodeError> {
        let mut life = self.place.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if life.as_ref().is_some_and(|life| !life.is_over()) {
            return Err(NodeError::invalid("this timeline has a listener already: take another one of the room"));
        }
        // What the last listener was shown is not known to this one.
        *self.place.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let place = self.place.clone();
        let open = move |running: &Arc<Running>| place.current(running).ok();
        let next = |timeline: Option<Arc<chat::Timeline>>| async move { timeline?.next().await };
        let handle = follow(&self.shared, open, next, move |diffs| listener.on_change(TimelineDiff::batch(diffs)))?;
        *life = Some(handle.life());
        Ok(handle)
    }

    /// Shows about this many messages more at the beginning; what is missing is fetched from other phones. Answers whether the
    /// beginning of what there is to see was reached.
    ///
    /// # Errors
    /// [`NodeError::Network`] when there may be more and nobody who has it is within reach.
    pub async fn paginate_backwards(&self, count: u32) -> Result<bool, NodeError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.with(async move |timeline| Ok(timeline.paginate_backwards(count).await?)).await
    }

    /// Asks other phones for what is missing before an item (`gap_before`). Answers whether anything came.
    ///
    /// # Errors
    /// [`NodeError::Network`] when nobody who has it is within reach.
    pub async fn fill(&self, item_id: String) -> Result<bool, NodeError> {
        self.with(async move |timeline| Ok(timeline.fill(&ItemId(item_id)).await?)).await
    }

    /// Sends a text, and answers its item's id. It is on disk, and shown as the last item, when this answers; the network is not
    /// waited for.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for an empty or too long text.
    pub async fn send_text(&self, text: OutgoingText) -> Result<String, NodeError> {
        let text = message(text)?;
        self.with(async move |timeline| Ok(timeline.send_text(text).await?.0)).await
    }

    /// Changes what a message of ours says.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Forbidden`] for somebody else's message, [`NodeError::InvalidInput`].
    pub async fn edit(&self, item_id: String, text: OutgoingText) -> Result<(), NodeError> {
        let text = message(text)?;
        self.with(async move |timeline| Ok(timeline.edit(&ItemId(item_id), text).await?)).await
    }

    /// Deletes a message, or takes one back that is not in its room yet.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub async fn redact(&self, item_id: String, reason: Option<String>) -> Result<(), NodeError> {
        self.with(async move |timeline| Ok(timeline.redact(&ItemId(item_id), reason).await?)).await
    }

    /// Reacts to a message, or takes that reaction back.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::InvalidInput`].
    pub async fn react(&self, item_id: String, key: String, on: bool) -> Result<(), NodeError> {
        self.with(async move |timeline| match on {
            true => Ok(timeline.react(&ItemId(item_id), &key).await?),
            false => Ok(timeline.unreact(&ItemId(item_id), &key).await?),
        })
        .await
    }

    /// Tries again what failed.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when nothing about it failed; [`NodeError::InvalidInput`] for what can never work.
    pub async fn retry(&self, item_id: String) -> Result<(), NodeError> {
        self.with(async move |timeline| Ok(timeline.retry(&ItemId(item_id)).await?)).await
    }

    /// Takes back what is not in its room yet.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when it is in its room by now.
    pub async fn cancel(&self, item_id: String) -> Result<(), NodeError> {
        self.with(async move |timeline| Ok(timeline.cancel(&ItemId(item_id)).await?)).await
    }

    /// Says that everything in this timeline was read; with `private`, to ourselves only.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`] for who is not in the room.
    pub async fn mark_read(&self, private: bool) -> Result<(), NodeError> {
        self.with(async move |timeline| Ok(timeline.mark_read(private).await?)).await
    }
}

fn message(text: OutgoingText) -> Result<TextMessage, NodeError> {
    let users = user_ids(&text.mentions)?.into_iter().collect();
    Ok(TextMessage {
        body: text.body,
        formatted: text.formatted,
        style: text.style.map(Into::into).unwrap_or_default(),
        mentions: chat::Mentions { users, room: false },
        reply_to: text.reply_to.as_deref().map(event_id).transpose()?,
    })
}

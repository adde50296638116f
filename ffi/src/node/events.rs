//! What the app should notify the person of, one event after another, each until the app says that it did.

use std::sync::Arc;

use hearth_core::chat::{Notice, NoticeKind};

use super::Node;
use crate::{
    cancel::CancelToken,
    error::NodeError,
    records::{Invite, PreviewKind, Timestamp},
};

/// Something that the person should be told of while they do not look at the app.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Event {
    /// What `event_handled` wants. Events that come later have greater ones.
    pub id: u64,
    /// The room's id.
    pub room: String,
    /// What the room is called.
    pub room_name: String,
    /// Whether it is a conversation with one person.
    pub direct: bool,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum EventKind {
    /// Somebody said something that the person's notification rules let through.
    Message {
        /// The event's id.
        event_id: String,
        /// Who said it.
        sender: String,
        /// The name that they are shown by.
        sender_name: String,
        /// What it is.
        preview: PreviewKind,
        /// What it says, in one line. Empty for what cannot be read.
        text: String,
        /// Whether it stands out, as a mention does.
        highlight: bool,
        /// When, by the sender's clock: milliseconds since the Unix epoch.
        timestamp: Timestamp,
    },
    /// Somebody asks the person into the room.
    Invited {
        /// Who, and what they say.
        invite: Invite,
    },
}

impl From<Notice> for Event {
    fn from(notice: Notice) -> Self {
        let kind = match notice.kind {
            NoticeKind::Message { event_id, sender, sender_name, preview, highlight, ts } => EventKind::Message {
                event_id: event_id.to_string(),
                sender: sender.to_string(),
                sender_name,
                preview: preview.kind.into(),
                text: preview.text,
                highlight,
                timestamp: ts.0,
            },
            NoticeKind::Invited(invite) => EventKind::Invited { invite: invite.into() },
        };
        Self {
            id: notice.id,
            room: notice.room_id.to_string(),
            room_name: notice.room_name.to_string(),
            direct: notice.direct,
            kind,
        }
    }
}

#[uniffi::export]
impl Node {
    /// The oldest event that was not handled yet: the same one until `event_handled`, also after the process was killed. What
    /// was read or taken back meanwhile is left out. Waits until there is one, through every pause. `None` when everything was
    /// wiped.
    ///
    /// # Errors
    /// [`NodeError::Cancelled`] by `cancel`.
    #[uniffi::method(default(cancel = None))]
    pub async fn next_event(&self, cancel: Option<Arc<CancelToken>>) -> Result<Option<Event>, NodeError> {
        let phases = self.shared.phases.clone();
        let next = async move {
            while let Some(running) = phases.until_running().await {
                if let Some(notice) = running.chat.next_notice().await {
                    return Some(Event::from(notice));
                }
                phases.until_other(running).await;
            }
            None
        };
        self.shared.runtime.run(Box::pin(CancelToken::guard(cancel, async move { Ok(next.await) }))).await
    }

    /// Says that the person was told of an event and of all before it.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`], [`NodeError::Storage`]: the event comes again then.
    pub async fn event_handled(&self, id: u64) -> Result<(), NodeError> {
        self.with(async move |running| Ok(running.chat.notice_handled(id).await?)).await
    }
}

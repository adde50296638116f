//! What a timeline is made of, as records that a UI can show.

use ruma::{OwnedEventId, OwnedTransactionId, OwnedUserId};

use crate::{
    chat::{attachment::Attachment, crypto::Trust, delivery::SendState, feed, preview::Preview},
    types::Millis,
};

/// What a row of a timeline is called as long as it is there. It stays the same while a message is on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId(pub String);

impl ItemId {
    pub(crate) fn of_event(id: &ruma::EventId) -> Self {
        Self(format!("e:{id}"))
    }

    pub(crate) fn of_txn(txn: &ruma::TransactionId) -> Self {
        Self(format!("t:{txn}"))
    }

    /// The transaction, for what this device sent.
    pub(crate) fn txn(&self) -> Option<OwnedTransactionId> {
        self.0.strip_prefix("t:").map(Into::into)
    }

    /// The event, for what another device sent.
    pub(crate) fn event(&self) -> Option<OwnedEventId> {
        self.0.strip_prefix("e:").and_then(|id| id.try_into().ok())
    }
}

/// A row of a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineItem {
    /// What it is called.
    pub id: ItemId,
    /// The event, once there is one.
    pub event_id: Option<OwnedEventId>,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The name that they are shown by.
    pub sender_name: String,
    /// Their picture, an `mxc:` URI.
    pub sender_avatar: Option<String>,
    /// When, by the sender's clock.
    pub ts: Millis,
    /// Whether we sent it.
    pub mine: bool,
    /// What it says.
    pub content: ItemContent,
    /// Whether the sender changed what it says.
    pub edited: bool,
    /// What people reacted with, in the order in which the reactions came.
    pub reactions: Vec<Reaction>,
    /// What it answers.
    pub reply_to: Option<Quote>,
    /// The thread that starts here.
    pub thread: Option<ThreadSummary>,
    /// Who has read up to here and not further, without us.
    pub read_by: Vec<OwnedUserId>,
    /// How it stands with who is meant to get it, for what we sent.
    pub state: Option<SendState>,
    /// How sure it is who sent it. `None` for what came without encryption.
    pub trust: Option<Trust>,
    /// Whether messages before this one are missing here. [`Timeline::fill`](super::Timeline::fill) asks other phones for
    /// them.
    pub gap_before: bool,
}

impl feed::Item for TimelineItem {
    type Id = ItemId;

    fn id(&self) -> ItemId {
        self.id.clone()
    }
}

/// What an item says.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemContent {
    /// A text.
    Text {
        /// In plain words.
        body: String,
        /// In HTML, which the UI must clean. Client-server API, "`m.room.message` msgtypes".
        formatted: Option<String>,
        /// How it is meant.
        style: TextStyle,
    },
    /// A file, with or without a picture of it.
    Media(Attachment),
    /// Somebody's membership changed, or their face.
    Membership {
        /// Whose.
        user: OwnedUserId,
        /// The name that they are shown by.
        name: String,
        /// How.
        change: MembershipChange,
        /// Why, if that was said.
        reason: Option<String>,
    },
    /// Something about the room changed.
    State {
        /// The type of the state event.
        kind: String,
        /// Its state key.
        state_key: String,
        /// Its main value: the name, the topic, the rule.
        text: Option<String>,
    },
    /// It was deleted.
    Redacted {
        /// By whom.
        by: Option<OwnedUserId>,
        /// Why, if that was said.
        reason: Option<String>,
    },
    /// It cannot be decrypted.
    Undecryptable {
        /// Whether the key may still come. The item then heals by itself.
        waiting: bool,
        /// Why.
        reason: String,
    },
    /// Of a kind that is not shown here.
    Unsupported {
        /// The event's type, or the type of message.
        kind: String,
        /// What it says to those who do not know its kind.
        fallback: Option<String>,
    },
}

/// How a text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextStyle {
    /// As said by the sender.
    #[default]
    Text,
    /// As said by a machine; nothing answers it by itself.
    Notice,
    /// As what the sender does: "* alice waves".
    Emote,
}

/// What happened to a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// Came in.
    Joined,
    /// Went out.
    Left,
    /// Was invited.
    Invited,
    /// Turned the invite down.
    InviteDeclined,
    /// The invite was taken back.
    InviteWithdrawn,
    /// Asked to be let in.
    Knocked,
    /// Took the knock back.
    KnockWithdrawn,
    /// Was not let in.
    KnockDenied,
    /// Was put out.
    Kicked,
    /// Was put out for good.
    Banned,
    /// May come back.
    Unbanned,
    /// Goes by another name.
    NameChanged {
        /// Before.
        from: Option<String>,
        /// Now.
        to: Option<String>,
    },
    /// Has another picture.
    AvatarChanged,
    /// Something else.
    Other,
}

/// People who reacted alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// With what; an emoji as a rule, and any text in fact.
    pub key: String,
    /// Who, in the order in which they did.
    pub senders: Vec<OwnedUserId>,
    /// Whether we are among them.
    pub mine: bool,
}

/// Another message in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Which.
    pub event_id: OwnedEventId,
    /// Whose it is, and by what name they are shown, if the message is here.
    pub sender: Option<(OwnedUserId, String)>,
    /// What it says. `None` if it is not here.
    pub preview: Option<Preview>,
}

/// A thread in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSummary {
    /// How many messages are in it.
    pub count: u32,
    /// The last one.
    pub latest: Option<Quote>,
}

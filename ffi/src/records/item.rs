//! What a timeline is made of, as plain data.

mod from;

use super::Timestamp;

/// What a message is, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PreviewKind {
    /// Words.
    Text,
    /// Words of a machine.
    Notice,
    /// What the sender does.
    Emote,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// Another file.
    File,
    /// It was deleted.
    Redacted,
    /// It cannot be decrypted.
    Undecryptable,
    /// Something else.
    Other,
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// Anything else.
    File,
}

/// A file in a message. Sizes are claims of its sender.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Its name, fit to be shown and to be saved under.
    pub name: String,
    /// Its media type.
    pub mime: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// Pixels from left to right.
    pub width: Option<u64>,
    /// Pixels from top to bottom.
    pub height: Option<u64>,
    /// How long it plays, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What the sender wrote about it.
    pub caption: Option<String>,
    /// Whether only the room's members can read it.
    pub encrypted: bool,
    /// Whether there is a thumbnail to ask for.
    pub has_thumbnail: bool,
    /// Where it lies, an `mxc:` URI.
    pub uri: String,
}

/// How a text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TextStyle {
    /// As said by the sender.
    Text,
    /// As said by a machine.
    Notice,
    /// As what the sender does.
    Emote,
}

/// What an item says.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum ItemContent {
    /// A text.
    Text {
        /// In plain words.
        body: String,
        /// In HTML, which the app must clean before it shows it.
        formatted: Option<String>,
        /// How it is meant.
        style: TextStyle,
    },
    /// A file.
    File {
        /// Which.
        media: Media,
    },
    /// Somebody's membership changed, or their face.
    Membership {
        /// Whose.
        user: String,
        /// The name that they are shown by.
        name: String,
        /// How: `Joined`, `Left`, `Invited`, `Kicked` and so on.
        change: MembershipChange,
        /// Why, if that was said.
        reason: Option<String>,
    },
    /// Something about the room changed.
    State {
        /// The type of the state event.
        kind: String,
        /// Its main value: the name, the topic, the rule.
        text: Option<String>,
    },
    /// It was deleted.
    Redacted {
        /// By whom.
        by: Option<String>,
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

/// What happened to a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
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
    NameChanged,
    /// Has another picture.
    AvatarChanged,
    /// Something else.
    Other,
}

/// People who reacted alike.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Reaction {
    /// With what; an emoji as a rule.
    pub key: String,
    /// Their user ids, in the order in which they did.
    pub senders: Vec<String>,
    /// Whether we are among them.
    pub mine: bool,
}

/// Another message in short.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Quote {
    /// Its event id.
    pub event_id: String,
    /// Whose it is, if the message is here.
    pub sender: Option<String>,
    /// By what name they are shown.
    pub sender_name: Option<String>,
    /// What it is.
    pub kind: Option<PreviewKind>,
    /// What it says, in one line.
    pub text: Option<String>,
}

/// A thread in short.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ThreadSummary {
    /// How many messages are in it.
    pub count: u32,
    /// The last one.
    pub latest: Option<Quote>,
}

/// How far a message has come to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Reach {
    /// It waits for their phone to come within reach.
    Queued,
    /// Their homeserver has it.
    OnTheirPhone,
    /// They have read it.
    Read,
    /// Their homeserver will not have it.
    Refused,
}

/// How a message stands with one person.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Recipient {
    /// Their user id.
    pub user: String,
    /// How.
    pub reach: Reach,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// How a message that we sent is getting on. What is said here is proven.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SendState {
    /// It is safe on this phone, and not in its room yet.
    Sending {
        /// Bytes of a file that are done.
        done: Option<u64>,
        /// Bytes of the file in all.
        total: Option<u64>,
    },
    /// It is in its room.
    Sent {
        /// How it stands with the others; those first who are furthest from having it.
        recipients: Vec<Recipient>,
    },
    /// It cannot be sent as it is.
    Failed {
        /// Why, for a person to read.
        reason: String,
        /// Whether it makes sense to try again.
        retryable: bool,
    },
}

/// How sure it is who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Trust {
    /// By somebody who was verified, from a device of theirs.
    Verified,
    /// By somebody who was not verified.
    Unverified,
    /// By somebody whose identity changed since.
    Changed,
    /// From a device of which too little is known.
    Unknown,
}

/// A row of a timeline.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct TimelineItem {
    /// What it is called as long as it is there; the same while a message is on its way out.
    pub id: String,
    /// The event, once there is one.
    pub event_id: Option<String>,
    /// Who sent it.
    pub sender: String,
    /// The name that they are shown by.
    pub sender_name: String,
    /// Their picture, an `mxc:` URI.
    pub sender_avatar: Option<String>,
    /// When, by the sender's clock: milliseconds since the Unix epoch.
    pub timestamp: Timestamp,
    /// Whether we sent it.
    pub mine: bool,
    /// What it says.
    pub content: ItemContent,
    /// Whether the sender changed what it says.
    pub edited: bool,
    /// What people reacted with.
    pub reactions: Vec<Reaction>,
    /// What it answers.
    pub reply_to: Option<Quote>,
    /// The thread that starts here.
    pub thread: Option<ThreadSummary>,
    /// The user ids of those who have read up to here and not further.
    pub read_by: Vec<String>,
    /// How it stands with who is meant to get it, for what we sent.
    pub state: Option<SendState>,
    /// How sure it is who sent it; `None` for what came without encryption.
    pub trust: Option<Trust>,
    /// Whether messages before this one are missing here; `Timeline.fill` asks other phones for them.
    pub gap_before: bool,
}

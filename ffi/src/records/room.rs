//! Rooms as plain data.

use hearth_core::chat::{self, RoomName};

use super::{PreviewKind, Timestamp};

/// How we stand to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RoomStanding {
    /// We are in it.
    Joined,
    /// Somebody asks us in: `invite` says who.
    Invited,
    /// We asked to be let in.
    Knocked,
}

/// Who asks us into a room.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Invite {
    /// Their user id. Anybody may give themselves any name: show this beside it.
    pub by: String,
    /// The name that they give themselves.
    pub name: String,
    /// Their picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// What they say about it.
    pub reason: Option<String>,
}

/// The last message of a room.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LastMessage {
    /// Who sent it.
    pub sender: String,
    /// The name that they are shown by.
    pub sender_name: String,
    /// Whether that is us.
    pub mine: bool,
    /// What it is.
    pub kind: PreviewKind,
    /// What it says, in one line.
    pub text: String,
    /// When, by the sender's clock: milliseconds since the Unix epoch.
    pub timestamp: Timestamp,
}

/// A room in the list of rooms. Invites come first, then the rooms in which something was said last.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RoomSummary {
    /// Its id.
    pub id: String,
    /// How we stand to it.
    pub standing: RoomStanding,
    /// Who asks us in, for an invite.
    pub invite: Option<Invite>,
    /// What it is called, in English where nobody named it.
    pub name: String,
    /// Its picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// The last message.
    pub last: Option<LastMessage>,
    /// Messages that the person wants to be told of and has not read.
    pub unread: u64,
    /// Those of them that stand out.
    pub highlights: u64,
    /// Whether it is a conversation with one person.
    pub direct: bool,
    /// Whether messages in it are encrypted.
    pub encrypted: bool,
    /// How many people are in it.
    pub members: u64,
}

/// What a new room shall be.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct NewRoom {
    /// Its name.
    #[uniffi(default = None)]
    pub name: Option<String>,
    /// What it is about.
    #[uniffi(default = None)]
    pub topic: Option<String>,
    /// The user ids of those to ask in. Who is out of reach is asked when they come by.
    #[uniffi(default = [])]
    pub invite: Vec<String>,
    /// Whether anybody may come in.
    #[uniffi(default = false)]
    pub public: bool,
    /// Whether it is a conversation with one person.
    #[uniffi(default = false)]
    pub direct: bool,
    /// Whether messages in it are encrypted; if it is not said, they are unless the room is public.
    #[uniffi(default = None)]
    pub encrypted: Option<bool>,
}

/// A room in detail.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RoomInfo {
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub topic: Option<String>,
    /// Its picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// Its address.
    pub alias: Option<String>,
    /// Its version.
    pub version: String,
    /// Who may come in: `invite`, `public`, `knock`, `restricted`, `knock_restricted` or `private`.
    pub join_rule: String,
    /// Who may read what was said before they came: `shared`, `invited`, `joined` or `world_readable`.
    pub history_visibility: String,
    /// Whether messages in it are encrypted.
    pub encrypted: bool,
    /// How many people are in it.
    pub joined: u64,
    /// How many more were asked in.
    pub invited: u64,
    /// Whether we are in it.
    pub is_member: bool,
    /// Whether we may say something.
    pub may_send: bool,
    /// Whether we may ask others in.
    pub may_invite: bool,
    /// Whether we may change its name.
    pub may_rename: bool,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Member {
    /// Their user id.
    pub user: String,
    /// The name that they are shown by.
    pub name: String,
    /// Their picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// How they stand to the room: `join`, `invite`, `knock` or `ban`.
    pub membership: String,
    /// Their power; `None` is without limit.
    pub power: Option<i64>,
}

/// Somebody who is typing.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Typist {
    /// Their user id.
    pub user: String,
    /// The name that they are shown by.
    pub name: String,
}

impl From<chat::RoomSummary> for RoomSummary {
    fn from(room: chat::RoomSummary) -> Self {
        let (standing, invite) = match room.kind {
            chat::RoomKind::Joined => (RoomStanding::Joined, None),
            chat::RoomKind::Knocked => (RoomStanding::Knocked, None),
            chat::RoomKind::Invited(invite) => (RoomStanding::Invited, Some(invite.into())),
        };
        let last = room.last.map(|last| LastMessage {
            sender: last.sender.to_string(),
            sender_name: last.sender_name,
            mine: last.mine,
            kind: last.preview.kind.into(),
            text: last.preview.text,
            timestamp: last.ts.0,
        });
        Self {
            id: room.room_id.to_string(),
            standing,
            invite,
            name: room.name.to_string(),
            avatar: room.avatar,
            last,
            unread: room.unread,
            highlights: room.highlights,
            direct: room.direct,
            encrypted: room.encrypted,
            members: room.members,
        }
    }
}

impl From<chat::Invite> for Invite {
    fn from(invite: chat::Invite) -> Self {
        Self { by: invite.by.to_string(), name: invite.name, avatar: invite.avatar, reason: invite.reason }
    }
}

impl From<chat::RoomInfo> for RoomInfo {
    fn from(info: chat::RoomInfo) -> Self {
        let name: RoomName = info.name;
        Self {
            name: name.to_string(),
            topic: info.topic,
            avatar: info.avatar,
            alias: info.alias,
            version: info.version,
            join_rule: info.join_rule,
            history_visibility: info.history_visibility,
            encrypted: info.encrypted,
            joined: info.joined,
            invited: info.invited,
            is_member: info.is_member,
            may_send: info.may.send,
            may_invite: info.may.invite,
            may_rename: info.may.name,
        }
    }
}

impl From<chat::MemberInfo> for Member {
    fn from(member: chat::MemberInfo) -> Self {
        Self {
            user: member.user.to_string(),
            name: member.name,
            avatar: member.avatar,
            membership: member.standing.as_str().to_owned(),
            power: member.power,
        }
    }
}

impl From<chat::Typist> for Typist {
    fn from(typist: chat::Typist) -> Self {
        Self { user: typist.user.to_string(), name: typist.name }
    }
}

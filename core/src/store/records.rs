//! The values of the tables that are more than a number, in postcard.
//!
//! A field can be appended only with a schema migration: postcard has no names. The byte layout is part of the file format.
mod chat;
mod conversation;
mod delivery;
mod keys;
mod media;
mod sharing;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Esn, Result, RoomKey, ServerKey, StateRef, UserKey};

pub use self::{chat::*, conversation::*, delivery::*, keys::*, media::*, sharing::*};

/// A value that a table keeps as postcard.
pub trait Record: Serialize + DeserializeOwned {
    /// The bytes of the value.
    ///
    /// # Errors
    /// Never for our own types; the encoder's signature has one.
    fn encode(&self) -> Result<Vec<u8>> {
        Ok(postcard::to_stdvec(self)?)
    }

    /// The value of some bytes.
    ///
    /// # Errors
    /// When the row was not written by this schema.
    fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(postcard::from_bytes(bytes)?)
    }
}

/// Rows of `meta`.
pub(super) mod meta {
    /// The schema version, four bytes little-endian.
    pub(crate) const SCHEMA: u8 = 1;
    /// Present while the file was closed cleanly.
    pub(crate) const CLEAN: u8 = 2;
    /// The name of the server whose file this is.
    pub(crate) const SERVER_NAME: u8 = 3;
}

/// How a user stands to a room, in one byte of a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Standing {
    /// Joined.
    Join = 1,
    /// Invited.
    Invite = 2,
    /// Left, or was kicked.
    Leave = 3,
    /// Banned.
    Ban = 4,
    /// Knocking.
    Knock = 5,
}

impl Standing {
    /// From the byte of `rmem`.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Join,
            2 => Self::Invite,
            3 => Self::Leave,
            4 => Self::Ban,
            5 => Self::Knock,
            _ => return None,
        })
    }

    /// From a member event's `membership`; `None` for values that Matrix does not know.
    pub fn of(membership: &ruma::events::room::member::MembershipState) -> Option<Self> {
        use ruma::events::room::member::MembershipState as M;
        Some(match membership {
            M::Join => Self::Join,
            M::Invite => Self::Invite,
            M::Leave => Self::Leave,
            M::Ban => Self::Ban,
            M::Knock => Self::Knock,
            _ => return None,
        })
    }

    /// The word in the `membership` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Leave => "leave",
            Self::Ban => "ban",
            Self::Knock => "knock",
        }
    }
}

/// A room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoomRecord {
    /// The room version's id.
    pub version: String,
    /// Forward extremities, in order of arrival.
    pub heads: Vec<Esn>,
    /// The last change of the current state.
    pub seq: u64,
    /// The number of the next patch. Patch 0 is "none".
    pub next_patch: u64,
    /// The number of the next node of the auth graph.
    pub next_node: u32,
    /// The last position of the timeline.
    pub last_pos: u64,
    /// The greatest depth of a head.
    pub depth: u64,
    /// The version of the set of servers in the room.
    pub dset: u32,
    /// The number of the next server set. Sets are also made for events that concern a server outside of the room.
    pub next_dset: u32,
    /// Joined members.
    pub joined: u64,
    /// Invited members.
    pub invited: u64,
    /// Joined members who live here.
    pub joined_local: u64,
    /// The log position of the last timeline event.
    pub last_n: u64,
}

/// What a row of the log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogKind {
    /// An event on a room's timeline. `esn` is set; `user` is the sender.
    Timeline,
    /// The current state of a room changed without a timeline event (a resolution). `esn` is the state event, or 0.
    State,
    /// How a local user stands to a room changed outside of the room's timeline: an invite, a rejected invite, a forgotten
    /// room, a join that finished.
    Standing,
    /// A user's profile changed.
    Profile,
    /// Account data of a local user changed; `room` is 0 for what belongs to no room.
    AccountData,
    /// A receipt moved in a room; `user` is whose.
    Receipt,
    /// The inbox of a local user's devices got a message.
    ToDevice,
    /// The devices or cross-signing keys of a user changed, local or not. With a `room`: the user came into that room or went
    /// out of it, so that others may share rooms with them anew or no more.
    DeviceList,
}

/// One row of the one log.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LogRow {
    /// What changed.
    pub kind: LogKind,
    /// Where, or 0.
    pub room: u32,
    /// Whose, or 0.
    pub user: u32,
    /// The event, or 0.
    pub esn: Esn,
}

/// How a local user stands to a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MembRecord {
    /// The standing.
    pub standing: Standing,
    /// The member event, or 0 when only its JSON is known (an invite to a room that we are not in).
    pub esn: Esn,
    /// The log position of this change.
    pub n: u64,
    /// The user wants to hear no more of it.
    pub forgotten: bool,
    /// The state of the room when the user left, for reading history; the current state while joined.
    pub left_at: Option<(StateRef, u64)>,
}

/// Stripped state of an invite or a knock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InviteRecord {
    /// The member event's JSON, as the inviter signed it.
    pub event: String,
    /// The member event's id.
    pub event_id: String,
    /// The room version.
    pub version: String,
    /// Stripped state events, JSON.
    pub state: Vec<String>,
}

/// A room alias of this server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AliasRecord {
    /// Where it points.
    pub room: RoomKey,
    /// Who made it.
    pub creator: UserKey,
}

/// How delivery to a server stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DestRecord {
    /// All of `out_log` up to here is acknowledged or not for this server.
    pub cursor: u64,
    /// Tries that failed since the last success.
    pub failures: u32,
    /// When the last success was, in ms; 0 for never.
    pub last_success: u64,
}

/// A transaction that was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InTxnRecord {
    /// When, in ms.
    pub at: u64,
    /// The answer's body.
    pub answer: Vec<u8>,
}

/// A local account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AccountRecord {
    /// The password's hash in PHC format, if there is a password.
    pub password: Option<String>,
    /// When it was made, in ms.
    pub created: u64,
    /// Whether it was deactivated.
    pub deactivated: bool,
}

/// A session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Whose.
    pub user: UserKey,
    /// On which device.
    pub device: String,
}

/// A device of a local account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its name.
    pub display_name: Option<String>,
    /// SHA-256 of its access token.
    pub token: Option<[u8; 32]>,
    /// When it was made, in ms.
    pub created: u64,
}

/// A list of servers, sorted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerSet(pub Vec<ServerKey>);

/// The parents of an event that are not known here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GapRecord {
    /// Event ids.
    pub missing: Vec<String>,
}

/// A node of a room's auth graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthRecord {
    /// The event.
    pub esn: Esn,
    /// Its auth events' nodes.
    pub parents: Vec<u32>,
}

macro_rules! records {
    ($($name:ty),* $(,)?) => { $(impl Record for $name {})* };
}
records!(
    RoomRecord,
    LogRow,
    MembRecord,
    InviteRecord,
    AliasRecord,
    DestRecord,
    InTxnRecord,
    AccountRecord,
    TokenRecord,
    DeviceRecord,
    ServerSet,
    GapRecord,
    AuthRecord,
);

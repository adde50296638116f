//! Records of the outbox.

use serde::{Deserialize, Serialize};

use super::Record;

/// What waits for a server beside the events of rooms, which `out_log` names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LetterRecord {
    /// An EDU.
    Edu {
        /// What it replaces, and what replaces it, while it waits.
        slot: Option<[u8; 16]>,
        /// The whole EDU.
        json: String,
    },
    /// An invite of one of that server's users. It goes by an endpoint of its own, because that server is not in the room.
    Invite(InviteLetter),
}

/// An invite as the invited server gets it. Server-server API, "Inviting to a room".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteLetter {
    /// The room's id.
    pub room: String,
    /// The room's version.
    pub version: String,
    /// The member event's id.
    pub event_id: String,
    /// The member event.
    pub event: String,
    /// What the invited may see of the room: events.
    pub state: Vec<String>,
}

impl Record for LetterRecord {}

//! What the on-device client remembers of the keys of its own messages: who may have them, and who has not got them yet.

use serde::{Deserialize, Serialize};

use super::Record;

/// One of our outbound group sessions, and the users who may read all that was said in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidRecord {
    /// The session's id.
    pub session: String,
    /// When it was first used, in ms.
    pub made: u64,
    /// Whoever was in the room, or invited, while it was in use, interned and sorted.
    pub users: Vec<u32>,
    /// It began while the room showed its past to new members, so those may have it too.
    pub shared: bool,
}

/// A session's key that a user is owed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedRecord {
    /// Devices of the user that were sent the key already.
    pub served: Vec<String>,
}

impl Record for SaidRecord {}
impl Record for OwedRecord {}

//! Records of what goes on around messages: receipts that wait.

use serde::{Deserialize, Serialize};

use super::Record;

/// A receipt of another server's user for an event that has no place here yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingReceipt {
    /// The event.
    pub event_id: String,
    /// `main`, a thread's root, or nothing for the whole room.
    pub thread: Option<String>,
    /// When it was read, in ms.
    pub ts: u64,
}

/// The receipts of one user in one room that wait, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingReceipts(pub Vec<WaitingReceipt>);

impl Record for WaitingReceipts {}

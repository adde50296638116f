//! Records of the on-device client. What is secret in them is sealed by the client's vault; what lies beside it in clear is
//! what the store must find rows by, and says no name.

use serde::{Deserialize, Serialize};

use super::Record;

/// The one row of the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VaultRecord {
    /// The key of everything that is sealed, wrapped by the store key.
    Wrapped(Vec<u8>),
    /// The key was thrown away. What it sealed stays unreadable, and no new vault may hide that.
    Destroyed,
}

/// The key of a room's messages: an inbound group session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoomKeyRecord {
    /// The keyed hash of the version of the backup that holds it, if one does.
    pub backup: Option<[u8; 16]>,
    /// The keyed hash of the curve25519 key of the device that made it.
    pub device: [u8; 16],
    /// The kind of what is known about that device, as matrix-sdk-crypto numbers it.
    pub sender_data: u8,
    /// The session, sealed.
    pub sealed: Vec<u8>,
}

/// A request of ours for a key or a secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRequestRecord {
    /// Whether it went out.
    pub sent: bool,
    /// The keyed hash of what it asks for.
    pub info: [u8; 16],
    /// The request, sealed.
    pub sealed: Vec<u8>,
}

/// The key that one of our own sessions began with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OriginalKeyRecord {
    /// Its place in the order in which the room's sessions were made.
    pub seq: u64,
    /// The key and what was said of it, sealed.
    pub sealed: Vec<u8>,
}

/// A lock that runs out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The keyed hash of who holds it.
    pub holder: [u8; 16],
    /// Until when, in ms.
    pub until: u64,
    /// How often it went to another holder, and 1.
    pub generation: u64,
}

macro_rules! records {
    ($($name:ty),* $(,)?) => { $(impl Record for $name {})* };
}
records!(VaultRecord, RoomKeyRecord, KeyRequestRecord, OriginalKeyRecord, LeaseRecord);

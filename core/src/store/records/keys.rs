//! Records of end-to-end encryption: keys, lists of devices, inboxes, backups.
//!
//! JSON that somebody signed is kept as the text that was signed, in canonical form.

use serde::{Deserialize, Serialize};

use super::Record;

/// The one-time and fallback keys of a local device, but for the one-time keys themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PrekeyRecord {
    /// The place in the order of upload that the next one-time key gets.
    pub next: u64,
    /// Unclaimed one-time keys of each algorithm.
    pub counts: Vec<(String, u32)>,
    /// The fallback key of each algorithm.
    pub fallback: Vec<FallbackRecord>,
    /// Hashes of the one-time keys that were claimed last: the retry of an upload must not bring them back.
    pub claimed: Vec<[u8; 8]>,
}

/// A fallback key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackRecord {
    /// Algorithm and name, `signed_curve25519:AAAAAQ`.
    pub id: String,
    /// The key, JSON.
    pub json: String,
    /// It was given to somebody.
    pub used: bool,
}

/// A one-time key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OneTimeKeyRecord {
    /// Algorithm and name, `signed_curve25519:AAAAAQ`.
    pub id: String,
    /// The key, JSON.
    pub json: String,
}

/// The cross-signing keys of a local user, each as JSON with the signatures that its owner's keys made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossSigningRecord {
    /// The master key, which the user is known by.
    pub master: Option<String>,
    /// The self-signing key, which signs the user's devices.
    pub self_signing: Option<String>,
    /// The user-signing key, which signs other users' master keys. Nobody but its owner sees it.
    pub user_signing: Option<String>,
}

/// Signatures of a user's user-signing key on another user's master key. Nobody but the signer sees them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserSignatureRecord {
    /// The master key that was signed, base64.
    pub master: String,
    /// The id of the signing key.
    pub key_id: String,
    /// The signature, base64.
    pub signature: String,
}

/// What is known of the device list of a user of another server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RemoteListRecord {
    /// The version of the list; `None` when it came without one.
    pub stream: Option<u64>,
    /// Announcements of changes that came so far.
    pub heard: u64,
    /// The master key, JSON.
    pub master: Option<String>,
    /// The self-signing key, JSON.
    pub self_signing: Option<String>,
}

/// A to-device message in an inbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InboxRecord {
    /// The server that it came from, or 0 for one that no room has brought here.
    pub origin: u32,
    /// The message as the device gets it, JSON.
    pub json: String,
}

/// A version of a backup of room keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackupRecord {
    /// How the keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs, JSON.
    pub auth_data: String,
    /// Changes so far.
    pub etag: u64,
    /// Keys in it.
    pub count: u64,
    /// In the row of version 0: the last version that was made.
    pub last: u64,
}

macro_rules! records {
    ($($name:ty),* $(,)?) => { $(impl Record for $name {})* };
}
records!(
    PrekeyRecord,
    OneTimeKeyRecord,
    CrossSigningRecord,
    UserSignatureRecord,
    RemoteListRecord,
    InboxRecord,
    BackupRecord,
);

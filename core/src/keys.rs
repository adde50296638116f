//! End-to-end encryption, the homeserver's half: the keys of devices and users, the one-time keys that sessions begin with,
//! the to-device messages that carry room keys, and backups of those.
//!
//! The server sees public keys and ciphertext alone. It is trusted to hand on what it was given, and clients check all of it
//! again; what is checked here keeps nonsense and forgeries from spreading and from filling the disk.
//!
//! - Keys of local devices are in the store and are shown to whoever asks. A change is a row of the log and a letter to every
//!   server that shares a room with the user (`lists`).
//! - Keys of other servers' users are cached while a room is shared, because then their server tells us of changes. A list
//!   that misses a change is *stale*: it answers only for a server that cannot be asked, and is fetched anew ([`resync`]).
//! - A one-time key is handed out once, by a claim that commits before it answers.
//! - A to-device message waits in its device's inbox until the device says that it has it ([`acknowledge`]).
//!
//! Deliberately absent: encryption itself, which is the client's; user-interactive authentication, which is the API's.
//! Client-server API, "End-to-End Encryption" and "Send-to-Device messaging"; server-server API, "Device Management",
//! "End-to-End Encryption" and "Send-to-device messaging".

pub mod backup;
mod claim;
mod cross_signing;
mod devices;
mod inbox;
mod lists;
mod prekeys;
mod query;
mod remote;
pub mod resync;
mod seen;
mod signatures;
mod signed;
mod to_device;
mod updates;
mod upload;

use std::collections::BTreeMap;

use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, UInt, api::client::sync::sync_events::DeviceLists,
    events::AnyToDeviceEvent, serde::Raw,
};

pub use self::{
    claim::{claim, claim_for_server},
    cross_signing::{needs_auth, upload_signing_keys},
    inbox::acknowledge,
    lists::device_lists,
    query::{devices_for_server, query, query_for_server},
    signatures::upload_signatures,
    to_device::{receive, send_to_device},
    updates::{device_list_update, signing_key_update},
    upload::upload,
};
pub(crate) use self::{
    devices::{device_renamed, forget_device, forget_user},
    inbox::{Batch, batch},
    lists::{Moved, membership_changed},
    prekeys::{forget_one_time_keys, one_time_keys, unused_fallback},
};
use crate::{
    store::{Result, StoreError, UserKey, View},
    types::SyncToken,
};

/// A local user's device that asks.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Whose it is.
    pub user: OwnedUserId,
    /// Whose it is, interned.
    pub user_key: UserKey,
    /// The device.
    pub device: OwnedDeviceId,
}

/// Why keys or messages were not taken or not given.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Not JSON of the right shape.
    #[error("{0}")]
    Malformed(String),
    /// Well formed, and not what can be asked for.
    #[error("{0}")]
    Invalid(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// A signature is missing or does not hold.
    #[error("{0}")]
    Signature(String),
    /// Something that must come first is missing.
    #[error("{0}")]
    Missing(String),
    /// It is not here.
    #[error("{0}")]
    NotFound(String),
    /// Larger, or more of it, than is taken here.
    #[error("{0}")]
    TooMuch(String),
    /// Keys go into the latest version of the backup only.
    #[error("the latest version of the backup is {current}; write to that one")]
    WrongVersion {
        /// The version to write to.
        current: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a device has not seen after a place of the log.
#[derive(Debug)]
pub struct News {
    /// Messages, in the order in which they came.
    pub to_device: Vec<Raw<AnyToDeviceEvent>>,
    /// The place that the messages reach to: before the asked one if there are more than one batch holds.
    pub reached: SyncToken,
    /// Whose keys changed, and with whom no room is shared any more.
    pub device_lists: DeviceLists,
    /// Unclaimed one-time keys of the device.
    pub one_time_keys: BTreeMap<OneTimeKeyAlgorithm, UInt>,
    /// Algorithms whose fallback key nobody was given yet.
    pub unused_fallback: Vec<OneTimeKeyAlgorithm>,
}

/// What a device has not seen after `since`, up to `last`, which is the end of the log or before it. A device that has seen
/// nothing yet is told of no changed lists: it will ask for those that it needs.
///
/// # Errors
/// When the database fails.
pub fn news(view: &dyn View, actor: &Actor, since: Option<SyncToken>, last: SyncToken) -> Result<News> {
    let Batch { messages, reached } = batch(view, actor, since.unwrap_or_default(), last)?;
    let device_lists = match since {
        Some(since) => device_lists(view, actor.user_key, since, last)?,
        None => DeviceLists::new(),
    };
    Ok(News {
        to_device: messages,
        reached,
        device_lists,
        one_time_keys: one_time_keys(view, actor)?,
        unused_fallback: unused_fallback(view, actor)?,
    })
}

//! The on-device client: encrypted chat for a UI, over our own homeserver and without any HTTP.
//!
//! [`Chat`] is one person on one device. Encryption is matrix-sdk-crypto's (`crypto`), fed from the homeserver's own log and
//! inboxes; its secrets lie sealed in the same redb file ([`vault`]). Events are not copied: lists and timelines are read from
//! the room engine's tables each time that something changed, and what differs from what the UI was shown last goes out as
//! diffs ([`feed`]). So a slow UI costs no memory, and a restart loses nothing.
//!
//! Invariants: sending never waits for the network. What is shown as delivered was acknowledged. No body and no key reaches a
//! log. Nothing in here holds a lock across a wait for the network.

mod account;
pub mod archive;
pub mod attachment;
mod contacts;
mod content;
mod crypto;
mod crypto_store;
pub mod delivery;
mod direct;
mod error;
pub mod feed;
mod files;
mod memory;
pub mod message;
pub mod names;
pub mod notice;
pub mod preview;
mod profile;
mod reading;
pub mod recovery;
pub mod room;
pub mod room_list;
pub mod search;
mod send;
pub mod timeline;
mod touched;
pub mod vault;
pub mod verification;
pub mod wipe;
pub mod work;

use std::sync::{Arc, Mutex, PoisonError};

use ruma::{OwnedDeviceId, OwnedUserId, RoomId};
use tokio::task::JoinHandle;

use self::{
    attachment::Transfers,
    crypto::Crypto,
    notice::Told,
    reading::Reads,
    send::Queue,
    vault::{StoreKey, Vault},
};
pub use self::{
    contacts::Contact,
    crypto::Trust,
    delivery::{Reach, Recipient, SendState},
    error::ChatError,
    message::{Mentions, TextMessage},
    names::RoomName,
    notice::{Notice, NoticeKind},
    preview::{Preview, PreviewKind},
    recovery::{Recovered, Recovery, RecoveryKey},
    room::{MemberInfo, NewRoom, Permissions, Room, RoomInfo, TypingFeed, Typist},
    room_list::{Invite, LastMessage, RoomFeed, RoomKind, RoomSummary},
    timeline::{
        ItemContent, ItemId, MembershipChange, Quote, Reaction, TextStyle, ThreadSummary, Timeline, TimelineItem,
    },
    verification::{Verification, VerificationFeed, VerificationInfo, VerificationState},
    work::Progress,
};
use crate::{
    home::{Bell, Home},
    keys::Actor,
};

/// Who the person is, and what seals their secrets.
#[derive(Debug)]
pub struct ChatConfig {
    /// What the platform's keystore holds for us.
    pub store_key: StoreKey,
    /// The account's name: the part of the user id before the server's. Made at the first start, the same at every later one.
    pub localpart: String,
    /// The name to be seen by, given to a new account.
    pub display_name: Option<String>,
    /// The name of this device, given to a new one.
    pub device_name: Option<String>,
}

/// One person's client on one device. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Chat {
    pub(crate) inner: Arc<Inner>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Who somebody is on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The device's ed25519 key in base64: what two people can compare who do not use emoji.
    pub fingerprint: String,
}

/// What every part of the client stands on.
pub(crate) struct Inner {
    /// The homeserver's ground.
    pub(crate) home: Arc<Home>,
    /// Who we are: the account, and the device of this client.
    pub(crate) me: Actor,
    /// What is sealed, and with what.
    pub(crate) vault: Arc<Vault>,
    /// Encryption.
    pub(crate) crypto: Crypto,
    /// What was read in clear, and names.
    pub(crate) reads: Reads,
    /// Messages that are on their way into their rooms.
    pub(crate) queue: Queue,
    /// Files that are on their way in or out.
    pub(crate) transfers: Transfers,
    /// Who works on the backup of room keys.
    pub(crate) recovery: recovery::Desk,
    /// How far the person was told of what they should be told of.
    pub(crate) told: Told,
    /// Rung when something changed that is no row of the log: keys came, a local echo changed.
    pub(crate) changes: Bell,
    /// Set once, when the client ends.
    pub(crate) ended: tokio::sync::watch::Sender<bool>,
}

/// How far somebody has looked at everything that can change what a UI is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    log: u64,
    deliveries: u64,
    changes: u64,
    typing: u64,
}

impl Chat {
    /// Opens the client: the first time it makes the account, the device and their keys. Nothing runs before
    /// [`Chat::start`].
    ///
    /// # Errors
    /// [`ChatError::Crypto`] for a wrong store key, which changes nothing; [`ChatError::Invalid`] for a name that no account
    /// can have; the store's.
    pub async fn open(home: Arc<Home>, config: ChatConfig) -> Result<Self, ChatError> {
        let vault = Arc::new(Vault::open_or_create(&home.store, &config.store_key).await?);
        let me = account::open(&home, &config).await?;
        let crypto = Crypto::open(&home, &vault, &me).await?;
        let inner = Inner {
            queue: Queue::open(&home, &vault, &me)?,
            reads: Reads::default(),
            transfers: Transfers::default(),
            recovery: recovery::Desk::default(),
            told: Told::open(&home, &me)?,
            changes: Bell::default(),
            ended: tokio::sync::watch::Sender::new(false),
            home,
            me,
            vault,
            crypto,
        };
        Ok(Self { inner: Arc::new(inner), tasks: Arc::default() })
    }

    /// Spawns what encrypts, decrypts and sends, on the current tokio runtime. A second call does nothing.
    pub fn start(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            tasks.push(tokio::spawn(Crypto::run(self.inner.clone())));
            tasks.push(tokio::spawn(Queue::run(self.inner.clone())));
        }
    }

    /// Ends the tasks and every feed. What was written is on disk.
    pub async fn stop(&self) {
        self.inner.ended.send_replace(true);
        self.end_tasks().await;
    }

    async fn end_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            // An aborted task ends with an error by design; a panicked one has spoken through the panic hook.
            drop(task.await);
        }
    }

    /// Ends the key that messages in a room are encrypted with: the next one begins with a new key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_keys(&self, room: &RoomId) -> Result<(), ChatError> {
        Ok(self.inner.crypto.renew(room).await?)
    }

    /// Who we are.
    pub fn identity(&self) -> Identity {
        let Actor { user, device, .. } = self.inner.me.clone();
        Identity { user_id: user, device_id: device, fingerprint: self.inner.crypto.fingerprint() }
    }
}

impl Inner {
    /// Where everything stands now. Taken before the tables are read, so that what comes later is noticed.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            log: *self.home.store.log_watch().borrow(),
            deliveries: self.home.deliveries(),
            changes: self.changes.count(),
            typing: self.home.typing_serial(),
        }
    }

    /// Waits until something moved beyond `seen`.
    ///
    /// # Errors
    /// [`ChatError::Closed`] once the client has ended.
    pub(crate) async fn changed_after(&self, seen: Seen) -> Result<(), ChatError> {
        let (mut log, mut ended) = (self.home.store.log_watch(), self.ended.subscribe());
        let log_moved = async { log.wait_for(|log| *log > seen.log).await.is_ok() };
        let is_over = async { drop(ended.wait_for(|ended| *ended).await) };
        tokio::select! {
            biased;
            () = is_over => Err(ChatError::Closed),
            moved = log_moved => if moved { Ok(()) } else { Err(ChatError::Closed) },
            () = self.home.delivery_after(seen.deliveries) => Ok(()),
            () = self.changes.after(seen.changes) => Ok(()),
            () = self.home.typing_after(seen.typing) => Ok(()),
        }
    }
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("user", &self.inner.me.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod scenes;

//! End-to-end encryption, driven from our own homeserver's tables: matrix-sdk-crypto decides, this module carries.
//!
//! One loop ([`rounds`]) does all that is not asked for by somebody: it hears to-device messages and changed device lists,
//! publishes our keys, asks servers that are within reach for devices and one-time keys, and gives members the keys that they
//! are owed. [`Crypto::encrypt`] uses what the loop prepared and waits for nobody who is away; [`Crypto::decrypt`] reads.
//!
//! How nobody is left unable to read: sessions with the devices of members are made as soon as their server is near, so that
//! keys can be sent while it is away, where they wait in the outbox ahead of the messages. A member of whom it is not certain
//! that all their devices were served is *owed* the key ([`said`]), which is given when their server comes near ([`pay`]), and a
//! device that misses a key asks for it ([`asks`]).
//!
//! Invariants: the machine's requests are sent by the loop alone, and reported back once. A room's session is shared under the
//! room's lock. Nothing that a peer sends can end the loop: what makes the machine panic is passed over.
//!
//! What goes into a backup of room keys is [`recovery`](super::recovery)'s affair; the loop gives it a turn at each step.
//!
//! Deliberately absent: bundles of a room's history for people who are invited, since each sender gives a newcomer their own
//! sessions.

mod asks;
mod backed_up;
mod decrypt;
mod encrypt;
mod error;
mod fetch;
mod follow;
mod hear;
pub(super) mod identity;
mod pay;
mod publish;
mod reach;
mod recipients;
mod rooms;
mod rounds;
mod said;
pub(super) mod send;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use matrix_sdk_crypto::OlmMachine;
use ruma::{OwnedUserId, TransactionId, UserId, api::client::to_device::send_event_to_device};

pub use self::decrypt::Trust;
use self::{asks::Asks, reach::Reach, rooms::Rooms, said::Said};
pub(crate) use self::{decrypt::Clear, error::CryptoError};
use super::{ChatError, Inner, crypto_store::RedbCryptoStore, vault::Vault, verification::Flows};
use crate::{
    home::{Bell, Home},
    keys::Actor,
    store::StoreError,
};

/// The encryption of one device.
pub(crate) struct Crypto {
    /// What decides.
    pub(super) machine: OlmMachine,
    /// Verifications under way.
    pub(super) flows: Flows,
    /// Rung when the loop has something to do that no row of the log tells of.
    pub(super) wishes: Bell,
    store: Arc<RedbCryptoStore>,
    rooms: Rooms,
    reach: Reach,
    asks: Asks,
    wanted: Mutex<BTreeSet<OwnedUserId>>,
    accepted: Mutex<BTreeSet<OwnedUserId>>,
}

impl Crypto {
    /// Opens the keys of a device: the first time it makes and publishes them. A start that was cut off is finished.
    pub(crate) async fn open(home: &Arc<Home>, vault: &Arc<Vault>, me: &Actor) -> Result<Self, ChatError> {
        let crypto = Self::load(home, vault, me).await?;
        publish::publish(home, me, &crypto.machine).await?;
        Ok(crypto)
    }

    async fn load(home: &Arc<Home>, vault: &Arc<Vault>, me: &Actor) -> Result<Self, CryptoError> {
        let (store, clock) = (home.store.clone(), home.ports.clock.clone());
        let store = RedbCryptoStore::open(store, clock, vault.clone(), &me.user, &me.device).await?;
        let store = Arc::new(store);
        let machine = OlmMachine::with_store(&me.user, &me.device, store.clone(), None).await?;
        let said = Said(me.user_key);
        if said.is_unsettled(&home.store.snapshot()?)? {
            home.store.write::<_, StoreError, _>(move |tx| said.settle_all(tx)).await?;
        }
        Ok(Self {
            machine,
            flows: Flows::default(),
            wishes: Bell::default(),
            store,
            rooms: Rooms::default(),
            reach: Reach::default(),
            asks: Asks::default(),
            wanted: Mutex::default(),
            accepted: Mutex::default(),
        })
    }

    /// Runs the loop, until the client or the store ends.
    pub(crate) async fn run(inner: Arc<Inner>) {
        rounds::run(inner).await;
    }

    /// The device's ed25519 key in base64.
    pub(crate) fn fingerprint(&self) -> String {
        self.machine.identity_keys().ed25519.to_base64()
    }

    /// Asks the loop to make sessions with users' devices now. Answers the number of the wish.
    pub(super) fn want(&self, users: impl IntoIterator<Item = OwnedUserId>) -> u64 {
        self.lock_wanted().extend(users);
        self.wishes.ring();
        self.wishes.count()
    }

    /// A user's identity was accepted: the next message looks again at who gets its key, and they get what they are owed.
    pub(super) fn accept(&self, user: &UserId) {
        self.reach.note_devices();
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned());
        self.wishes.ring();
    }

    fn take_accepted(&self) -> BTreeSet<OwnedUserId> {
        std::mem::take(&mut *self.accepted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_wanted(&self) -> BTreeSet<OwnedUserId> {
        std::mem::take(&mut *self.lock_wanted())
    }

    fn lock_wanted(&self) -> std::sync::MutexGuard<'_, BTreeSet<OwnedUserId>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a to-device request back to the machine.
    async fn mark_to_device(&self, request: &TransactionId) -> Result<(), CryptoError> {
        Ok(self.machine.mark_request_as_sent(request, &send_event_to_device::v3::Response::new()).await?)
    }
}

impl std::fmt::Debug for Crypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crypto").field("device", &self.machine.device_id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

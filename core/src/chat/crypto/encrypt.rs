//! Encrypting a message: its readers get the key of its session, or are owed it, and the message goes out whoever is away.
//!
//! A message waits a moment for the keys of members who are within reach, and for nothing else. Then the session is settled
//! under the room's lock, in this order: a new session is begun if a reader went, or came where the past is closed; the
//! machine encrypts the session's key for the devices that it knows; the readers are written down; the keys go into inboxes
//! and the outbox; what is still owed is written down; the message is encrypted. A kill in between leaves either no message or
//! debts that the next start finds.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use matrix_sdk_crypto::{
    CollectStrategy, EncryptionSettings,
    olm::OutboundGroupSession,
    store::CryptoStore,
    types::{EventEncryptionAlgorithm, requests::ToDeviceRequest},
};
use ruma::{OwnedDeviceId, OwnedUserId, RoomId, ServerName, UserId, serde::Raw, to_device::DeviceIdOrAllDevices};
use serde_json::{Map, Value, value::RawValue};
use tokio::time::{Duration, timeout};

use super::{Crypto, CryptoError, identity, recipients::Recipients, rooms::Ready, said::Said, send};
use crate::{
    chat::Inner,
    store::{SaidRecord, UserKey},
    types::{
        Millis,
        limits::{ENCRYPT_WAIT, SESSION_MESSAGES_MAX},
    },
};

/// The machine's own limits of a session lie beyond ours. It refuses an expired session by panicking, and goes by the system's
/// clock, so it is we who end sessions.
const MACHINE_PERIOD: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
const MACHINE_MESSAGES: u64 = 10 * SESSION_MESSAGES_MAX;

/// To-device messages of the kind that carries a key: the other kind says that there is none.
const CARRIES_KEY: &str = "m.room.encrypted";

/// The devices that a session's key was sent to.
type Served = BTreeMap<OwnedUserId, BTreeSet<OwnedDeviceId>>;

impl Crypto {
    /// Encrypts a message for the readers of a room and answers the content of the `m.room.encrypted` event. Relations stay
    /// readable from outside. Waits for nobody who is out of reach.
    ///
    /// # Errors
    /// [`CryptoError::Invalid`] for a content that is no JSON object, [`CryptoError::NotFound`] for a room that is not here or
    /// not encrypted; the store's.
    pub(crate) async fn encrypt(
        &self,
        inner: &Inner,
        room: &RoomId,
        kind: &str,
        content: &RawValue,
    ) -> Result<Box<RawValue>, CryptoError> {
        let recipients = recipients(inner, room)?;
        let is_ready = holds(self.rooms.of(room).lock().await.as_ref(), self, inner, &recipients);
        if !is_ready {
            self.machine.update_tracked_users(recipients.ids()).await?;
            self.prepare(inner, &recipients.ids()).await?;
        }
        self.encrypt_now(inner, room, kind, content).await
    }

    /// As [`Crypto::encrypt`], without the wait: also for the loop, which nobody else would answer.
    pub(in crate::chat) async fn encrypt_now(
        &self,
        inner: &Inner,
        room: &RoomId,
        kind: &str,
        content: &RawValue,
    ) -> Result<Box<RawValue>, CryptoError> {
        // The machine takes for granted that it can read its own client's content.
        let object = serde_json::from_str::<Map<String, Value>>(content.get());
        object.map_err(|error| CryptoError::Invalid(format!("the content cannot be encrypted: {error}")))?;
        let lock = self.rooms.of(room);
        let mut ready = lock.lock().await;
        // Under the lock: members come and go.
        let recipients = recipients(inner, room)?;
        let mut session = match ready.take() {
            Some(session) if holds(Some(&session), self, inner, &recipients) => session,
            _ => self.share(inner, room, &recipients).await?,
        };
        session.left = session.left.saturating_sub(1);
        let content = Raw::from_json(content.to_owned());
        let encrypting = self.machine.encrypt_room_event_raw(room, kind, &content);
        // The session was looked at a moment ago. Should the clock be set back right now, the machine panics; the next try
        // begins another session.
        let encrypted = std::panic::AssertUnwindSafe(encrypting).catch_unwind().await;
        let encrypted = encrypted.map_err(|_| CryptoError::Failed("the session ended under the message".into()))??;
        *ready = Some(session);
        Ok(encrypted.content.into_json())
    }

    /// Ends a room's session: the next message begins with a new key.
    pub(in crate::chat) async fn renew(&self, room: &RoomId) -> Result<(), CryptoError> {
        let lock = self.rooms.of(room);
        let mut ready = lock.lock().await;
        *ready = None;
        self.machine.discard_room_key(room).await?;
        Ok(())
    }

    /// Waits a moment for the keys of those of some users who are within reach.
    pub(in crate::chat) async fn prepare(&self, inner: &Inner, users: &[&UserId]) -> Result<(), CryptoError> {
        let mut wanted = BTreeSet::new();
        for user in users {
            if self.is_reachable(inner, user.server_name()) && !self.is_prepared(user).await? {
                wanted.insert((*user).to_owned());
            }
        }
        if !wanted.is_empty() {
            let servers: BTreeSet<_> = wanted.iter().map(|user| user.server_name().to_owned()).collect();
            let wish = self.want(wanted);
            // Whoever is not ready by then is owed the key.
            drop(timeout(ENCRYPT_WAIT, self.reach.settled(wish, &servers)).await);
        }
        Ok(())
    }

    /// Whether a user's devices are known and can be sent keys.
    async fn is_prepared(&self, user: &UserId) -> Result<bool, CryptoError> {
        let devices = self.machine.get_user_devices(user, None).await?;
        if self.reach.is_stale(user) || (devices.keys().next().is_none() && *user != *self.machine.user_id()) {
            return Ok(false);
        }
        for device in devices.devices().filter(|device| !device.is_our_own_device()) {
            let Some(key) = device.curve25519_key() else { continue };
            let sessions = CryptoStore::get_sessions(&*self.store, &key.to_base64()).await?;
            if sessions.is_none_or(|sessions| sessions.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a server can be asked now.
    pub(super) fn is_reachable(&self, inner: &Inner, server: &ServerName) -> bool {
        inner.home.is_local(server) || inner.home.is_near(server)
    }

    /// Gives the key of a room's session to its readers, or owes it to them. The caller holds the room's lock.
    async fn share(&self, inner: &Inner, room: &RoomId, recipients: &Recipients) -> Result<Ready, CryptoError> {
        // Counted before devices are read: one that changes meanwhile brings the next message here again.
        let devices = self.reach.devices();
        let mut users = Vec::new();
        for user in recipients.ids() {
            if !identity::is_withheld(&self.machine, user).await? {
                users.push(user);
            }
        }
        if self.is_over(inner, room, recipients).await? {
            self.machine.discard_room_key(room).await?;
        }
        let settings = EncryptionSettings {
            algorithm: EventEncryptionAlgorithm::MegolmV1AesSha2,
            rotation_period: MACHINE_PERIOD,
            rotation_period_msgs: MACHINE_MESSAGES,
            history_visibility: recipients.history_visibility(),
            sharing_strategy: CollectStrategy::AllDevices,
        };
        let requests = self.machine.share_room_key(room, users.iter().copied(), settings).await?;
        let session = self.outbound(room).await?;
        let session = session.ok_or_else(|| CryptoError::Failed("a session that was just made is gone".into()))?;
        let (made, unsettled) = say(inner, recipients, &session).await?;
        let mut served = Served::new();
        for request in requests {
            send::to_device(inner, &request).await?;
            self.mark_to_device(&request.txn_id).await?;
            note_served(&mut served, &request);
        }
        if !unsettled.is_empty() {
            self.settle(inner, recipients, session.session_id(), &unsettled, &served).await?;
        }
        let used = u64::from(session.message_index().await);
        let period = u64::try_from(recipients.period.as_millis()).unwrap_or(u64::MAX);
        let until = Millis(made.0.saturating_add(period));
        Ok(Ready { seq: recipients.seq, devices, session, left: recipients.messages_max.saturating_sub(used), until })
    }

    /// A room's session as it is on disk.
    async fn outbound(&self, room: &RoomId) -> Result<Option<OutboundGroupSession>, CryptoError> {
        Ok(CryptoStore::get_outbound_group_session(&*self.store, room).await?)
    }

    /// Whether a room's session must not be used any more: it is old, a reader went, or one came who may not know its past.
    async fn is_over(&self, inner: &Inner, room: &RoomId, recipients: &Recipients) -> Result<bool, CryptoError> {
        let Some(session) = self.outbound(room).await?.filter(|session| !session.invalidated()) else {
            return Ok(false);
        };
        let used = u64::from(session.message_index().await);
        let view = inner.home.store.snapshot()?;
        let record = Said(inner.me.user_key).find(&view, recipients.room, session.session_id())?;
        // What was never used says nothing to anybody. What was used and is not written down is nobody's to read.
        let Some(record) = record else { return Ok(used > 0) };
        let old: BTreeSet<UserKey> = record.users.iter().copied().map(UserKey).collect();
        let went = old.iter().any(|user| !recipients.users.contains_key(user));
        let came = used > 0 && !recipients.shares_history() && recipients.users.keys().any(|user| !old.contains(user));
        let age = u128::from(inner.home.now().0.saturating_sub(record.made));
        Ok(went || came || used >= recipients.messages_max || age >= recipients.period.as_millis())
    }

    /// Writes down which of some readers are owed the key of a session still.
    async fn settle(
        &self,
        inner: &Inner,
        recipients: &Recipients,
        session: &str,
        unsettled: &BTreeSet<UserKey>,
        served: &Served,
    ) -> Result<(), CryptoError> {
        let mut owed = Vec::new();
        for (key, user) in recipients.users.iter().filter(|(key, _)| unsettled.contains(key)) {
            let have = served.get(user).cloned().unwrap_or_default();
            if !self.has_all(inner, user, &have).await? {
                owed.push((*key, have.into_iter().map(Into::into).collect()));
            }
        }
        let (said, room, session) = (Said(inner.me.user_key), recipients.room, session.to_owned());
        // Lost with a crash, the session counts as unsettled, and everybody is owed it.
        inner.home.store.write_soon(move |tx| said.settle(tx, room, &session, &owed)).await?;
        Ok(())
    }

    /// Whether some devices are surely all that a user has. Of somebody out of reach that is never sure.
    pub(super) async fn has_all(
        &self,
        inner: &Inner,
        user: &UserId,
        devices: &BTreeSet<OwnedDeviceId>,
    ) -> Result<bool, CryptoError> {
        if !self.is_reachable(inner, user.server_name()) || self.reach.is_stale(user) {
            return Ok(false);
        }
        let known = self.machine.get_user_devices(user, None).await?;
        let mut others = known.devices().filter(|device| !device.is_our_own_device() && !device.is_deleted());
        // Whoever has no device yet gets the keys with their first one. We ourselves are served already.
        Ok(others.all(|device| devices.contains(device.device_id()))
            && (known.keys().next().is_some() || *user == *self.machine.user_id()))
    }
}

fn recipients(inner: &Inner, room: &RoomId) -> Result<Recipients, CryptoError> {
    let view = inner.home.store.snapshot()?;
    Recipients::of(&view, room)?.ok_or_else(|| CryptoError::NotFound(format!("{room} is not here, or not encrypted")))
}

fn holds(ready: Option<&Ready>, crypto: &Crypto, inner: &Inner, recipients: &Recipients) -> bool {
    ready.is_some_and(|ready| ready.holds(recipients.seq, crypto.reach.devices(), inner.home.now()))
}

/// Writes down who reads a session. Answers when it was made, and whose keys are not settled yet.
async fn say(
    inner: &Inner,
    recipients: &Recipients,
    session: &OutboundGroupSession,
) -> Result<(Millis, BTreeSet<UserKey>), CryptoError> {
    let (said, room) = (Said(inner.me.user_key), recipients.room);
    let new = SaidRecord {
        session: session.session_id().to_owned(),
        made: inner.home.now().0,
        users: recipients.users.keys().map(|user| user.0).collect(),
        shared: recipients.shares_history(),
    };
    let (made, unsettled) = inner.home.store.write(move |tx| said.say(tx, room, &new)).await?;
    Ok((Millis(made), unsettled))
}

fn note_served(served: &mut Served, request: &ToDeviceRequest) {
    if request.event_type.to_string() != CARRIES_KEY {
        return;
    }
    for (user, devices) in &request.messages {
        let devices = devices.keys().filter_map(|device| match device {
            DeviceIdOrAllDevices::DeviceId(device) => Some(device.clone()),
            DeviceIdOrAllDevices::AllDevices => None,
        });
        served.entry(user.clone()).or_default().extend(devices);
    }
}

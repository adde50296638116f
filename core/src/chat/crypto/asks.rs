//! Missing keys: asking their senders, and answering those who miss ours.
//!
//! A message can come without its key when the sender's session with our device broke, or when the device is new. Its sender
//! then gets an `m.room_key_request`, after a moment in which the key may still come, and seldom again. A request from somebody
//! else's device is answered with our own sessions only, and only for their readers: it becomes a debt like any other. Requests
//! among one's own devices are the machine's.
//!
//! Client-server API, `m.room_key_request`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use matrix_sdk_crypto::store::CryptoStore;
use ruma::{
    OwnedDeviceId, OwnedRoomId, OwnedTransactionId, OwnedUserId, RoomId, UserId,
    api::client::to_device::send_event_to_device::v3::Request, events::ToDeviceEventType, serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;

use super::{CryptoError, rounds::Rounds, said::Said};
use crate::{
    keys,
    store::{RoomKey, StoreError, UserKey},
    types::limits::{KEY_ANSWER_PAUSE, KEY_ANSWERS_MAX, KEY_ASK_GRACE, KEY_ASK_PAUSE, KEY_ASKS_MAX},
};

/// The only algorithm of room keys.
const MEGOLM: &str = "m.megolm.v1.aes-sha2";
/// Milliseconds of a day: one request for one key is repeated as a new one after that.
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// The room and id of a session.
type SessionName = (OwnedRoomId, String);

/// Whom to ask for a key.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    /// Who sent the message.
    pub(super) sender: OwnedUserId,
    /// The device that it says it comes from.
    pub(super) device: Option<OwnedDeviceId>,
    /// A part of the key is here, and does not reach back far enough.
    pub(super) partial: bool,
}

#[derive(Debug)]
struct Ask {
    missing: Missing,
    asked: bool,
    /// When it is asked, or from when on it may be asked again.
    due: Instant,
}

/// Keys that are missing here, and who was given ours lately.
#[derive(Debug, Default)]
pub(super) struct Asks {
    missing: Mutex<BTreeMap<SessionName, Ask>>,
    answered: Mutex<BTreeMap<(OwnedUserId, OwnedDeviceId, String), Instant>>,
}

impl Asks {
    /// Remembers a missing key. Answers whether the loop must look at it.
    pub(super) fn note(&self, session: SessionName, missing: Missing) -> bool {
        let now = Instant::now();
        let mut asks = lock(&self.missing);
        if let Some(ask) = asks.get_mut(&session) {
            let again = ask.asked && ask.due <= now;
            ask.asked &= !again;
            return again;
        }
        if asks.len() >= KEY_ASKS_MAX {
            asks.retain(|_, ask| !ask.asked || ask.due > now);
        }
        if asks.len() >= KEY_ASKS_MAX {
            return false;
        }
        asks.insert(session, Ask { missing, asked: false, due: now + KEY_ASK_GRACE });
        true
    }

    /// A key came.
    pub(super) fn arrived(&self, room: &RoomId, session: &str) {
        lock(&self.missing).remove(&(room.to_owned(), session.to_owned()));
    }

    /// When the next sender is to be asked.
    pub(super) fn next(&self) -> Option<Instant> {
        lock(&self.missing).values().filter(|ask| !ask.asked).map(|ask| ask.due).min()
    }

    /// The keys whose senders are to be asked now. They count as asked.
    fn take_due(&self) -> Vec<(SessionName, Missing)> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (session, ask) in lock(&self.missing).iter_mut().filter(|(_, ask)| !ask.asked && ask.due <= now) {
            (ask.asked, ask.due) = (true, now + KEY_ASK_PAUSE);
            due.push((session.clone(), ask.missing.clone()));
        }
        due
    }

    /// Whether a device may be given a key now; counts as done if so.
    fn may_answer(&self, user: &UserId, device: &OwnedDeviceId, session: &str) -> bool {
        let now = Instant::now();
        let mut answered = lock(&self.answered);
        answered.retain(|_, at| now.duration_since(*at) < KEY_ANSWER_PAUSE);
        let name = (user.to_owned(), device.clone(), session.to_owned());
        if answered.len() >= KEY_ANSWERS_MAX || answered.contains_key(&name) {
            return false;
        }
        answered.insert(name, now);
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What we read of somebody's request.
#[derive(Deserialize)]
struct Wanted {
    action: String,
    body: Option<Body>,
    requesting_device_id: OwnedDeviceId,
}

#[derive(Deserialize)]
struct Body {
    room_id: OwnedRoomId,
    session_id: String,
}

impl Rounds {
    /// Asks the senders of messages whose keys are still missing.
    pub(super) async fn ask_senders(&self) -> Result<(), CryptoError> {
        let crypto = &self.inner.crypto;
        for ((room, session), missing) in crypto.asks.take_due() {
            let known = CryptoStore::get_inbound_group_session(&*crypto.store, &room, &session).await?;
            if known.is_some() && !missing.partial {
                crypto.asks.arrived(&room, &session);
            } else if missing.sender != self.inner.me.user {
                self.ask_sender(&room, &session, missing).await?;
            }
        }
        Ok(())
    }

    async fn ask_sender(&self, room: &RoomId, session: &str, missing: Missing) -> Result<(), CryptoError> {
        let (home, me) = (&self.inner.home, &self.inner.me);
        // The same request within a day is one transaction, which is sent once however often this phone restarts.
        let id: OwnedTransactionId = format!("ask.{session}.{}", home.now().0 / DAY_MS).into();
        let content = json!({
            "action": "request",
            "body": { "algorithm": MEGOLM, "room_id": room, "session_id": session },
            "request_id": id,
            "requesting_device_id": me.device,
        });
        let content = serde_json::value::to_raw_value(&content);
        let content = content.map_err(|error| CryptoError::Invalid(error.to_string()))?;
        let device = missing.device.map_or(DeviceIdOrAllDevices::AllDevices, DeviceIdOrAllDevices::DeviceId);
        let messages = BTreeMap::from([(missing.sender, BTreeMap::from([(device, Raw::from_json(content))]))]);
        let request = Request::new_raw(ToDeviceEventType::RoomKeyRequest, id, messages);
        match keys::send_to_device(home, me, request).await {
            Err(keys::KeysError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "a sender cannot be asked for a key");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Owes a device what it asks for, if its user is a reader of that session of ours.
    pub(super) async fn answer(&mut self, user: &UserId, content: &RawValue) -> Result<(), CryptoError> {
        let Ok(wanted) = serde_json::from_str::<Wanted>(content.get()) else { return Ok(()) };
        let Some(body) = wanted.body.filter(|_| wanted.action == "request") else { return Ok(()) };
        let said = Said(self.inner.me.user_key);
        let (key, room) = {
            let view = self.inner.home.store.snapshot()?;
            let (Some(key), Some(room)) = (UserKey::find(&view, user)?, RoomKey::find(&view, &body.room_id)?) else {
                return Ok(());
            };
            let record = said.find(&view, room, &body.session_id)?;
            if !record.is_some_and(|record| record.users.contains(&key.0)) {
                return Ok(());
            }
            (key, room)
        };
        if !self.inner.crypto.asks.may_answer(user, &wanted.requesting_device_id, &body.session_id) {
            return Ok(());
        }
        if !self.knows(user, &wanted.requesting_device_id).await? {
            self.refresh(user.to_owned());
        }
        // The others did not ask.
        let devices = self.inner.crypto.machine.get_user_devices(user, None).await?;
        let others = devices.keys().filter(|device| **device != *wanted.requesting_device_id);
        let others: Vec<String> = others.map(ToString::to_string).collect();
        let job = move |tx: &mut crate::store::WriteTx<'_>| said.owe(tx, key, room, &body.session_id, others.clone());
        self.inner.home.store.write::<_, StoreError, _>(job).await?;
        self.due.insert(user.to_owned());
        Ok(())
    }
}

//! `PUT /sendToDevice/{eventType}/{txnId}` and `m.direct_to_device`: messages from device to device.
//!
//! A message for a device here goes straight into its inbox, one for another server's into the outbox, all of a request in one
//! commit. What comes from another server is taken once, however often it is sent. Client-server API, "Send-to-Device
//! messaging"; server-server API, "Send-to-device messaging".

use std::{collections::BTreeMap, mem};

use ruma::{
    OwnedServerName, OwnedUserId, ServerName, UserId,
    api::{
        client::to_device::send_event_to_device::v3::{Messages, Request},
        federation::transactions::edu::{DirectDeviceContent, Edu},
    },
    events::{AnyToDeviceEventContent, ToDeviceEventType},
    serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Actor, KeysError, devices, inbox,
    seen::{self, Kind},
};
use crate::{
    home::Home,
    outbox,
    store::{LogKind, LogRow, Result, ServerKey, StoreError, UserKey, View, WriteTx},
    types::limits::{ID_BYTES_MAX, TO_DEVICE_BYTES_MAX, TO_DEVICE_EDU_BYTES_MAX},
};

/// Characters of a message id: 95 bits, and half of what the specification allows.
const MESSAGE_ID_CHARS: usize = 16;

/// Messages of one sender to the devices of one user.
type ToUser = BTreeMap<DeviceIdOrAllDevices, Raw<AnyToDeviceEventContent>>;

/// Sends messages to devices. A repeat of the same transaction changes nothing.
///
/// # Errors
/// [`KeysError::Malformed`], [`KeysError::Invalid`], [`KeysError::TooMuch`], and the store's.
pub async fn send_to_device(home: &Home, actor: &Actor, request: Request) -> Result<(), KeysError> {
    let Request { event_type, txn_id, messages, .. } = request;
    check(&event_type, txn_id.as_str(), &messages)?;
    let mut local = Messages::new();
    let mut remote: BTreeMap<OwnedServerName, Messages> = BTreeMap::new();
    for (user, messages) in messages {
        if home.is_local(user.server_name()) {
            local.insert(user, messages);
        } else {
            remote.entry(user.server_name().to_owned()).or_default().insert(user, messages);
        }
    }
    let mut letters = Vec::new();
    for (server, messages) in remote {
        for messages in in_pieces(messages) {
            let id = home.ports.random.token(MESSAGE_ID_CHARS).into();
            let mut content = DirectDeviceContent::new(actor.user.clone(), event_type.clone(), id);
            content.messages = messages;
            let edu = serde_json::to_string(&Edu::DirectToDevice(content));
            letters.push((server.clone(), edu.map_err(|error| KeysError::Malformed(error.to_string()))?));
        }
    }
    let own = home.server_name().to_owned();
    let actor = actor.clone();
    let job = move |tx: &mut WriteTx<'_>| -> Result<(), KeysError> {
        let Some(record) = devices::record(tx, actor.user_key, actor.device.as_str())? else {
            return Err(KeysError::Forbidden("this device was logged out".into()));
        };
        // Transaction ids are the token's: a device that logged in anew counts from the start again.
        let session = record.token.unwrap_or_default();
        let kind = event_type.to_string();
        let parts = [actor.device.as_bytes(), &session, kind.as_bytes(), txn_id.as_bytes()];
        if !seen::is_new(tx, Kind::Transaction, actor.user_key.0, &seen::name_of(&parts))? {
            return Ok(());
        }
        let origin = ServerKey::intern(tx, &own)?.0;
        for (user, messages) in &local {
            deliver(tx, origin, &actor.user, &event_type, user, messages)?;
        }
        for (server, edu) in &letters {
            let server = ServerKey::intern(tx, server)?;
            outbox::post(tx, server, None, edu)?;
        }
        Ok(())
    };
    home.store.write(job).await
}

/// Takes messages of another server's users. Those that claim another sender, are malformed or were seen before are passed
/// over.
///
/// # Errors
/// When the store fails; nothing was taken then.
pub async fn receive(home: &Home, origin: &ServerName, contents: Vec<DirectDeviceContent>) -> Result<()> {
    let contents: Vec<_> = contents.into_iter().filter_map(|content| taken_from(home, origin, content)).collect();
    if contents.is_empty() {
        return Ok(());
    }
    let origin = origin.to_owned();
    home.store.write(move |tx| contents.iter().try_for_each(|content| receive_one(tx, &origin, content))).await
}

/// What of an EDU is for us and holds up.
fn taken_from(home: &Home, origin: &ServerName, mut content: DirectDeviceContent) -> Option<DirectDeviceContent> {
    if content.sender.server_name() != origin {
        tracing::warn!(%origin, sender = %content.sender, "a to-device message in another server's name is refused");
        return None;
    }
    content.messages.retain(|user, _| home.is_local(user.server_name()));
    for messages in content.messages.values_mut() {
        messages.retain(|_, message| is_message(message));
    }
    let fits = check(&content.ev_type, content.message_id.as_str(), &content.messages);
    fits.inspect_err(|error| tracing::debug!(%origin, %error, "a to-device message is left out")).ok()?;
    Some(content)
}

fn receive_one(tx: &mut WriteTx<'_>, origin: &ServerName, content: &DirectDeviceContent) -> Result<()> {
    // A message for nobody leaves no trace.
    let mut is_wanted = false;
    for (user, messages) in &content.messages {
        is_wanted |= !recipients(tx, user, messages)?.is_empty();
    }
    if !is_wanted {
        return Ok(());
    }
    // All servers that no room has brought here share one place: a new name costs nothing.
    let server = ServerKey::find(tx, origin)?.map_or(0, |server| server.0);
    let name = seen::name_of(&[origin.as_bytes(), content.message_id.as_bytes()]);
    if !seen::is_new(tx, Kind::Message, server, &name)? {
        return Ok(());
    }
    for (user, messages) in &content.messages {
        deliver(tx, server, &content.sender, &content.ev_type, user, messages)?;
    }
    Ok(())
}

/// A message as its device gets it.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a ToDeviceEventType,
    sender: &'a UserId,
    content: &'a RawValue,
}

/// Puts messages into the inboxes of a local user's devices.
fn deliver(
    tx: &mut WriteTx<'_>,
    origin: u32,
    sender: &UserId,
    kind: &ToDeviceEventType,
    user: &UserId,
    messages: &ToUser,
) -> Result<()> {
    let recipients = recipients(tx, user, messages)?;
    let Some(user) = UserKey::find(tx, user)? else { return Ok(()) };
    let n = tx.next_n();
    let mut is_any_kept = false;
    for (device, message) in recipients {
        let event = Event { kind, sender, content: message.json() };
        let event = serde_json::to_string(&event).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        is_any_kept |= inbox::put(tx, user, &device, n, origin, &event)?;
    }
    if is_any_kept {
        tx.log(&LogRow { kind: LogKind::ToDevice, room: 0, user: user.0, esn: 0 })?;
    }
    Ok(())
}

/// The devices that get a message, each with its own: the one under its id, or else the one for all.
fn recipients<'a>(
    view: &dyn View,
    user: &UserId,
    messages: &'a ToUser,
) -> Result<Vec<(String, &'a Raw<AnyToDeviceEventContent>)>> {
    let Some(key) = UserKey::find(view, user)? else { return Ok(Vec::new()) };
    let mut recipients = Vec::new();
    for device in devices::all(view, key)? {
        let own = messages.get(&DeviceIdOrAllDevices::DeviceId(device.as_str().into()));
        if let Some(message) = own.or_else(|| messages.get(&DeviceIdOrAllDevices::AllDevices)) {
            recipients.push((device, message));
        }
    }
    Ok(recipients)
}

fn check(kind: &ToDeviceEventType, id: &str, messages: &Messages) -> Result<(), KeysError> {
    let kind = kind.to_string();
    if kind.is_empty() || kind.len() > ID_BYTES_MAX || id.len() > ID_BYTES_MAX {
        return Err(KeysError::Invalid("an event type and an id have 255 bytes at most".into()));
    }
    for message in messages.values().flat_map(BTreeMap::values) {
        if message.json().get().len() > TO_DEVICE_BYTES_MAX {
            return Err(KeysError::TooMuch(format!("a to-device message has {TO_DEVICE_BYTES_MAX} bytes at most")));
        }
        if !is_message(message) {
            return Err(KeysError::Malformed("a to-device message is a JSON object".into()));
        }
    }
    Ok(())
}

fn is_message(message: &Raw<AnyToDeviceEventContent>) -> bool {
    let json = message.json().get();
    json.len() <= TO_DEVICE_BYTES_MAX && json.trim_start().starts_with('{')
}

/// The messages for one server in pieces that each fit an EDU.
fn in_pieces(messages: Messages) -> Vec<Messages> {
    let mut pieces = Vec::new();
    let mut piece = Messages::new();
    let mut bytes = 0;
    for (user, device, message) in flat(messages) {
        let size = message.json().get().len();
        if bytes + size > TO_DEVICE_EDU_BYTES_MAX && !piece.is_empty() {
            pieces.push(mem::take(&mut piece));
            bytes = 0;
        }
        bytes += size;
        piece.entry(user).or_default().insert(device, message);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

fn flat(messages: Messages) -> impl Iterator<Item = (OwnedUserId, DeviceIdOrAllDevices, Raw<AnyToDeviceEventContent>)> {
    messages
        .into_iter()
        .flat_map(|(user, messages)| messages.into_iter().map(move |(device, message)| (user.clone(), device, message)))
}

//! Verification inside of a room: finding the room of two people, sending a flow's messages there, and picking them out of
//! what others send.

use matrix_sdk_crypto::types::requests::RoomMessageRequest;
use ruma::{
    CanonicalJsonObject, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedTransactionId, OwnedUserId, RoomId, UserId,
    events::{
        AnyMessageLikeEvent, AnyMessageLikeEventContent, MessageLikeEventContent, StateEventType, TimelineEventType,
    },
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    chat::{
        Inner,
        crypto::{Clear, CryptoError},
    },
    rooms::{self, ClientTxn, NewEvent, Room, joined_rooms},
    store::{Esn, RoomKey, Stored, View},
    types::limits::VERIFICATION_AGE_MAX,
};

/// Members of a room in which people verify each other. The specification says a direct chat; bots may sit in it.
const MEMBERS_MAX: u64 = 10;
const ENCRYPTED: &str = "m.room.encrypted";
const REQUEST: &str = "m.key.verification.request";

/// What a message turned out to be.
#[derive(Debug)]
pub(in crate::chat) enum Look {
    /// The machine has it, or it is none of its business.
    Done,
    /// It cannot be read yet.
    Unreadable,
    /// It is a request from a device that is not known yet.
    Stranger(OwnedUserId),
}

/// The room that two people have for themselves: an encrypted one rather than another, a busy one rather than a quiet one.
pub(super) fn of_two(inner: &Inner, user: &UserId) -> Result<Option<OwnedRoomId>, CryptoError> {
    let view = inner.home.store.snapshot()?;
    let mut best = None;
    for key in joined_rooms(&view, inner.me.user_key)? {
        let Some(room) = Room::by_key(&view, key)? else { continue };
        if room.record.joined == 2 && room.is_joined(&view, user)? {
            best = best.max(Some((is_encrypted(&view, &room)?, room.record.last_n, room.id)));
        }
    }
    Ok(best.map(|(_, _, room)| room))
}

fn is_encrypted(view: &dyn View, room: &Room) -> Result<bool, CryptoError> {
    Ok(room.current_event(view, &StateEventType::RoomEncryption, "")?.is_some())
}

/// Sends a message of the machine's into its room. A repeat of it finds the first one.
pub(in crate::chat) async fn send_in_room(
    inner: &Inner,
    request: &RoomMessageRequest,
) -> Result<OwnedEventId, CryptoError> {
    send(inner, &request.room_id, (*request.content).clone(), Some(request.txn_id.clone())).await
}

/// Sends a message into a room, encrypted if the room is.
pub(super) async fn send(
    inner: &Inner,
    room: &RoomId,
    content: AnyMessageLikeEventContent,
    txn: Option<OwnedTransactionId>,
) -> Result<OwnedEventId, CryptoError> {
    let invalid = |error: serde_json::Error| CryptoError::Invalid(error.to_string());
    let encrypted = {
        let view = inner.home.store.snapshot()?;
        let unknown = || CryptoError::NotFound(format!("{room} is not here"));
        is_encrypted(&view, &Room::find(&view, room)?.ok_or_else(unknown)?)?
    };
    let mut kind = content.event_type().to_string();
    let mut json: Box<RawValue> = Raw::new(&content).map_err(invalid)?.into_json();
    if encrypted {
        json = inner.crypto.encrypt_now(inner, room, &kind, &json).await?;
        kind = ENCRYPTED.to_owned();
    }
    let new = NewEvent {
        room: room.to_owned(),
        sender: inner.me.user.clone(),
        kind: TimelineEventType::from(kind),
        state_key: None,
        content: serde_json::from_str::<CanonicalJsonObject>(json.get()).map_err(invalid)?,
        redacts: None,
        txn: txn.map(|id| ClientTxn { device: inner.me.device.clone(), id }),
        timestamp: None,
    };
    Ok(rooms::send(&inner.home, new).await?)
}

/// What a request for verification in a room says.
#[derive(Deserialize)]
struct Request {
    msgtype: String,
    to: OwnedUserId,
    from_device: OwnedDeviceId,
}

/// Looks at a message that somebody else sent, or another device of ours, and gives it to the machine if it belongs to a
/// verification. Messages that are too old for one are not even opened.
pub(in crate::chat) async fn look(inner: &Inner, esn: Esn) -> Result<Look, CryptoError> {
    let Some(event) = fresh(inner, esn)? else { return Ok(Look::Done) };
    let mut kind = event.pdu.kind.to_string();
    let mut content = event.pdu.content.clone();
    if kind == ENCRYPTED {
        match inner.crypto.decrypt(&event.pdu.room_id, &event).await? {
            Clear::Event { kind: inside, content: clear, .. } => (kind, content) = (inside, clear),
            Clear::Waiting { .. } => return Ok(Look::Unreadable),
            Clear::Never { .. } => return Ok(Look::Done),
        }
    }
    let sender = &event.pdu.sender;
    if kind == "m.room.message" {
        let request = serde_json::from_str::<Request>(content.get()).ok();
        let request = request.filter(|request| request.msgtype == REQUEST && request.to == inner.me.user);
        let Some(request) = request else { return Ok(Look::Done) };
        if inner.crypto.machine.get_device(sender, &request.from_device, None).await?.is_none() {
            return Ok(Look::Stranger(sender.clone()));
        }
    } else if !kind.starts_with("m.key.verification.") {
        return Ok(Look::Done);
    }
    let json = json!({
        "type": kind,
        "content": content,
        "sender": sender,
        "event_id": event.pdu.event_id,
        "origin_server_ts": event.pdu.origin_server_ts.0,
        "room_id": event.pdu.room_id,
    });
    // Anyone may send anything; what does not parse is no message of a verification.
    if let Ok(message) = serde_json::from_value::<AnyMessageLikeEvent>(json) {
        inner.crypto.machine.receive_verification_event(&message).await?;
        inner.crypto.flows.notice(&inner.crypto.machine, sender);
    }
    Ok(Look::Done)
}

/// A message that may belong to a verification.
fn fresh(inner: &Inner, esn: Esn) -> Result<Option<Stored>, CryptoError> {
    let view = inner.home.store.snapshot()?;
    let Some(event) = Stored::load(&view, esn)? else { return Ok(None) };
    let age = u128::from(inner.home.now().0.abs_diff(event.pdu.origin_server_ts.0));
    if age > VERIFICATION_AGE_MAX.as_millis() || event.pdu.is_state() {
        return Ok(None);
    }
    let few = |room: RoomKey| -> Result<bool, CryptoError> {
        Ok(Room::by_key(&view, room)?.is_some_and(|room| room.record.joined <= MEMBERS_MAX))
    };
    Ok(if few(event.header.room)? { Some(event) } else { None })
}

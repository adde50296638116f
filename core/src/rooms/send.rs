//! Events of our own: drafted on the current heads, signed, authorised and applied inside one engine job.
//!
//! Building inside the job costs the engine a signature (about 30 microseconds) and spares every race: the heads that an
//! event names are the heads that it replaces.

use ruma::{
    CanonicalJsonObject, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedTransactionId, OwnedUserId, RoomId,
    RoomVersionId, UserId, events::TimelineEventType,
};
use serde_json::value::RawValue;

use super::{
    error::{ApplyError, RoomError},
    fork, import,
    judge::{Verdict, allowed_by_state},
    place::{Applied, Placed, place},
    policy,
    read::Room,
    relations,
};
use crate::{
    event::{Draft, Pdu, rules_of},
    home::Home,
    resolve,
    store::{Esn, Result, StateRef, StoreError, Stored, UserKey, View, WriteTx, txns},
    types::{LocalServer, Millis, limits},
};

/// The transaction of a client's request, which makes a retry find its event.
#[derive(Clone, Debug)]
pub struct ClientTxn {
    /// The client's device.
    pub device: OwnedDeviceId,
    /// The id that it chose.
    pub id: OwnedTransactionId,
}

/// An event that a local user wants to send.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Where.
    pub room: OwnedRoomId,
    /// Who.
    pub sender: OwnedUserId,
    /// `type`.
    pub kind: TimelineEventType,
    /// For state events.
    pub state_key: Option<String>,
    /// `content`.
    pub content: CanonicalJsonObject,
    /// For redactions.
    pub redacts: Option<OwnedEventId>,
    /// The client's transaction.
    pub txn: Option<ClientTxn>,
    /// Another time than now, as application services may claim.
    pub timestamp: Option<Millis>,
}

impl NewEvent {
    /// A state event, sent now and by no client's transaction.
    pub fn state(
        room: &RoomId,
        sender: &UserId,
        kind: TimelineEventType,
        state_key: &str,
        content: CanonicalJsonObject,
    ) -> Self {
        Self {
            room: room.to_owned(),
            sender: sender.to_owned(),
            kind,
            state_key: Some(state_key.to_owned()),
            content,
            redacts: None,
            txn: None,
            timestamp: None,
        }
    }
}

/// Sends an event. The answer goes out after the commit. Sending the same transaction again answers the same event.
///
/// # Errors
/// When the room is unknown, its rules forbid the event, or the event is malformed or too large.
pub async fn send(home: &Home, new: NewEvent) -> Result<OwnedEventId, RoomError> {
    let (local, now) = (home.local.clone(), home.now());
    home.store.write(move |tx| send_in(tx, &local, now, &new)).await
}

/// As [`send`], inside a job.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_in(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    now: Millis,
    new: &NewEvent,
) -> Result<OwnedEventId, RoomError> {
    if let Some(txn) = &new.txn
        && let Some(user) = UserKey::find(tx, &new.sender)?
        && let Some(esn) = txns::find(tx, user, txn.device.as_str(), txn.id.as_str())?
    {
        let sent = Stored::must(tx, esn)?.pdu;
        // A transaction id counts for one path: in another room, for another type or target, it is another request.
        if sent.room_id == new.room && sent.kind == new.kind && sent.redacts == new.redacts {
            return Ok(sent.event_id);
        }
    }
    let mut room = Room::find(tx, &new.room)?.ok_or_else(|| RoomError::UnknownRoom(new.room.clone()))?;
    let draft = draft(tx, &room, now, new)?;
    let pdu = draft.sign(local, &room.rules)?;
    send_signed(tx, local, &mut room, &pdu, new.txn.as_ref())
}

/// Applies a signed event of our own whose parents are current heads.
fn send_signed(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    pdu: &Pdu,
    txn: Option<&ClientTxn>,
) -> Result<OwnedEventId, RoomError> {
    let prevs = chosen_heads(&room.record.heads).to_vec();
    let before = if prevs.len() == room.record.heads.len() {
        room.record.current()
    } else {
        fork::state_before(tx, room, &prevs)?
    };
    allowed_by_state(tx, room, pdu, before)?.map_err(RoomError::Forbidden)?;
    policy::check(tx, room, pdu)?.map_err(RoomError::Forbidden)?;
    relations::check_new(tx, room, pdu)?;
    let placed = Placed {
        pdu,
        prevs: &prevs,
        before,
        verdict: Verdict::Accept,
        missing: Vec::new(),
        restart: false,
        txn: txn.map(|txn| format!("{}\0{}", txn.device, txn.id)),
        send_out: true,
    };
    let Applied::Accepted { esn } = place(tx, local, room, placed)? else {
        return Err(StoreError::Corrupt("our own event was not accepted".into()).into());
    };
    if let Some(txn) = txn {
        let user = UserKey::intern(tx, &pdu.sender)?;
        txns::keep(tx, user, txn.device.as_str(), txn.id.as_str(), esn)?;
    }
    Ok(pdu.event_id.clone())
}

/// The newest heads, as many as an event may name.
fn chosen_heads(heads: &[Esn]) -> &[Esn] {
    heads.get(heads.len().saturating_sub(limits::OWN_PREV_EVENTS_MAX)..).unwrap_or(heads)
}

/// The unsigned event that heads and state would give now. Whether the rules allow it is `allowed_now`'s to say.
///
/// # Errors
/// When the content is malformed for its type.
pub fn draft(view: &dyn View, room: &Room, now: Millis, new: &NewEvent) -> Result<Draft, RoomError> {
    let mut prev_events = Vec::new();
    for head in chosen_heads(&room.record.heads) {
        let header = Stored::header(view, *head)?;
        let header = header.ok_or_else(|| StoreError::Corrupt(format!("head {head} is missing")))?;
        prev_events.push(header.event_id()?);
    }
    let draft = Draft {
        room_id: Some(room.id.clone()),
        sender: new.sender.clone(),
        kind: new.kind.clone(),
        state_key: new.state_key.clone(),
        content: new.content.clone(),
        redacts: new.redacts.clone(),
        prev_events,
        auth_events: auth_events(view, room, room.record.current(), new)?,
        // 2^53 - 1 is the format's limit. Depth proves nothing, so a peer that reached it harms nobody.
        depth: (room.record.depth + 1).min((1 << 53) - 1),
        origin_server_ts: new.timestamp.unwrap_or(now),
    };
    Ok(draft)
}

fn auth_events(view: &dyn View, room: &Room, state: StateRef, new: &NewEvent) -> Result<Vec<OwnedEventId>, RoomError> {
    let content = serde_json::to_string(&new.content).and_then(RawValue::from_string);
    let content = content.map_err(|error| RoomError::Invalid(error.to_string()))?;
    let keys =
        resolve::auth_keys(&room.rules.authorization, &new.kind, &new.sender, new.state_key.as_deref(), &content)
            .map_err(|error| RoomError::Invalid(error.to_string()))?;
    let mut ids = Vec::new();
    for (kind, key) in keys {
        if let Some(stored) = room.state_event(view, state, &kind, &key)? {
            ids.push(stored.pdu.event_id);
        }
    }
    Ok(ids)
}

/// Makes a room: its record and its create event. `fresh` is the id that it gets if its version does not derive one.
///
/// # Errors
/// When the version does not work here, or the create event breaks its rules.
pub(crate) fn start_room(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    now: Millis,
    version: &RoomVersionId,
    sender: &UserId,
    content: CanonicalJsonObject,
    fresh: &RoomId,
) -> Result<OwnedRoomId, RoomError> {
    let rules = rules_of(version).ok_or_else(|| RoomError::UnsupportedVersion(version.clone()))?;
    let derived = rules.authorization.room_create_event_id_as_room_id;
    let draft = Draft {
        room_id: (!derived).then(|| fresh.to_owned()),
        sender: sender.to_owned(),
        kind: TimelineEventType::RoomCreate,
        state_key: Some(String::new()),
        content,
        redacts: None,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
        depth: 1,
        origin_server_ts: now,
    };
    let pdu = draft.sign(local, &rules)?;
    resolve::check_auth_events(&rules, &pdu, &|_| None).map_err(|error| RoomError::Invalid(error.to_string()))?;
    if Room::find(tx, &pdu.room_id)?.is_some() {
        return Err(RoomError::InUse(pdu.room_id.to_string()));
    }
    let mut room = import::new_room(tx, &pdu.room_id, version)?;
    let placed = Placed {
        pdu: &pdu,
        prevs: &[],
        before: StateRef::default(),
        verdict: Verdict::Accept,
        missing: Vec::new(),
        restart: false,
        txn: None,
        send_out: true,
    };
    place(tx, local, &mut room, placed).map_err(|error: ApplyError| RoomError::from(error))?;
    Ok(room.id)
}

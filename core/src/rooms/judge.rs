//! Checks 4 to 7 on an event: its auth events, the state before it, the current state, the room's policy server.
//!
//! Checks 1 to 3 (format, signatures, content hash) are `event::verify`'s and ran before, outside of the transaction.
//! Server-server API, "Checks performed on receipt of a PDU".

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, TimelineEventType},
};

use super::{policy, read::Room};
use crate::{
    event::Pdu,
    resolve,
    store::{Esn, Result, Ssk, StateRef, StoreError, Stored, View},
};

/// The judgement of checks 4 to 7.
pub(super) enum Verdict {
    Accept,
    SoftFail(String),
    Reject(String),
}

/// Whether the rules let an event pass, and if not, why.
pub(super) type Allowed = Result<(), String>;

/// Checks 4 to 7.
pub(super) fn judge(view: &dyn View, room: &Room, pdu: &Pdu, before: StateRef) -> Result<Verdict> {
    if pdu.kind == TimelineEventType::RoomCreate || pdu.prev_events.is_empty() {
        // The auth rules alone would let a second beginning in, and with it a second owner.
        return Ok(Verdict::Reject("a room begins once".into()));
    }
    if let Err(why) = allowed_by_auth_events(view, room, pdu, Some(before))? {
        return Ok(Verdict::Reject(why));
    }
    if let Err(why) = allowed_by_state(view, room, pdu, before)? {
        return Ok(Verdict::Reject(why));
    }
    let current = room.record.current();
    if before != current
        && let Err(why) = allowed_by_state(view, room, pdu, current)?
    {
        return Ok(Verdict::SoftFail(why));
    }
    if let Err(why) = policy::check(view, room, pdu)? {
        return Ok(Verdict::SoftFail(why));
    }
    Ok(Verdict::Accept)
}

/// Check 4, and the part of check 5 that needs only the event's own auth events. That part is left out where the state
/// `before` holds just these events, because checking against the state asks the same question.
pub(super) fn allowed_by_auth_events(
    view: &dyn View,
    room: &Room,
    pdu: &Pdu,
    before: Option<StateRef>,
) -> Result<Allowed> {
    let mut ids: Vec<OwnedEventId> = pdu.auth_events.clone();
    if room.rules.authorization.room_create_event_id_as_room_id {
        // Version 12 names the create event by the room's id instead of listing it.
        ids.extend(OwnedEventId::try_from(room.id.as_str().replacen('!', "$", 1)));
    }
    let (mut events, mut numbers) = (BTreeMap::new(), BTreeSet::new());
    for id in ids {
        if let Some(esn) = Stored::find(view, &id)? {
            numbers.insert(esn);
            events.insert(id, Stored::shared(view, esn)?);
        }
    }
    let fetch = |id: &EventId| events.get(id).cloned();
    if let Err(error) = resolve::check_auth_events(&room.rules, pdu, &fetch) {
        return Ok(Err(error.to_string()));
    }
    if let Some(before) = before
        && are_the_states_own(view, room, pdu, before, &numbers)?
    {
        return Ok(Ok(()));
    }
    Ok(resolve::check_against_auth_events(&room.rules, pdu, &fetch).map_err(|error| error.to_string()))
}

/// Whether a state holds exactly these events in the keys that authorise the event.
fn are_the_states_own(
    view: &dyn View,
    room: &Room,
    pdu: &Pdu,
    state: StateRef,
    numbers: &BTreeSet<Esn>,
) -> Result<bool> {
    let rules = &room.rules.authorization;
    let keys = resolve::auth_keys(rules, &pdu.kind, &pdu.sender, pdu.state_key.as_deref(), &pdu.content);
    let Ok(mut keys) = keys else { return Ok(false) };
    if rules.room_create_event_id_as_room_id {
        keys.push((StateEventType::RoomCreate, String::new()));
    }
    let mut held = BTreeSet::new();
    for (kind, key) in keys {
        if let Some(ssk) = Ssk::find(view, &kind, &key)? {
            held.extend(state.entry(view, room.key, ssk)?);
        }
    }
    Ok(held == *numbers)
}

/// Whether the room's current state allows an event. The reason stands in the inner error.
///
/// # Errors
/// When the database fails.
pub fn allowed_now(view: &dyn View, room: &Room, pdu: &Pdu) -> Result<Result<(), String>> {
    allowed_by_state(view, room, pdu, room.record.current())
}

/// Whether a state allows an event: checks 5 and 6.
pub(super) fn allowed_by_state(view: &dyn View, room: &Room, pdu: &Pdu, state: StateRef) -> Result<Allowed> {
    let failed = RefCell::new(None);
    let fetch = |kind: &StateEventType, key: &str| {
        entry(view, room, state, kind, key).unwrap_or_else(|error: StoreError| {
            failed.borrow_mut().get_or_insert(error);
            None
        })
    };
    let verdict = resolve::check_against(&room.rules, pdu, &fetch);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(verdict.map_err(|error| error.to_string())),
    }
}

fn entry(view: &dyn View, room: &Room, state: StateRef, kind: &StateEventType, key: &str) -> Result<Option<Arc<Pdu>>> {
    let Some(ssk) = Ssk::find(view, kind, key)? else { return Ok(None) };
    state.entry(view, room.key, ssk)?.map(|esn| Stored::shared(view, esn)).transpose()
}

//! Reading a room's events. Server-server API, "Retrieving events" and "Backfilling and retrieving missing events".
//!
//! - `GET /_matrix/federation/v1/event/{eventId}`
//! - `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
//! - `GET /_matrix/federation/v1/state/{roomId}?event_id=`
//! - `GET /_matrix/federation/v1/state_ids/{roomId}?event_id=`
//!
//! For servers in the room alone. An event that history visibility hides from a server goes out redacted.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, UInt,
    api::federation::{
        authorization::get_event_authorization,
        event::{get_event, get_room_state, get_room_state_ids},
    },
};
use serde_json::value::RawValue;

use super::door::{event_of, room_at};
use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    event::{Pdu, redacted},
    home::Home,
    rooms::{Room, visibility::ServerSight},
    store::{StoreError, Stored, View},
    types::limits::STATE_EVENTS_MAX,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, get_event);
    let router = route(router, get_event_authorization);
    let router = route(router, get_room_state);
    route(router, get_room_state_ids)
}

/// Our clock, for answers that name it.
pub(super) fn now(home: &Home) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(home.now().0))
}

async fn get_event(
    State(home): State<Arc<Home>>,
    call: Signed<get_event::v1::Request>,
) -> Result<get_event::v1::Response, ApiError> {
    let view = home.store.snapshot()?;
    let unknown = || ApiError::not_found(format!("{} is not known here", call.request.event_id));
    let stored = Stored::by_id(&view, &call.request.event_id)?.ok_or_else(unknown)?;
    let room = Room::by_key(&view, stored.header.room)?.ok_or_else(unknown)?;
    let room = room_at(&view, &room.id, [&call.request.event_id], &call.origin)?;
    if stored.header.flags.rejected {
        return Err(unknown());
    }
    let mut sight = ServerSight::new(&view, &room, &call.origin)?;
    // State is whole: a server in the room cannot follow it without the events that it is made of.
    let pdu = if stored.pdu.is_state() { stored.pdu.json().to_owned() } else { shown(&room, &mut sight, &stored)? };
    Ok(get_event::v1::Response::new(home.server_name().to_owned(), now(&home), pdu))
}

/// An event as a server may see it: whole, or without what history visibility hides. What stands beside the timeline
/// (outliers, soft-failed events) has no visibility of its own and is whole: later events are built on it.
pub(super) fn shown(room: &Room, sight: &mut ServerSight<'_>, stored: &Stored) -> Result<Box<RawValue>, ApiError> {
    if stored.header.pos == 0 || sight.sees(stored)? {
        return Ok(stored.pdu.json().to_owned());
    }
    let object = stored.pdu.object().map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let object = redacted(object, &room.rules).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let raw = serde_json::value::to_raw_value(&object).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(raw)
}

async fn get_event_authorization(
    State(home): State<Arc<Home>>,
    call: Signed<get_event_authorization::v1::Request>,
) -> Result<get_event_authorization::v1::Response, ApiError> {
    let view = home.store.snapshot()?;
    let room = room_at(&view, &call.request.room_id, [&call.request.event_id], &call.origin)?;
    let event = event_of(&view, &room, &call.request.event_id)?;
    let chain = auth_chain(&view, [&event.pdu])?;
    Ok(get_event_authorization::v1::Response::new(raws(chain.values())))
}

async fn get_room_state(
    State(home): State<Arc<Home>>,
    call: Signed<get_room_state::v1::Request>,
) -> Result<get_room_state::v1::Response, ApiError> {
    let view = home.store.snapshot()?;
    let room = room_at(&view, &call.request.room_id, [&call.request.event_id], &call.origin)?;
    let state = state_before(&view, &room, &call.request.event_id)?;
    let chain = auth_chain(&view, &state)?;
    Ok(get_room_state::v1::Response::new(raws(chain.values()), raws(&state)))
}

async fn get_room_state_ids(
    State(home): State<Arc<Home>>,
    call: Signed<get_room_state_ids::v1::Request>,
) -> Result<get_room_state_ids::v1::Response, ApiError> {
    let view = home.store.snapshot()?;
    let room = room_at(&view, &call.request.room_id, [&call.request.event_id], &call.origin)?;
    let state = state_before(&view, &room, &call.request.event_id)?;
    let chain = auth_chain(&view, &state)?.into_keys().collect();
    let ids = state.into_iter().map(|pdu| pdu.event_id).collect();
    Ok(get_room_state_ids::v1::Response::new(chain, ids))
}

/// The state before an event whose own past is known here.
fn state_before(view: &dyn View, room: &Room, event: &ruma::EventId) -> Result<Vec<Pdu>, ApiError> {
    let stored = event_of(view, room, event)?;
    let flags = stored.header.flags;
    if flags.outlier || flags.history || flags.rejected {
        return Err(ApiError::not_found(format!("the state before {event} is not known here")));
    }
    state(view, room, stored.header.before)
}

/// The events of a state.
pub(super) fn state(view: &dyn View, room: &Room, at: crate::store::StateRef) -> Result<Vec<Pdu>, ApiError> {
    let entries = at.all(view, room.key)?;
    if entries.len() > STATE_EVENTS_MAX {
        return Err(ApiError::too_large(format!("the room has {} state events", entries.len())));
    }
    let mut state = Vec::with_capacity(entries.len());
    for esn in entries.into_values() {
        state.push(Stored::must(view, esn)?.pdu);
    }
    Ok(state)
}

/// Everything that events are authorised by, themselves left out unless one authorises another.
pub(super) fn auth_chain<'a>(
    view: &dyn View,
    events: impl IntoIterator<Item = &'a Pdu>,
) -> Result<BTreeMap<OwnedEventId, Pdu>, ApiError> {
    let mut chain: BTreeMap<OwnedEventId, Pdu> = BTreeMap::new();
    let mut open: Vec<OwnedEventId> = events.into_iter().flat_map(|pdu| pdu.auth_events.iter().cloned()).collect();
    while let Some(id) = open.pop() {
        if chain.contains_key(&id) {
            continue;
        }
        let Some(stored) = Stored::by_id(view, &id)? else { continue };
        open.extend(stored.pdu.auth_events.iter().cloned());
        chain.insert(id, stored.pdu);
    }
    Ok(chain)
}

/// Events as they travel.
pub(super) fn raws<'a>(pdus: impl IntoIterator<Item = &'a Pdu>) -> Vec<Box<RawValue>> {
    pdus.into_iter().map(|pdu| pdu.json().to_owned()).collect()
}

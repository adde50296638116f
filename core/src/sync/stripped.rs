//! Rooms that a user is invited to or knocks on: what may be seen from outside.
//!
//! Client-server API, "Stripped state". What an inviting server sent is cut to the fields of stripped state, so that nothing
//! else of another server's making reaches a client.

use std::collections::BTreeSet;

use ruma::{
    OwnedEventId, OwnedUserId,
    api::client::sync::sync_events::v3::{InviteState, InvitedRoom, KnockState, KnockedRoom},
    events::AnyStrippedStateEvent,
    serde::Raw,
};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    event::{Pdu, stripped_state},
    store::{InviteRecord, Record, Result, RoomKey, StoreError, UserKey, View},
};

/// An invite, or `None` if what came with it is gone or it is of somebody whom the user ignores.
pub(super) fn invite(
    view: &dyn View,
    user: UserKey,
    room: RoomKey,
    ignored: &BTreeSet<OwnedUserId>,
) -> Result<Option<InvitedRoom>> {
    let events = events(view, user, room)?.filter(|(sender, _)| !ignored.contains(sender));
    Ok(events.map(|(_, events)| InvitedRoom::from(InviteState::from(events))))
}

/// A knock, or `None` if what came with it is gone.
pub(super) fn knock(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Option<KnockedRoom>> {
    Ok(events(view, user, room)?.map(|(_, events)| {
        let mut state = KnockState::new();
        state.events = events;
        KnockedRoom::from(state)
    }))
}

type Stripped = (OwnedUserId, Vec<Raw<AnyStrippedStateEvent>>);

/// The stripped state, and who sent the user's own member event.
fn events(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Option<Stripped>> {
    let Some(row) = view.inv()?.row((user.0, room.0))? else { return Ok(None) };
    let record = InviteRecord::decode(row.value())?;
    let mut events: Vec<_> = record.state.iter().filter_map(|event| cut(event)).map(Raw::from_json).collect();
    let damaged =
        |error: String| StoreError::Corrupt(format!("the invite of user {} to room {}: {error}", user.0, room.0));
    let id = OwnedEventId::try_from(record.event_id).map_err(|error| damaged(error.to_string()))?;
    let json = RawValue::from_string(record.event).map_err(|error| damaged(error.to_string()))?;
    let pdu = Pdu::from_stored(id, json).map_err(|error| damaged(error.to_string()))?;
    // The user's own member event says who invited them. It replaces an earlier one that the state may hold.
    let own = pdu.state_key.clone().unwrap_or_default();
    events.retain(|event| !is_member(event, &own));
    events.push(Raw::from_json(stripped_state(&pdu)));
    Ok(Some((pdu.sender, events)))
}

/// The four fields of stripped state out of an event, if it has them.
fn cut(event: &str) -> Option<Box<RawValue>> {
    let mut event: Map<String, Value> = serde_json::from_str(event).ok()?;
    let mut stripped = Map::new();
    for field in ["content", "sender", "state_key", "type"] {
        stripped.insert(field.to_owned(), event.remove(field)?);
    }
    serde_json::value::to_raw_value(&stripped).ok()
}

fn is_member(event: &Raw<AnyStrippedStateEvent>, user: &str) -> bool {
    let is = |field: &str, wanted: &str| event.get_field::<String>(field).ok().flatten().as_deref() == Some(wanted);
    is("type", "m.room.member") && is("state_key", user)
}

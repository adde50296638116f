//! Sends that the room's rules alone would let through, or would repeat for nothing.
//!
//! From room version 3 on the rules accept any redaction event and leave it without effect, so a client would never learn
//! that it may not redact: the question is asked here. A state event that says what the state says already is not sent.

use ruma::{CanonicalJsonObject, EventId, OwnedEventId, events::StateEventType};

use super::{NewEvent, Room, RoomError, send_in};
use crate::{
    home::Home,
    store::{StoreError, Stored, View},
};

/// Sends a state event, unless the current one of its key is of the same sender and content: then it answers that one.
///
/// # Errors
/// As [`send`](super::send).
pub async fn set_state(home: &Home, new: NewEvent) -> Result<OwnedEventId, RoomError> {
    let (local, now) = (home.local.clone(), home.now());
    home.store
        .write(move |tx| match same_state(tx, &new)? {
            Some(event_id) => Ok(event_id),
            None => send_in(tx, &local, now, &new),
        })
        .await
}

fn same_state(view: &dyn View, new: &NewEvent) -> Result<Option<OwnedEventId>, StoreError> {
    let (Some(state_key), Some(room)) = (&new.state_key, Room::find(view, &new.room)?) else { return Ok(None) };
    // Who has left may not even repeat themselves.
    if !room.is_joined(view, &new.sender)? {
        return Ok(None);
    }
    let kind = StateEventType::from(new.kind.to_string());
    let current = room.current_event(view, &kind, state_key)?.map(|stored| stored.pdu);
    Ok(current
        .filter(|pdu| pdu.sender == new.sender)
        .filter(|pdu| pdu.content_as::<CanonicalJsonObject>().is_ok_and(|content| content == new.content))
        .map(|pdu| pdu.event_id))
}

/// Sends a redaction. Everybody may redact what they sent themselves; the rest takes the room's `redact` level.
///
/// # Errors
/// [`RoomError::NotFound`] for an event that is not on the room's timeline, [`RoomError::Forbidden`], and as
/// [`send`](super::send).
pub async fn redact(home: &Home, target: &EventId, new: NewEvent) -> Result<OwnedEventId, RoomError> {
    let (local, now, target) = (home.local.clone(), home.now(), target.to_owned());
    let new = NewEvent { redacts: Some(target.clone()), ..new };
    home.store
        .write(move |tx| {
            may_redact(tx, &new, &target)?;
            send_in(tx, &local, now, &new)
        })
        .await
}

fn may_redact(view: &dyn View, new: &NewEvent, target: &EventId) -> Result<(), RoomError> {
    let room = Room::find(view, &new.room)?.ok_or_else(|| RoomError::UnknownRoom(new.room.clone()))?;
    // First, so that a stranger does not learn which events there are.
    if !room.is_joined(view, &new.sender)? {
        return Err(RoomError::Forbidden(format!("{} is not in {}", new.sender, room.id)));
    }
    let found = Stored::by_id(view, target)?.filter(|stored| stored.header.room == room.key && stored.header.pos > 0);
    let found = found.ok_or_else(|| RoomError::NotFound(format!("{target} is not an event of {}", room.id)))?;
    if found.pdu.sender != new.sender && !room.power_levels(view)?.user_can_redact_event_of_other(&new.sender) {
        return Err(RoomError::Forbidden(format!("{} may redact only their own events", new.sender)));
    }
    Ok(())
}

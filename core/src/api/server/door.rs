//! What every endpoint about a room asks first: is the room known here, and may the asking server ask about it.

use ruma::{EventId, OwnedEventId, RoomId, ServerName};

use crate::{
    api::ApiError,
    federation::acl,
    rooms::{Room, visibility::ServerSight},
    store::{Stored, View},
    types::limits::PREV_EVENTS_MAX,
};

/// A room that local users are in and that does not shut the server out.
///
/// # Errors
/// `M_NOT_FOUND` and `M_FORBIDDEN`.
pub(super) fn room_for(view: &dyn View, room: &RoomId, server: &ServerName) -> Result<Room, ApiError> {
    let found = known_room(view, room, server)?;
    if found.record.joined_local == 0 {
        return Err(ApiError::not_found(format!("this server is not in {room}")));
    }
    Ok(found)
}

/// A room that does not shut the server out, whether or not local users are in it still.
fn known_room(view: &dyn View, room: &RoomId, server: &ServerName) -> Result<Room, ApiError> {
    let found = Room::find(view, room)?;
    let found = found.ok_or_else(|| ApiError::not_found(format!("this server is not in {room}")))?;
    if acl::is_shut_out(view, room, server)? {
        return Err(ApiError::forbidden(format!("{server} is shut out of {room} by its access control list")));
    }
    Ok(found)
}

/// As [`room_for`], for servers that are in the room.
///
/// # Errors
/// `M_NOT_FOUND` and `M_FORBIDDEN`.
pub(super) fn shared_room(view: &dyn View, room: &RoomId, server: &ServerName) -> Result<Room, ApiError> {
    let found = room_for(view, room, server)?;
    if !found.has_server(view, server)? {
        return Err(ApiError::forbidden(format!("{server} is not in {room}")));
    }
    Ok(found)
}

/// As [`shared_room`], and for servers that were in the room before one of some events. Who was put out of it must be able
/// to follow the room to the event that says so, or would never believe it.
///
/// # Errors
/// `M_NOT_FOUND` and `M_FORBIDDEN`.
pub(super) fn room_at<'a>(
    view: &dyn View,
    room: &RoomId,
    events: impl IntoIterator<Item = &'a OwnedEventId>,
    server: &ServerName,
) -> Result<Room, ApiError> {
    let found = known_room(view, room, server)?;
    if found.has_server(view, server)? {
        return Ok(found);
    }
    let mut sight = ServerSight::new(view, &found, server)?;
    for event in events.into_iter().take(PREV_EVENTS_MAX) {
        if let Some(stored) = Stored::by_id(view, event)?
            && sight.sees(&stored)?
        {
            return Ok(found);
        }
    }
    Err(ApiError::forbidden(format!("{server} is not in {room}")))
}

/// An event of a room.
///
/// # Errors
/// `M_NOT_FOUND`.
pub(super) fn event_of(view: &dyn View, room: &Room, event: &EventId) -> Result<Stored, ApiError> {
    let stored = Stored::by_id(view, event)?.filter(|stored| stored.header.room == room.key);
    stored.ok_or_else(|| ApiError::not_found(format!("{event} is not an event of {}", room.id)))
}

//! Server access control lists: which servers a room shuts out. Server-server API, "Server Access Control Lists (ACLs)".

use ruma::{
    RoomId, ServerName,
    events::{StateEventType, room::server_acl::RoomServerAclEventContent},
};

use crate::{
    rooms::Room,
    store::{Result, View},
};

/// Whether a room's list shuts a server out. A room without a list, with one that cannot be read, or that is not known here
/// shuts nobody out.
pub(crate) fn is_shut_out(view: &dyn View, room: &RoomId, server: &ServerName) -> Result<bool> {
    let Some(room) = Room::find(view, room)? else { return Ok(false) };
    let Some(acl) = room.current_event(view, &StateEventType::RoomServerAcl, "")? else { return Ok(false) };
    let acl = acl.pdu.content_as::<RoomServerAclEventContent>();
    Ok(acl.is_ok_and(|acl| !acl.is_allowed(server)))
}

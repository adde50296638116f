//! Whom to ask about a room, and what to tell about it.

use ruma::{OwnedEventId, OwnedServerName, RoomId};

use crate::{
    home::Home,
    rooms::Room,
    store::{Result, StoreError, Stored, View},
    types::limits::ADVERTISED_HEADS_MAX,
};

/// Servers that one search asks at most: a room may have thousands, and those within reach come first.
const SOURCES_MAX: usize = 20;

/// Servers to ask about a room: the first one named, those of the room within reach, the others named, and the room's
/// other servers.
pub(super) fn of_room(
    home: &Home,
    view: &dyn View,
    room: &RoomId,
    named: &[OwnedServerName],
) -> Result<Vec<OwnedServerName>> {
    let mut members = Vec::new();
    if let Some(room) = Room::find(view, room)? {
        for server in room.servers(view)? {
            members.push(server.name(view)?);
        }
    }
    let near = members.iter().filter(|server| home.is_near(server));
    let mut sources: Vec<OwnedServerName> = Vec::new();
    for server in named.iter().take(1).chain(near).chain(named).chain(&members) {
        if !home.is_local(server) && !sources.contains(server) {
            sources.push(server.clone());
        }
    }
    sources.truncate(SOURCES_MAX);
    Ok(sources)
}

/// The heads of a room, the newest if there are very many.
pub(crate) fn heads(view: &dyn View, room: &Room) -> Result<Vec<OwnedEventId>> {
    let mut ids = Vec::new();
    for head in room.record.heads.iter().rev().take(ADVERTISED_HEADS_MAX) {
        let header = Stored::header(view, *head)?;
        ids.push(header.ok_or_else(|| StoreError::Corrupt(format!("head {head} is missing")))?.event_id()?);
    }
    Ok(ids)
}

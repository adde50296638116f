//! Where an alias of any server points. Server-server API, "Querying for information".

use ruma::{OwnedRoomId, OwnedServerName, RoomAliasId, api::federation::query::get_room_information::v1::Request};

use super::template::refusal;
use crate::{
    home::Home,
    outbox::request_soon,
    rooms::{RoomError, alias},
};

/// Where an alias points, and servers that are in that room. The alias's own server is asked.
///
/// # Errors
/// [`RoomError::NotFound`] when there is no such alias, [`RoomError::Unreachable`] when its server does not answer.
pub async fn resolve_alias(home: &Home, alias: &RoomAliasId) -> Result<(OwnedRoomId, Vec<OwnedServerName>), RoomError> {
    let server = alias.server_name();
    if home.is_local(server) {
        let found = alias::resolve(&home.store.snapshot()?, home.server_name(), alias)?;
        return found.ok_or_else(|| RoomError::NotFound(format!("{alias} is not a name here")));
    }
    let ask = Request::new(alias.to_owned());
    let answer = request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    let mut servers = answer.servers;
    if !servers.iter().any(|known| known == server) {
        servers.push(server.to_owned());
    }
    Ok((answer.room_id, servers))
}

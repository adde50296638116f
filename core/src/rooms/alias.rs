//! The names that this server gives to rooms.
//!
//! A name of another server is asked for over federation, which is not this module's business: the caller goes there when
//! the alias is not local. Deliberately absent: changing `m.room.canonical_alias` when a name goes; the room's people do.

use std::ops::Bound;

use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, UserId, events::StateEventType};

use super::{Room, RoomError};
use crate::{
    home::Home,
    store::{AliasRecord, Record, RoomKey, StoreError, UserKey, View, WriteTx},
};

/// Where a name of this server points, and the servers that are in that room, ours first.
///
/// # Errors
/// When the database fails.
pub fn resolve(
    view: &dyn View,
    local: &ruma::ServerName,
    alias: &RoomAliasId,
) -> Result<Option<(OwnedRoomId, Vec<OwnedServerName>)>, StoreError> {
    let Some(record) = find(view, alias)? else { return Ok(None) };
    let mut servers = vec![local.to_owned()];
    if let Some(room) = Room::by_key(view, record.room)? {
        for server in room.servers(view)? {
            let server = server.name(view)?;
            if server != *local {
                servers.push(server);
            }
        }
    }
    Ok(Some((record.room.id(view)?, servers)))
}

/// The names of a room here.
///
/// # Errors
/// When the database fails.
pub fn of_room(view: &dyn View, room: RoomKey) -> Result<Vec<OwnedRoomAliasId>, StoreError> {
    let mut aliases = Vec::new();
    for row in view.ralias()?.between(Bound::Included((room.0, &[])), Bound::Unbounded)? {
        let (key, _) = row?;
        let (owner, name) = key.value();
        if owner != room.0 {
            break;
        }
        let name = std::str::from_utf8(name).ok().and_then(|name| OwnedRoomAliasId::try_from(name).ok());
        aliases.push(name.ok_or_else(|| StoreError::Corrupt(format!("a name of room {} is no alias", room.0)))?);
    }
    Ok(aliases)
}

/// Gives a room a name. Anyone who is in the room may.
///
/// # Errors
/// [`RoomError::Invalid`] for a name of another server, [`RoomError::InUse`], [`RoomError::Forbidden`] for who is not in
/// the room.
pub async fn create(home: &Home, user: &UserId, alias: &RoomAliasId, room: &RoomId) -> Result<(), RoomError> {
    if !home.is_local(alias.server_name()) {
        return Err(RoomError::Invalid(format!("{alias} is not a name of this server, {}", home.server_name())));
    }
    let (user, alias, room) = (user.to_owned(), alias.to_owned(), room.to_owned());
    home.store
        .write(move |tx| {
            must_be_free(tx, &alias)?;
            let room = joined_room(tx, &room, &user)?;
            put(tx, &alias, room.key, &user)?;
            Ok(())
        })
        .await
}

/// Takes a name away. Its maker may, and whoever may name the room for all (`m.room.canonical_alias`).
///
/// # Errors
/// [`RoomError::NotFound`], [`RoomError::Forbidden`].
pub async fn delete(home: &Home, user: &UserId, alias: &RoomAliasId) -> Result<(), RoomError> {
    let (user, alias) = (user.to_owned(), alias.to_owned());
    home.store
        .write(move |tx| {
            let record = find(tx, &alias)?.ok_or_else(|| RoomError::NotFound(format!("{alias} is not a name here")))?;
            if !may_delete(tx, &record, &user)? {
                return Err(RoomError::Forbidden(format!("only its maker and the room's admins may delete {alias}")));
            }
            tx.write().alias.remove(alias.as_bytes()).map_err(StoreError::from)?;
            tx.write().ralias.remove((record.room.0, alias.as_bytes())).map_err(StoreError::from)?;
            Ok(())
        })
        .await
}

/// The room, if the user is in it.
fn joined_room(view: &dyn View, room: &RoomId, user: &UserId) -> Result<Room, RoomError> {
    let found = Room::find(view, room)?;
    match found {
        Some(found) if found.is_joined(view, user)? => Ok(found),
        _ => Err(RoomError::Forbidden(format!("{user} is not in {room}"))),
    }
}

fn may_delete(view: &dyn View, record: &AliasRecord, user: &UserId) -> Result<bool, StoreError> {
    if UserKey::find(view, user)? == Some(record.creator) {
        return Ok(true);
    }
    let Some(room) = Room::by_key(view, record.room)? else { return Ok(false) };
    let levels = room.power_levels(view)?;
    Ok(room.is_joined(view, user)? && levels.user_can_send_state(user, StateEventType::RoomCanonicalAlias))
}

fn find(view: &dyn View, alias: &RoomAliasId) -> Result<Option<AliasRecord>, StoreError> {
    view.alias()?.row(alias.as_bytes())?.map(|row| AliasRecord::decode(row.value())).transpose()
}

/// Refuses a name that points somewhere already.
///
/// # Errors
/// [`RoomError::InUse`].
pub(super) fn must_be_free(view: &dyn View, alias: &RoomAliasId) -> Result<(), RoomError> {
    match find(view, alias)? {
        Some(_) => Err(RoomError::InUse(alias.to_string())),
        None => Ok(()),
    }
}

/// Writes a name. Whether it is free and the user may is the caller's question.
///
/// # Errors
/// When the database fails.
pub(super) fn put(
    tx: &mut WriteTx<'_>,
    alias: &RoomAliasId,
    room: RoomKey,
    creator: &UserId,
) -> Result<(), StoreError> {
    let creator = UserKey::intern(tx, creator)?;
    let record = AliasRecord { room, creator }.encode()?;
    tx.write().alias.insert(alias.as_bytes(), record.as_slice())?;
    tx.write().ralias.insert((room.0, alias.as_bytes()), ())?;
    Ok(())
}

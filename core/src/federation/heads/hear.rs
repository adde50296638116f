//! The hearing side: fetch what the teller has and we lack, and tell back what it seems to lack.

use ruma::{OwnedEventId, RoomId, ServerName};

use super::{Heads, advertise};
use crate::{
    federation::{
        acl, fetch,
        receive::{Door, ReceiveError, deliver, is_placed},
        sources,
    },
    home::Home,
    rooms::Room,
    store::Result,
    types::limits::{ADVERTISED_HEADS_MAX, ADVERTISED_ROOMS_MAX},
};

/// Takes an advertisement of a neighbour. Its rooms are those that the neighbour is in; others are passed over.
///
/// # Errors
/// When the teller gave no answer as we asked it for what it told of: it may tell again.
pub(crate) async fn hear(home: &Home, from: &ServerName, heads: &Heads) -> Result<(), ReceiveError> {
    let mut back = Heads { rooms: std::collections::BTreeMap::new(), reply: true };
    let mut failure = None;
    for (room, told) in heads.rooms.iter().take(ADVERTISED_ROOMS_MAX) {
        let told: Vec<OwnedEventId> = told.iter().take(ADVERTISED_HEADS_MAX).cloned().collect();
        match hear_room(home, from, room, &told).await {
            Ok(Some(ours)) => {
                back.rooms.insert(room.clone(), ours);
            }
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    }
    if !heads.reply && !back.rooms.is_empty() {
        // Lost, it is made up for on the next contact or change, so the teller's own message stays acknowledged.
        if let Err(error) = advertise::send(home, from, &back).await {
            tracing::debug!(%error, %from, "a neighbour could not be told back");
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Answers our heads of a room if the teller does not seem to have all of them.
async fn hear_room(
    home: &Home,
    from: &ServerName,
    room: &RoomId,
    told: &[OwnedEventId],
) -> Result<Option<Vec<OwnedEventId>>, ReceiveError> {
    let Some((door, unknown)) = unknown(home, from, room, told)? else { return Ok(None) };
    home.note_has(from, room, told);
    if !unknown.is_empty() {
        let pdus = fetch::events(home, from, &door, &unknown).await;
        let pdus = pdus.map_err(|error| ReceiveError::Unavailable(error.to_string()))?;
        deliver(home, from, &door, pdus).await?;
    }
    let view = home.store.snapshot()?;
    let Some(room) = Room::find(&view, room)? else { return Ok(None) };
    let ours = sources::heads(&view, &room)?;
    let lacking = home.may_lack(from, &room.id, &ours);
    Ok(ours.iter().any(|id| !told.contains(id) && lacking.contains(id)).then_some(ours))
}

/// Those of the told heads that are not here, if the teller may speak of the room at all.
fn unknown(
    home: &Home,
    from: &ServerName,
    room: &RoomId,
    told: &[OwnedEventId],
) -> Result<Option<(Door, Vec<OwnedEventId>)>> {
    let view = home.store.snapshot()?;
    let (Some(door), Some(known)) = (Door::of(&view, room)?, Room::find(&view, room)?) else { return Ok(None) };
    if !door.inside || !known.has_server(&view, from)? || acl::is_shut_out(&view, room, from)? {
        return Ok(None);
    }
    let mut unknown = Vec::new();
    for id in told {
        if !is_placed(&view, id)? {
            unknown.push(id.clone());
        }
    }
    Ok(Some((door, unknown)))
}

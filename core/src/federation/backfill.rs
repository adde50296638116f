//! Fetching history that lies in a gap of the timeline. Server-server API, "Backfilling and retrieving missing events".

use ruma::{RoomId, ServerName, UInt, api::federation::backfill::get_backfill::v1::Request};

use super::{
    fetch,
    receive::Door,
    sources,
    template::{more_telling, refusal},
};
use crate::{
    event::Pdu,
    home::Home,
    outbox::request_soon,
    rooms::{ApplyError, Gap, RoomError, apply_backfill, apply_outliers},
    types::limits::BACKFILL_EVENTS_MAX,
};

/// Tries to complete the auth events of a page of history.
const AUTH_ROUNDS_MAX: usize = 5;

/// Fetches a page of history below a gap. Answers how many events are new on the timeline.
///
/// # Errors
/// [`RoomError::Unreachable`] when no server of the room answered.
pub async fn backfill(home: &Home, room: &RoomId, gap: &Gap) -> Result<usize, RoomError> {
    let (door, servers) = {
        let view = home.store.snapshot()?;
        let door = Door::of(&view, room)?.ok_or_else(|| RoomError::UnknownRoom(room.to_owned()))?;
        (door, sources::of_room(home, &view, room, &[])?)
    };
    let mut failure = None;
    for server in servers {
        match backfill_from(home, &server, &door, gap).await {
            Ok(0) => {}
            Ok(count) => return Ok(count),
            Err(RoomError::Store(error)) => return Err(error.into()),
            Err(error) => failure = Some(more_telling(failure, error)),
        }
    }
    failure.map_or(Ok(0), Err)
}

async fn backfill_from(home: &Home, server: &ServerName, door: &Door, gap: &Gap) -> Result<usize, RoomError> {
    let limit = UInt::new_saturating(BACKFILL_EVENTS_MAX as u64);
    let ask = Request::new(door.room.clone(), gap.missing.clone(), limit);
    let answer = request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    let raws: Vec<_> = answer.pdus.into_iter().take(BACKFILL_EVENTS_MAX).collect();
    let pdus = door.verified(home, server, &raws);
    if pdus.is_empty() {
        return Ok(0);
    }
    for _ in 0..AUTH_ROUNDS_MAX {
        let (room, pos, page) = (door.room.clone(), gap.pos, pdus.clone());
        match home.store.write(move |tx| apply_backfill(tx, &room, pos, &page)).await {
            Ok(count) => return Ok(count),
            Err(ApplyError::Need { auth, .. }) => keep_auth(home, server, door, &auth, &pdus).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(RoomError::Remote(format!("{server} has history without the events that allow it")))
}

/// Fetches auth events that a page of history needs, each with its own chain.
async fn keep_auth(
    home: &Home,
    server: &ServerName,
    door: &Door,
    missing: &[ruma::OwnedEventId],
    page: &[Pdu],
) -> Result<(), RoomError> {
    let needy = page.iter().find(|pdu| pdu.auth_events.iter().any(|id| missing.contains(id)));
    let mut chain = match needy {
        Some(pdu) => fetch::auth_chain(home, server, door, &pdu.event_id).await.map_err(|error| refusal(&error))?,
        None => Vec::new(),
    };
    let mut absent = missing.to_vec();
    for _ in 0..AUTH_ROUNDS_MAX {
        absent.retain(|id| !chain.iter().any(|pdu| pdu.event_id == *id));
        chain.extend(fetch::events(home, server, door, &absent).await.map_err(|error| refusal(&error))?);
        let (room, batch) = (door.room.clone(), chain.clone());
        match home.store.write(move |tx| apply_outliers(tx, &room, &batch)).await {
            Ok(()) => return Ok(()),
            Err(ApplyError::Need { auth, .. }) => absent = auth,
            Err(error) => return Err(error.into()),
        }
    }
    Err(RoomError::Remote(format!("{server} does not have the auth events of its own history")))
}

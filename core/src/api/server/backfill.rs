//! Reading a room's past. Server-server API, "Backfilling and retrieving missing events".
//!
//! - `GET /_matrix/federation/v1/backfill/{roomId}`
//! - `POST /_matrix/federation/v1/get_missing_events/{roomId}`

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use axum::{Router, extract::State};
use ruma::{
    OwnedEventId,
    api::federation::{backfill::get_backfill, event::get_missing_events},
};
use serde_json::value::RawValue;

use super::{
    door::{room_at, shared_room},
    event::{now, shown},
};
use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    home::Home,
    rooms::{Room, visibility::ServerSight},
    store::{Stored, View},
    types::limits::{BACKFILL_EVENTS_MAX, MISSING_EVENTS_MAX, PREV_EVENTS_MAX},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, get_backfill);
    route(router, get_missing_events)
}

async fn get_backfill(
    State(home): State<Arc<Home>>,
    call: Signed<get_backfill::v1::Request>,
) -> Result<get_backfill::v1::Response, ApiError> {
    let view = home.store.snapshot()?;
    let room = shared_room(&view, &call.request.room_id, &call.origin)?;
    let limit = usize::try_from(u64::from(call.request.limit)).unwrap_or(usize::MAX).min(BACKFILL_EVENTS_MAX);
    let from = call.request.v.into_iter().take(PREV_EVENTS_MAX).collect();
    let found = walk(&view, &room, from, limit, |_| true)?;
    let pdus = visible(&view, &room, &call.origin, found)?;
    Ok(get_backfill::v1::Response::new(home.server_name().to_owned(), now(&home), pdus))
}

async fn get_missing_events(
    State(home): State<Arc<Home>>,
    call: Signed<get_missing_events::v1::Request>,
) -> Result<get_missing_events::v1::Response, ApiError> {
    let view = home.store.snapshot()?;
    let request = call.request;
    let room = room_at(&view, &request.room_id, &request.latest_events, &call.origin)?;
    let limit = usize::try_from(u64::from(request.limit)).unwrap_or(usize::MAX).min(MISSING_EVENTS_MAX);
    let earliest: BTreeSet<OwnedEventId> = request.earliest_events.into_iter().collect();
    let mut parents = Vec::new();
    for id in request.latest_events.iter().take(PREV_EVENTS_MAX) {
        let latest = Stored::by_id(&view, id)?.filter(|stored| stored.header.room == room.key);
        parents.extend(latest.into_iter().flat_map(|stored| stored.pdu.prev_events));
    }
    let latest: BTreeSet<&OwnedEventId> = request.latest_events.iter().collect();
    let min_depth = u64::from(request.min_depth);
    let mut found = walk(&view, &room, parents, limit, |stored| {
        !earliest.contains(&stored.pdu.event_id) && stored.pdu.depth >= min_depth
    })?;
    found.retain(|stored| !latest.contains(&stored.pdu.event_id));
    // Oldest first, as the asker will apply them.
    found.reverse();
    let events = visible(&view, &room, &call.origin, found)?;
    Ok(get_missing_events::v1::Response::new(events))
}

/// Walks from events towards the past, breadth first, through those that `wanted` lets pass.
fn walk(
    view: &dyn View,
    room: &Room,
    from: Vec<OwnedEventId>,
    limit: usize,
    wanted: impl Fn(&Stored) -> bool,
) -> Result<Vec<Stored>, ApiError> {
    let mut open: VecDeque<OwnedEventId> = from.into();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(id) = open.pop_front()
    {
        if !seen.insert(id.clone()) {
            continue;
        }
        let Some(stored) = Stored::by_id(view, &id)? else { continue };
        if stored.header.room != room.key || stored.header.flags.rejected || !wanted(&stored) {
            continue;
        }
        open.extend(stored.pdu.prev_events.iter().cloned());
        found.push(stored);
    }
    Ok(found)
}

fn visible(
    view: &dyn View,
    room: &Room,
    server: &ruma::ServerName,
    found: Vec<Stored>,
) -> Result<Vec<Box<RawValue>>, ApiError> {
    let mut sight = ServerSight::new(view, room, server)?;
    found.iter().map(|stored| shown(room, &mut sight, stored)).collect()
}

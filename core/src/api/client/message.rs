//! `GET /_matrix/client/v3/rooms/{roomId}/messages`. Client-server API, "Getting events for a room".
//!
//! Reading backwards into a gap asks the room's other servers for what is missing. If none is within reach, the client gets
//! what is here, with a token from which it can try again.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    api::{
        Direction,
        client::message::get_message_events::v3::{Request, Response},
    },
    events::StateEventType,
    serde::Raw,
};

use super::room_read::{Opened, reader};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    federation,
    home::Home,
    rooms::{
        EventFilter, RoomError,
        timeline::{self, Page, Point, Span},
    },
    store::Stored,
    types::limits,
};

/// Times that one request may ask other servers for history. Each time brings up to 100 events, so that a page of the usual
/// size is full after one, and a client's wait stays bounded.
const BACKFILLS_MAX: usize = 2;

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, messages)
}

async fn messages(State(home): State<Arc<Home>>, call: Authed<Request>) -> Result<Response, ApiError> {
    let limit = EventFilter(&call.request.filter).limit(limits::PAGE_EVENTS_MAX);
    let asked = usize::try_from(u64::from(call.request.limit)).unwrap_or(usize::MAX);
    let limit = limit.min(asked);
    let mut backfills = 0;
    loop {
        // Opened anew after each backfill: the snapshot is from before it, and must not be held across the wait.
        let gap = {
            let (opened, span) = open(&home, &call, limit)?;
            let page = read(&opened, &call, span)?;
            let short = page.events.len() < limit && call.request.dir == Direction::Backward;
            match page.gap.clone().filter(|_| short && backfills < BACKFILLS_MAX) {
                None => return answer(&home, &call, &opened, span.from, &page),
                Some(gap) => gap,
            }
        };
        backfills += 1;
        match federation::backfill(&home, &call.request.room_id, &gap).await {
            Ok(0) => backfills = BACKFILLS_MAX,
            Ok(_) => {}
            Err(RoomError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, room = %call.request.room_id, "no history to be had");
                backfills = BACKFILLS_MAX;
            }
        }
    }
}

/// The room and the part of its timeline that is asked for, cut to what the reader may read.
fn open(home: &Home, call: &Authed<Request>, limit: usize) -> Result<(Opened, Span), ApiError> {
    let request = &call.request;
    let opened = Opened::open(home, &request.room_id, &call.user)?;
    let point = |token: &Option<String>| match token {
        Some(token) => Point::parse(&opened.view, &opened.room, token).map(Some),
        None => Ok(None),
    };
    let (from, to, end) = (point(&request.from)?, point(&request.to)?, Point(opened.access.end));
    let latest = Point::after(opened.room.record.last_pos).min(end);
    let span = match request.dir {
        Direction::Backward => Span { from: from.unwrap_or(latest).min(latest), to: to.unwrap_or(Point(0)), limit },
        Direction::Forward => Span { from: from.unwrap_or(Point(0)), to: to.unwrap_or(end).min(end), limit },
    };
    Ok((opened, span))
}

fn read(opened: &Opened, call: &Authed<Request>, span: Span) -> Result<Page, ApiError> {
    let filter = EventFilter(&call.request.filter);
    let mut sight = opened.sight(&call.user)?;
    let mut keep = |stored: &Stored| Ok(filter.takes(&stored.pdu) && sight.sees(stored)?);
    Ok(timeline::page(&opened.view, opened.room.key, call.request.dir, span, &mut keep)?)
}

fn answer(
    home: &Home,
    call: &Authed<Request>,
    opened: &Opened,
    from: Point,
    page: &Page,
) -> Result<Response, ApiError> {
    let mut sight = opened.sight(&call.user)?;
    let reader = reader(home, call);
    let mut response = Response::new();
    response.start = from.to_string();
    // Backwards there is an end to a room; forwards, the next event is always yet to come.
    let goes_on = page.more || (call.request.dir == Direction::Forward && !page.events.is_empty());
    response.end = goes_on.then(|| page.end.to_string());
    for stored in &page.events {
        response.chunk.push(Raw::from_json(reader.show(&opened.view, &mut sight, stored)?));
    }
    if EventFilter(&call.request.filter).lazy_members() {
        for member in lazy_members(opened, page)? {
            response.state.push(Raw::from_json(reader.show_state(&opened.view, &member)?));
        }
    }
    Ok(response)
}

/// The member events of those who speak, as of the newest event of the page.
fn lazy_members(opened: &Opened, page: &Page) -> Result<Vec<Stored>, ApiError> {
    let newest = page.events.iter().max_by_key(|stored| stored.header.pos);
    let at = newest.map_or(opened.access.state, |stored| stored.header.after);
    let mut members = Vec::new();
    for user in speakers(opened, page.events.iter())? {
        members.extend(opened.room.state_event(&opened.view, at, &StateEventType::RoomMember, &user)?);
    }
    Ok(members)
}

/// Who sent these events.
pub(super) fn speakers<'a>(
    opened: &Opened,
    events: impl Iterator<Item = &'a Stored>,
) -> Result<BTreeSet<String>, ApiError> {
    let users: BTreeSet<_> = events.map(|stored| stored.header.sender).collect();
    users.into_iter().map(|user| Ok(user.id(&opened.view)?.to_string())).collect()
}

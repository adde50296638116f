//! `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`. Client-server API, "Event context".

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    api::{
        Direction,
        client::context::get_context::v3::{Request, Response},
    },
    events::AnyTimelineEvent,
    serde::Raw,
};

use super::{
    message::speakers,
    room_read::{Opened, reader},
};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::{
        EventFilter,
        timeline::{self, Page, Point, Span},
        visibility::UserSight,
    },
    store::{StateRef, Stored},
    types::limits,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, context)
}

async fn context(State(home): State<Arc<Home>>, call: Authed<Request>) -> Result<Response, ApiError> {
    let request = &call.request;
    let opened = Opened::open(&home, &request.room_id, &call.user)?;
    let mut sight = opened.sight(&call.user)?;
    let stored = opened.event(&mut sight, &request.event_id)?;
    let reader = reader(&home, &call);
    let mut response = Response::new();
    let limit = usize::try_from(u64::from(request.limit)).unwrap_or(usize::MAX).min(limits::PAGE_EVENTS_MAX);
    let filter = EventFilter(&request.filter);
    let mut around = (Vec::new(), Vec::new());
    // A state event that has no place on the timeline has nothing around it either.
    if stored.header.pos != 0 {
        let pos = stored.header.pos;
        let before = read(&opened, &mut sight, filter, Direction::Backward, Point(pos), limit / 2)?;
        let after = read(&opened, &mut sight, filter, Direction::Forward, Point::after(pos), limit - limit / 2)?;
        response.start = Some(before.end.to_string());
        response.end = Some(after.end.to_string());
        around = (before.events, after.events);
    }
    let mut show = |stored: &Stored| -> Result<Raw<AnyTimelineEvent>, ApiError> {
        Ok(Raw::from_json(reader.show(&opened.view, &mut sight, stored)?))
    };
    response.events_before = around.0.iter().map(&mut show).collect::<Result<_, _>>()?;
    response.events_after = around.1.iter().map(&mut show).collect::<Result<_, _>>()?;
    response.event = Some(show(&stored)?);
    let last = around.1.last().unwrap_or(&stored);
    let at = if last.header.pos == 0 { opened.access.state } else { last.header.after };
    let events = around.0.iter().chain([&stored]).chain(&around.1);
    for state in state_events(&opened, filter, at, events)? {
        response.state.push(Raw::from_json(reader.show_state(&opened.view, &state)?));
    }
    Ok(response)
}

fn read(
    opened: &Opened,
    sight: &mut UserSight<'_>,
    filter: EventFilter<'_>,
    direction: Direction,
    from: Point,
    limit: usize,
) -> Result<Page, ApiError> {
    let to = if direction == Direction::Backward { Point(0) } else { Point(opened.access.end) };
    let mut keep = |stored: &Stored| Ok(filter.takes(&stored.pdu) && sight.sees(stored)?);
    Ok(timeline::page(&opened.view, opened.room.key, direction, Span { from, to, limit }, &mut keep)?)
}

/// The state at the last event that is shown; under lazy loading, of the members only those who speak.
fn state_events<'a>(
    opened: &Opened,
    filter: EventFilter<'_>,
    at: StateRef,
    events: impl Iterator<Item = &'a Stored>,
) -> Result<Vec<Stored>, ApiError> {
    let speakers = if filter.lazy_members() { Some(speakers(opened, events)?) } else { None };
    let mut state = Vec::new();
    for (ssk, esn) in at.all(&opened.view, opened.room.key)? {
        let (kind, key) = ssk.names(&opened.view)?;
        let silent = |speakers: &BTreeSet<String>| kind.to_string() == "m.room.member" && !speakers.contains(&key);
        if !speakers.as_ref().is_some_and(silent) {
            state.push(Stored::must(&opened.view, esn)?);
        }
    }
    Ok(state)
}

//! `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, `.../{relType}`, `.../{relType}/{eventType}`. Client-server
//! API, "Relationships API".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    OwnedEventId, OwnedRoomId, UInt,
    api::{
        Direction,
        client::relations::{
            get_relating_events::v1 as of_any_type, get_relating_events_with_rel_type::v1 as of_rel_type,
            get_relating_events_with_rel_type_and_event_type::v1 as of_both_types,
        },
    },
    events::{AnyMessageLikeEvent, TimelineEventType},
    serde::Raw,
};

use super::room_read::{Opened, reader};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::{
        relations::{self, RelationQuery},
        timeline::{Point, Span},
    },
    types::limits,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, any_type);
    let router = route(router, one_rel_type);
    route(router, both_types)
}

/// What the three endpoints ask in common.
struct Ask {
    room: OwnedRoomId,
    event: OwnedEventId,
    rel_type: Option<String>,
    kind: Option<TimelineEventType>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<UInt>,
    direction: Direction,
    recurse: bool,
}

/// What they answer in common.
struct Found {
    chunk: Vec<Raw<AnyMessageLikeEvent>>,
    next: Option<String>,
    prev: Option<String>,
    depth: Option<UInt>,
}

macro_rules! endpoint {
    ($name:ident, $module:ident, |$request:ident| $rel_type:expr, $kind:expr) => {
        async fn $name(
            State(home): State<Arc<Home>>,
            call: Authed<$module::Request>,
        ) -> Result<$module::Response, ApiError> {
            let $request = &call.request;
            let ask = Ask {
                room: $request.room_id.clone(),
                event: $request.event_id.clone(),
                rel_type: $rel_type,
                kind: $kind,
                from: $request.from.clone(),
                to: $request.to.clone(),
                limit: $request.limit,
                direction: $request.dir,
                recurse: $request.recurse,
            };
            let found = find(&home, &call, &ask)?;
            let mut response = $module::Response::new(found.chunk);
            response.next_batch = found.next;
            response.prev_batch = found.prev;
            response.recursion_depth = found.depth;
            Ok(response)
        }
    };
}
endpoint!(any_type, of_any_type, |request| None, None);
endpoint!(one_rel_type, of_rel_type, |request| Some(request.rel_type.to_string()), None);
endpoint!(both_types, of_both_types, |request| Some(request.rel_type.to_string()), Some(request.event_type.clone()));

fn find<T>(home: &Home, call: &Authed<T>, ask: &Ask) -> Result<Found, ApiError> {
    let not_found = || ApiError::not_found(format!("there is no event {} that you may see", ask.event));
    // Who may not read the room learns as little of the event as who may not read the event.
    let opened = Opened::open(home, &ask.room, &call.user).map_err(|_| not_found())?;
    let mut sight = opened.sight(&call.user)?;
    let parent = opened.event(&mut sight, &ask.event)?;
    let point = |token: &Option<String>| {
        token.as_deref().map(|token| Point::parse(&opened.view, &opened.room, token)).transpose()
    };
    let (from, to, end) = (point(&ask.from)?, point(&ask.to)?, Point(opened.access.end));
    let limit = ask.limit.map_or(limits::PAGE_EVENTS_DEFAULT, |limit| {
        usize::try_from(u64::from(limit)).unwrap_or(usize::MAX).clamp(1, limits::PAGE_EVENTS_MAX)
    });
    let span = match ask.direction {
        Direction::Backward => Span { from: from.unwrap_or(end).min(end), to: to.unwrap_or(Point(0)), limit },
        Direction::Forward => Span { from: from.unwrap_or(Point(0)), to: to.unwrap_or(end).min(end), limit },
    };
    let query = RelationQuery {
        parent: &parent.pdu.event_id,
        rel_type: ask.rel_type.as_deref(),
        kind: ask.kind.as_ref(),
        recurse: ask.recurse,
        direction: ask.direction,
        span,
    };
    let page = relations::page(&opened.view, &opened.room, &mut sight, &query)?;
    let reader = reader(home, call);
    let mut chunk = Vec::with_capacity(page.events.len());
    for stored in &page.events {
        chunk.push(Raw::from_json(reader.show(&opened.view, &mut sight, stored)?));
    }
    Ok(Found {
        chunk,
        next: page.next.map(|point| point.to_string()),
        prev: ask.from.clone(),
        depth: ask.recurse.then(|| UInt::new_saturating(limits::RELATION_LEVELS_MAX as u64)),
    })
}

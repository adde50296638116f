//! `GET /_matrix/client/v1/rooms/{roomId}/threads`. Client-server API, "Querying threads in a room".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::client::threads::get_threads::v1::{IncludeThreads, Request, Response},
    serde::Raw,
};

use super::{
    amended::{Amend, Amended},
    room_read::{Opened, reader},
};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::{threads, timeline::Point},
    types::limits,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, list)
}

impl Amend for Request {
    fn amend_query(query: &str) -> String {
        let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        if names.into_iter().any(|name| name == "include") {
            return query.to_owned();
        }
        format!("{query}&include=all").trim_start_matches('&').to_owned()
    }
}

async fn list(State(home): State<Arc<Home>>, call: Authed<Amended<Request>>) -> Result<Response, ApiError> {
    let Amended(request) = &call.request;
    let opened = Opened::open(&home, &request.room_id, &call.user)?;
    let end = Point(opened.access.end);
    let from = request.from.as_deref().map(|token| Point::parse(&opened.view, &opened.room, token)).transpose()?;
    let limit = request.limit.map_or(limits::PAGE_EVENTS_DEFAULT, |limit| {
        usize::try_from(u64::from(limit)).unwrap_or(usize::MAX).clamp(1, limits::PAGE_EVENTS_MAX)
    });
    let participant = match request.include {
        IncludeThreads::All => None,
        IncludeThreads::Participated => Some(call.user_key),
        _ => return Err(ApiError::invalid_param("`include` is `all` or `participated`")),
    };
    let mut sight = opened.sight(&call.user)?;
    let from = from.unwrap_or(end).min(end);
    let page = threads::page(&opened.view, &opened.room, &mut sight, from, limit, participant)?;
    let reader = reader(&home, &call);
    let mut response = Response::new(Vec::new());
    for root in &page.roots {
        let event = if sight.ignores(root.header.sender) {
            reader.show_redacted(&opened.view, &mut sight, &opened.room, root)?
        } else {
            reader.show(&opened.view, &mut sight, root)?
        };
        response.chunk.push(Raw::from_json(event));
    }
    response.next_batch = page.next.map(|point| point.to_string());
    Ok(response)
}

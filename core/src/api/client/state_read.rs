//! `GET /_matrix/client/v3/rooms/{roomId}/state`, `GET .../state/{eventType}/{stateKey}`. Client-server API, "Getting events
//! for a room".
//!
//! Who left reads the state as it was then.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::client::state::{
        get_state_event_for_key::v3::{self as for_key, StateEventFormat},
        get_state_events::v3 as all,
    },
    serde::Raw,
};

use super::room_read::{Opened, reader};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route, route_at},
    },
    home::Home,
    store::Stored,
};

/// This group's endpoints. An empty state key may be left out, with or without the slash before it.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let mut router = route(route(router, state), state_for_key);
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/rooms/{{room}}/state/{{type}}");
        router = route_at(router, &path, state_for_key);
        router = route_at(router, &format!("{path}/"), state_for_key);
    }
    router
}

async fn state(State(home): State<Arc<Home>>, call: Authed<all::Request>) -> Result<all::Response, ApiError> {
    let opened = Opened::open(&home, &call.request.room_id, &call.user)?;
    let reader = reader(&home, &call);
    let mut events = Vec::new();
    for esn in opened.access.state.all(&opened.view, opened.room.key)?.into_values() {
        let stored = Stored::must(&opened.view, esn)?;
        events.push(Raw::from_json(reader.show_state(&opened.view, &stored)?));
    }
    Ok(all::Response::new(events))
}

async fn state_for_key(
    State(home): State<Arc<Home>>,
    call: Authed<for_key::Request>,
) -> Result<for_key::Response, ApiError> {
    let request = &call.request;
    let opened = Opened::open(&home, &request.room_id, &call.user)?;
    let (kind, key) = (&request.event_type, &request.state_key);
    let stored = opened.room.state_event(&opened.view, opened.access.state, kind, key)?;
    let stored = stored.ok_or_else(|| ApiError::not_found(format!("the room has no `{kind}` with the key `{key}`")))?;
    Ok(for_key::Response::new(match request.format {
        StateEventFormat::Event => reader(&home, &call).show_state(&opened.view, &stored)?,
        StateEventFormat::Content => stored.pdu.content,
        _ => return Err(ApiError::invalid_param("`format` is `content` or `event`")),
    }))
}

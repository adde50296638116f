//! `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`. Client-server API, "Sending events to a room".
//!
//! A member event means what the membership endpoint of the same effect means, with the same checks. Deliberately absent:
//! joining through another server by it, which can take long and is what `join` is for.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedUserId, RoomId, UserId,
    api::client::state::send_state_event::v3::{Request, Response},
    events::StateEventType,
};

use super::{alias, steps};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route, route_at},
    },
    home::Home,
    rooms::{
        NewEvent, Room, checked,
        membership::{Action, Step, Way, act, way_in},
    },
    store::Standing,
};

/// This group's endpoints. An empty state key may be left out, with or without the slash before it.
pub(super) fn routes(mut router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/rooms/{{room}}/state/{{type}}");
        router = route_at(router, &path, send_state);
        router = route_at(router, &format!("{path}/"), send_state);
    }
    route(router, send_state)
}

async fn send_state(State(home): State<Arc<Home>>, call: Authed<Request>) -> Result<Response, ApiError> {
    let request = call.request;
    let content = steps::canonical(&request.body)?;
    steps::well_typed(&request.event_type.to_string())?;
    match request.event_type {
        StateEventType::RoomCreate => return Err(ApiError::forbidden("a room is created once")),
        StateEventType::RoomMember => {
            let sent = send_member(&home, &request.room_id, &call.user, &request.state_key, content).await?;
            return Ok(Response::new(sent));
        }
        StateEventType::RoomCanonicalAlias => alias::check_canonical(&home, &request.room_id, &content).await?,
        _ => {}
    }
    let new = NewEvent {
        room: request.room_id,
        sender: call.user,
        kind: request.event_type.to_string().into(),
        state_key: Some(request.state_key),
        content,
        redacts: None,
        txn: None,
        timestamp: None,
    };
    Ok(Response::new(checked::set_state(&home, new).await.map_err(ApiError::in_room)?))
}

async fn send_member(
    home: &Home,
    room: &RoomId,
    sender: &UserId,
    state_key: &str,
    content: CanonicalJsonObject,
) -> Result<OwnedEventId, ApiError> {
    let target: OwnedUserId =
        UserId::parse(state_key).map_err(|_| ApiError::bad_json("the state key of a member event is a user id"))?;
    let membership = content.get("membership").and_then(|membership| membership.as_str()).map(ToOwned::to_owned);
    let action = match (membership.as_deref(), target == sender) {
        (Some("join"), true) => Action::Join,
        (Some("join" | "knock"), false) => return Err(ApiError::forbidden("nobody joins or knocks for somebody else")),
        (Some("knock"), true) => Action::Knock,
        (Some("invite"), _) => Action::Invite,
        (Some("ban"), _) => Action::Ban,
        (Some("leave"), true) => Action::Leave,
        (Some("leave"), false) if is_banned(home, room, &target)? => Action::Unban,
        (Some("leave"), false) => Action::Kick,
        _ => return Err(ApiError::bad_json("`membership` is missing or unknown")),
    };
    let mut step = Step::new(action, room, sender, &target, None);
    step.content = content;
    if action == Action::Join {
        step.authorised_via = voucher(home, room, sender)?;
    }
    let sent = match action {
        Action::Invite => steps::invite(home, step).await,
        _ => act(home, step).await,
    };
    sent.map_err(ApiError::in_room)
}

fn is_banned(home: &Home, room: &RoomId, user: &UserId) -> Result<bool, ApiError> {
    let view = home.store.snapshot()?;
    let Some(room) = Room::find(&view, room)? else { return Ok(false) };
    Ok(room.member(&view, user)?.is_some_and(|member| member.standing == Standing::Ban))
}

/// Who vouches for a restricted join. `None` too for who is in already and only changes their face.
fn voucher(home: &Home, room: &RoomId, user: &UserId) -> Result<Option<OwnedUserId>, ApiError> {
    let view = home.store.snapshot()?;
    match way_in(&view, home.server_name(), user, room, &[]).map_err(ApiError::in_room)? {
        Way::Here { authorised_via } => Ok(authorised_via),
        Way::Done => Ok(None),
        Way::Through(_) => Err(ApiError::forbidden(format!("{room} must be entered through another server: use join"))),
    }
}

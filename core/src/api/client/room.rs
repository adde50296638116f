//! `POST /_matrix/client/v3/createRoom`. Client-server API, "Creation".
//!
//! The room and all that concerns only this server is one commit. Users of other servers are invited after it: a server
//! that is out of reach then costs its users the invite, not the caller the room.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    CanonicalJsonObject, OwnedRoomAliasId, OwnedUserId, RoomAliasId,
    api::{
        client::room::{
            Visibility,
            create_room::v3::{Request, Response, RoomPreset},
        },
        error::ErrorKind,
    },
    events::{AnyInitialStateEvent, StateEventType},
    serde::Raw,
};
use serde::Deserialize;

use super::steps;
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    event::DEFAULT_ROOM_VERSION,
    home::Home,
    rooms::{
        RoomError,
        create::{self, InitialEvent, NewRoom, Preset},
    },
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, create_room)
}

async fn create_room(State(home): State<Arc<Home>>, call: Authed<Request>) -> Result<Response, ApiError> {
    let new = new_room(&home, call.user.clone(), call.request)?;
    for user in new.invites.iter().filter(|user| home.is_local(user.server_name())) {
        steps::must_exist(&home, user)?;
    }
    let (invites, is_direct) = (new.invites.clone(), new.is_direct);
    let room = create::create(&home, new).await.map_err(refused)?;
    steps::invite_afar(&home, &call.user, &room, &invites, is_direct).await;
    Ok(Response::new(room))
}

/// Client-server API, `createRoom`, the codes of its 400.
fn refused(error: RoomError) -> ApiError {
    let message = error.to_string();
    match error {
        RoomError::Forbidden(_) => ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidRoomState, message),
        RoomError::InUse(_) => ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::RoomInUse, message),
        error => error.into(),
    }
}

fn new_room(home: &Home, creator: OwnedUserId, request: Request) -> Result<NewRoom, ApiError> {
    if !request.invite_3pid.is_empty() {
        return Err(ApiError::invalid_param("third-party identifiers are not supported: invite by user id"));
    }
    let preset = match (&request.preset, &request.visibility) {
        (Some(RoomPreset::PrivateChat), _) | (None, Visibility::Private) => Preset::PrivateChat,
        (Some(RoomPreset::TrustedPrivateChat), _) => Preset::TrustedPrivateChat,
        (Some(RoomPreset::PublicChat), _) | (None, Visibility::Public) => Preset::PublicChat,
        _ => return Err(ApiError::invalid_param("there is no such preset or visibility")),
    };
    let object = |raw: Option<Result<CanonicalJsonObject, ApiError>>| raw.unwrap_or_else(|| Ok(Default::default()));
    Ok(NewRoom {
        creator,
        version: request.room_version.unwrap_or(DEFAULT_ROOM_VERSION),
        preset,
        creation_content: object(request.creation_content.as_ref().map(steps::canonical))?,
        power_override: object(request.power_level_content_override.as_ref().map(steps::canonical))?,
        initial_state: request.initial_state.iter().map(initial_event).collect::<Result<_, _>>()?,
        alias: request.room_alias_name.map(|name| local_alias(home, &name)).transpose()?,
        name: request.name,
        topic: request.topic,
        invites: request.invite,
        is_direct: request.is_direct,
    })
}

fn initial_event(raw: &Raw<AnyInitialStateEvent>) -> Result<InitialEvent, ApiError> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        kind: StateEventType,
        #[serde(default)]
        state_key: String,
        content: CanonicalJsonObject,
    }
    let Event { kind, state_key, content } = serde_json::from_str(raw.json().get())
        .map_err(|error| ApiError::bad_json(format!("an event of `initial_state` is malformed: {error}")))?;
    steps::well_typed(&kind.to_string())?;
    Ok(InitialEvent { kind, state_key, content })
}

fn local_alias(home: &Home, name: &str) -> Result<OwnedRoomAliasId, ApiError> {
    let malformed = || ApiError::invalid_param(format!("`{name}` cannot be the local part of a room alias"));
    // A colon would move the boundary to the server name.
    if name.is_empty() || name.contains([':', '\0']) || name.chars().any(char::is_whitespace) {
        return Err(malformed());
    }
    RoomAliasId::parse(format!("#{name}:{}", home.server_name())).map_err(|_| malformed())
}

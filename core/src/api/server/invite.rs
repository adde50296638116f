//! Being invited by another server. Server-server API, "Inviting to a room".
//!
//! - `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
//!
//! Version 1 of the endpoint speaks of room versions 1 and 2 alone, which do not work here, so it is not served.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    OwnedUserId, UserId,
    api::{
        error::{ErrorKind, IncompatibleRoomVersionErrorData},
        federation::membership::create_invite::v2::{Request, Response},
    },
    events::{TimelineEventType, room::member::MembershipState},
};

use super::{event::raws, handshake::must_be_theirs};
use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    event::{Pdu, rules_of, verify},
    federation::{acl, shown, shows_create},
    home::Home,
    rooms::{Room, keep_outside, standing},
    store::{RoomKey, Standing, StoreError, UserKey},
    users::accounts,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, create_invite)
}

async fn create_invite(State(home): State<Arc<Home>>, call: Signed<Request>) -> Result<Response, ApiError> {
    let Signed { request, origin } = call;
    let Some(rules) = rules_of(&request.room_version) else {
        let data = IncompatibleRoomVersionErrorData::new(request.room_version.clone());
        let message = format!("room version {} is not supported here", request.room_version);
        return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::IncompatibleRoomVersion(data), message));
    };
    let pdu = verify(&home.local, &request.event, &request.room_id, &request.room_version);
    let pdu = pdu.map_err(|error| ApiError::bad_json(format!("the invite does not hold up: {error}")))?;
    if pdu.event_id != request.event_id {
        return Err(ApiError::invalid_param(format!("the event's id is {}, not {}", pdu.event_id, request.event_id)));
    }
    let user = invited(&home, &pdu)?;
    must_be_theirs(&pdu.sender, &origin)?;
    let derives_id = rules.authorization.room_create_event_id_as_room_id;
    if derives_id && !shows_create(&home, &request.room_id, &request.room_version, &request.invite_room_state) {
        return Err(ApiError::missing_param("the invite does not show the room's create event"));
    }
    let inside = may_be_invited(&home, &request, &origin, &user)?;
    let mut object = pdu.object().map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let name = home.server_name().as_str();
    ruma::signatures::hash_and_sign_event(name, &home.local, &mut object, &rules.redaction)
        .map_err(|error| ApiError::bad_json(error.to_string()))?;
    let signed = Pdu::from_object(object, &rules).map_err(|error| ApiError::bad_json(error.to_string()))?;
    let answer = raws([&signed]).pop().ok_or_else(|| ApiError::internal("one event has one form"))?;
    if !inside {
        // Of a room that we are in, the event itself will come, and change the standing in its place.
        let shown = shown(&home, &request.room_id, &request.room_version, &request.invite_room_state);
        let (room, version) = (request.room_id, request.room_version);
        home.store.write(move |tx| keep_outside(tx, &room, &version, &signed, &user, &shown, Standing::Invite)).await?;
    }
    Ok(Response::new(answer))
}

/// The local user whom the event invites.
fn invited(home: &Home, pdu: &Pdu) -> Result<OwnedUserId, ApiError> {
    if pdu.kind != TimelineEventType::RoomMember || pdu.membership() != Some(MembershipState::Invite) {
        return Err(ApiError::invalid_param("the event is not an invite"));
    }
    let user = pdu.state_key.as_deref().and_then(|key| UserId::parse(key).ok());
    let user = user.filter(|user| home.is_local(user.server_name()));
    user.ok_or_else(|| ApiError::invalid_param("the invited user does not live here"))
}

/// Whether local users are in the room already.
fn may_be_invited(home: &Home, request: &Request, origin: &ruma::ServerName, user: &UserId) -> Result<bool, ApiError> {
    let view = home.store.snapshot()?;
    match accounts::find_by_id(&view, user)? {
        Some((_, account)) if !account.deactivated => {}
        _ => return Err(ApiError::not_found("there is no such user here")),
    }
    if acl::is_shut_out(&view, &request.room_id, origin)? {
        return Err(ApiError::forbidden(format!("{origin} is shut out of the room by its access control list")));
    }
    let inside = Room::find(&view, &request.room_id)?.is_some_and(|room| room.record.joined_local > 0);
    if let (Some(room), Some(user)) = (RoomKey::find(&view, &request.room_id)?, UserKey::find(&view, user)?)
        && inside
        && standing(&view, user, room)?.is_some_and(|record| record.standing == Standing::Join)
    {
        return Err(ApiError::forbidden("the user is in the room already"));
    }
    Ok(inside)
}

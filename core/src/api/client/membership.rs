//! `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `.../knock/{roomIdOrAlias}`, and `POST .../rooms/{roomId}/` `join`,
//! `leave`, `forget`, `invite`, `kick`, `ban`, `unban`. Client-server API, "Room membership".
//!
//! Deliberately absent: third-party identifiers. There is no identity server on a phone.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    RoomId, UserId,
    api::client::{
        knock::knock_room::v3 as knock_room,
        membership::{
            ban_user::v3 as ban_user,
            forget_room::v3 as forget_room,
            invite_user::v3::{self as invite_user, InvitationRecipient},
            join_room_by_id::v3 as join_room_by_id,
            join_room_by_id_or_alias::v3 as join_room_by_id_or_alias,
            kick_user::v3 as kick_user,
            leave_room::v3 as leave_room,
            unban_user::v3 as unban_user,
        },
    },
};

use super::steps;
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::{
        RoomError,
        membership::{self, Action, Step},
    },
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, join_by_id);
    let router = route(router, join_by_id_or_alias);
    let router = route(router, knock);
    let router = route(router, leave);
    let router = route(router, forget);
    let router = route(router, invite);
    let router = route(router, kick);
    let router = route(router, ban);
    route(router, unban)
}

async fn join_by_id(
    State(home): State<Arc<Home>>,
    call: Authed<join_room_by_id::Request>,
) -> Result<join_room_by_id::Response, ApiError> {
    let request = call.request;
    if request.third_party_signed.is_some() {
        return Err(no_third_party());
    }
    steps::join(&home, &call.user, &request.room_id, &[], request.reason).await?;
    Ok(join_room_by_id::Response::new(request.room_id))
}

async fn join_by_id_or_alias(
    State(home): State<Arc<Home>>,
    call: Authed<join_room_by_id_or_alias::Request>,
) -> Result<join_room_by_id_or_alias::Response, ApiError> {
    let request = call.request;
    if request.third_party_signed.is_some() {
        return Err(no_third_party());
    }
    let (room, via) = steps::resolve(&home, request.room_id_or_alias, request.via).await?;
    steps::join(&home, &call.user, &room, &via, request.reason).await?;
    Ok(join_room_by_id_or_alias::Response::new(room))
}

async fn knock(
    State(home): State<Arc<Home>>,
    call: Authed<knock_room::Request>,
) -> Result<knock_room::Response, ApiError> {
    let request = call.request;
    let (room, via) = steps::resolve(&home, request.room_id_or_alias, request.via).await?;
    steps::knock(&home, &call.user, &room, &via, request.reason).await?;
    Ok(knock_room::Response::new(room))
}

async fn leave(
    State(home): State<Arc<Home>>,
    call: Authed<leave_room::Request>,
) -> Result<leave_room::Response, ApiError> {
    let request = call.request;
    steps::leave(&home, &call.user, &request.room_id, request.reason).await.map_err(ApiError::in_room)?;
    Ok(leave_room::Response::new())
}

async fn forget(
    State(home): State<Arc<Home>>,
    call: Authed<forget_room::Request>,
) -> Result<forget_room::Response, ApiError> {
    membership::forget(&home, &call.user, &call.request.room_id).await.map_err(|error| match error {
        RoomError::Invalid(why) => ApiError::unknown(why),
        error => error.into(),
    })?;
    Ok(forget_room::Response::new())
}

async fn invite(
    State(home): State<Arc<Home>>,
    call: Authed<invite_user::Request>,
) -> Result<invite_user::Response, ApiError> {
    let request = call.request;
    let InvitationRecipient::UserId(invited) = request.recipient else { return Err(no_third_party()) };
    let step = Step::new(Action::Invite, &request.room_id, &call.user, &invited.user_id, invited.reason);
    steps::invite(&home, step).await.map_err(ApiError::in_room)?;
    Ok(invite_user::Response::new())
}

async fn kick(
    State(home): State<Arc<Home>>,
    call: Authed<kick_user::Request>,
) -> Result<kick_user::Response, ApiError> {
    let kick_user::Request { room_id, user_id, reason, .. } = call.request;
    moderate(&home, Action::Kick, &room_id, &call.user, &user_id, reason).await?;
    Ok(kick_user::Response::new())
}

async fn ban(State(home): State<Arc<Home>>, call: Authed<ban_user::Request>) -> Result<ban_user::Response, ApiError> {
    let ban_user::Request { room_id, user_id, reason, .. } = call.request;
    moderate(&home, Action::Ban, &room_id, &call.user, &user_id, reason).await?;
    Ok(ban_user::Response::new())
}

async fn unban(
    State(home): State<Arc<Home>>,
    call: Authed<unban_user::Request>,
) -> Result<unban_user::Response, ApiError> {
    let unban_user::Request { room_id, user_id, reason, .. } = call.request;
    moderate(&home, Action::Unban, &room_id, &call.user, &user_id, reason).await?;
    Ok(unban_user::Response::new())
}

async fn moderate(
    home: &Home,
    action: Action,
    room: &RoomId,
    sender: &UserId,
    target: &UserId,
    reason: Option<String>,
) -> Result<(), ApiError> {
    membership::act(home, Step::new(action, room, sender, target, reason)).await.map_err(ApiError::in_room)?;
    Ok(())
}

fn no_third_party() -> ApiError {
    ApiError::invalid_param("third-party identifiers are not supported: invite and join by user id")
}

//! `GET` and `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`, the same under `.../rooms/{roomId}/`. Client-server
//! API, "Client Config".
//!
//! A room's account data needs some relation to the room, if only an invite: otherwise whoever has an account could fill the
//! disk with rooms that do not exist.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    RoomId, UserId,
    api::{
        client::config::{
            get_global_account_data::v3 as get_global, get_room_account_data::v3 as get_in_room,
            set_global_account_data::v3 as set_global, set_room_account_data::v3 as set_in_room,
        },
        error::ErrorKind,
    },
    serde::Raw,
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms,
    store::{RoomKey, UserKey, View},
    users::{
        account_data::{self, AccountDataError, PUSH_RULES},
        push,
    },
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, read);
    let router = route(router, write);
    let router = route(router, read_in_room);
    route(router, write_in_room)
}

async fn read(
    State(home): State<Arc<Home>>,
    call: Authed<get_global::Request>,
) -> Result<get_global::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let view = home.store.snapshot()?;
    let kind = call.request.event_type.to_string();
    let content = match kind.as_str() {
        PUSH_RULES => Some(push::content(&view, call.user_key)?),
        kind => account_data::get(&view, call.user_key, None, kind)?,
    };
    let content = content.ok_or_else(|| ApiError::not_found(format!("you have no account data `{kind}`")))?;
    Ok(get_global::Response::new(Raw::from_json(content)))
}

async fn write(
    State(home): State<Arc<Home>>,
    call: Authed<set_global::Request>,
) -> Result<set_global::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let (user, kind) = (call.user_key, call.request.event_type.to_string());
    let content = call.request.data.json().get().to_owned();
    home.store.write(move |tx| account_data::set(tx, user, None, &kind, &content)).await?;
    Ok(set_global::Response::new())
}

async fn read_in_room(
    State(home): State<Arc<Home>>,
    call: Authed<get_in_room::Request>,
) -> Result<get_in_room::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let view = home.store.snapshot()?;
    let (room, kind) = (&call.request.room_id, call.request.event_type.to_string());
    let content = match RoomKey::find(&view, room)? {
        Some(room) => account_data::get(&view, call.user_key, Some(room), &kind)?,
        None => None,
    };
    let content = content.ok_or_else(|| ApiError::not_found(format!("you have no account data `{kind}` in {room}")))?;
    Ok(get_in_room::Response::new(Raw::from_json(content)))
}

async fn write_in_room(
    State(home): State<Arc<Home>>,
    call: Authed<set_in_room::Request>,
) -> Result<set_in_room::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let room = room_of(&home.store.snapshot()?, call.user_key, &call.request.room_id)?;
    let (user, kind) = (call.user_key, call.request.event_type.to_string());
    let content = call.request.data.json().get().to_owned();
    home.store.write(move |tx| account_data::set(tx, user, Some(room), &kind, &content)).await?;
    Ok(set_in_room::Response::new())
}

/// A room that a user has something to do with.
///
/// # Errors
/// `M_FORBIDDEN` for any other room.
pub(super) fn room_of(view: &dyn View, user: UserKey, room: &RoomId) -> Result<RoomKey, ApiError> {
    let key = RoomKey::find(view, room)?;
    let stands = key.map(|key| rooms::standing(view, user, key)).transpose()?.flatten().is_some();
    key.filter(|_| stands).ok_or_else(|| ApiError::forbidden(format!("you have nothing to do with {room}")))
}

/// Whether a path names the caller.
///
/// # Errors
/// `M_FORBIDDEN` when it names somebody else.
pub(super) fn own(user: &UserId, named: &UserId) -> Result<(), ApiError> {
    if user == named { Ok(()) } else { Err(ApiError::forbidden(format!("you are {user} and cannot act as {named}"))) }
}

impl From<AccountDataError> for ApiError {
    fn from(error: AccountDataError) -> Self {
        let message = error.to_string();
        match error {
            AccountDataError::Managed(_) => Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::BadJson, message),
            AccountDataError::BadType => Self::invalid_param(message),
            AccountDataError::NoObject => Self::bad_json(message),
            AccountDataError::TooLarge | AccountDataError::TooMany => Self::too_large(message),
            AccountDataError::Store(error) => error.into(),
        }
    }
}

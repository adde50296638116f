//! `PUT`, `GET` and `DELETE /_matrix/client/v3/directory/room/{roomAlias}`, `GET .../rooms/{roomId}/aliases`. Client-server
//! API, "Room aliases".

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, RoomAliasId, RoomId, UserId,
    api::{
        client::{
            alias::{create_alias::v3 as create_alias, delete_alias::v3 as delete_alias, get_alias::v3 as get_alias},
            room::aliases::v3 as aliases,
        },
        error::ErrorKind,
    },
    events::{
        StateEventType,
        room::history_visibility::{HistoryVisibility, RoomHistoryVisibilityEventContent},
    },
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, Open, route},
    },
    federation,
    home::Home,
    rooms::{Room, RoomError, alias},
    store::{StoreError, View},
};

/// Names that one `m.room.canonical_alias` may add: each may cost a request to another server.
const NEW_ALIASES_MAX: usize = 20;

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, create);
    let router = route(router, find);
    let router = route(router, delete);
    route(router, list)
}

async fn create(
    State(home): State<Arc<Home>>,
    call: Authed<create_alias::Request>,
) -> Result<create_alias::Response, ApiError> {
    let request = call.request;
    let created = alias::create(&home, &call.user, &request.room_alias, &request.room_id).await;
    created.map_err(|error| match error {
        RoomError::Invalid(why) => ApiError::invalid_param(why),
        error => error.into(),
    })?;
    Ok(create_alias::Response::new())
}

async fn find(
    State(home): State<Arc<Home>>,
    Open { request }: Open<get_alias::Request>,
) -> Result<get_alias::Response, ApiError> {
    let (room, servers) = federation::resolve_alias(&home, &request.room_alias).await?;
    Ok(get_alias::Response::new(room, servers))
}

async fn delete(
    State(home): State<Arc<Home>>,
    call: Authed<delete_alias::Request>,
) -> Result<delete_alias::Response, ApiError> {
    alias::delete(&home, &call.user, &call.request.room_alias).await?;
    Ok(delete_alias::Response::new())
}

async fn list(State(home): State<Arc<Home>>, call: Authed<aliases::Request>) -> Result<aliases::Response, ApiError> {
    let view = home.store.snapshot()?;
    let stranger = || ApiError::forbidden("you are not in this room");
    let room = Room::find(&view, &call.request.room_id)?.ok_or_else(stranger)?;
    if !may_list(&view, &room, &call.user)? {
        return Err(stranger());
    }
    Ok(aliases::Response::new(alias::of_room(&view, room.key)?))
}

fn may_list(view: &dyn View, room: &Room, user: &UserId) -> Result<bool, StoreError> {
    if room.is_joined(view, user)? {
        return Ok(true);
    }
    let visibility = room.current_event(view, &StateEventType::RoomHistoryVisibility, "")?;
    let visibility = visibility.and_then(|event| event.pdu.content_as::<RoomHistoryVisibilityEventContent>().ok());
    Ok(visibility.is_some_and(|content| content.history_visibility == HistoryVisibility::WorldReadable))
}

/// Checks what a client wants to call a room: every name that is new must point to it. Client-server API,
/// `m.room.canonical_alias`.
///
/// # Errors
/// `M_INVALID_PARAM` for what is no alias, `M_BAD_ALIAS` for a name that points elsewhere or nowhere.
pub(super) async fn check_canonical(home: &Home, room: &RoomId, content: &CanonicalJsonObject) -> Result<(), ApiError> {
    let wanted = names_in(content).map_err(|name| ApiError::invalid_param(format!("`{name}` is not a room alias")))?;
    let known = current_names(home, room)?;
    let new: Vec<_> = wanted.difference(&known).collect();
    if new.len() > NEW_ALIASES_MAX {
        return Err(bad_alias(format!("at most {NEW_ALIASES_MAX} aliases can be added at once")));
    }
    for alias in new {
        match federation::resolve_alias(home, alias).await {
            Ok((found, _)) if found == room => {}
            Ok(_) => return Err(bad_alias(format!("{alias} is the name of another room"))),
            Err(RoomError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(bad_alias(format!("{alias} is not known to point to this room: {error}"))),
        }
    }
    Ok(())
}

fn bad_alias(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::BadAlias, message)
}

fn current_names(home: &Home, room: &RoomId) -> Result<BTreeSet<OwnedRoomAliasId>, ApiError> {
    let view = home.store.snapshot()?;
    let Some(room) = Room::find(&view, room)? else { return Ok(BTreeSet::new()) };
    let current = room.current_event(&view, &StateEventType::RoomCanonicalAlias, "")?;
    let content = current.and_then(|event| event.pdu.content_as::<CanonicalJsonObject>().ok());
    // What another server let through may hold anything; names that are none are no names.
    Ok(content.and_then(|content| names_in(&content).ok()).unwrap_or_default())
}

/// The names in a canonical alias event's content, or what is none.
fn names_in(content: &CanonicalJsonObject) -> Result<BTreeSet<OwnedRoomAliasId>, String> {
    let alternatives = match content.get("alt_aliases") {
        None | Some(CanonicalJsonValue::Null) => &[],
        Some(CanonicalJsonValue::Array(names)) => names.as_slice(),
        Some(_) => return Err("alt_aliases".into()),
    };
    let main =
        content.get("alias").filter(|alias| !matches!(alias, CanonicalJsonValue::Null) && alias.as_str() != Some(""));
    main.into_iter()
        .chain(alternatives)
        .map(|name| {
            let name = name.as_str().ok_or_else(|| "not a string".to_owned())?;
            RoomAliasId::parse(name).map_err(|_| name.to_owned())
        })
        .collect()
}

//! `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`, `PUT` and `DELETE .../tags/{tag}`. Client-server API, "Room
//! Tagging".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::client::tag::{create_tag::v3 as create_tag, delete_tag::v3 as delete_tag, get_tags::v3 as get_tags},
    events::tag::{TagInfo, TagName},
};

use super::config::{own, room_of};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    types::limits,
    users::tags,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, list);
    let router = route(router, create);
    route(router, delete)
}

async fn list(State(home): State<Arc<Home>>, call: Authed<get_tags::Request>) -> Result<get_tags::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let view = home.store.snapshot()?;
    let room = room_of(&view, call.user_key, &call.request.room_id)?;
    let tags = tags::of(&view, call.user_key, room)?.into_iter();
    let tags =
        tags.filter_map(|(name, info)| Some((TagName::from(name), serde_json::from_value::<TagInfo>(info).ok()?)));
    Ok(get_tags::Response::new(tags.collect()))
}

async fn create(
    State(home): State<Arc<Home>>,
    call: Authed<create_tag::Request>,
) -> Result<create_tag::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let (user, tag) = (call.user_key, call.request.tag);
    if tag.len() > limits::ID_BYTES_MAX {
        return Err(ApiError::invalid_param(format!("a tag has at most {} bytes", limits::ID_BYTES_MAX)));
    }
    let info = serde_json::to_value(&call.request.tag_info).map_err(|error| ApiError::bad_json(error.to_string()))?;
    let room = room_of(&home.store.snapshot()?, user, &call.request.room_id)?;
    home.store.write(move |tx| tags::set(tx, user, room, &tag, Some(info.clone()))).await?;
    Ok(create_tag::Response::new())
}

async fn delete(
    State(home): State<Arc<Home>>,
    call: Authed<delete_tag::Request>,
) -> Result<delete_tag::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let (user, tag) = (call.user_key, call.request.tag);
    let room = room_of(&home.store.snapshot()?, user, &call.request.room_id)?;
    home.store.write(move |tx| tags::set(tx, user, room, &tag, None)).await?;
    Ok(delete_tag::Response::new())
}

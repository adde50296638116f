//! `GET /_matrix/federation/v1/query/directory`. Server-server API, "Querying for information".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::federation::query::get_room_information::v1::{Request, Response};

use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    home::Home,
    rooms::alias,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_room_information)
}

async fn get_room_information(State(home): State<Arc<Home>>, call: Signed<Request>) -> Result<Response, ApiError> {
    let name = &call.request.room_alias;
    let found = alias::resolve(&home.store.snapshot()?, home.server_name(), name)?;
    let (room, servers) = found.ok_or_else(|| ApiError::not_found(format!("{name} is not a name here")))?;
    Ok(Response::new(room, servers))
}

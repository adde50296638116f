//! `GET /_matrix/client/v3/joined_rooms`. Client-server API, "Listing joined rooms".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::membership::joined_rooms::v3::{Request, Response};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, joined_rooms)
}

async fn joined_rooms(State(home): State<Arc<Home>>, call: Authed<Request>) -> Result<Response, ApiError> {
    let view = home.store.snapshot()?;
    let rooms = rooms::joined_rooms(&view, call.user_key)?;
    let ids = rooms.into_iter().map(|room| room.id(&view)).collect::<Result<_, _>>()?;
    Ok(Response::new(ids))
}

//! `POST /_matrix/client/v3/logout` and `.../logout/all`. Client-server API, "Login".
//!
//! A device ends with its session: there is no way back to it but its id in a new login.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::session::{logout::v3 as logout, logout_all::v3 as logout_all};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    users::sessions,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, post_logout);
    route(router, post_logout_all)
}

async fn post_logout(
    State(home): State<Arc<Home>>,
    call: Authed<logout::Request>,
) -> Result<logout::Response, ApiError> {
    home.store.write(move |tx| sessions::close(tx, call.user_key, call.device.as_str())).await?;
    Ok(logout::Response::new())
}

async fn post_logout_all(
    State(home): State<Arc<Home>>,
    call: Authed<logout_all::Request>,
) -> Result<logout_all::Response, ApiError> {
    home.store.write(move |tx| sessions::close_all(tx, call.user_key, None)).await?;
    Ok(logout_all::Response::new())
}

//! `GET /_matrix/federation/v1/version`. Server-server API, "Retrieving server version".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::federation::discovery::get_server_version::v1::{Request, Response, Server};

use crate::{
    api::{
        ApiError,
        frame::{Open, route},
    },
    home::Home,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_server_version)
}

async fn get_server_version(_: State<Arc<Home>>, _: Open<Request>) -> Result<Response, ApiError> {
    let mut server = Server::new();
    server.name = Some("Hearth".to_owned());
    server.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    let mut response = Response::new();
    response.server = Some(server);
    Ok(response)
}

//! `GET /_matrix/client/versions`. Client-server API, "API Versions".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::discovery::get_supported_versions::{Request, Response};

use crate::{
    api::{
        ApiError,
        frame::{Open, route},
    },
    home::Home,
};

/// The versions of the specification that clients may speak to us. The r0 series differs in ways that are not kept.
const VERSIONS: [&str; 18] = [
    "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13",
    "v1.14", "v1.15", "v1.16", "v1.17", "v1.18",
];

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_supported_versions)
}

async fn get_supported_versions(_: State<Arc<Home>>, _: Open<Request>) -> Result<Response, ApiError> {
    Ok(Response::new(VERSIONS.map(str::to_owned).to_vec()))
}

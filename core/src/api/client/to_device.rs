//! `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`. Client-server API, "Send-to-Device messaging".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::to_device::send_event_to_device::v3::{Request, Response};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    keys,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, send_event_to_device)
}

async fn send_event_to_device(State(home): State<Arc<Home>>, call: Authed<Request>) -> Result<Response, ApiError> {
    let (actor, request) = call.into_actor();
    keys::send_to_device(&home, &actor, request).await?;
    Ok(Response::new())
}

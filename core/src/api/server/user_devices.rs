//! `GET /_matrix/federation/v1/user/devices/{userId}`. Server-server API, "Device Management".
//!
//! Answers for users of this server alone, and with those devices that have keys: others cannot be written to.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::federation::device::get_devices::v1::{Request, Response};

use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    home::Home,
    keys,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_devices)
}

async fn get_devices(State(home): State<Arc<Home>>, call: Signed<Request>) -> Result<Response, ApiError> {
    let devices = keys::devices_for_server(&home, &call.request.user_id)?;
    devices.ok_or_else(|| ApiError::not_found("there is no such user here"))
}

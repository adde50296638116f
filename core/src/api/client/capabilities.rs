//! `GET /_matrix/client/v3/capabilities`. Client-server API, "Capabilities negotiation".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::discovery::get_capabilities::v3::{
    Capabilities, ChangePasswordCapability, GetLoginTokenCapability, ProfileFieldsCapability, Request, Response,
    RoomVersionStability, RoomVersionsCapability, ThirdPartyIdChangesCapability,
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    event::{DEFAULT_ROOM_VERSION, ROOM_VERSIONS},
    home::Home,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_capabilities)
}

async fn get_capabilities(_: State<Arc<Home>>, _: Authed<Request>) -> Result<Response, ApiError> {
    let stable = ROOM_VERSIONS.map(|version| (version, RoomVersionStability::Stable));
    let mut capabilities = Capabilities::new();
    capabilities.change_password = ChangePasswordCapability::new(true);
    capabilities.room_versions = RoomVersionsCapability::new(DEFAULT_ROOM_VERSION, stable.into());
    capabilities.thirdparty_id_changes = ThirdPartyIdChangesCapability::new(false);
    capabilities.get_login_token = GetLoginTokenCapability::new(false);
    capabilities.profile_fields = Some(ProfileFieldsCapability::new(true));
    Ok(Response::new(capabilities))
}

//! `GET /_matrix/client/v3/account/whoami`, `POST .../account/password`, `POST .../account/deactivate`. Client-server API,
//! "Account management".
//!
//! Password and deactivation ask for the password once more. Deliberately absent: third-party identifiers, and a reset of
//! a forgotten password, which would need a mail server. `erase` is not honoured: what was said stays with those who heard.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::account::{
    ThirdPartyIdRemovalStatus, change_password::v3 as change_password, deactivate::v3 as deactivate,
    whoami::v3 as whoami,
};

use super::uiaa;
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    store::{StoreError, WriteTx},
    users::{accounts, password, sessions},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, get_whoami);
    let router = route(router, post_password);
    route(router, post_deactivate)
}

async fn get_whoami(_: State<Arc<Home>>, call: Authed<whoami::Request>) -> Result<whoami::Response, ApiError> {
    let mut response = whoami::Response::new(call.user, false);
    response.device_id = Some(call.device);
    Ok(response)
}

async fn post_password(
    State(home): State<Arc<Home>>,
    call: Authed<change_password::Request>,
) -> Result<change_password::Response, ApiError> {
    uiaa::has_password(&home, &call.user, call.user_key, call.request.auth.as_ref()).await?;
    let password = password::hash(&home, call.request.new_password).await?;
    let (user, device, logout_devices) = (call.user_key, call.device, call.request.logout_devices);
    let job = move |tx: &mut WriteTx<'_>| -> Result<(), StoreError> {
        accounts::set_password(tx, user, &password)?;
        if logout_devices {
            sessions::close_all(tx, user, Some(device.as_str()))?;
        }
        Ok(())
    };
    home.store.write(job).await?;
    Ok(change_password::Response::new())
}

async fn post_deactivate(
    State(home): State<Arc<Home>>,
    call: Authed<deactivate::Request>,
) -> Result<deactivate::Response, ApiError> {
    uiaa::has_password(&home, &call.user, call.user_key, call.request.auth.as_ref()).await?;
    home.store.write(move |tx| accounts::deactivate(tx, call.user_key)).await?;
    Ok(deactivate::Response::new(ThirdPartyIdRemovalStatus::NoSupport))
}

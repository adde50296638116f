//! `GET` and `POST /_matrix/client/v3/login`. Client-server API, "Login".
//!
//! By password, with a user id or its localpart; or by a token that the person's own app on this phone made. Deliberately
//! absent: single sign-on, which needs a web page of ours.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::{
        client::session::{
            get_login_types::v3::{self as get_login_types, LoginType, PasswordLoginType, TokenLoginType},
            login::v3::{self as login, LoginInfo},
        },
        error::ErrorKind,
    },
};

use super::uiaa;
use crate::{
    api::{
        ApiError,
        frame::{Open, route},
    },
    home::Home,
    store::UserKey,
    types::limits,
    users::{
        accounts, password,
        sessions::{self, NewSession},
    },
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, types);
    route(router, post_login)
}

async fn types(_: State<Arc<Home>>, _: Open<get_login_types::Request>) -> Result<get_login_types::Response, ApiError> {
    Ok(get_login_types::Response::new(vec![
        LoginType::Password(PasswordLoginType::new()),
        LoginType::Token(TokenLoginType::new()),
    ]))
}

async fn post_login(
    State(home): State<Arc<Home>>,
    Open { request }: Open<login::Request>,
) -> Result<login::Response, ApiError> {
    let device = device_of(request.device_id, request.initial_device_display_name)?;
    let (user, user_key) = match request.login_info {
        LoginInfo::Password(given) => by_password(&home, given).await?,
        LoginInfo::Token(given) => by_token(&home, &given.token)?,
        _ => return Err(ApiError::unknown("the login types here are `m.login.password` and `m.login.token`")),
    };
    let session = NewSession::new(&home, device.id, device.display_name);
    let opened = session.clone();
    let job = move |tx: &mut crate::store::WriteTx<'_>| -> Result<(), ApiError> {
        // The account may have been deactivated while the password was being checked.
        if accounts::find(tx, user_key)?.is_none_or(|account| account.deactivated) {
            return Err(wrong());
        }
        Ok(sessions::open(tx, user_key, &session)?)
    };
    home.store.write(job).await?;
    Ok(login::Response::new(user, opened.token, opened.device.into()))
}

fn by_token(home: &Home, token: &str) -> Result<(OwnedUserId, UserKey), ApiError> {
    let wrong = || ApiError::forbidden("the login token is wrong, was used, or is too old");
    let user = home.take_login_token(token).ok_or_else(wrong)?;
    Ok((user.id(&home.store.snapshot()?)?, user))
}

async fn by_password(home: &Home, given: login::Password) -> Result<(OwnedUserId, UserKey), ApiError> {
    let user = user_of(home, &given)?;
    let view = home.store.snapshot()?;
    let account = user.as_ref().map(|user| accounts::find_by_id(&view, user)).transpose()?.flatten();
    drop(view);
    let stored = account.as_ref().and_then(|(_, account)| account.password.clone());
    // An unknown user costs the same work as a wrong password, so that the time taken does not tell who lives here.
    let is_right = password::verify(home, given.password, stored).await?;
    let (user, (user_key, account)) = user.zip(account).ok_or_else(wrong)?;
    if account.deactivated {
        let message = "this account was deactivated";
        return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::UserDeactivated, message));
    }
    if is_right { Ok((user, user_key)) } else { Err(wrong()) }
}

fn wrong() -> ApiError {
    ApiError::forbidden("the user or the password is wrong")
}

/// Whom the client means; `None` for someone who cannot live here.
#[allow(deprecated, reason = "older clients still send `user` instead of `identifier`")]
fn user_of(home: &Home, given: &login::Password) -> Result<Option<OwnedUserId>, ApiError> {
    match (&given.identifier, &given.user) {
        (Some(identifier), _) => Ok(uiaa::named_user(home, identifier)),
        (None, Some(user)) => Ok(uiaa::local_user(home, user)),
        (None, None) => Err(ApiError::missing_param("`identifier` says who logs in")),
    }
}

/// The device that a client wants its session on.
pub(super) struct WantedDevice {
    pub(super) id: Option<String>,
    pub(super) display_name: Option<String>,
}

/// Checks what a client says of its device before it is stored.
pub(super) fn device_of(id: Option<OwnedDeviceId>, display_name: Option<String>) -> Result<WantedDevice, ApiError> {
    let id = id.map(|id| id.to_string());
    if id.as_deref().is_some_and(|id| id.is_empty() || id.len() > limits::ID_BYTES_MAX || id.contains('\0')) {
        return Err(ApiError::invalid_param("a device id has 1 to 255 bytes, and no NUL"));
    }
    if display_name.as_ref().is_some_and(|name| name.len() > limits::PROFILE_FIELD_BYTES_MAX) {
        return Err(ApiError::invalid_param("the device's display name is too long"));
    }
    Ok(WantedDevice { id, display_name })
}

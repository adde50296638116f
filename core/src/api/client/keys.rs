//! Keys for end-to-end encryption. Client-server API, "Key management API" and "Cross-signing".
//!
//! - `POST /_matrix/client/v3/keys/upload`, `.../keys/query`, `.../keys/claim`
//! - `GET /_matrix/client/v3/keys/changes`
//! - `POST /_matrix/client/v3/keys/device_signing/upload`, `.../keys/signatures/upload`
//!
//! New cross-signing keys ask for the password once more, but for the first ones.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::api::{
    client::keys::{
        claim_keys::v3 as claim_keys, get_key_changes::v3 as get_key_changes, get_keys::v3 as get_keys,
        upload_keys::v3 as upload_keys, upload_signatures::v3 as upload_signatures,
        upload_signing_keys::v3 as upload_signing_keys,
    },
    error::{ErrorKind, WrongRoomKeysVersionErrorData},
};

use super::uiaa;
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    keys::{self, Actor, KeysError},
    types::SyncToken,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, upload);
    let router = route(router, query);
    let router = route(router, claim);
    let router = route(router, changes);
    let router = route(router, upload_identity);
    route(router, sign)
}

async fn upload(
    State(home): State<Arc<Home>>,
    call: Authed<upload_keys::Request>,
) -> Result<upload_keys::Response, ApiError> {
    let (actor, request) = call.into_actor();
    Ok(keys::upload(&home, &actor, request).await?)
}

async fn query(State(home): State<Arc<Home>>, call: Authed<get_keys::Request>) -> Result<get_keys::Response, ApiError> {
    let (actor, request) = call.into_actor();
    Ok(keys::query(&home, &actor, request).await?)
}

async fn claim(
    State(home): State<Arc<Home>>,
    call: Authed<claim_keys::Request>,
) -> Result<claim_keys::Response, ApiError> {
    let (actor, request) = call.into_actor();
    Ok(keys::claim(&home, &actor, request).await?)
}

async fn changes(
    State(home): State<Arc<Home>>,
    call: Authed<get_key_changes::Request>,
) -> Result<get_key_changes::Response, ApiError> {
    let place = |token: &str| token.parse::<SyncToken>().map_err(|error| ApiError::invalid_param(error.to_string()));
    let (from, to) = (place(&call.request.from)?, place(&call.request.to)?);
    let lists = keys::device_lists(&home.store.snapshot()?, call.user_key, from, to)?;
    Ok(get_key_changes::Response::new(lists.changed, lists.left))
}

async fn upload_identity(
    State(home): State<Arc<Home>>,
    call: Authed<upload_signing_keys::Request>,
) -> Result<upload_signing_keys::Response, ApiError> {
    let (actor, request) = call.into_actor();
    let needs_auth = keys::needs_auth(&home.store.snapshot()?, &actor, &request)?;
    if needs_auth {
        uiaa::has_password(&home, &actor.user, actor.user_key, request.auth.as_ref()).await?;
    }
    keys::upload_signing_keys(&home, &actor, request).await?;
    Ok(upload_signing_keys::Response::new())
}

async fn sign(
    State(home): State<Arc<Home>>,
    call: Authed<upload_signatures::Request>,
) -> Result<upload_signatures::Response, ApiError> {
    let (actor, request) = call.into_actor();
    Ok(keys::upload_signatures(&home, &actor, request).await?)
}

impl<T> Authed<T> {
    /// The caller as the keys' functions know them, and what is asked.
    pub(super) fn into_actor(self) -> (Actor, T) {
        (Actor { user: self.user, user_key: self.user_key, device: self.device }, self.request)
    }
}

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> Self {
        let message = error.to_string();
        match error {
            KeysError::Malformed(_) => Self::bad_json(message),
            KeysError::Invalid(_) => Self::invalid_param(message),
            KeysError::Forbidden(_) => Self::forbidden(message),
            KeysError::Signature(_) => Self::with_code(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", message),
            KeysError::Missing(_) => Self::missing_param(message),
            KeysError::NotFound(_) => Self::not_found(message),
            KeysError::TooMuch(_) => Self::too_large(message),
            KeysError::WrongVersion { current } => {
                let kind = ErrorKind::WrongRoomKeysVersion(WrongRoomKeysVersionErrorData::new(current));
                Self::new(StatusCode::FORBIDDEN, kind, message)
            }
            KeysError::Store(error) => error.into(),
        }
    }
}

//! `GET /_matrix/key/v2/server`. Server-server API, "Publishing Keys".
//!
//! A server whose name is its key needs no key lookup and makes none; this endpoint is for the others who ask by habit, and
//! for a homeserver that runs under a DNS name. Deliberately absent: the notary endpoints, since we vouch for nobody.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch, ServerSigningKeyId, UInt,
    api::federation::discovery::{
        ServerSigningKeys, VerifyKey,
        get_server_keys::v2::{Request, Response},
    },
    serde::{Base64, Raw},
};

use crate::{
    api::{
        ApiError,
        frame::{Open, route},
    },
    home::Home,
};

/// How long others may trust the answer. The specification has them trust it for seven days at most.
const VALID_FOR: Duration = Duration::from_hours(7 * 24);

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_server_keys)
}

async fn get_server_keys(State(home): State<Arc<Home>>, _: Open<Request>) -> Result<Response, ApiError> {
    let keys = signed_keys(&home).map_err(|error| {
        tracing::error!(error, "the server's keys could not be written");
        ApiError::internal("the keys could not be written")
    })?;
    Ok(Response::new(keys))
}

fn signed_keys(home: &Home) -> Result<Raw<ServerSigningKeys>, String> {
    let valid_until = u64::try_from(VALID_FOR.as_millis()).map_or(u64::MAX, |valid| home.now().0.saturating_add(valid));
    let valid_until = MilliSecondsSinceUnixEpoch(UInt::new_saturating(valid_until));
    let mut keys = ServerSigningKeys::new(home.server_name().to_owned(), valid_until);
    let id = ServerSigningKeyId::parse(home.local.key_id()).map_err(|error| error.to_string())?;
    keys.verify_keys.insert(id, VerifyKey::new(Base64::new(home.local.public_key().to_bytes().to_vec())));
    let mut object = object_of(&keys)?;
    // `sign_json` merges into what is there, and what is there must not be an empty map of another kind.
    object.remove("signatures");
    home.local.sign_json(&mut object).map_err(|error| error.to_string())?;
    let json = serde_json::value::to_raw_value(&object).map_err(|error| error.to_string())?;
    Ok(Raw::from_json(json))
}

fn object_of(keys: &ServerSigningKeys) -> Result<CanonicalJsonObject, String> {
    let value = serde_json::to_value(keys).map_err(|error| error.to_string())?;
    match CanonicalJsonValue::try_from(value).map_err(|error| error.to_string())? {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err("the keys are no object".to_owned()),
    }
}

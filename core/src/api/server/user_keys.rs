//! `POST /_matrix/federation/v1/user/keys/query` and `.../user/keys/claim`. Server-server API, "End-to-End Encryption".
//!
//! Answers for users of this server alone.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::federation::keys::{claim_keys::v1 as claim_keys, get_keys::v1 as get_keys};

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
    let router = route(router, query);
    route(router, claim)
}

async fn query(State(home): State<Arc<Home>>, call: Signed<get_keys::Request>) -> Result<get_keys::Response, ApiError> {
    Ok(keys::query_for_server(&home, call.request)?)
}

async fn claim(
    State(home): State<Arc<Home>>,
    call: Signed<claim_keys::Request>,
) -> Result<claim_keys::Response, ApiError> {
    Ok(keys::claim_for_server(&home, &call.origin, call.request).await?)
}

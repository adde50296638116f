//! `GET /_matrix/federation/v1/query/profile`. Server-server API, "Querying for information".
//!
//! Answers for users of this server alone.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::federation::query::get_profile_information::v1::{Request, Response};

use crate::{
    api::{
        ApiError,
        client::local_profile,
        frame::{Signed, route},
    },
    home::Home,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_profile_information)
}

async fn get_profile_information(State(home): State<Arc<Home>>, call: Signed<Request>) -> Result<Response, ApiError> {
    let Request { user_id, field, .. } = call.request;
    let profile = local_profile(&home.store.snapshot()?, &user_id)?;
    let wanted = |(name, _): &(String, _)| field.as_ref().is_none_or(|field| field.as_str() == name);
    Ok(profile.into_iter().filter(wanted).collect())
}

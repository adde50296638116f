//! `POST /_matrix/client/v3/user/{userId}/filter`, `GET .../filter/{filterId}`. Client-server API, "Filtering".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    UserId,
    api::client::filter::{FilterDefinition, create_filter::v3 as create_filter, get_filter::v3 as get_filter},
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    types::limits,
    users::filters,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, post_filter);
    route(router, get_one)
}

async fn post_filter(
    State(home): State<Arc<Home>>,
    call: Authed<create_filter::Request>,
) -> Result<create_filter::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let json = serde_json::to_vec(&call.request.filter).map_err(|error| ApiError::bad_json(error.to_string()))?;
    if json.len() > limits::FILTER_BYTES_MAX {
        return Err(ApiError::too_large(format!("a filter has at most {} bytes", limits::FILTER_BYTES_MAX)));
    }
    let number = home.store.write(move |tx| filters::add(tx, call.user_key, &json)).await?;
    Ok(create_filter::Response::new(number.to_string()))
}

async fn get_one(
    State(home): State<Arc<Home>>,
    call: Authed<get_filter::Request>,
) -> Result<get_filter::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    let unknown = || ApiError::not_found("there is no such filter; upload it again");
    let number = call.request.filter_id.parse().map_err(|_| unknown())?;
    let json = filters::find(&home.store.snapshot()?, call.user_key, number)?.ok_or_else(unknown)?;
    let filter: FilterDefinition = serde_json::from_slice(&json).map_err(|error| {
        tracing::error!(%error, "a stored filter does not parse");
        ApiError::internal("the filter cannot be read; upload it again")
    })?;
    Ok(get_filter::Response::new(filter))
}

fn own(user: &UserId, named: &UserId) -> Result<(), ApiError> {
    if user == named { Ok(()) } else { Err(ApiError::forbidden("a filter belongs to the user who made it")) }
}

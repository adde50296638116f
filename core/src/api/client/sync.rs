//! `GET /_matrix/client/v3/sync`. Client-server API, "Syncing".
//!
//! The answer is ruma's with two things put right on the way out: a sync that holds nothing but knocks, whose rooms ruma
//! leaves out, and `device_one_time_keys_count`, which a client wants to see also when it is empty.

use std::sync::Arc;

use axum::{Router, extract::State};
use bytes::BufMut;
use ruma::{
    api::{
        IncomingRequest, Metadata, OutgoingResponse,
        client::{
            filter::FilterDefinition,
            sync::sync_events::v3::{Filter, Request, Response},
        },
        error::{Error, FromHttpRequestError, IntoHttpError},
    },
    exports::http,
};
use serde_json::{Map, Value, json};
use tokio::time::Duration;

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    store::UserKey,
    sync::{self, SyncRequest},
    types::SyncPlace,
    users::filters,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, sync_events)
}

async fn sync_events(State(home): State<Arc<Home>>, call: Authed<Ask>) -> Result<Answer, ApiError> {
    let Ask(request) = call.request;
    let since = request.since.as_deref().map(str::parse::<SyncPlace>).transpose();
    let since = since.map_err(|error| ApiError::invalid_param(error.to_string()))?;
    let request = SyncRequest {
        since: since.map(|place| place.log),
        inbox_since: since.map(|place| place.inbox),
        typing: since.and_then(|place| place.typing),
        filter: filter(&home, call.user_key, request.filter)?,
        full_state: request.full_state,
        use_state_after: request.use_state_after,
        wait: request.timeout.unwrap_or(Duration::ZERO),
        user: call.user,
        user_key: call.user_key,
        device: call.device,
    };
    Ok(Answer(sync::sync(&home, &request).await?))
}

fn filter(home: &Home, user: UserKey, filter: Option<Filter>) -> Result<FilterDefinition, ApiError> {
    let id = match filter {
        None => return Ok(FilterDefinition::default()),
        Some(Filter::FilterDefinition(filter)) => return Ok(filter),
        Some(Filter::FilterId(id)) => id,
        Some(_) => return Err(ApiError::invalid_param("`filter` is a filter or the id of one")),
    };
    let unknown =
        || ApiError::invalid_param("`filter` is neither a filter nor the id of one of yours; upload it again");
    let json = filters::find(&home.store.snapshot()?, user, id.parse().map_err(|_| unknown())?)?;
    serde_json::from_slice(&json.ok_or_else(unknown)?).map_err(|_| unknown())
}

/// ruma's request, with our answer.
struct Ask(Request);

/// ruma's answer, completed.
struct Answer(Response);

impl Metadata for Ask {
    const METHOD: http::Method = Request::METHOD;
    const RATE_LIMITED: bool = Request::RATE_LIMITED;
    type Authentication = <Request as Metadata>::Authentication;
    type PathBuilder = <Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = Request::PATH_BUILDER;
}

impl IncomingRequest for Ask {
    type EndpointError = Error;
    type OutgoingResponse = Answer;

    fn try_from_http_request<B, S>(request: http::Request<B>, path_args: &[S]) -> Result<Self, FromHttpRequestError>
    where
        B: AsRef<[u8]>,
        S: AsRef<str>,
    {
        Request::try_from_http_request(request, path_args).map(Self)
    }
}

impl OutgoingResponse for Answer {
    fn try_into_http_response<T: Default + BufMut>(self) -> Result<http::Response<T>, IntoHttpError> {
        let only_knocks = self.0.rooms.is_empty() && !self.0.rooms.knock.is_empty();
        let knocks = only_knocks.then(|| serde_json::to_value(&self.0.rooms.knock)).transpose()?;
        let response = self.0.try_into_http_response::<Vec<u8>>()?;
        let (parts, body) = response.into_parts();
        let mut body: Map<String, Value> = serde_json::from_slice(&body)?;
        body.entry("device_one_time_keys_count").or_insert_with(|| json!({}));
        if let Some(knocks) = knocks {
            body.insert("rooms".into(), json!({ "knock": knocks }));
        }
        let mut buffer = T::default();
        buffer.put_slice(&serde_json::to_vec(&body)?);
        Ok(http::Response::from_parts(parts, buffer))
    }
}

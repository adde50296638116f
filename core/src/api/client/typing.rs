//! `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`. Client-server API, "Typing Notifications".

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::typing::create_typing_event::v3::{Request, Response, Typing};
use serde_json::{Map, Value, json};
use tokio::time::Duration;

use super::{
    amended::{Amend, Amended},
    config::own,
};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::typing::{self, TypingError},
    types::limits::TYPING_TIMEOUT_DEFAULT,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, set)
}

impl Amend for Request {
    fn amend_body(body: &mut Map<String, Value>) {
        let default = u64::try_from(TYPING_TIMEOUT_DEFAULT.as_millis()).unwrap_or_default();
        body.entry("timeout").or_insert_with(|| json!(default));
    }
}

async fn set(State(home): State<Arc<Home>>, call: Authed<Amended<Request>>) -> Result<Response, ApiError> {
    let Amended(request) = call.request;
    own(&call.user, &request.user_id)?;
    let (is_typing, timeout) = match request.state {
        Typing::Yes(info) => (true, info.timeout),
        Typing::No => (false, Duration::ZERO),
    };
    typing::set(&home, &call.user, &request.room_id, is_typing, timeout)?;
    Ok(Response::new())
}

impl From<TypingError> for ApiError {
    fn from(error: TypingError) -> Self {
        match error {
            TypingError::NotIn(_) => Self::forbidden(error.to_string()),
            TypingError::Store(error) => error.into(),
        }
    }
}

//! What an endpoint answers when it cannot do what was asked: a status, a Matrix error code and a sentence.
//!
//! Features have errors of their own; each endpoint group turns them into this one with `From`, so that error codes appear
//! nowhere below `api`. The sentence is for the person who reads the client's log: it says what was asked and what to do,
//! and never shows the database's own words.

use axum::{body::Body, response::IntoResponse};
use bytes::BytesMut;
use http::{Response, StatusCode};
use ruma::api::{
    OutgoingResponse,
    client::uiaa::{UiaaInfo, UiaaResponse},
    error::{
        DeserializationError, Error, ErrorBody, ErrorKind, FromHttpRequestError, LimitExceededErrorData, RetryAfter,
        StandardErrorBody, UnknownTokenErrorData,
    },
};
use std::time::Duration;

use crate::store::StoreError;

/// An endpoint's refusal.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The error code, with its extra fields.
    pub kind: ErrorKind,
    /// A sentence for people.
    pub message: String,
    /// The stages that a client must pass first: sent instead of a bare error when set.
    uiaa: Option<Box<UiaaInfo>>,
}

macro_rules! constructors {
    ($($(#[doc = $doc:literal])* $name:ident: $status:ident, $kind:expr;)*) => {$(
        $(#[doc = $doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(StatusCode::$status, $kind, message)
        }
    )*};
}

impl ApiError {
    /// Any refusal.
    pub fn new(status: StatusCode, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), uiaa: None }
    }

    constructors! {
        /// 403 `M_FORBIDDEN`: the caller is known and may not do this.
        forbidden: FORBIDDEN, ErrorKind::Forbidden;
        /// 404 `M_NOT_FOUND`.
        not_found: NOT_FOUND, ErrorKind::NotFound;
        /// 404 `M_UNRECOGNIZED`: no such endpoint here.
        unrecognized: NOT_FOUND, ErrorKind::Unrecognized;
        /// 400 `M_INVALID_PARAM`.
        invalid_param: BAD_REQUEST, ErrorKind::InvalidParam;
        /// 400 `M_MISSING_PARAM`.
        missing_param: BAD_REQUEST, ErrorKind::MissingParam;
        /// 400 `M_BAD_JSON`: JSON, but not what the endpoint wants.
        bad_json: BAD_REQUEST, ErrorKind::BadJson;
        /// 400 `M_NOT_JSON`.
        not_json: BAD_REQUEST, ErrorKind::NotJson;
        /// 400 `M_UNKNOWN`: a refusal that has no code of its own.
        unknown: BAD_REQUEST, ErrorKind::Unknown;
        /// 413 `M_TOO_LARGE`.
        too_large: PAYLOAD_TOO_LARGE, ErrorKind::TooLarge;
        /// 401 `M_MISSING_TOKEN`.
        missing_token: UNAUTHORIZED, ErrorKind::MissingToken;
        /// 401 `M_UNKNOWN_TOKEN`, a hard logout: the device is gone and its keys with it.
        unknown_token: UNAUTHORIZED, ErrorKind::UnknownToken(UnknownTokenErrorData::new());
        /// 401 `M_UNAUTHORIZED`: a federation request whose signature does not hold.
        unauthorized: UNAUTHORIZED, ErrorKind::Unauthorized;
        /// 500 `M_UNKNOWN`: our fault.
        internal: INTERNAL_SERVER_ERROR, ErrorKind::Unknown;
        /// 502 `M_UNKNOWN`: another server could not be asked, or answered what cannot be.
        bad_gateway: BAD_GATEWAY, ErrorKind::Unknown;
    }

    /// Any refusal whose code ruma has no variant for.
    pub fn with_code(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let kind = serde_json::from_value(serde_json::json!({ "errcode": code }));
        Self::new(status, kind.unwrap_or(ErrorKind::Unknown), message)
    }

    /// 429 `M_LIMIT_EXCEEDED`, with the time after which another try is welcome.
    pub fn limit_exceeded(retry_after: Duration) -> Self {
        let mut data = LimitExceededErrorData::new();
        data.retry_after = Some(RetryAfter::Delay(retry_after));
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorKind::LimitExceeded(data), "too many requests; try again later")
    }

    /// 401 with the stages of user-interactive authentication. Client-server API, "User-Interactive Authentication API".
    pub fn uiaa(info: UiaaInfo) -> Self {
        let (kind, message) = match &info.auth_error {
            Some(error) => (error.kind.clone(), error.message.clone()),
            None => (ErrorKind::Unauthorized, "more authentication is needed".to_owned()),
        };
        Self { status: StatusCode::UNAUTHORIZED, kind, message, uiaa: Some(Box::new(info)) }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.kind.errcode(), self.message)
    }
}

impl std::error::Error for ApiError {}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed under a request");
        Self::internal("the homeserver's database failed; its log says why")
    }
}

impl From<FromHttpRequestError> for ApiError {
    fn from(error: FromHttpRequestError) -> Self {
        use serde_json::error::Category;
        match error {
            FromHttpRequestError::Deserialization(DeserializationError::Json(error)) => match error.classify() {
                Category::Data => Self::bad_json(format!("the body is not what this endpoint takes: {error}")),
                Category::Syntax | Category::Eof | Category::Io => {
                    Self::not_json(format!("the body is not JSON: {error}"))
                }
            },
            FromHttpRequestError::Deserialization(DeserializationError::Utf8(_)) => {
                Self::not_json("the body is not UTF-8")
            }
            FromHttpRequestError::Deserialization(error) => {
                Self::invalid_param(format!("the request's path, query or headers are not valid: {error}"))
            }
            other => Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                ErrorKind::Unrecognized,
                format!("the method is wrong: {other}"),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> axum::response::Response {
        let response: Result<Response<BytesMut>, _> = match self.uiaa {
            Some(info) => UiaaResponse::AuthResponse(*info).try_into_http_response(),
            None => {
                let body = ErrorBody::Standard(StandardErrorBody::new(self.kind, self.message));
                Error::new(self.status, body).try_into_http_response()
            }
        };
        match response {
            Ok(response) => response.map(|body| Body::from(body.freeze())),
            // Only a header value that is none can lead here, and an error's only header is a number.
            Err(error) => {
                tracing::error!(%error, "an error response could not be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

//! From an HTTP request to a typed, authenticated call, and from a handler's answer to an HTTP response.
//!
//! A handler is a plain function. Its argument says who may call it, and its ruma type says under which paths:
//!
//! ```text
//! async fn whoami(State(home): State<Arc<Home>>, call: Authed<whoami::v3::Request>) -> Result<whoami::v3::Response, ApiError>
//! router = route(router, whoami);
//! ```
//!
//! A handler whose answer is too large for memory gives an HTTP response ([`route_streamed`]); one whose request is takes an
//! [`Upload`] and reads the body itself.
//!
//! Only stable paths are registered: an unstable prefix promises a behaviour that changes. Tokens are read out of the
//! `Authorization` header alone; the `access_token` query parameter is deprecated, and leaks into logs.
//!
//! Invariant: credentials are checked before a byte of the body is read, as far as they do not sign it, and a body is read
//! up to a limit. A panic in a handler becomes a 500 and takes no other request with it.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, RawPathParams, Request, State},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ruma::{
    OwnedDeviceId, OwnedServerName, OwnedUserId,
    api::{IncomingRequest, Metadata, OutgoingResponse, path_builder::PathBuilder},
};

use super::{auth, error::ApiError};
use crate::{
    home::Home,
    store::UserKey,
    types::limits::{CLIENT_BODY_BYTES_MAX, FEDERATION_BODY_BYTES_MAX},
};

/// A request that needs no credentials.
#[derive(Debug)]
pub(crate) struct Open<T> {
    /// What is asked.
    pub(crate) request: T,
}

/// A client's request with a valid access token.
#[derive(Debug)]
pub(crate) struct Authed<T> {
    /// What is asked.
    pub(crate) request: T,
    /// Who asks.
    pub(crate) user: OwnedUserId,
    /// Who asks, interned.
    pub(crate) user_key: UserKey,
    /// On which device.
    pub(crate) device: OwnedDeviceId,
}

/// A client's request with a valid access token whose body is not read yet: the handler reads it as it comes.
pub(crate) struct Upload<T> {
    /// What is asked, its body aside.
    pub(crate) request: T,
    /// Who asks.
    pub(crate) user: OwnedUserId,
    /// Who asks, interned.
    pub(crate) user_key: UserKey,
    /// The body.
    pub(crate) body: Body,
    /// The length that the client announces.
    pub(crate) announced: Option<u64>,
}

/// Another server's request, signed by it.
#[derive(Debug)]
pub(crate) struct Signed<T> {
    /// What is asked.
    pub(crate) request: T,
    /// Who asks.
    pub(crate) origin: OwnedServerName,
}

/// How a kind of call comes out of an HTTP request.
pub(crate) trait Call: Sized + Send {
    /// The endpoint's request type.
    type Endpoint: IncomingRequest + Send;

    /// Reads and authenticates.
    fn read(home: &Home, request: Request) -> impl Future<Output = Result<Self, ApiError>> + Send;
}

impl<T: IncomingRequest + Send> Call for Open<T> {
    type Endpoint = T;

    async fn read(_: &Home, request: Request) -> Result<Self, ApiError> {
        let raw = RawCall::read(request, CLIENT_BODY_BYTES_MAX).await?;
        Ok(Self { request: raw.parse()? })
    }
}

impl<T: IncomingRequest + Send> Call for Authed<T> {
    type Endpoint = T;

    async fn read(home: &Home, request: Request) -> Result<Self, ApiError> {
        let auth::Caller { user, user_key, device } = caller(home, &request)?;
        let raw = RawCall::read(request, CLIENT_BODY_BYTES_MAX).await?;
        Ok(Self { request: raw.parse()?, user, user_key, device })
    }
}

impl<T: IncomingRequest + Send> Call for Upload<T> {
    type Endpoint = T;

    async fn read(home: &Home, request: Request) -> Result<Self, ApiError> {
        let auth::Caller { user, user_key, .. } = caller(home, &request)?;
        let (mut parts, body) = request.into_parts();
        let (path_args, announced) = (path_args(&mut parts).await?, announced(&parts));
        let raw = RawCall { request: http::Request::from_parts(parts, Bytes::new()), path_args };
        Ok(Self { request: raw.parse()?, user, user_key, body, announced })
    }
}

fn caller(home: &Home, request: &Request) -> Result<auth::Caller, ApiError> {
    let caller = auth::caller(home, request.headers())?;
    caller.ok_or_else(|| ApiError::missing_token("this endpoint needs an access token"))
}

impl<T: IncomingRequest + Send> Call for Signed<T> {
    type Endpoint = T;

    async fn read(home: &Home, request: Request) -> Result<Self, ApiError> {
        let claim = auth::claim(home, request.headers(), request.extensions())?;
        let raw = RawCall::read(request, FEDERATION_BODY_BYTES_MAX).await?;
        let origin = claim.verify(home, &raw.request)?;
        Ok(Self { request: raw.parse()?, origin })
    }
}

/// An HTTP request whose body is in memory, with the path's arguments.
struct RawCall {
    request: http::Request<Bytes>,
    path_args: Vec<String>,
}

impl RawCall {
    async fn read(request: Request, body_bytes_max: usize) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let path_args = path_args(&mut parts).await?;
        let body = read_body(&parts, body, body_bytes_max).await?;
        Ok(Self { request: http::Request::from_parts(parts, body), path_args })
    }

    fn parse<T: IncomingRequest>(self) -> Result<T, ApiError> {
        let Self { mut request, path_args } = self;
        // Clients leave the body out where nothing needs saying (a join by name), and some of ruma's parsers want one. Not
        // before the signature is checked, which covers the body as it was sent.
        if request.body().is_empty() && *request.method() == http::Method::POST {
            *request.body_mut() = Bytes::from_static(b"{}");
        }
        // Some of ruma's parsers index into what may not be there (a login without `type`). They are pure, so a panic in
        // one leaves nothing half done and says only that the request is not what it should be.
        let parse = AssertUnwindSafe(|| T::try_from_http_request(request, &path_args));
        match catch_unwind(parse) {
            Ok(parsed) => Ok(parsed?),
            Err(_) => Err(ApiError::bad_json("the request is not what this endpoint takes")),
        }
    }
}

async fn path_args(parts: &mut Parts) -> Result<Vec<String>, ApiError> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| ApiError::invalid_param("the path holds what is no UTF-8"))?;
    Ok(params.iter().map(|(_, value)| value.to_owned()).collect())
}

async fn read_body(parts: &Parts, body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::too_large(format!("the body is larger than {bytes_max} bytes"));
    // What is announced as too large is not read at all; what is not announced is read up to the limit.
    if announced(parts).is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(ApiError::not_json("the body broke off")),
    }
}

/// The length that a request's head announces for its body.
fn announced(parts: &Parts) -> Option<u64> {
    parts.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Registers a handler under every stable path of its endpoint.
pub(crate) fn route<C, F, Fut>(router: Router<Arc<Home>>, handler: F) -> Router<Arc<Home>>
where
    C: Call + 'static,
    F: Fn(State<Arc<Home>>, C) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<<C::Endpoint as IncomingRequest>::OutgoingResponse, ApiError>> + Send + 'static,
    <C::Endpoint as IncomingRequest>::OutgoingResponse: Send,
{
    stable_paths::<C>().into_iter().fold(router, |router, path| route_at(router, path, handler.clone()))
}

/// Registers a handler under a path of its own, for what ruma does not list: a trailing slash, an empty last segment. The
/// path's variables go to the request in order, whatever their names.
pub(crate) fn route_at<C, F, Fut>(router: Router<Arc<Home>>, path: &str, handler: F) -> Router<Arc<Home>>
where
    C: Call + 'static,
    F: Fn(State<Arc<Home>>, C) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<<C::Endpoint as IncomingRequest>::OutgoingResponse, ApiError>> + Send + 'static,
    <C::Endpoint as IncomingRequest>::OutgoingResponse: Send,
{
    route_streamed_at(router, path, move |home, call| {
        let answer = handler(home, call);
        async move { written(answer.await?) }
    })
}

/// As [`route`], for a handler that writes its HTTP response itself because the answer streams.
pub(crate) fn route_streamed<C, F, Fut>(router: Router<Arc<Home>>, handler: F) -> Router<Arc<Home>>
where
    C: Call + 'static,
    F: Fn(State<Arc<Home>>, C) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    stable_paths::<C>().into_iter().fold(router, |router, path| route_streamed_at(router, path, handler.clone()))
}

fn stable_paths<C: Call>() -> Vec<&'static str> {
    C::Endpoint::PATH_BUILDER.all_paths().filter(|path| !path.contains("/unstable/")).collect()
}

fn route_streamed_at<C, F, Fut>(router: Router<Arc<Home>>, path: &str, handler: F) -> Router<Arc<Home>>
where
    C: Call + 'static,
    F: Fn(State<Arc<Home>>, C) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let Ok(method) = MethodFilter::try_from(C::Endpoint::METHOD) else {
        unreachable!("Matrix uses only methods that axum can route")
    };
    let endpoint = move |State(home): State<Arc<Home>>, request: Request| {
        let handler = handler.clone();
        async move {
            let answer = async {
                let call = C::read(&home, request).await?;
                handler(State(home), call).await
            };
            AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
                // The panic's own words went to the log through the panic hook.
                Err(ApiError::internal("an internal error was contained; the homeserver's log says more"))
            })
        }
    };
    router.route(&numbered(path), on(method, endpoint))
}

fn written(response: impl OutgoingResponse) -> Result<Response, ApiError> {
    let response: http::Response<BytesMut> = response.try_into_http_response().map_err(|error| {
        tracing::error!(%error, "a response could not be written");
        ApiError::internal("the answer could not be written")
    })?;
    Ok(response.map(|body| Body::from(body.freeze())))
}

/// A path with its variables renamed by position: the router wants one name for one place, and endpoints that share a place
/// give it different ones.
fn numbered(path: &str) -> String {
    let mut count = 0;
    let segments = path.split('/').map(|segment| {
        if segment.starts_with('{') {
            count += 1;
            format!("{{p{count}}}")
        } else {
            segment.to_owned()
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Gives a router its answers for what it does not know, and its state.
pub(super) fn finish(router: Router<Arc<Home>>, home: Arc<Home>) -> Router {
    router.fallback(unknown_path).method_not_allowed_fallback(unknown_method).with_state(home)
}

async fn unknown_path() -> Response {
    ApiError::unrecognized("this homeserver has no such endpoint").into_response()
}

async fn unknown_method() -> Response {
    let status = http::StatusCode::METHOD_NOT_ALLOWED;
    ApiError::new(status, ruma::api::error::ErrorKind::Unrecognized, "this endpoint has no such method").into_response()
}

#[cfg(test)]
mod tests;

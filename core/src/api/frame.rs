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
//! Invariant: a panic in a handler becomes a 500 and takes no other request with it. See `entry` for who is let in.

mod entry;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use bytes::BytesMut;
use futures::FutureExt;
use ruma::{
    OwnedDeviceId, OwnedServerName, OwnedUserId,
    api::{IncomingRequest, Metadata, OutgoingResponse, path_builder::PathBuilder},
};

use self::entry::{Ahead, Signature, Token, TokenAhead};
pub(crate) use self::entry::{Anyone, Entry, RawCall};
use super::{auth::Caller, error::ApiError};
use crate::{home::Home, ports::BoxFuture, store::UserKey};

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
    /// Who may call.
    type Entry: Entry;

    /// Makes the call of what was read and proven.
    fn of(proof: <Self::Entry as Entry>::Proof, raw: RawCall) -> Result<Self, ApiError>;
}

impl<T: IncomingRequest + Send> Call for Open<T> {
    type Endpoint = T;
    type Entry = Anyone;

    fn of((): (), raw: RawCall) -> Result<Self, ApiError> {
        Ok(Self { request: raw.parse()? })
    }
}

impl<T: IncomingRequest + Send> Call for Authed<T> {
    type Endpoint = T;
    type Entry = Token;

    fn of(Caller { user, user_key, device }: Caller, raw: RawCall) -> Result<Self, ApiError> {
        Ok(Self { request: raw.parse()?, user, user_key, device })
    }
}

impl<T: IncomingRequest + Send> Call for Upload<T> {
    type Endpoint = T;
    type Entry = TokenAhead;

    fn of(Ahead { caller, body, announced }: Ahead, raw: RawCall) -> Result<Self, ApiError> {
        let Caller { user, user_key, .. } = caller;
        Ok(Self { request: raw.parse()?, user, user_key, body, announced })
    }
}

impl<T: IncomingRequest + Send> Call for Signed<T> {
    type Endpoint = T;
    type Entry = Signature;

    fn of(origin: OwnedServerName, raw: RawCall) -> Result<Self, ApiError> {
        Ok(Self { request: raw.parse()?, origin })
    }
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
    let act: Act<C::Entry> = Arc::new(move |home, proof, raw| match C::of(proof, raw) {
        Ok(call) => handler(State(home), call).boxed(),
        Err(error) => std::future::ready(Err(error)).boxed(),
    });
    router.route(&numbered(path), endpoint::<C::Entry>(method, act))
}

/// What an endpoint does with a request that was let in.
type Act<E> = Arc<
    dyn Fn(Arc<Home>, <E as Entry>::Proof, RawCall) -> BoxFuture<'static, Result<Response, ApiError>> + Send + Sync,
>;

/// All endpoints with one way in share this code: what the router makes of a handler is large, and there are many handlers.
fn endpoint<E: Entry>(method: MethodFilter, act: Act<E>) -> MethodRouter<Arc<Home>> {
    let answer = move |State(home): State<Arc<Home>>, request: Request| {
        let act = act.clone();
        async move {
            let answer = async {
                let (proof, raw) = E::admit(&home, request).await?;
                act(home, proof, raw).await
            };
            AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
                // The panic's own words went to the log through the panic hook.
                Err(ApiError::internal("an internal error was contained; the homeserver's log says more"))
            })
        }
    };
    on(method, answer)
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

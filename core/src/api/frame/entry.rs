//! Who is let in, and the request as they sent it.
//!
//! Invariant: credentials are checked before a byte of the body is read, as far as they do not sign it, and a body is read up to a
//! limit.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use axum::{
    body::Body,
    extract::{FromRequestParts, RawPathParams, Request},
};
use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ruma::{OwnedServerName, api::IncomingRequest};

use crate::{
    api::{
        auth::{self, Caller},
        error::ApiError,
    },
    home::Home,
    types::limits::{CLIENT_BODY_BYTES_MAX, FEDERATION_BODY_BYTES_MAX},
};

/// A way in.
pub(crate) trait Entry: 'static {
    /// What is proven of the one who calls.
    type Proof: Send + 'static;

    /// Reads and authenticates.
    fn admit(home: &Home, request: Request) -> impl Future<Output = Result<(Self::Proof, RawCall), ApiError>> + Send;
}

/// Without credentials.
pub(crate) struct Anyone;

/// By a client's access token.
pub(crate) struct Token;

/// By a client's access token, before the body is read.
pub(crate) struct TokenAhead;

/// By another server's signature.
pub(crate) struct Signature;

/// A client, and the body that it is about to send.
pub(crate) struct Ahead {
    pub(super) caller: Caller,
    pub(super) body: Body,
    /// The length that the client announces.
    pub(super) announced: Option<u64>,
}

impl Entry for Anyone {
    type Proof = ();

    async fn admit(_: &Home, request: Request) -> Result<((), RawCall), ApiError> {
        Ok(((), RawCall::read(request, CLIENT_BODY_BYTES_MAX).await?))
    }
}

impl Entry for Token {
    type Proof = Caller;

    async fn admit(home: &Home, request: Request) -> Result<(Caller, RawCall), ApiError> {
        let caller = caller(home, &request)?;
        Ok((caller, RawCall::read(request, CLIENT_BODY_BYTES_MAX).await?))
    }
}

impl Entry for TokenAhead {
    type Proof = Ahead;

    async fn admit(home: &Home, request: Request) -> Result<(Ahead, RawCall), ApiError> {
        let caller = caller(home, &request)?;
        let (mut parts, body) = request.into_parts();
        let (path_args, announced) = (path_args(&mut parts).await?, announced(&parts));
        let raw = RawCall { request: http::Request::from_parts(parts, Bytes::new()), path_args };
        Ok((Ahead { caller, body, announced }, raw))
    }
}

impl Entry for Signature {
    type Proof = OwnedServerName;

    async fn admit(home: &Home, request: Request) -> Result<(OwnedServerName, RawCall), ApiError> {
        let claim = auth::claim(home, request.headers(), request.extensions())?;
        let raw = RawCall::read(request, FEDERATION_BODY_BYTES_MAX).await?;
        let origin = claim.verify(home, &raw.request)?;
        Ok((origin, raw))
    }
}

fn caller(home: &Home, request: &Request) -> Result<Caller, ApiError> {
    let caller = auth::caller(home, request.headers())?;
    caller.ok_or_else(|| ApiError::missing_token("this endpoint needs an access token"))
}

/// An HTTP request whose body is in memory, with the path's arguments.
pub(crate) struct RawCall {
    request: http::Request<Bytes>,
    path_args: Vec<String>,
}

impl RawCall {
    /// Its headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    async fn read(request: Request, body_bytes_max: usize) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let path_args = path_args(&mut parts).await?;
        let body = read_body(&parts, body, body_bytes_max).await?;
        Ok(Self { request: http::Request::from_parts(parts, body), path_args })
    }

    pub(super) fn parse<T: IncomingRequest>(self) -> Result<T, ApiError> {
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

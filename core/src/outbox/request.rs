//! One typed request to one server: ruma's request types over the host's transport, signed, with a bounded answer.
//!
//! Nothing is retried here: a flow tries another server, the outbox waits. Deliberately absent: addresses and connections,
//! which are the transport's.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use ruma::{
    ServerName,
    api::{
        EndpointError, IncomingResponse, Metadata, OutgoingRequest,
        error::{Error as MatrixError, ErrorKind, FromHttpResponseError},
        federation::authentication::{ServerSignatures, ServerSignaturesInput},
        path_builder::SinglePath,
    },
};

use crate::{
    home::Home,
    ports::{BodyStream, TransportError},
    types::limits::{
        FEDERATION_BODY_BYTES_MAX, FEDERATION_REQUEST_WAIT, FEDERATION_RESPONSE_BYTES_MAX, STREAM_ERROR_BYTES_MAX,
    },
};

/// Why a request to another server has no useful answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FederationError {
    /// No answer: out of reach, broken off, or too slow. Another server, or a later try, may do better.
    #[error("{0}")]
    NoAnswer(String),
    /// The other side refused.
    #[error("{server} refused: {error}")]
    Refused {
        /// Who.
        server: String,
        /// Its words.
        error: Box<MatrixError>,
    },
    /// The answer is no Matrix, or not what was asked for.
    #[error("{server} answered what cannot be used: {why}")]
    Nonsense {
        /// Who.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// The request could not be built.
    #[error("the request could not be built: {0}")]
    Unsendable(String),
}

impl From<TransportError> for FederationError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::TooLarge { destination, limit } => {
                Self::Nonsense { server: destination, why: format!("more than {limit} bytes") }
            }
            other => Self::NoAnswer(other.to_string()),
        }
    }
}

impl FederationError {
    /// The answer of a server breaks the rules.
    pub(crate) fn nonsense(server: &ServerName, why: impl std::fmt::Display) -> Self {
        Self::Nonsense { server: server.to_string(), why: why.to_string() }
    }

    /// Whether nobody can know yet what the server would say: out of reach, or in trouble of its own (5xx, 429).
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused { error, .. } => error.status_code.is_server_error() || error.status_code.as_u16() == 429,
            Self::Nonsense { .. } | Self::Unsendable(_) => false,
        }
    }

    /// The refusal's status.
    pub(crate) fn status(&self) -> Option<http::StatusCode> {
        match self {
            Self::Refused { error, .. } => Some(error.status_code),
            _ => None,
        }
    }

    /// The refusal's error code.
    pub(crate) fn kind(&self) -> Option<&ErrorKind> {
        match self {
            Self::Refused { error, .. } => error.error_kind(),
            _ => None,
        }
    }
}

/// Sends a request and reads its answer, which is small: an event, a page of events, a list of ids.
///
/// # Errors
/// See [`FederationError`].
pub(crate) async fn request<R>(home: &Home, to: &ServerName, request: R) -> Result<R::IncomingResponse, FederationError>
where
    R: OutgoingRequest<EndpointError = MatrixError>
        + Metadata<Authentication = ServerSignatures, PathBuilder = SinglePath>,
{
    send(home, to, request, FEDERATION_BODY_BYTES_MAX).await
}

/// As [`request`], for an answer that may hold the state of a large room.
///
/// # Errors
/// See [`FederationError`].
pub(crate) async fn request_state<R>(
    home: &Home,
    to: &ServerName,
    request: R,
) -> Result<R::IncomingResponse, FederationError>
where
    R: OutgoingRequest<EndpointError = MatrixError>
        + Metadata<Authentication = ServerSignatures, PathBuilder = SinglePath>,
{
    send(home, to, request, FEDERATION_RESPONSE_BYTES_MAX).await
}

/// As [`request`], for someone who waits: given up after [`FEDERATION_REQUEST_WAIT`].
///
/// # Errors
/// See [`FederationError`].
pub(crate) async fn request_soon<R>(
    home: &Home,
    to: &ServerName,
    request: R,
) -> Result<R::IncomingResponse, FederationError>
where
    R: OutgoingRequest<EndpointError = MatrixError>
        + Metadata<Authentication = ServerSignatures, PathBuilder = SinglePath>,
{
    let answer = tokio::time::timeout(FEDERATION_REQUEST_WAIT, send(home, to, request, FEDERATION_BODY_BYTES_MAX));
    let late = || FederationError::NoAnswer(format!("{to} did not answer in {FEDERATION_REQUEST_WAIT:?}"));
    answer.await.unwrap_or_else(|_| Err(late()))
}

/// Sends a request whose good answer is too large for memory, and hands the answer's body on as it comes. `headers` are
/// added to the request; no signature covers them.
///
/// # Errors
/// See [`FederationError`]. A body that breaks off later says so itself.
pub(crate) async fn stream<R>(
    home: &Home,
    to: &ServerName,
    request: R,
    headers: HeaderMap,
) -> Result<http::Response<BodyStream>, FederationError>
where
    R: OutgoingRequest<EndpointError = MatrixError>
        + Metadata<Authentication = ServerSignatures, PathBuilder = SinglePath>,
{
    let mut request = signed(home, to, request)?;
    request.headers_mut().extend(headers);
    let (head, mut body) = home.ports.transport.stream(to, request).await?.into_parts();
    if head.status.is_success() {
        return Ok(http::Response::from_parts(head, body));
    }
    let mut said = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if said.len() + piece.len() > STREAM_ERROR_BYTES_MAX {
            return Err(FederationError::nonsense(to, "an error larger than any"));
        }
        said.extend_from_slice(&piece);
    }
    let error = MatrixError::from_http_response(http::Response::from_parts(head, said));
    Err(FederationError::Refused { server: to.to_string(), error: Box::new(error) })
}

async fn send<R>(
    home: &Home,
    to: &ServerName,
    request: R,
    response_bytes_max: usize,
) -> Result<R::IncomingResponse, FederationError>
where
    R: OutgoingRequest<EndpointError = MatrixError>
        + Metadata<Authentication = ServerSignatures, PathBuilder = SinglePath>,
{
    let request = signed(home, to, request)?;
    let response = home.ports.transport.request(to, request, response_bytes_max).await?;
    R::IncomingResponse::try_from_http_response(response).map_err(|error| match error {
        FromHttpResponseError::Server(error) => {
            FederationError::Refused { server: to.to_string(), error: Box::new(error) }
        }
        other => FederationError::nonsense(to, other),
    })
}

fn signed<R>(home: &Home, to: &ServerName, request: R) -> Result<http::Request<Bytes>, FederationError>
where
    R: OutgoingRequest<EndpointError = MatrixError>
        + Metadata<Authentication = ServerSignatures, PathBuilder = SinglePath>,
{
    if home.is_local(to) {
        return Err(FederationError::Unsendable("a server does not ask itself".into()));
    }
    let key = home.local.request_key();
    let signer = ServerSignaturesInput::new(home.server_name().to_owned(), to.to_owned(), &key);
    let request: http::Request<BytesMut> = request
        .try_into_http_request("", signer, ())
        .map_err(|error| FederationError::Unsendable(error.to_string()))?;
    Ok(request.map(BytesMut::freeze))
}

//! The answering side: serves one request on a stream with the federation router.
//!
//! The body limit is the router's. Here only a length that no federation request has is refused before it is read, and a
//! client that does not get on with it is left.

use std::convert::Infallible;

use axum::{Router, body::Body};
use hearth_core::ports::PeerServer;
use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt;

use super::progress::{WatchedBody, WatchedWrites};
use crate::limits::{HTTP_BUFFER_BYTES_MAX, INBOUND_CONTENT_LENGTH_MAX, REQUEST_HEAD_TIMEOUT};

/// Serves one request of `peer`.
///
/// # Errors
/// When the stream broke off, or the peer did not speak HTTP.
pub(crate) async fn serve<S>(stream: S, peer: PeerServer, router: Router) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, peer.clone(), router.clone()));
    http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD_TIMEOUT)
        .max_buf_size(HTTP_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(WatchedWrites::new(stream)), service)
        .await
}

async fn answer(
    mut request: Request<Incoming>,
    peer: PeerServer,
    router: Router,
) -> Result<Response<Body>, Infallible> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > INBOUND_CONTENT_LENGTH_MAX) {
        let body = r#"{"errcode":"M_TOO_LARGE","error":"No federation request is this large."}"#;
        return Ok(json(StatusCode::PAYLOAD_TOO_LARGE, body));
    }
    request.extensions_mut().insert(peer);
    router.oneshot(request.map(|body| Body::new(WatchedBody::new(body)))).await
}

/// A Matrix error that is made before any router sees the request.
fn json(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

//! The asking side: sends one request over a stream and reads one bounded answer.
//!
//! Nothing is spawned: the connection is driven by the same future that waits for the answer, so dropping that future ends
//! the stream and leaves nothing behind.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Body, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::progress::{WatchedBody, WatchedWrites};
use crate::limits::{HTTP_BUFFER_BYTES_MAX, RESPONSE_HEAD_TIMEOUT};

/// Why an exchange gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The answer is larger than the limit, so reading it was given up.
    #[error("the answer is too large")]
    TooLarge,
    /// Anything else.
    #[error("{0}")]
    Broken(String),
}

fn broken(error: impl std::fmt::Display) -> ExchangeError {
    ExchangeError::Broken(error.to_string())
}

/// Sends `request` to `host` over `stream` and reads the answer, up to `body_bytes_max` of body.
pub(crate) async fn exchange<S>(
    stream: S,
    host: &str,
    mut request: http::Request<Bytes>,
    body_bytes_max: usize,
) -> Result<Response<Bytes>, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = HeaderValue::from_str(host).map_err(broken)?;
    request.headers_mut().insert(header::HOST, host);
    let io = TokioIo::new(WatchedWrites::new(stream));
    let (sender, connection) =
        http1::Builder::new().max_buf_size(HTTP_BUFFER_BYTES_MAX).handshake(io).await.map_err(broken)?;
    let answer = ask(sender, request.map(Full::new), body_bytes_max);
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => return answer,
        // The connection may be done before the last bytes of the body are taken out of it. When it failed, the answer
        // fails next, and says why.
        _ = &mut connection => {}
    }
    answer.await
}

async fn ask(
    mut sender: http1::SendRequest<Full<Bytes>>,
    request: http::Request<Full<Bytes>>,
    body_bytes_max: usize,
) -> Result<Response<Bytes>, ExchangeError> {
    let head = timeout(RESPONSE_HEAD_TIMEOUT, sender.send_request(request)).await;
    let (head, body) = head.map_err(|_| broken("no answer in time"))?.map_err(chain)?.into_parts();
    let chunked = head.headers.get(header::TRANSFER_ENCODING).is_some_and(|coding| coding == "chunked");
    if body.size_hint().exact().is_none() && !chunked {
        return Err(broken("the answer does not say where it ends"));
    }
    if body.size_hint().lower() > body_bytes_max as u64 {
        return Err(ExchangeError::TooLarge);
    }
    let mut body = WatchedBody::new(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            if whole.len() + data.len() > body_bytes_max {
                return Err(ExchangeError::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Response::from_parts(head, whole.freeze()))
}

/// Hyper's own message is one word; the cause behind it is what helps.
fn chain(error: hyper::Error) -> ExchangeError {
    match std::error::Error::source(&error) {
        Some(source) => ExchangeError::Broken(format!("{error}: {source}")),
        None => broken(error),
    }
}

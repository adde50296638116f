//! The asking side: sends one request over a stream and reads one answer, bounded in memory or as it comes.
//!
//! Nothing is spawned: the connection is driven by whoever waits for the answer and then by whoever reads its body, so
//! dropping either ends the stream and leaves nothing behind. A body that is not read is not fetched: the windows of the
//! connection fill, and the other side waits.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
};
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
    /// The stream ended before an answer began. Whether the request has arrived is not known.
    #[error("{0}")]
    NoAnswer(String),
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
    request: http::Request<Bytes>,
    body_bytes_max: usize,
) -> Result<Response<Bytes>, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (head, mut body) = converse(stream, host, request).await?.into_parts();
    if body.announced() > body_bytes_max as u64 {
        return Err(ExchangeError::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > body_bytes_max {
            return Err(ExchangeError::TooLarge);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Response::from_parts(head, whole.freeze()))
}

/// Sends `request` to `host` over `stream` and hands the answer on as it comes.
pub(crate) async fn converse<S>(
    stream: S,
    host: &str,
    mut request: http::Request<Bytes>,
) -> Result<Response<Answer>, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = HeaderValue::from_str(host).map_err(broken)?;
    request.headers_mut().insert(header::HOST, host);
    let io = TokioIo::new(WatchedWrites::new(stream));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HTTP_BUFFER_BYTES_MAX).handshake(io).await.map_err(broken)?;
    let mut connection: Option<Connection> = Some(Box::pin(connection));
    let head = {
        let head = timeout(RESPONSE_HEAD_TIMEOUT, sender.send_request(request.map(Full::new)));
        tokio::pin!(head);
        tokio::select! {
            head = &mut head => head,
            // The connection may be done before the answer is taken out of it. When it failed, the answer fails next, and
            // says why.
            () = drive(&mut connection) => head.await,
        }
    };
    let (head, body) = head.map_err(|_| broken("no answer in time"))?.map_err(chain)?.into_parts();
    let chunked = head.headers.get(header::TRANSFER_ENCODING).is_some_and(|coding| coding == "chunked");
    if body.size_hint().exact().is_none() && !chunked {
        return Err(broken("the answer does not say where it ends"));
    }
    let body = Answer { body: WatchedBody::new(body), connection, _sender: sender };
    Ok(Response::from_parts(head, body))
}

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Drives a connection to its end.
async fn drive(connection: &mut Option<Connection>) {
    if let Some(running) = connection {
        // How it ended is said by what was read from it.
        let _ended = running.await;
        *connection = None;
    }
}

/// The body of an answer. It drives its connection, so dropping it ends the stream.
pub(crate) struct Answer {
    body: WatchedBody<Incoming>,
    connection: Option<Connection>,
    /// Its end would tell the connection to close.
    _sender: http1::SendRequest<Full<Bytes>>,
}

impl Answer {
    /// How long the body is at the least, as its head says.
    fn announced(&self) -> u64 {
        self.body.size_hint().lower()
    }
}

impl Stream for Answer {
    type Item = Result<Bytes, ExchangeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                // Trailers are no part of the body.
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(broken(error)))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let Some(connection) = &mut self.connection else { return Poll::Pending };
            // What it brings wakes the body's reader, which is this task.
            ready!(connection.as_mut().poll(cx)).ok();
            self.connection = None;
        }
    }
}

/// Hyper's own message is one word; the cause behind it is what helps.
fn chain(error: hyper::Error) -> ExchangeError {
    match std::error::Error::source(&error) {
        Some(source) => ExchangeError::NoAnswer(format!("{error}: {source}")),
        None => ExchangeError::NoAnswer(error.to_string()),
    }
}

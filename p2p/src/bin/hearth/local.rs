//! A small HTTP client for this machine: one request, one connection, JSON in and out.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Answers larger than this are not for us: a sync of the demonstration has a few kilobytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Asks and answers with status and JSON body.
pub(crate) async fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<(StatusCode, Value)> {
    tokio::time::timeout(TIMEOUT, exchange(address, method, path, token, body))
        .await
        .with_context(|| format!("{address} did not answer {path} within {TIMEOUT:?}"))?
}

async fn exchange(
    address: SocketAddr,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<(StatusCode, Value)> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("nobody answers at {address}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let Ok(body) = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await else {
        bail!("the answer to {path} broke off or is too large");
    };
    connection.abort();
    let body = serde_json::from_slice(&body.to_bytes()).with_context(|| format!("the answer to {path} is no JSON"))?;
    Ok((status, body))
}

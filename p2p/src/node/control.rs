//! What the person's own tools ask a running node: how it is, and to go off the network.
//!
//! It stands beside the client API on the same listener. Each start makes a new token and leaves it, with the address, in
//! `run.json` in the data directory, readable by the owner alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    routing::{get, put},
};
use hearth_core::{
    ports::Random,
    server::{Homeserver, Status},
};
use http::{HeaderMap, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::Network;
use crate::host::SystemRandom;

/// Where and how to ask a running node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunFile {
    /// The listener of the client API.
    pub client: SocketAddr,
    /// The token for `/_hearth/`.
    pub token: String,
}

/// A node's state.
#[derive(Clone, Debug, Serialize)]
struct NodeStatus {
    #[serde(flatten)]
    homeserver: Status,
    addresses: Vec<String>,
    peers: Vec<Peer>,
}

#[derive(Clone, Debug, Serialize)]
struct Peer {
    server: String,
    connected: bool,
    transport: Option<&'static str>,
    rtt_ms: Option<f64>,
}

#[derive(Deserialize)]
struct Offline {
    offline: bool,
}

#[derive(Clone)]
struct Control {
    homeserver: Homeserver,
    network: Arc<Network>,
    token: Arc<str>,
}

/// The control endpoints and the token that they ask for.
pub(super) fn router(homeserver: Homeserver, network: Arc<Network>) -> (Router, String) {
    let random: &dyn Random = &SystemRandom;
    let token = random.token(32);
    let control = Control { homeserver, network, token: token.as_str().into() };
    let router =
        Router::new().route("/_hearth/status", get(status)).route("/_hearth/offline", put(offline)).with_state(control);
    (router, token)
}

/// Leaves the run file for the owner's tools.
pub(super) fn write_run_file(path: &Path, client: SocketAddr, token: &str) -> io::Result<()> {
    // A file of a killed run may be there, with a mode that we do not know.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let run = RunFile { client, token: token.to_owned() };
    options.open(path)?.write_all(&serde_json::to_vec(&run)?)
}

/// `GET /_hearth/status`
async fn status(State(control): State<Control>, headers: HeaderMap) -> Response<Body> {
    if !control.knows(&headers) {
        return refused();
    }
    let homeserver = match control.homeserver.status() {
        Ok(status) => status,
        Err(error) => {
            return answer(StatusCode::INTERNAL_SERVER_ERROR, &serde_json::json!({ "error": error.to_string() }));
        }
    };
    let peers = control.network.peers().await.into_iter().map(|peer| peer.status).map(|peer| Peer {
        server: peer.server.to_string(),
        connected: peer.connected,
        transport: peer.transport,
        rtt_ms: peer.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
    });
    let peers = peers.collect();
    let addresses = control.network.addresses().await.iter().map(ToString::to_string).collect();
    answer(StatusCode::OK, &NodeStatus { homeserver, addresses, peers })
}

/// `PUT /_hearth/offline` `{"offline": true}`
async fn offline(State(control): State<Control>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    if !control.knows(&headers) {
        return refused();
    }
    let Ok(Offline { offline }) = serde_json::from_slice(&body) else {
        return answer(
            StatusCode::BAD_REQUEST,
            &serde_json::json!({ "error": "the body is {\"offline\": true or false}" }),
        );
    };
    if offline {
        control.network.switch_off().await;
    } else if let Err(error) = control.network.switch_on().await {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &serde_json::json!({ "error": error.to_string() }));
    }
    answer(StatusCode::OK, &serde_json::json!({ "offline": offline }))
}

impl Control {
    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        given == Some(&*self.token)
    }
}

fn refused() -> Response<Body> {
    answer(
        StatusCode::UNAUTHORIZED,
        &serde_json::json!({ "error": "the token stands in run.json in the data directory" }),
    )
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

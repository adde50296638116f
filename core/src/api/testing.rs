//! A homeserver without sockets for tests: memory store, fixed clock, seeded randomness, and within reach whom it meets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    home::{Home, Registration},
    media::{self, MediaConfig},
    ports::{BodyStream, BoxFuture, Clock, PeerServer, Ports, Random, Transport, TransportError},
    store::{Store, StoreConfig},
    types::{LocalServer, Millis},
};

/// What the clock says.
pub(crate) const NOW: Millis = Millis(1_800_000_000_000);

/// The other phones' server APIs, called in place.
#[derive(Clone)]
struct Air {
    local: OwnedServerName,
    near: Arc<Mutex<BTreeMap<OwnedServerName, Router>>>,
    streams: Arc<Mutex<Streams>>,
}

/// What became of requests whose answer streams.
#[derive(Default)]
pub(crate) struct Streams {
    /// Path and `Range` of each that was made.
    pub(crate) asked: Vec<(String, Option<String>)>,
    /// Answers break off after so many bytes.
    pub(crate) break_after: Option<usize>,
    /// Answers say nothing any more after so many bytes.
    pub(crate) stall_after: Option<usize>,
}

impl Air {
    fn router(&self, destination: &ServerName) -> Result<Router, TransportError> {
        let router = self.near.lock().unwrap().get(destination).cloned();
        let reason = "not near".to_owned();
        router.ok_or(TransportError::Unreachable { destination: destination.to_string(), reason })
    }
}

impl Transport for Air {
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        mut request: Request<Bytes>,
        _: usize,
    ) -> BoxFuture<'a, Result<Response<Bytes>, TransportError>> {
        let router = self.router(destination);
        request.extensions_mut().insert(PeerServer(self.local.clone()));
        Box::pin(async move {
            let (parts, body) = router?.oneshot(request.map(Body::from)).await.unwrap().into_parts();
            Ok(Response::from_parts(parts, body.collect().await.unwrap().to_bytes()))
        })
    }

    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        mut request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<BodyStream>, TransportError>> {
        let router = self.router(destination);
        request.extensions_mut().insert(PeerServer(self.local.clone()));
        let range = request.headers().get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
        let (break_after, stall_after) = {
            let mut streams = self.streams.lock().unwrap();
            streams.asked.push((request.uri().path().to_owned(), range));
            (streams.break_after, streams.stall_after)
        };
        let broken_off = TransportError::Broken { destination: destination.to_string(), reason: "out of reach".into() };
        Box::pin(async move {
            let answer = router?.oneshot(request.map(Body::from)).await.unwrap();
            let mut sent = 0;
            let pieces = move |piece: Result<Bytes, axum::Error>| {
                let mut piece = piece.unwrap();
                let broken = break_after.filter(|limit| sent + piece.len() > *limit);
                let stalled = stall_after.is_some_and(|limit| sent + piece.len() > limit);
                piece.truncate(break_after.or(stall_after).map_or(piece.len(), |limit| limit.saturating_sub(sent)));
                sent += piece.len();
                let error = broken.map(|_| Err(broken_off.clone()));
                let pause = async move {
                    // Others get on meanwhile.
                    tokio::task::yield_now().await;
                    if stalled {
                        std::future::pending::<()>().await;
                    }
                };
                stream::once(pause.map(move |()| Ok(piece))).chain(stream::iter(error))
            };
            Ok(answer.map(|body| body.into_data_stream().flat_map(pieces).boxed()))
        })
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Millis {
        NOW
    }
}

struct Seeded(Mutex<ChaCha8Rng>);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}

/// A homeserver and its two routers.
pub(crate) struct Phone {
    pub(crate) home: Arc<Home>,
    pub(crate) client: Router,
    pub(crate) server: Router,
    air: Air,
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) user: OwnedUserId,
    pub(crate) device: String,
    pub(crate) token: String,
}

/// What a router answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Fails the test unless the answer is this error.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["errcode"].as_str()), (status, Some(code)), "{self:?}");
        assert!(self.body["error"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.body
    }
}

impl Phone {
    pub(crate) fn new(seed: u8) -> Self {
        Self::with_registration(seed, Registration::Open)
    }

    pub(crate) fn with_registration(seed: u8, registration: Registration) -> Self {
        Self::open(seed, registration, &StoreConfig::memory(), &MediaConfig::memory())
    }

    /// A phone on this store, where those who had an account keep it.
    pub(crate) fn on(seed: u8, store: &StoreConfig) -> Self {
        Self::open(seed, Registration::Open, store, &MediaConfig::memory())
    }

    pub(crate) fn open(seed: u8, registration: Registration, store: &StoreConfig, media: &MediaConfig) -> Self {
        let local = LocalServer::new(&[seed; 32]);
        let store = Store::open(store, &local.name).unwrap();
        let random = Seeded(Mutex::new(ChaCha8Rng::seed_from_u64(seed.into())));
        let air = Air { local: local.name.clone(), near: Arc::default(), streams: Arc::default() };
        let ports = Ports { transport: Arc::new(air.clone()), clock: Arc::new(Fixed), random: Arc::new(random) };
        let repository = media::repository(media, &store).unwrap();
        let home = Arc::new(Home::new(local, store, ports, registration, repository));
        let (client, server) = (super::client::router(home.clone()), super::server::router(home.clone()));
        Self { home, client, server, air }
    }

    /// Something else answers as a server within reach.
    pub(crate) fn meets_stranger(&self, name: &ServerName, router: Router) {
        self.air.near.lock().unwrap().insert(name.to_owned(), router);
        self.home.peer_seen(name);
    }

    /// The requests whose answer streams.
    pub(crate) fn streams(&self) -> MutexGuard<'_, Streams> {
        self.air.streams.lock().unwrap()
    }

    /// Another phone comes within reach of this one.
    pub(crate) fn meets(&self, other: &Self) {
        let name = other.home.server_name();
        self.air.near.lock().unwrap().insert(name.to_owned(), other.server.clone());
        self.home.peer_seen(name);
    }

    /// Another phone goes out of reach.
    pub(crate) fn leaves(&self, other: &Self) {
        let name = other.home.server_name();
        self.air.near.lock().unwrap().remove(name);
        self.home.peer_gone(name);
    }

    /// The user id of a localpart.
    pub(crate) fn user(&self, localpart: &str) -> OwnedUserId {
        UserId::parse(format!("@{localpart}:{}", self.home.server_name())).unwrap()
    }

    /// Registers someone whose password is `NAME's password`.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let body = json!({ "username": name, "password": password_of(name), "auth": { "type": "m.login.dummy" } });
        let body = self.call(Method::POST, "/_matrix/client/v3/register", None, Some(body)).await.ok();
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        Person { user: text("user_id").try_into().unwrap(), device: text("device_id"), token: text("access_token") }
    }

    /// A client's request.
    pub(crate) async fn call(&self, method: Method, uri: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    /// Any request to the client API.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        answer(self.client.clone().oneshot(request).await.unwrap()).await
    }

    /// Any request to the client API, whatever its answer is.
    pub(crate) async fn fetch(&self, request: Request<Body>) -> (StatusCode, http::HeaderMap, Bytes) {
        let (parts, body) = self.client.clone().oneshot(request).await.unwrap().into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    /// Any request to the server API.
    pub(crate) async fn federate(&self, request: Request<Body>) -> Answer {
        answer(self.server.clone().oneshot(request).await.unwrap()).await
    }
}

/// The password that [`Phone::person`] gives.
pub(crate) fn password_of(name: &str) -> String {
    format!("{name}'s password")
}

/// The `auth` that proves the password once more.
pub(crate) fn proof(name: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": password_of(name),
    })
}

async fn answer(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    Answer { status: parts.status, headers: parts.headers, body }
}

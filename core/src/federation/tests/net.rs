//! Homeservers that reach one another through memory, with links that a test can cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    home::Registration,
    ports::{BodyStream, BoxFuture, Clock, PeerServer, Ports, Random, Transport, TransportError, in_one_piece},
    rooms::Room,
    server::{Config, Homeserver, MediaConfig},
    store::{RoomKey, StoreConfig, Stored, View},
    types::{LocalServer, Millis},
};

#[derive(Default)]
pub(super) struct Net {
    routers: Mutex<BTreeMap<OwnedServerName, Router>>,
    cut: Mutex<BTreeSet<(OwnedServerName, OwnedServerName)>>,
    /// Who can ask nothing, and still be asked.
    pub(super) mute: Mutex<BTreeSet<OwnedServerName>>,
    /// Transactions with this text in them are refused with 400, as by a server that cannot read it.
    pub(super) unreadable: Mutex<Option<String>>,
    /// Transactions get lost, and everything else gets through.
    held: Mutex<bool>,
    /// What was asked of whom: origin, destination, method and path.
    pub(super) asked: Mutex<Vec<(OwnedServerName, OwnedServerName, String)>>,
}

struct Wire {
    net: Arc<Net>,
    from: OwnedServerName,
}

impl Net {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn is_cut(&self, a: &ServerName, b: &ServerName) -> bool {
        let cut = self.cut.lock().unwrap();
        cut.contains(&(a.to_owned(), b.to_owned())) || cut.contains(&(b.to_owned(), a.to_owned()))
    }

    pub(super) fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
    }

    pub(super) fn clear(&self) {
        self.asked.lock().unwrap().clear();
    }

    pub(super) fn cut(&self, a: &Phone, b: &Phone) {
        self.cut.lock().unwrap().insert((a.name(), b.name()));
        a.server.peer_gone(&b.name());
        b.server.peer_gone(&a.name());
    }

    pub(super) fn link(&self, a: &Phone, b: &Phone) {
        self.cut
            .lock()
            .unwrap()
            .retain(|(x, y)| !((*x == a.name() && *y == b.name()) || (*x == b.name() && *y == a.name())));
        a.server.peer_seen(&b.name());
        b.server.peer_seen(&a.name());
    }
}

impl Transport for Wire {
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request<Bytes>,
        _: usize,
    ) -> BoxFuture<'a, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let what = format!("{} {}", request.method(), request.uri());
            let router = self.net.routers.lock().unwrap().get(destination).cloned();
            let unreachable =
                || TransportError::Unreachable { destination: destination.to_string(), reason: "cut".into() };
            let is_mute = self.net.mute.lock().unwrap().contains(&self.from);
            let is_held = *self.net.held.lock().unwrap() && what.contains("/send/");
            if is_mute || is_held || self.net.is_cut(&self.from, destination) {
                return Err(unreachable());
            }
            self.net.asked.lock().unwrap().push((self.from.clone(), destination.to_owned(), what));
            let router = router.ok_or_else(unreachable)?;
            let unreadable = self.net.unreadable.lock().unwrap().clone();
            if unreadable.is_some_and(|text| String::from_utf8_lossy(request.body()).contains(&text)) {
                let body = json!({ "errcode": "M_BAD_JSON", "error": "unreadable" }).to_string();
                return Ok(Response::builder().status(400).body(Bytes::from(body)).unwrap());
            }
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(PeerServer(self.from.clone()));
            let response = router.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if self.net.is_cut(&self.from, destination) {
                return Err(unreachable());
            }
            Ok(Response::from_parts(parts, body))
        })
    }

    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<BodyStream>, TransportError>> {
        Box::pin(async move { Ok(in_one_piece(self.request(destination, request, usize::MAX).await?)) })
    }
}

struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Millis {
        Millis(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

struct Seeded(Mutex<ChaCha8Rng>);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}

/// A person with their phone.
pub(super) struct Phone {
    pub(super) server: Homeserver,
    pub(super) user: OwnedUserId,
    token: String,
    client: Router,
}

/// What a room is on one phone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) heads: BTreeSet<String>,
    pub(super) state: BTreeSet<String>,
    pub(super) texts: Vec<String>,
}

/// Opens a homeserver and puts it on the net.
pub(super) fn open(net: &Arc<Net>, seed: u8, store: StoreConfig) -> Homeserver {
    let local = LocalServer::new(&[seed; 32]);
    let name = local.name.clone();
    let ports = Ports {
        transport: Arc::new(Wire { net: net.clone(), from: name.clone() }),
        clock: Arc::new(Ticking(AtomicU64::new(1_800_000_000_000))),
        random: Arc::new(Seeded(Mutex::new(ChaCha8Rng::seed_from_u64(seed.into())))),
    };
    let config = Config { local, store, media: MediaConfig::memory(), registration: Registration::Open };
    let server = Homeserver::open(config, ports).unwrap();
    server.start();
    net.routers.lock().unwrap().insert(name, server.federation_router());
    server
}

impl Phone {
    pub(super) async fn new(net: &Arc<Net>, seed: u8, localpart: &str) -> Self {
        Self::on(net, seed, localpart, StoreConfig::memory()).await
    }

    pub(super) async fn on(net: &Arc<Net>, seed: u8, localpart: &str, store: StoreConfig) -> Self {
        let server = open(net, seed, store);
        let client = server.client_router();
        let user = OwnedUserId::try_from(format!("@{localpart}:{}", server.home().server_name())).unwrap();
        let mut phone = Self { server, user, token: String::new(), client };
        let body =
            json!({ "username": localpart, "password": "a password of mine", "auth": { "type": "m.login.dummy" } });
        let answer = phone.call("POST", "/register", body).await;
        phone.token = answer["access_token"].as_str().unwrap().to_owned();
        phone
    }

    /// The same person after a restart.
    pub(super) fn reopened(self, net: &Arc<Net>, seed: u8, store: StoreConfig) -> Self {
        let server = open(net, seed, store);
        let client = server.client_router();
        Self { server, client, ..self }
    }

    pub(super) fn name(&self) -> OwnedServerName {
        self.server.home().server_name().to_owned()
    }

    /// A client request, answered with its status.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/_matrix/client/v3{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let body = if method == "GET" { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.client.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// A client request that must succeed.
    #[track_caller]
    pub(super) fn call<'a>(&'a self, method: &'a str, path: &'a str, body: Value) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let (status, answer) = self.ask(method, path, body).await;
            assert_eq!(status, 200, "{method} {path} at {caller}: {answer}");
            answer
        }
    }

    pub(super) async fn create(&self, version: &str, preset: &str) -> OwnedRoomId {
        let answer = self.call("POST", "/createRoom", json!({ "room_version": version, "preset": preset })).await;
        answer["room_id"].as_str().unwrap().try_into().unwrap()
    }

    pub(super) async fn invite(&self, room: &RoomId, other: &Self) {
        self.call("POST", &format!("/rooms/{room}/invite"), json!({ "user_id": other.user })).await;
    }

    pub(super) async fn join(&self, room: &RoomId, via: &Self) {
        let path = format!("/join/{room}?via={}", via.name());
        self.call("POST", &path, json!({})).await;
    }

    pub(super) async fn say(&self, room: &RoomId, text: &str) -> String {
        let txn = self.server.home().ports.random.token(12);
        let path = format!("/rooms/{room}/send/m.room.message/{txn}");
        let answer = self.call("PUT", &path, json!({ "msgtype": "m.text", "body": text })).await;
        answer["event_id"].as_str().unwrap().to_owned()
    }

    pub(super) fn sight(&self, room: &RoomId) -> Sight {
        let view = self.server.home().store.snapshot().unwrap();
        let found = Room::find(&view, room).unwrap().unwrap();
        let id = |esn| Stored::must(&view, esn).unwrap().pdu.event_id.to_string();
        Sight {
            heads: found.record.heads.iter().map(|esn| id(*esn)).collect(),
            state: found.record.current().all(&view, found.key).unwrap().into_values().map(id).collect(),
            texts: texts(&view, found.key),
        }
    }

    pub(super) fn is_in(&self, room: &RoomId, user: &Self) -> bool {
        let view = self.server.home().store.snapshot().unwrap();
        Room::find(&view, room).unwrap().is_some_and(|room| room.is_joined(&view, &user.user).unwrap())
    }

    /// How this phone's user stands to a room.
    pub(super) fn stands(&self, room: &RoomId) -> Option<crate::store::Standing> {
        let view = self.server.home().store.snapshot().unwrap();
        let room = RoomKey::find(&view, room).unwrap()?;
        let user = crate::store::UserKey::find(&view, &self.user).unwrap()?;
        Some(crate::rooms::standing(&view, user, room).unwrap()?.standing)
    }
}

fn texts(view: &dyn View, room: RoomKey) -> Vec<String> {
    let mut texts = Vec::new();
    for row in view.tl().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap() {
        let (key, esn) = row.unwrap();
        if key.value().0 == room.0 {
            let pdu = Stored::must(view, esn.value()).unwrap().pdu;
            let content: Value = pdu.content_as().unwrap();
            texts.extend(content["body"].as_str().map(ToOwned::to_owned));
        }
    }
    texts
}

/// Lets everything that is under way come to its end.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

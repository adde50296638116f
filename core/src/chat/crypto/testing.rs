//! Phones with people for tests of encryption: homeservers with their clients, which reach one another through memory on
//! links that a test can cut. The clock moves with tokio's, so a month of absence takes no time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, events::TimelineEventType};
use serde_json::{Value, json, value::to_raw_value};
use tokio::time::Instant;
use tower::ServiceExt;

use super::Clear;
use crate::{
    chat::{Chat, ChatConfig, vault::StoreKey},
    federation,
    home::{Home, Registration},
    keys::Actor,
    ports::{BodyStream, BoxFuture, Clock, PeerServer, Ports, Random, Transport, TransportError, in_one_piece},
    rooms::{
        self, NewEvent, Room,
        create::{InitialEvent, NewRoom, Preset, create},
        membership::{Action, Step, act},
    },
    server::{Config, Homeserver, MediaConfig},
    store::{Backend, CrashDisk, Esn, StoreConfig, Stored, Threading},
    types::{LocalServer, Millis},
};

/// The air between the phones.
pub(in crate::chat) struct Net {
    start: (Instant, u64),
    routers: Mutex<BTreeMap<OwnedServerName, Router>>,
    cut: Mutex<BTreeSet<(OwnedServerName, OwnedServerName)>>,
    /// Requests with this in their path are lost.
    pub(in crate::chat) lost: Mutex<Option<&'static str>>,
    serial: AtomicU64,
}

impl Net {
    pub(in crate::chat) fn new() -> Arc<Self> {
        // Verification goes by the system's clock in places, so the phones begin there.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        Arc::new(Self {
            start: (Instant::now(), u64::try_from(now).unwrap()),
            routers: Mutex::default(),
            cut: Mutex::default(),
            lost: Mutex::default(),
            serial: AtomicU64::default(),
        })
    }

    fn is_cut(&self, a: &ServerName, b: &ServerName) -> bool {
        let cut = self.cut.lock().unwrap();
        cut.contains(&(a.to_owned(), b.to_owned())) || cut.contains(&(b.to_owned(), a.to_owned()))
    }

    /// Two phones go out of each other's reach.
    pub(in crate::chat) fn cut(&self, a: &Phone, b: &Phone) {
        self.cut.lock().unwrap().insert((a.name(), b.name()));
        a.server.peer_gone(&b.name());
        b.server.peer_gone(&a.name());
    }

    /// Two phones come within each other's reach.
    pub(in crate::chat) fn link(&self, a: &Phone, b: &Phone) {
        let pair = [a.name(), b.name()];
        self.cut.lock().unwrap().retain(|(x, y)| !(pair.contains(x) && pair.contains(y)));
        a.server.peer_seen(&b.name());
        b.server.peer_seen(&a.name());
    }
}

struct Wire {
    net: Arc<Net>,
    from: OwnedServerName,
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
            let unreachable =
                || TransportError::Unreachable { destination: destination.to_string(), reason: "cut".into() };
            let lost = *self.net.lost.lock().unwrap();
            if self.net.is_cut(&self.from, destination) || lost.is_some_and(|path| request.uri().path().contains(path))
            {
                return Err(unreachable());
            }
            let router = self.net.routers.lock().unwrap().get(destination).cloned().ok_or_else(unreachable)?;
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(PeerServer(self.from.clone()));
            let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
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

struct Virtual(Arc<Net>);

impl Clock for Virtual {
    fn now(&self) -> Millis {
        let passed = u64::try_from(self.0.start.0.elapsed().as_millis()).unwrap();
        // Each look is a little later, so that no two events of one phone have one time.
        Millis(self.0.start.1 + passed + self.0.serial.fetch_add(1, Ordering::SeqCst) / 100)
    }
}

struct Seeded(Mutex<ChaCha8Rng>);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}

/// A person with their phone.
pub(in crate::chat) struct Phone {
    pub(in crate::chat) server: Homeserver,
    pub(in crate::chat) chat: Chat,
    pub(in crate::chat) user: OwnedUserId,
    net: Arc<Net>,
    seed: u8,
    localpart: String,
    disk: CrashDisk,
}

impl Phone {
    /// A phone with its client running, out of everybody's reach.
    pub(in crate::chat) async fn new(net: &Arc<Net>, localpart: &str) -> Self {
        let seed = localpart.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let disk = CrashDisk::new();
        let server = open_server(net, seed, &disk);
        let chat = open_chat(server.home(), seed, localpart).await;
        chat.start();
        let (user, localpart) = (chat.identity().user_id, localpart.to_owned());
        Self { server, chat, user, net: net.clone(), seed, localpart, disk }
    }

    /// The battery falls out, and the phone starts again. Nobody is near it then.
    pub(in crate::chat) async fn crash(self) -> Self {
        self.disk.crash();
        self.restart(true).await
    }

    /// The phone is switched off and on.
    pub(in crate::chat) async fn reboot(self) -> Self {
        self.restart(false).await
    }

    async fn restart(self, crashed: bool) -> Self {
        self.chat.stop().await;
        if crashed {
            self.server.kill()
        } else {
            self.server.stop().await.unwrap()
        }
        let server = open_server(&self.net, self.seed, &self.disk);
        let chat = open_chat(server.home(), self.seed, &self.localpart).await;
        chat.start();
        Self { server, chat, ..self }
    }

    pub(in crate::chat) fn home(&self) -> &Arc<Home> {
        self.server.home()
    }

    pub(in crate::chat) fn me(&self) -> Actor {
        self.chat.inner.me.clone()
    }

    pub(in crate::chat) fn name(&self) -> OwnedServerName {
        self.home().server_name().to_owned()
    }

    /// Makes an encrypted room with a history visibility.
    pub(in crate::chat) async fn create(&self, visibility: &str) -> OwnedRoomId {
        let mut new = NewRoom::new(self.user.clone(), Preset::PrivateChat);
        let event = |kind: &str, content: Value| InitialEvent {
            kind: kind.into(),
            state_key: String::new(),
            content: serde_json::from_value(content).unwrap(),
        };
        new.initial_state = vec![
            event("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
            event("m.room.history_visibility", json!({ "history_visibility": visibility })),
        ];
        create(self.home(), new).await.unwrap()
    }

    pub(in crate::chat) async fn invite(&self, room: &RoomId, other: &Self) {
        let step = Step::new(Action::Invite, room, &self.user, &other.user, None);
        let content = step.member_content(&self.home().store.snapshot().unwrap()).unwrap();
        federation::invite(self.home(), &self.user, &other.user, room, content).await.unwrap();
    }

    pub(in crate::chat) async fn join(&self, room: &RoomId, via: &Self) {
        let step = Step::new(Action::Join, room, &self.user, &self.user, None);
        let content = step.member_content(&self.home().store.snapshot().unwrap()).unwrap();
        federation::join(self.home(), &self.user, room, &[via.name()], content).await.unwrap();
    }

    pub(in crate::chat) async fn kick(&self, room: &RoomId, other: &Self) {
        act(self.home(), Step::new(Action::Kick, room, &self.user, &other.user, None)).await.unwrap();
    }

    /// Invites somebody who is near, and they join.
    pub(in crate::chat) async fn bring(&self, room: &RoomId, other: &Self) {
        self.invite(room, other).await;
        other.join(room, self).await;
        settle().await;
    }

    /// Says something in an encrypted room.
    pub(in crate::chat) async fn say(&self, room: &RoomId, text: &str) -> OwnedEventId {
        self.send(room, json!({ "msgtype": "m.text", "body": text })).await
    }

    pub(in crate::chat) async fn send(&self, room: &RoomId, content: Value) -> OwnedEventId {
        let content = to_raw_value(&content).unwrap();
        let encrypted =
            self.chat.inner.crypto.encrypt(&self.chat.inner, room, "m.room.message", &content).await.unwrap();
        let new = NewEvent {
            room: room.to_owned(),
            sender: self.user.clone(),
            kind: TimelineEventType::RoomEncrypted,
            state_key: None,
            content: serde_json::from_str(encrypted.get()).unwrap(),
            redacts: None,
            txn: None,
            timestamp: None,
        };
        rooms::send(self.home(), new).await.unwrap()
    }

    /// The encrypted messages of a room, in order.
    fn messages(&self, room: &RoomId) -> Vec<Stored> {
        let view = self.home().store.snapshot().unwrap();
        use crate::store::View;
        let Some(found) = Room::find(&view, room).unwrap() else { return Vec::new() };
        let from = std::ops::Bound::Included((found.key.0, 0));
        let to = std::ops::Bound::Included((found.key.0, u64::MAX));
        let rows = view.tl().unwrap().between(from, to).unwrap();
        let events: Vec<Esn> = rows.map(|row| row.unwrap().1.value()).collect();
        let events = events.into_iter().map(|esn| Stored::must(&view, esn).unwrap());
        events.filter(|event| event.pdu.kind == TimelineEventType::RoomEncrypted).collect()
    }

    /// One message as this phone reads it.
    pub(in crate::chat) async fn read(&self, room: &RoomId, event: &OwnedEventId) -> Clear {
        let stored = Stored::by_id(&self.home().store.snapshot().unwrap(), event).unwrap().unwrap();
        self.chat.inner.crypto.decrypt(room, &stored).await.unwrap()
    }

    /// What this phone reads of a message that lies on another one: a homeserver may get a message from anybody.
    pub(in crate::chat) async fn reads_of(&self, other: &Self, room: &RoomId, event: &OwnedEventId) -> String {
        let stored = Stored::by_id(&other.home().store.snapshot().unwrap(), event).unwrap().unwrap();
        text(self.chat.inner.crypto.decrypt(room, &stored).await.unwrap())
    }

    /// The person begins anew with another cross-signing identity.
    pub(in crate::chat) async fn new_identity(&self) {
        let machine = &self.chat.inner.crypto.machine;
        let requests = machine.bootstrap_cross_signing(true).await.unwrap();
        super::send::signing_keys(self.home(), &self.me(), requests.upload_signing_keys_req).await.unwrap();
        super::send::signatures(&self.chat.inner, requests.upload_signatures_req).await.unwrap();
    }

    /// What this phone reads in a room, in order; `?` for what it cannot read.
    pub(in crate::chat) async fn texts(&self, room: &RoomId) -> Vec<String> {
        let mut texts = Vec::new();
        for event in self.messages(room) {
            texts.push(text(self.chat.inner.crypto.decrypt(room, &event).await.unwrap()));
        }
        texts
    }

    /// Debts that this phone has left.
    pub(in crate::chat) fn debts(&self) -> usize {
        use crate::store::View;
        let view = self.home().store.snapshot().unwrap();
        let all = std::ops::Bound::Unbounded;
        view.owed().unwrap().between(all, all).unwrap().count()
    }
}

fn text(clear: Clear) -> String {
    match clear {
        Clear::Event { content, .. } => {
            let content: Value = serde_json::from_str(content.get()).unwrap();
            content["body"].as_str().unwrap_or("no body").to_owned()
        }
        Clear::Waiting { .. } | Clear::Never { .. } => "?".to_owned(),
    }
}

fn open_server(net: &Arc<Net>, seed: u8, disk: &CrashDisk) -> Homeserver {
    let local = LocalServer::new(&[seed; 32]);
    let name = local.name.clone();
    let ports = Ports {
        transport: Arc::new(Wire { net: net.clone(), from: name.clone() }),
        clock: Arc::new(Virtual(net.clone())),
        random: Arc::new(Seeded(Mutex::new(ChaCha8Rng::seed_from_u64(
            u64::from(seed) + 1_000 * net.serial.fetch_add(1, Ordering::SeqCst),
        )))),
    };
    let backend = Backend::Crash(disk.clone());
    let store = StoreConfig { backend, threading: Threading::Inline, ..StoreConfig::memory() };
    let server = Homeserver::open(
        Config { local, store, media: MediaConfig::memory(), registration: Registration::Closed },
        ports,
    )
    .unwrap();
    server.start();
    net.routers.lock().unwrap().insert(name, server.federation_router());
    server
}

pub(in crate::chat) async fn open_chat(home: &Arc<Home>, seed: u8, localpart: &str) -> Chat {
    let config = ChatConfig {
        store_key: StoreKey::new([seed; 32]),
        localpart: localpart.to_owned(),
        display_name: Some(localpart.to_uppercase()),
        device_name: Some("phone".to_owned()),
    };
    Chat::open(home.clone(), config).await.unwrap()
}

/// Lets everybody do what they have to do.
pub(in crate::chat) async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Phones that are all near one another.
pub(in crate::chat) async fn people<const N: usize>(net: &Arc<Net>, names: [&str; N]) -> [Phone; N] {
    let mut phones = Vec::new();
    for name in names {
        phones.push(Phone::new(net, name).await);
    }
    for (index, phone) in phones.iter().enumerate() {
        for other in &phones[..index] {
            net.link(phone, other);
        }
    }
    settle().await;
    phones.try_into().unwrap_or_else(|_| unreachable!())
}

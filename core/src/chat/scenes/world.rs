//! Phones that reach one another through memory, with a client on each, and lists kept by their diffs alone, as a UI keeps them.

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
use http::{Request, Response};
use http_body_util::BodyExt;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName};
use tower::ServiceExt;

use crate::{
    chat::{
        Chat, ChatConfig,
        feed::{self, Diff},
        message::TextMessage,
        room::{NewRoom, Room},
        room_list::{RoomFeed, RoomSummary},
        timeline::{ItemContent, ItemId, Timeline, TimelineItem},
        vault::StoreKey,
    },
    home::Registration,
    ports::{BodyStream, BoxFuture, Clock, PeerServer, Ports, Random, Transport, TransportError, in_one_piece},
    server::{Config, Homeserver, MediaConfig},
    store::StoreConfig,
    types::{LocalServer, Millis},
};

/// The links between phones.
#[derive(Default)]
pub(super) struct Net {
    routers: Mutex<BTreeMap<OwnedServerName, Router>>,
    linked: Mutex<BTreeSet<(OwnedServerName, OwnedServerName)>>,
}

impl Net {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn link(&self, a: &Phone, b: &Phone) {
        self.linked.lock().unwrap().extend([(a.name(), b.name()), (b.name(), a.name())]);
        a.server.peer_seen(&b.name());
        b.server.peer_seen(&a.name());
    }

    pub(super) fn cut(&self, a: &Phone, b: &Phone) {
        let mut linked = self.linked.lock().unwrap();
        linked.remove(&(a.name(), b.name()));
        linked.remove(&(b.name(), a.name()));
        a.server.peer_gone(&b.name());
        b.server.peer_gone(&a.name());
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
        let unreachable =
            || TransportError::Unreachable { destination: destination.to_string(), reason: "away".into() };
        let link = (self.from.clone(), destination.to_owned());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if !self.net.linked.lock().unwrap().contains(&link) {
                return Err(unreachable());
            }
            let router = self.net.routers.lock().unwrap().get(destination).cloned().ok_or_else(unreachable)?;
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(PeerServer(self.from.clone()));
            let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if !self.net.linked.lock().unwrap().contains(&link) {
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
    pub(super) chat: Chat,
    pub(super) user: OwnedUserId,
}

impl Phone {
    pub(super) async fn new(net: &Arc<Net>, seed: u8, name: &str) -> Self {
        Self::on(net, seed, name, StoreConfig::memory()).await
    }

    pub(super) async fn on(net: &Arc<Net>, seed: u8, name: &str, store: StoreConfig) -> Self {
        let local = LocalServer::new(&[seed; 32]);
        let server_name = local.name.clone();
        let ports = Ports {
            transport: Arc::new(Wire { net: net.clone(), from: server_name.clone() }),
            clock: Arc::new(Ticking(AtomicU64::new(1_800_000_000_000))),
            random: Arc::new(Seeded(Mutex::new(ChaCha8Rng::from_seed([seed; 32])))),
        };
        let server = Homeserver::open(
            Config { local, store, media: MediaConfig::memory(), registration: Registration::Closed },
            ports,
        )
        .unwrap();
        server.start();
        net.routers.lock().unwrap().insert(server_name, server.federation_router());
        let mut display_name = name.to_owned();
        display_name[..1].make_ascii_uppercase();
        let config = ChatConfig {
            store_key: StoreKey::new([seed; 32]),
            localpart: name.to_owned(),
            display_name: Some(display_name),
            device_name: None,
        };
        let chat = Chat::open(server.home().clone(), config).await.unwrap();
        chat.start();
        let user = chat.identity().user_id;
        Self { server, chat, user }
    }

    pub(super) fn name(&self) -> OwnedServerName {
        self.server.home().server_name().to_owned()
    }

    /// Ends as a killed process does.
    pub(super) async fn kill(self) {
        self.server.kill();
        self.chat.stop().await;
    }

    pub(super) fn room(&self, id: &RoomId) -> Room {
        self.chat.room(id).unwrap()
    }

    pub(super) async fn create(&self, new: NewRoom) -> OwnedRoomId {
        self.chat.create_room(new).await.unwrap().id().to_owned()
    }

    pub(super) async fn join(&self, room: &RoomId) {
        self.chat.join(room.to_owned().into(), Vec::new()).await.unwrap();
    }

    /// Says something in a room, through a timeline of its own.
    pub(super) async fn say(&self, room: &RoomId, text: &str) -> ItemId {
        self.room(room).timeline().send_text(TextMessage::plain(text)).await.unwrap()
    }

    /// The items of a room as a fresh timeline has them.
    pub(super) async fn items(&self, room: &RoomId) -> Vec<TimelineItem> {
        items_of(&self.room(room).timeline()).await
    }

    /// The texts of a room.
    pub(super) async fn texts(&self, room: &RoomId) -> Vec<String> {
        texts(&self.items(room).await)
    }

    pub(super) async fn rooms(&self) -> Vec<RoomSummary> {
        let feed = self.chat.rooms();
        let mut list = Listed::new();
        list.keep_rooms(&feed).await;
        list.rows
    }

    pub(super) async fn summary(&self, room: &RoomId) -> RoomSummary {
        self.rooms().await.into_iter().find(|summary| summary.room_id == room).unwrap()
    }
}

/// A fresh timeline's first batch.
pub(super) async fn items_of(timeline: &Timeline) -> Vec<TimelineItem> {
    match timeline.next().await.unwrap().as_slice() {
        [Diff::Reset(items)] => items.clone(),
        other => panic!("the first batch is one reset: {other:?}"),
    }
}

pub(super) fn texts(items: &[TimelineItem]) -> Vec<String> {
    items.iter().filter_map(text).collect()
}

pub(super) fn text(item: &TimelineItem) -> Option<String> {
    match &item.content {
        ItemContent::Text { body, .. } => Some(body.clone()),
        _ => None,
    }
}

/// The item that says a text.
#[track_caller]
pub(super) fn saying<'a>(items: &'a [TimelineItem], body: &str) -> &'a TimelineItem {
    items
        .iter()
        .find(|item| text(item).as_deref() == Some(body))
        .unwrap_or_else(|| panic!("nobody said {body}: {items:#?}"))
}

/// A list as a UI keeps it, and every diff that it got.
pub(super) struct Listed<T> {
    pub(super) rows: Vec<T>,
    pub(super) diffs: Vec<Diff<T>>,
}

impl<T: feed::Item + std::fmt::Debug> Listed<T> {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), diffs: Vec::new() }
    }

    fn take(&mut self, batch: Vec<Diff<T>>) {
        assert!(!batch.is_empty(), "a batch says something");
        feed::apply(&mut self.rows, &batch);
        self.diffs.extend(batch);
    }

    /// The diffs since this was asked last.
    pub(super) fn news(&mut self) -> Vec<Diff<T>> {
        std::mem::take(&mut self.diffs)
    }
}

/// Long enough for everything that is under way to come to its end.
pub(super) const QUIET: Duration = Duration::from_secs(3);

impl Listed<TimelineItem> {
    /// Takes diffs until nothing comes any more.
    pub(super) async fn keep(&mut self, timeline: &Timeline) {
        while let Ok(batch) = tokio::time::timeout(QUIET, timeline.next()).await {
            self.take(batch.unwrap());
        }
    }
}

impl Listed<RoomSummary> {
    pub(super) async fn keep_rooms(&mut self, feed: &RoomFeed) {
        while let Ok(batch) = tokio::time::timeout(QUIET, feed.next()).await {
            self.take(batch.unwrap());
        }
    }
}

/// Lets everything that is under way come to its end.
pub(super) async fn settle() {
    tokio::time::sleep(QUIET).await;
}

/// Alice and bob within reach of one another, in a private room that alice made.
pub(super) async fn pair() -> (Arc<Net>, Phone, Phone, OwnedRoomId) {
    let net = Net::new();
    let (alice, bob) = (Phone::new(&net, 1, "alice").await, Phone::new(&net, 2, "bob").await);
    net.link(&alice, &bob);
    let room = alice.create(NewRoom { invite: vec![bob.user.clone()], ..NewRoom::default() }).await;
    settle().await;
    bob.join(&room).await;
    settle().await;
    (net, alice, bob, room)
}

/// As [`pair`], and carol in the same room.
pub(super) async fn three() -> (Arc<Net>, Phone, Phone, Phone, OwnedRoomId) {
    let (net, alice, bob, room) = pair().await;
    let carol = Phone::new(&net, 3, "carol").await;
    net.link(&alice, &carol);
    net.link(&bob, &carol);
    alice.room(&room).invite(&carol.user).await.unwrap();
    settle().await;
    carol.join(&room).await;
    settle().await;
    (net, alice, bob, carol, room)
}

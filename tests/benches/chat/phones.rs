//! Phones with clients: whole nodes on loopback QUIC, and homeservers in one process whose keys can be held back.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use hearth_core::{
    chat::{
        Chat, ChatConfig, ItemContent, NewRoom, RoomFeed, RoomKind, RoomSummary, SendState, TextMessage, Timeline,
        TimelineItem, feed, vault::StoreKey,
    },
    home::Registration,
    ports::{BodyStream, BoxFuture, PeerServer, Ports, Transport, TransportError, in_one_piece},
    server::{Config, Homeserver, MediaConfig, StoreConfig},
    types::LocalServer,
};
use hearth_p2p::{
    Discovery, Power,
    host::{SystemClock, SystemRandom},
    node::{Node, NodeConfig},
};
use http_body_util::BodyExt;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Nothing that is measured takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The client of a homeserver.
pub(crate) async fn client(server: &Homeserver, name: &str) -> Chat {
    let config = ChatConfig {
        store_key: StoreKey::new([7; 32]),
        localpart: name.to_owned(),
        display_name: Some(name.to_owned()),
        device_name: None,
    };
    let chat = Chat::open(server.home().clone(), config).await.unwrap();
    chat.start();
    chat
}

/// A whole node with a client.
pub(crate) struct Phone {
    pub(crate) node: Node,
    pub(crate) chat: Chat,
    pub(crate) user: OwnedUserId,
}

impl Phone {
    pub(crate) async fn start(data: PathBuf, name: &str) -> Self {
        let node = Node::start(NodeConfig {
            data,
            server_name: None,
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()],
            peers: Vec::new(),
            discovery: Discovery::Off,
            power: Some(Power::default()),
            client_listen: None,
            registration: Registration::Closed,
        });
        let node = node.await.unwrap();
        let chat = client(node.homeserver(), name).await;
        let user = chat.identity().user_id;
        Self { node, chat, user }
    }

    /// Tells this phone where the other one is, and waits until they hold each other's hands.
    pub(crate) async fn meets(&self, other: &Self) {
        for address in other.node.network().addresses().await {
            self.node.network().add_address(address).await;
        }
        let is_near =
            |one: &Self, other: &Self| one.node.homeserver().home().near().contains(&other.node.server_name());
        until(async || is_near(self, other) && is_near(other, self)).await;
    }

    pub(crate) async fn stop(self) {
        self.chat.stop().await;
        self.node.stop().await.unwrap();
    }
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "it never came to be");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A private room that both are in.
pub(crate) async fn room_of(alice: &Chat, bob: &Chat) -> OwnedRoomId {
    let invite = vec![bob.identity().user_id];
    let room = alice.create_room(NewRoom { invite, ..NewRoom::default() }).await.unwrap().id().to_owned();
    let feed = bob.rooms();
    let mut list = Vec::new();
    let is_invite = |row: &RoomSummary| row.room_id == room && matches!(row.kind, RoomKind::Invited(_));
    while !list.iter().any(is_invite) {
        next_rooms(&feed, &mut list).await;
    }
    bob.join(room.clone().into(), Vec::new()).await.unwrap();
    room
}

/// The next state of a list of rooms.
pub(crate) async fn next_rooms(feed: &RoomFeed, list: &mut Vec<RoomSummary>) {
    let diffs = timeout(PATIENCE, feed.next()).await.expect("the list moves").unwrap();
    feed::apply(list, &diffs);
}

/// A timeline as a UI keeps it.
pub(crate) struct Shown {
    pub(crate) timeline: Timeline,
    pub(crate) items: Vec<TimelineItem>,
}

impl Shown {
    pub(crate) async fn of(chat: &Chat, room: &RoomId) -> Self {
        let mut shown = Self { timeline: chat.room(room).unwrap().timeline(), items: Vec::new() };
        shown.next().await;
        shown
    }

    pub(crate) async fn next(&mut self) {
        let diffs = timeout(PATIENCE, self.timeline.next()).await.expect("the timeline moves").unwrap();
        feed::apply(&mut self.items, &diffs);
    }

    /// Follows it until it is as it should be.
    pub(crate) async fn until(&mut self, is_so: impl Fn(&[TimelineItem]) -> bool) {
        while !is_so(&self.items) {
            self.next().await;
        }
    }

    pub(crate) async fn say(&self, text: &str) {
        self.timeline.send_text(TextMessage::plain(text)).await.unwrap();
    }
}

/// How many items say something in clear.
pub(crate) fn clear(items: &[TimelineItem]) -> usize {
    items.iter().filter(|item| matches!(item.content, ItemContent::Text { .. })).count()
}

/// How many items cannot be read.
pub(crate) fn shut(items: &[TimelineItem]) -> usize {
    items.iter().filter(|item| matches!(item.content, ItemContent::Undecryptable { .. })).count()
}

/// Whether the newest message says something.
pub(crate) fn ends_with(items: &[TimelineItem], text: &str) -> bool {
    items.last().is_some_and(|item| matches!(&item.content, ItemContent::Text { body, .. } if body == text))
}

/// Whether all of one's own messages are in the room.
pub(crate) fn all_sent(items: &[TimelineItem]) -> bool {
    items.iter().filter_map(|item| item.state.as_ref()).all(|state| matches!(state, SendState::Sent { .. }))
}

/// Homeservers that reach one another through memory.
#[derive(Default)]
pub(crate) struct Wire {
    routers: Mutex<BTreeMap<OwnedServerName, Router>>,
    /// Whether nobody can claim a key, so that no message can be read.
    pub(crate) held_back: AtomicBool,
    /// When something went from device to device first, after it was held back no more.
    pub(crate) keys_came: Mutex<Option<Instant>>,
}

struct End {
    wire: Arc<Wire>,
    own: OwnedServerName,
}

impl Transport for End {
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
        _response_bytes_max: usize,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let is_held_back = self.wire.held_back.load(Ordering::SeqCst);
            let router = self.wire.routers.lock().unwrap().get(destination).cloned();
            let is_claim = request.uri().path().contains("/user/keys/claim");
            let (Some(router), false) = (router, is_held_back && is_claim) else {
                let (destination, reason) = (destination.to_string(), "the bench lets nothing through".into());
                return Err(TransportError::Unreachable { destination, reason });
            };
            let carries_keys = request.body().windows(18).any(|bytes| bytes == b"m.direct_to_device");
            if carries_keys && !is_held_back {
                self.wire.keys_came.lock().unwrap().get_or_insert_with(Instant::now);
            }
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(PeerServer(self.own.clone()));
            let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
            Ok(http::Response::from_parts(parts, body.collect().await.unwrap().to_bytes()))
        })
    }

    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<BodyStream>, TransportError>> {
        Box::pin(async move { Ok(in_one_piece(self.request(destination, request, usize::MAX).await?)) })
    }
}

/// A homeserver on files, on a wire.
pub(crate) fn homeserver(wire: &Arc<Wire>, data: &Path, secret: &[u8; 32]) -> Homeserver {
    std::fs::create_dir_all(data).unwrap();
    let local = LocalServer::new(secret);
    let own = local.name.clone();
    let ports = Ports {
        transport: Arc::new(End { wire: wire.clone(), own: own.clone() }),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    let (store, media) = (StoreConfig::file(data.join("hearth.redb")), MediaConfig::folder(data.join("media")));
    let server = Homeserver::open(Config { local, store, media, registration: Registration::Closed }, ports).unwrap();
    server.start();
    wire.routers.lock().unwrap().insert(own, server.federation_router());
    server
}

//! Request streams: our own small behaviour, one stream per federation request, of one of two kinds (`lane`).
//!
//! What it promises: a stream that is asked for is answered exactly once, with a stream or with the reason, whatever becomes
//! of the connection; requests for a peer that is being dialled wait in line, with one dial for all of them; the newest
//! connection is used, because it is the one that surely lives; and what a peer opens is let in up to a limit and dropped at
//! once beyond it, so that nothing queues silently. It also holds the connection limits, because libp2p's own refuse the
//! newest connection where we must give up the oldest.
//!
//! Deliberately absent: dialling (the contacts decide when and where), and HTTP (see `http`).

mod admission;
mod handler;
mod lane;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll, Waker},
};

pub(crate) use admission::{Admission, Place};
use handler::{Handler, Order};
pub(crate) use lane::{Lane, RESTS};
use libp2p::{
    Multiaddr, PeerId, Stream,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    identity::server_name_of,
    limits::{CONNECTIONS_PER_PEER_MAX, ESTABLISHED_INBOUND_MAX, PENDING_INBOUND_MAX, WAITING_PER_PEER_MAX},
};

/// Why there is no stream.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OpenError {
    /// The connection ended before the stream was there. Asking again may find another one.
    #[error("the connection closed while the stream was being opened")]
    Lost,
    /// There is no way to the peer, or it does not speak with us.
    #[error("{0}")]
    Unreachable(String),
}

/// A wish for a stream. Dropping it is an answer too: the one who waits sees it as [`OpenError::Lost`].
#[derive(Debug)]
pub(crate) struct Open {
    /// Of which kind.
    pub(crate) lane: Lane,
    /// Who waits for it.
    pub(crate) asker: oneshot::Sender<Result<Stream, OpenError>>,
}

impl Open {
    /// Answers. When nobody waits any more, the stream is dropped, which closes it.
    fn answer(self, answer: Result<Stream, OpenError>) {
        drop(self.asker.send(answer));
    }
}

/// A stream that a peer opened, with the place that it takes among the inbound requests.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// Who opened it, proven by the connection's handshake.
    pub(crate) peer: PeerId,
    /// The stream.
    pub(crate) stream: Stream,
    /// Dropped when the request is over.
    pub(crate) place: Place,
}

/// The refusal of a connection.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0} is not the identity of an ed25519 key")]
    NotAKeyName(PeerId),
    #[error("enough connections are being set up already")]
    Pending,
    #[error("enough peers are connected already")]
    Established,
}

/// The behaviour.
pub(crate) struct Streams {
    accept: mpsc::Sender<Inbound>,
    admission: Admission,
    /// Established connections of each peer, the newest last.
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    waiting: BTreeMap<PeerId, Vec<Open>>,
    pending_inbound: BTreeSet<ConnectionId>,
    established_inbound: BTreeSet<ConnectionId>,
    /// Whether this node rests.
    rests: bool,
    queue: VecDeque<ToSwarm<Infallible, Order>>,
    waker: Option<Waker>,
}

impl Streams {
    /// What peers open arrives at `accept`, which must have room for all that `admission` lets in.
    pub(crate) fn new(accept: mpsc::Sender<Inbound>, admission: Admission, rests: bool) -> Self {
        Self {
            accept,
            admission,
            connections: BTreeMap::new(),
            waiting: BTreeMap::new(),
            pending_inbound: BTreeSet::new(),
            established_inbound: BTreeSet::new(),
            rests,
            queue: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream to a peer. Answers whether the peer must be dialled first; then the wish waits until a connection
    /// is there or [`Streams::give_up`] is called.
    pub(crate) fn open(&mut self, peer: PeerId, open: Open) -> bool {
        if let Some(connection) = self.connections.get(&peer).and_then(|all| all.last()) {
            self.order(peer, *connection, Order::Open(open));
            return false;
        }
        let waiting = self.waiting.entry(peer).or_default();
        waiting.retain(|open| !open.asker.is_closed());
        if waiting.len() >= WAITING_PER_PEER_MAX {
            open.answer(Err(OpenError::Unreachable("too many requests wait for a connection".to_owned())));
        } else {
            waiting.push(open);
        }
        true
    }

    /// Tells all who wait for this peer that there is no way to it.
    pub(crate) fn give_up(&mut self, peer: &PeerId, reason: &str) {
        for open in self.waiting.remove(peer).unwrap_or_default() {
            open.answer(Err(OpenError::Unreachable(reason.to_owned())));
        }
    }

    /// Rests, or does no longer: every peer is told, and connections end when they are not used.
    pub(crate) fn rest(&mut self, rests: bool) {
        if self.rests != rests {
            self.rests = rests;
            let connections = self.connections.iter().flat_map(|(peer, all)| all.iter().map(|one| (*peer, *one)));
            for (peer, connection) in connections.collect::<Vec<_>>() {
                self.order(peer, connection, Order::WeRest(rests));
            }
        }
    }

    /// A peer rests, or does no longer: its connections end when they are not used.
    pub(crate) fn peer_rests(&mut self, peer: PeerId, rests: bool) {
        for connection in self.connections.get(&peer).cloned().unwrap_or_default() {
            self.order(peer, connection, Order::TheyRest(rests));
        }
    }

    fn order(&mut self, peer_id: PeerId, connection: ConnectionId, event: Order) {
        self.push(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event });
    }

    fn push(&mut self, event: ToSwarm<Infallible, Order>) {
        self.queue.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn established(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if endpoint.is_listener() {
            self.established_inbound.insert(connection);
        }
        let all = self.connections.entry(peer).or_default();
        all.push(connection);
        let oldest = all.first().copied().filter(|_| all.len() > CONNECTIONS_PER_PEER_MAX);
        if let Some(oldest) = oldest {
            self.push(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::One(oldest) });
        }
        for open in self.waiting.remove(&peer).unwrap_or_default() {
            self.order(peer, connection, Order::Open(open));
        }
    }

    fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        self.established_inbound.remove(&connection);
        if let Some(all) = self.connections.get_mut(&peer) {
            all.retain(|other| *other != connection);
            if all.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }

    fn handler(&self, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        if server_name_of(&peer).is_none() {
            return Err(ConnectionDenied::new(Refused::NotAKeyName(peer)));
        }
        Ok(Handler::new(peer, self.accept.clone(), self.admission.clone(), self.rests))
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.pending_inbound.len() >= PENDING_INBOUND_MAX {
            return Err(ConnectionDenied::new(Refused::Pending));
        }
        self.pending_inbound.insert(connection);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_inbound.remove(&connection);
        if self.established_inbound.len() >= ESTABLISHED_INBOUND_MAX {
            return Err(ConnectionDenied::new(Refused::Established));
        }
        self.handler(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.established(event.peer_id, event.connection_id, event.endpoint);
            }
            FromSwarm::ConnectionClosed(event) => self.closed(event.peer_id, event.connection_id),
            FromSwarm::ListenFailure(event) => {
                self.pending_inbound.remove(&event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.queue.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

//! The streams of one connection.
//!
//! Every wish travels with its own stream request as that request's info, so an answer cannot reach the wrong one, and the
//! end of the connection drops all of them, which is their answer.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use libp2p::{
    PeerId, StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};

use super::{Admission, Inbound, Lane, Open, OpenError, lane::Lanes};
use crate::limits::{OPEN_TIMEOUT, REST_LOOK};

/// What the behaviour tells a connection.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open a stream.
    Open(Open),
    /// From now on this node rests, or does not.
    WeRest(bool),
    /// The peer rests, or does not.
    TheyRest(bool),
}

/// Opens and accepts the streams of one connection.
pub(crate) struct Handler {
    peer: PeerId,
    accept: mpsc::Sender<Inbound>,
    admission: Admission,
    wishes: VecDeque<Open>,
    we_rest: bool,
    they_rest: bool,
    /// Wakes the connection, while it need not be kept, so that it looks whether it is used.
    look: Option<Pin<Box<Sleep>>>,
}

impl Handler {
    pub(super) fn new(peer: PeerId, accept: mpsc::Sender<Inbound>, admission: Admission, we_rest: bool) -> Self {
        Self { peer, accept, admission, wishes: VecDeque::new(), we_rest, they_rest: false, look: None }
    }

    /// Lets a stream in, or drops it, which the other end sees as the end of the stream.
    fn accept(&self, stream: libp2p::Stream, lane: Lane) {
        let Some(place) = self.admission.place(self.peer, lane) else {
            tracing::debug!(peer = %self.peer, ?lane, "dropped a request beyond the limit");
            return;
        };
        let inbound = Inbound { peer: self.peer, stream, place };
        // The queue has room for every place that there is, so this fails only when the mesh is ending.
        if self.accept.try_send(inbound).is_err() {
            tracing::debug!(peer = %self.peer, "dropped a request, nobody accepts any more");
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Infallible;
    type InboundProtocol = Lanes;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Lanes { rests: self.we_rest }, ())
    }

    /// Neighbours stay connected: a connection costs a keep-alive, a new one costs two handshakes and the moment in which
    /// a message waits for them. For one that rests the keep-alive costs more.
    fn connection_keep_alive(&self) -> bool {
        !self.we_rest && !self.they_rest
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Open(open) => self.wishes.push_back(open),
            Order::WeRest(rest) => self.we_rest = rest,
            Order::TheyRest(rest) => self.they_rest = rest,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Open, Infallible>> {
        if self.connection_keep_alive() {
            self.look = None;
        } else {
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(REST_LOOK)));
            while look.as_mut().poll(cx).is_ready() {
                look.set(sleep(REST_LOOK));
            }
        }
        // The connection polls again after every event that it hands in, so no waker is kept.
        while let Some(open) = self.wishes.pop_front() {
            if !open.asker.is_closed() {
                let upgrade = ReadyUpgrade::new(open.lane.protocol());
                let protocol = SubstreamProtocol::new(upgrade, open).with_timeout(OPEN_TIMEOUT);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Open>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, Some(lane)), ..
            }) => {
                self.accept(stream, lane);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                info.answer(Ok(protocol))
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let why = match error {
                    StreamUpgradeError::Timeout => OpenError::Unreachable("it took no stream in time".to_owned()),
                    StreamUpgradeError::NegotiationFailed => {
                        OpenError::Unreachable(format!("it does not speak {}", info.lane.protocol()))
                    }
                    StreamUpgradeError::Io(_) => OpenError::Lost,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                info.answer(Err(why));
            }
            _ => {}
        }
    }
}

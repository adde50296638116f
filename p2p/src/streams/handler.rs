//! The streams of one connection.
//!
//! Every wish travels with its own stream request as that request's info, so an answer cannot reach the wrong one, and the
//! end of the connection drops all of them, which is their answer. There is no state here beside the line of wishes.

use std::{
    collections::VecDeque,
    convert::Infallible,
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
use tokio::sync::mpsc;

use super::{Admission, Inbound, Lane, Open, OpenError, lane::Lanes};
use crate::limits::OPEN_TIMEOUT;

/// Opens and accepts the streams of one connection.
pub(crate) struct Handler {
    peer: PeerId,
    accept: mpsc::Sender<Inbound>,
    admission: Admission,
    wishes: VecDeque<Open>,
}

impl Handler {
    pub(super) fn new(peer: PeerId, accept: mpsc::Sender<Inbound>, admission: Admission) -> Self {
        Self { peer, accept, admission, wishes: VecDeque::new() }
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
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Lanes;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Lanes, ())
    }

    /// Neighbours stay connected: a connection costs a keep-alive, a new one costs two handshakes and the moment in which
    /// a message waits for them.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.wishes.push_back(open);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Open, Infallible>> {
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
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, lane), .. }) => {
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

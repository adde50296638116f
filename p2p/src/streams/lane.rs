//! The two kinds of request streams: events, and media.
//!
//! Each has a protocol id, places and turns of its own, so that a transaction never waits behind a film. An older node that
//! knows events alone refuses the other's id and is spoken to all the same.
//!
//! A third id is only listed: a node that has it among its protocols *rests* (see [`Power::Low`](crate::Power::Low)).
//! identify tells peers of it when it appears and when it is gone, so no message of our own is needed.

use std::{convert::Infallible, future::Ready};

use libp2p::{
    Stream, StreamProtocol,
    core::{InboundUpgrade, UpgradeInfo},
};

use crate::limits::{
    ADMITTED_MAX, ADMITTED_PER_PEER_MAX, MEDIA_ADMITTED_MAX, MEDIA_ADMITTED_PER_PEER_MAX, MEDIA_MAX,
    MEDIA_PER_PEER_MAX, REQUESTS_MAX, REQUESTS_PER_PEER_MAX,
};

/// A kind of request streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Events and whatever else is small.
    Events,
    /// Answers that stream.
    Media,
}

/// How many requests a lane takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of one peer at once.
    pub(crate) running_per_peer: usize,
    /// Of one peer, running or waiting.
    pub(crate) admitted_per_peer: usize,
    /// Of all peers at once.
    pub(crate) running: usize,
    /// Of all peers, running or waiting.
    pub(crate) admitted: usize,
}

impl Lane {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Events, Self::Media];

    /// What both ends name when they open a stream for one request.
    pub(crate) const fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Events => "/hearth/fed/1",
            Self::Media => "/hearth/media/1",
        })
    }

    /// How many requests it takes.
    pub(crate) const fn bounds(self) -> Bounds {
        match self {
            Self::Events => Bounds {
                running_per_peer: REQUESTS_PER_PEER_MAX,
                admitted_per_peer: ADMITTED_PER_PEER_MAX,
                running: REQUESTS_MAX,
                admitted: ADMITTED_MAX,
            },
            Self::Media => Bounds {
                running_per_peer: MEDIA_PER_PEER_MAX,
                admitted_per_peer: MEDIA_ADMITTED_PER_PEER_MAX,
                running: MEDIA_MAX,
                admitted: MEDIA_ADMITTED_MAX,
            },
        }
    }
}

/// What a node that rests lists among its protocols.
pub(crate) const RESTS: StreamProtocol = StreamProtocol::new("/hearth/rests/1");

/// What a connection listens for: a stream of either lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// Whether the node rests, and says so.
    pub(super) rests: bool,
}

impl UpgradeInfo for Lanes {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Chain<std::array::IntoIter<StreamProtocol, 2>, std::option::IntoIter<StreamProtocol>>;

    fn protocol_info(&self) -> Self::InfoIter {
        Lane::ALL.map(Lane::protocol).into_iter().chain(self.rests.then_some(RESTS))
    }
}

impl InboundUpgrade<Stream> for Lanes {
    /// No lane for a stream of the protocol that is only listed: whoever opens it anyway gets nothing.
    type Output = (Stream, Option<Lane>);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        let lane = Lane::ALL.into_iter().find(|lane| lane.protocol() == protocol);
        std::future::ready(Ok((stream, lane)))
    }
}

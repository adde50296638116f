//! What is known of one peer.

use std::time::Duration;

use libp2p::{Multiaddr, swarm::ConnectionId};
use tokio::time::Instant;

use crate::addresses::Candidates;

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) quic: bool,
    /// Whether the peer is on this machine.
    pub(super) here: bool,
    pub(crate) boot: Option<String>,
    pub(crate) rtt: Option<Duration>,
}

/// One peer.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    pub(crate) candidates: Candidates,
    /// The connections, the newest last.
    pub(crate) links: Vec<Link>,
    /// The boot id of the last announcement.
    pub(super) announced: Option<String>,
    pub(super) dials: Vec<ConnectionId>,
    /// Addresses where somebody else was found. One of them, if it answers first, spoils the dial of all, so they are left
    /// out as long as there are others.
    pub(super) lies: Vec<Multiaddr>,
    pub(super) dialled_at: Option<Instant>,
    pub(super) failures: u32,
    pub(super) due: Option<Instant>,
    /// An address was learned which says that the peer may be elsewhere than where we are connected to.
    pub(super) news: bool,
    /// It was learned after the dials under way began.
    pub(super) again: bool,
    /// The peer said that it rests: it is dialled only with something to say to it.
    pub(crate) rests: bool,
    pub(super) touched: u64,
}

impl Contact {
    /// Whether a connection to the peer's present run is there, as far as we can tell.
    pub(super) fn live(&self) -> bool {
        match &self.announced {
            Some(boot) => self.links.iter().any(|link| link.boot.as_ref() == Some(boot)),
            None => !self.links.is_empty() && !self.news,
        }
    }

    pub(super) fn idle(&self) -> bool {
        self.links.is_empty() && self.dials.is_empty()
    }
}

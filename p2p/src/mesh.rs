//! The handle on the network: start it, serve on it, send through it, stop it.
//!
//! One task, the driver, owns the swarm, the announcement and the contacts; everybody else holds a [`Mesh`] and sends it
//! commands through one bounded channel. Requests do not pass through the driver: it hands out a stream, and the one who
//! asked speaks on it.

mod contacts;
mod driver;
mod listen;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hearth_core::ports::Transport;
use libp2p::{Multiaddr, PeerId};
use ruma::OwnedServerName;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    discovery::{Announcement, Discovery},
    identity::{keypair, server_name_of},
    power::Power,
    streams::Open,
    transport::MeshTransport,
};

/// Commands that may wait for the driver, which answers each at once.
const COMMANDS_MAX: usize = 256;

/// Events that may wait for their reader. When they are not read, the driver keeps the last one of each peer.
const EVENTS_MAX: usize = 64;

/// How a mesh is set up.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// The ed25519 seed of the node's identity.
    pub secret: [u8; 32],
    /// Where to listen. Empty: any port on every interface, or on loopback when discovery is confined to it.
    pub listen: Vec<Multiaddr>,
    /// Peers that are dialled whenever they are not connected; each address ends in `/p2p/` and the peer's id.
    pub peers: Vec<Multiaddr>,
    /// Where to look for others.
    pub discovery: Discovery,
    /// How much to spend on being within reach, until [`Mesh::set_power`] says otherwise.
    pub power: Power,
}

/// Why a mesh did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// The swarm could not be put together.
    #[error("cannot set up the network: {0}")]
    Swarm(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address or end the program that uses it")]
    Listen {
        /// Which address.
        address: Multiaddr,
        /// Why not.
        source: io::Error,
    },
    /// A peer's address does not say whom to expect there.
    #[error("{0} does not name a peer: it must end in /p2p/ and the peer's id")]
    NoPeerId(Multiaddr),
    /// The local network cannot be searched.
    #[error("cannot search the local network: {0}")]
    Discovery(String),
}

/// A change that the homeserver cares about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A peer is connected, or connected anew after a restart: what waits for it can go out now.
    Seen(OwnedServerName),
    /// The peer's last connection closed.
    Gone(OwnedServerName),
    /// What is shown of the peer changed otherwise: it rests now, or does no longer.
    Changed(OwnedServerName),
}

/// A peer, for people to look at.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its name.
    pub server: OwnedServerName,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether it said that it rests: it is called when there is something to say to it, and not kept connected.
    pub rests: bool,
    /// `quic` or `tcp`, of the newest connection.
    pub transport: Option<&'static str>,
    /// The round trip of the last ping on it.
    pub rtt: Option<Duration>,
    /// Where it is known to be.
    pub addresses: Vec<Multiaddr>,
}

/// What the driver is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Open(PeerId, Open),
    Add(Multiaddr),
    Addresses(oneshot::Sender<Vec<Multiaddr>>),
    Announcement(oneshot::Sender<Announcement>),
    Peers(oneshot::Sender<Vec<PeerStatus>>),
    Power(Power, oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// The running network. Clones are handles on the same one; it ends with [`Mesh::stop`], or when the last handle and the
/// last transport are gone.
#[derive(Clone, Debug)]
pub struct Mesh {
    name: OwnedServerName,
    commands: mpsc::Sender<Command>,
    router: watch::Sender<Option<Router>>,
    transport: MeshTransport,
}

impl Mesh {
    /// Starts listening, searching and dialling. Requests that arrive before [`Mesh::serve`] wait for it a moment.
    ///
    /// # Errors
    /// When an address is taken or cannot be used, or the network cannot be searched.
    pub async fn start(config: MeshConfig) -> Result<(Self, mpsc::Receiver<PeerEvent>), MeshError> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (events, outbox) = mpsc::channel(EVENTS_MAX);
        let router = watch::Sender::new(None);
        let keypair = keypair(config.secret);
        let name = server_name_of(&keypair.public().to_peer_id())
            .ok_or_else(|| MeshError::Swarm("the secret makes no server name".to_owned()))?;
        let driver = driver::Driver::start(config, keypair, name.clone(), inbox, events, router.subscribe()).await?;
        // The driver ends itself: when it is told to, or when the last sender of commands is gone.
        drop(tokio::spawn(driver.run()));
        let transport = MeshTransport::new(commands.clone());
        Ok((Self { name, commands, router, transport }, outbox))
    }

    /// This node's server name.
    pub fn server_name(&self) -> &OwnedServerName {
        &self.name
    }

    /// The way to other homeservers.
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.transport.clone())
    }

    /// Answers inbound federation requests with `router`. Each carries the peer in its extensions, as a
    /// [`PeerServer`](hearth_core::ports::PeerServer).
    pub fn serve(&self, router: Router) {
        self.router.send_replace(Some(router));
    }

    /// Where this node listens, each address with the peer id at its end.
    pub async fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.ask(Command::Addresses).await.unwrap_or_default()
    }

    /// What the platform's own discovery must announce for this node, when ours is off.
    pub async fn announcement(&self) -> Announcement {
        self.ask(Command::Announcement).await.unwrap_or_default()
    }

    /// Everybody who is connected or whose address is known.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// Hands in an address of a peer, with `/p2p/` and its id at the end: the door for the platform's own discovery. The
    /// peer is dialled at once when it is not connected or the address is new.
    pub fn add_address(&self, address: Multiaddr) {
        if let Err(error) = self.commands.try_send(Command::Add(address)) {
            tracing::warn!(%error, "an address was not taken");
        }
    }

    /// Spends more or less on being within reach, from now on.
    pub async fn set_power(&self, power: Power) {
        // No answer means that the mesh has ended, and spends nothing.
        let _ended = self.ask(|done| Command::Power(power, done)).await;
    }

    /// Says goodbye, closes what is open, and ends. Safe to call twice.
    pub async fn stop(&self) {
        // No answer means that it has ended already.
        let _ended = self.ask(Command::Stop).await;
    }

    /// Nothing when the mesh has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

//! The one task that owns the network, and its one loop over everything that can happen.
//!
//! It decides nothing about peers (`contacts` does) and reads no request: it carries facts in and actions out. Its arms never
//! wait, so a slow reader of events or a slow request cannot hold it up.

use std::{collections::BTreeMap, time::Duration};

use axum::Router;
use futures::{StreamExt, future::OptionFuture};
use hearth_core::ports::PeerServer;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    identify,
    identity::Keypair,
    multiaddr::Protocol,
    ping,
    swarm::{
        DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use ruma::OwnedServerName;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::{
    Command, MeshConfig, MeshError, PeerEvent, PeerStatus,
    contacts::{Action, Contacts},
    listen::listen,
};
use crate::{
    addresses::{Source, split_peer, transport_of},
    behaviour::{Behaviour, BehaviourEvent, boot_of, swarm},
    discovery::{Announcement, Beacon, Discovery, Sighting},
    http::server,
    identity::server_name_of,
    limits::{ADMITTED_MAX, MEDIA_ADMITTED_MAX, REQUEST_HEAD_TIMEOUT},
    streams::{Admission, Inbound, RESTS, Streams},
};

/// Addresses come one by one when a network appears; they are announced together.
const SETTLE: Duration = Duration::from_millis(300);

/// How long the goodbye may take. Peers that miss it find out by themselves.
const GOODBYE: Duration = Duration::from_millis(300);

/// See the module.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    name: OwnedServerName,
    boot: String,
    contacts: Contacts,
    beacon: Option<Beacon>,
    announce_at: Option<Instant>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<PeerEvent>,
    /// Events that wait for room in the channel, the last one of each peer.
    unread: BTreeMap<PeerId, PeerEvent>,
    inbound: mpsc::Receiver<Inbound>,
    requests: JoinSet<()>,
    router: watch::Receiver<Option<Router>>,
}

impl Driver {
    /// Listens, announces, and dials the configured peers.
    pub(super) async fn start(
        config: MeshConfig,
        keypair: Keypair,
        name: OwnedServerName,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<PeerEvent>,
        router: watch::Receiver<Option<Router>>,
    ) -> Result<Self, MeshError> {
        let local = keypair.public().to_peer_id();
        let boot = format!("{:016x}", rand::random::<u64>());
        // Room for every place that there is.
        let (accept, inbound) = mpsc::channel(ADMITTED_MAX + MEDIA_ADMITTED_MAX);
        let mut swarm = swarm(keypair, &boot, Streams::new(accept, Admission::new(), config.power.rests()))?;
        let loopback_only = config.discovery == Discovery::Loopback;
        listen(&mut swarm, config.listen, loopback_only).await?;
        let listening: Vec<_> = swarm.listeners().cloned().collect();
        let searches = config.power.searches();
        let beacon = Beacon::start(config.discovery, searches, name.clone(), boot.clone(), &listening)?;
        let mut contacts = Contacts::new(local, loopback_only, config.power);
        for address in config.peers {
            let (bare, peer) = split_peer(address.clone());
            let peer = peer.ok_or(MeshError::NoPeerId(address))?;
            contacts.add(peer, bare, Source::Configured, Instant::now());
        }
        let (unread, requests) = (BTreeMap::new(), JoinSet::new());
        let announce_at = None;
        Ok(Self {
            swarm,
            name,
            boot,
            contacts,
            beacon,
            announce_at,
            commands,
            events,
            unread,
            inbound,
            requests,
            router,
        })
    }

    /// Runs until it is stopped or nobody holds a handle any more.
    pub(super) async fn run(mut self) {
        let stopped = self.run_until_stopped().await;
        self.goodbye().await;
        if let Some(stopped) = stopped {
            // The one who asked may have lost patience.
            let _waiting = stopped.send(());
        }
    }

    async fn run_until_stopped(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            self.act();
            let due = self.contacts.next_due().into_iter().chain(self.announce_at).min();
            let sighting = OptionFuture::from(self.beacon.as_mut().map(Beacon::next));
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.commands.recv() => match command {
                    None => return None,
                    Some(Command::Stop(stopped)) => return Some(stopped),
                    Some(command) => self.on_command(command),
                },
                Some(sighting) = sighting => self.on_sighting(sighting),
                Some(inbound) = self.inbound.recv() => self.on_inbound(inbound),
                Some(_) = self.requests.join_next() => {}
                room = self.events.clone().reserve_owned(), if !self.unread.is_empty() => match (room, self.unread.pop_first()) {
                    (Ok(room), Some((_, event))) => drop(room.send(event)),
                    // Nobody reads events, which is the host's choice.
                    _ => self.unread.clear(),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.on_due(),
            }
        }
    }

    fn on_due(&mut self) {
        let now = Instant::now();
        self.contacts.tick(now);
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            let listening: Vec<_> = self.swarm.listeners().cloned().collect();
            if let Some(beacon) = &self.beacon {
                beacon.interfaces_changed(&listening);
            }
        }
    }

    fn on_sighting(&mut self, sighting: Option<Sighting>) {
        match sighting {
            Some(Sighting::Appeared { peer, boot, addresses }) => {
                tracing::debug!(%peer, ?boot, ?addresses, "a peer announces itself");
                self.contacts.announced(peer, boot, addresses, Instant::now());
            }
            Some(Sighting::Vanished(peer)) => self.contacts.vanished(peer),
            None => {
                tracing::warn!("the search of the local network ended; peers that are known stay reachable");
                self.beacon = None;
            }
        }
    }

    fn on_inbound(&mut self, Inbound { peer, stream, place }: Inbound) {
        let Some(name) = server_name_of(&peer) else { return };
        let mut router = self.router.clone();
        self.requests.spawn(async move {
            let Ok(_turn) = place.turn().await else { return };
            let router = timeout(REQUEST_HEAD_TIMEOUT, router.wait_for(Option::is_some)).await;
            let Ok(Ok(Some(router))) = router.map(|router| router.map(|router| router.clone())) else { return };
            if let Err(error) = server::serve(stream.compat(), PeerServer(name), router).await {
                tracing::debug!(%peer, %error, "an inbound request broke off");
            }
        });
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Open(peer, open) => {
                if self.swarm.behaviour_mut().streams.open(peer, open) {
                    self.contacts.wanted(peer, Instant::now());
                }
            }
            Command::Add(address) => match split_peer(address) {
                (address, Some(peer)) => self.contacts.add(peer, address, Source::Announced, Instant::now()),
                (address, None) => tracing::warn!(%address, "an address that names no peer was left out"),
            },
            Command::Addresses(reply) => {
                let local = *self.swarm.local_peer_id();
                let mut addresses: Vec<_> = self.swarm.listeners().cloned().collect();
                // QUIC first, as people should copy it; the rest of the order only has to be one.
                addresses.sort_by_key(|address| (transport_of(address), address.clone()));
                drop(reply.send(addresses.into_iter().map(|address| address.with(Protocol::P2p(local))).collect()));
            }
            Command::Announcement(reply) => {
                let listening: Vec<_> = self.swarm.listeners().cloned().collect();
                drop(reply.send(Announcement::new(&self.name, &self.boot, &listening)));
            }
            Command::Peers(reply) => drop(reply.send(self.peers())),
            Command::Power(power, done) => {
                self.contacts.set_power(power, Instant::now());
                self.swarm.behaviour_mut().streams.rest(power.rests());
                if let Some(beacon) = &mut self.beacon
                    && let Err(error) = beacon.search(power.searches())
                {
                    tracing::warn!(%error, "the local network is not searched");
                }
                // The one who asked may have lost patience.
                let _waiting = done.send(());
            }
            // The loop has taken it.
            Command::Stop(stopped) => drop(stopped),
        }
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let status = |(peer, contact): (&PeerId, &super::contacts::Contact)| {
            let newest = contact.links.last();
            Some(PeerStatus {
                server: server_name_of(peer)?,
                connected: newest.is_some(),
                rests: contact.rests,
                transport: newest.map(|link| if link.quic { "quic" } else { "tcp" }),
                rtt: newest.and_then(|link| link.rtt),
                addresses: contact.candidates.all(),
            })
        };
        self.contacts.iter().filter_map(status).collect()
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let dialled = endpoint.is_dialer();
                let address = match endpoint {
                    ConnectedPoint::Dialer { address, .. } => address,
                    ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
                };
                tracing::debug!(peer = %peer_id, %address, dialled, "connected");
                self.contacts.connected(peer_id, connection_id, split_peer(address).0, dialled);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "a connection closed");
                self.contacts.closed(peer_id, connection_id, now);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), connection_id, error } => {
                tracing::debug!(%peer, %error, "a dial failed");
                match error {
                    DialError::WrongPeerId { address, .. } | DialError::LocalPeerId { address } => {
                        self.contacts.deceived(peer, connection_id, split_peer(address).0, now);
                    }
                    error => self.contacts.dial_failed(peer, connection_id, error.to_string(), now),
                }
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.announce_at = Some(now + SETTLE);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "no longer listening");
                self.announce_at = Some(now + SETTLE);
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                let boot = boot_of(&info.agent_version).map(str::to_owned);
                let listen = info.listen_addrs.into_iter().map(|address| split_peer(address).0).collect();
                let rests = info.protocols.contains(&RESTS);
                self.contacts.identified(peer_id, connection_id, boot, listen);
                self.contacts.rests(peer_id, rests);
                self.swarm.behaviour_mut().streams.peer_rests(peer_id, rests);
            }
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => match result {
                Ok(rtt) => self.contacts.measured(peer, connection, rtt),
                Err(ping::Failure::Unsupported) => {}
                Err(error) => {
                    tracing::debug!(%peer, %error, "a connection is dead");
                    self.swarm.close_connection(connection);
                }
            },
        }
    }

    /// Does what the contacts ask for.
    fn act(&mut self) {
        for action in self.contacts.take_actions() {
            match action {
                Action::Dial(peer, addresses) => self.dial(peer, addresses),
                Action::Close(connection) => {
                    self.swarm.close_connection(connection);
                }
                Action::GiveUp(peer, reason) => self.swarm.behaviour_mut().streams.give_up(&peer, &reason),
                Action::Seen(peer) => self.tell(peer, PeerEvent::Seen),
                Action::Gone(peer) => self.tell(peer, PeerEvent::Gone),
                // Whoever hears that a peer came or went looks at all of it.
                Action::Changed(peer) if self.unread.contains_key(&peer) => {}
                Action::Changed(peer) => self.tell(peer, PeerEvent::Changed),
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        tracing::debug!(%peer, ?addresses, "dialling");
        let dial = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).build();
        let id = dial.connection_id();
        self.contacts.dialling(peer, id);
        if let Err(error) = self.swarm.dial(dial) {
            self.contacts.dial_failed(peer, id, error.to_string(), Instant::now());
        }
    }

    fn tell(&mut self, peer: PeerId, event: fn(OwnedServerName) -> PeerEvent) {
        if let Some(name) = server_name_of(&peer) {
            self.unread.insert(peer, event(name));
        }
    }

    async fn goodbye(&mut self) {
        self.requests.abort_all();
        if let Some(beacon) = self.beacon.take() {
            beacon.stop().await;
        }
        for peer in self.swarm.connected_peers().copied().collect::<Vec<_>>() {
            // It fails only when the peer is gone already.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        drop(timeout(GOODBYE, closed).await);
    }
}

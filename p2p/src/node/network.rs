//! The network half of a node, which can be switched off and on, or made anew, while the homeserver runs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Instant,
};

use hearth_core::server::Homeserver;
use libp2p::Multiaddr;
use ruma::OwnedServerName;
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};

use super::switch::Switch;
use crate::{Announcement, Mesh, MeshConfig, MeshError, PeerEvent, PeerStatus, Power, limits::PEERS_KNOWN_MAX};

/// The mesh of a node, while it is on, and what is remembered of its peers.
pub struct Network {
    config: SyncMutex<MeshConfig>,
    switch: Arc<Switch>,
    homeserver: Homeserver,
    running: Mutex<Option<Running>>,
    seen: Arc<SyncMutex<BTreeMap<OwnedServerName, Instant>>>,
    changes: watch::Sender<u64>,
}

struct Running {
    mesh: Mesh,
    events: JoinHandle<()>,
}

/// A peer, and when it was within reach last.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What the mesh knows.
    pub status: PeerStatus,
    /// The last moment at which it came or went; `None` for one that was never connected.
    pub seen: Option<Instant>,
}

impl Network {
    pub(super) fn new(config: MeshConfig, switch: Arc<Switch>, homeserver: Homeserver) -> Self {
        let (running, seen) = (Mutex::default(), Arc::default());
        let config = SyncMutex::new(config);
        Self { config, switch, homeserver, running, seen, changes: watch::Sender::new(0) }
    }

    /// Starts the mesh; does nothing while it runs. Answers whether it was off.
    ///
    /// # Errors
    /// See [`MeshError`]. The network is off then.
    pub async fn switch_on(&self) -> Result<bool, MeshError> {
        let mut running = self.running.lock().await;
        let was_off = running.is_none();
        if was_off {
            *running = Some(self.start().await?);
        }
        Ok(was_off)
    }

    /// Ends the mesh. The homeserver goes on alone, and queues.
    pub async fn switch_off(&self) {
        let Some(running) = self.running.lock().await.take() else { return };
        self.end(running).await;
    }

    /// Makes the mesh anew, on the interfaces that are there now; starts it when it is off. Old connections would not survive
    /// the change, and their silence would be noticed only after a minute.
    ///
    /// # Errors
    /// See [`MeshError`]. The network is off then.
    pub async fn restart(&self) -> Result<(), MeshError> {
        let mut running = self.running.lock().await;
        if let Some(old) = running.take() {
            self.end(old).await;
        }
        *running = Some(self.start().await?);
        Ok(())
    }

    async fn start(&self) -> Result<Running, MeshError> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mesh, mut events) = Mesh::start(config).await?;
        mesh.serve(self.homeserver.federation_router());
        self.switch.set(Some(mesh.transport()));
        let (homeserver, seen, changes) = (self.homeserver.clone(), self.seen.clone(), self.changes.clone());
        let events = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match &event {
                    PeerEvent::Seen(server) => {
                        remember(&seen, server);
                        homeserver.peer_seen(server);
                    }
                    PeerEvent::Gone(server) => {
                        remember(&seen, server);
                        homeserver.peer_gone(server);
                    }
                    PeerEvent::Changed(_) => {}
                }
                changes.send_modify(|count| *count += 1);
            }
        });
        Ok(Running { mesh, events })
    }

    async fn end(&self, running: Running) {
        self.switch.set(None);
        running.mesh.stop().await;
        running.events.abort();
        for server in self.homeserver.home().near() {
            self.homeserver.peer_gone(&server);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Spends more or less on being within reach, from now on; also once the network is on again.
    pub async fn set_power(&self, power: Power) {
        let running = self.running.lock().await;
        self.config.lock().unwrap_or_else(PoisonError::into_inner).power = power;
        if let Some(running) = &*running {
            running.mesh.set_power(power).await;
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Hands in an address of a peer, with `/p2p/` and its id at the end, as the platform's own discovery or a contact tells
    /// it. Answers false while the network is off.
    pub async fn add_address(&self, address: Multiaddr) -> bool {
        match &*self.running.lock().await {
            Some(running) => {
                running.mesh.add_address(address);
                true
            }
            None => false,
        }
    }

    /// Where other homeservers reach this one. Empty while the network is off.
    pub async fn addresses(&self) -> Vec<Multiaddr> {
        match &*self.running.lock().await {
            Some(running) => running.mesh.listen_addresses().await,
            None => Vec::new(),
        }
    }

    /// What the platform's own discovery must announce for us. `None` while the network is off.
    pub async fn announcement(&self) -> Option<Announcement> {
        match &*self.running.lock().await {
            Some(running) => Some(running.mesh.announcement().await),
            None => None,
        }
    }

    /// Everybody who is connected or whose address is known. Empty while the network is off.
    pub async fn peers(&self) -> Vec<Peer> {
        let known = match &*self.running.lock().await {
            Some(running) => running.mesh.peers().await,
            None => Vec::new(),
        };
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        known.into_iter().map(|status| Peer { seen: seen.get(&status.server).copied(), status }).collect()
    }

    /// A count that moves whenever a peer comes or goes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Notes when a peer came or went. Of many the one that was seen longest ago is forgotten.
fn remember(seen: &SyncMutex<BTreeMap<OwnedServerName, Instant>>, server: &OwnedServerName) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.insert(server.clone(), Instant::now());
    if seen.len() > PEERS_KNOWN_MAX {
        let oldest = seen.iter().min_by_key(|(_, at)| **at).map(|(server, _)| server.clone());
        oldest.and_then(|oldest| seen.remove(&oldest));
    }
}

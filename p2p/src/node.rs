//! A whole node: the homeserver, its network and its client API, opened and ended together.
//!
//! What the binary runs and what the phone's bindings will wrap. Deliberately absent: signals, terminals and flags.

mod control;
mod switch;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use hearth_core::{
    home::Registration,
    ports::Ports,
    server::{Config, Homeserver, OpenError, StoreConfig},
    store::StoreError,
    types::LocalServer,
};
use libp2p::Multiaddr;
use ruma::OwnedServerName;
use tokio::{sync::Mutex, task::JoinHandle};

use self::switch::Switch;
use crate::{
    Discovery, Mesh, MeshConfig, MeshError, PeerEvent,
    host::{SystemClock, SystemRandom},
    identity::{self, IdentityError},
    loopback,
};

pub use self::control::RunFile;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where its key and its database lie. Made if it is not there.
    pub data: PathBuf,
    /// A DNS name to run under, as a gateway does. `None`: the key is the name.
    pub server_name: Option<OwnedServerName>,
    /// Where to listen for other homeservers. Empty: any port on every interface.
    pub listen: Vec<Multiaddr>,
    /// Homeservers to stay connected to.
    pub peers: Vec<Multiaddr>,
    /// Where to look for others.
    pub discovery: Discovery,
    /// Where the client API listens.
    pub client_listen: SocketAddr,
    /// Who may make an account.
    pub registration: Registration,
}

/// Why a node does not start. Each is one sentence for a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The data directory cannot be made or used.
    #[error("cannot use the data directory {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database.
    #[error("{path}: {source}")]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The client listener.
    #[error("cannot listen for clients on {address}: {source}; choose another with --client-listen")]
    Client {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The run file, which tells `hearth status` where to ask.
    #[error("cannot write {path}: {source}")]
    RunFile {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A running node. Ends with [`Node::stop`].
pub struct Node {
    homeserver: Homeserver,
    network: Arc<Network>,
    client: SocketAddr,
    first_start: bool,
    clients: JoinHandle<()>,
    run_file: PathBuf,
}

/// The network half, which can be switched off and on while the homeserver runs.
struct Network {
    config: MeshConfig,
    switch: Arc<Switch>,
    homeserver: Homeserver,
    running: Mutex<Option<Running>>,
}

struct Running {
    mesh: Mesh,
    events: JoinHandle<()>,
}

impl Node {
    /// Opens the data, starts the homeserver, the network and the client API.
    ///
    /// # Errors
    /// See [`NodeError`]. Nothing keeps running then.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let data = config.data.clone();
        let directory = |source| NodeError::Directory { path: data.clone(), source };
        fs::create_dir_all(&data).map_err(directory)?;
        let (secret, first_start) = identity::load_or_create(&key_path(&data))?;
        let (listener, client) = loopback::bind(config.client_listen)
            .await
            .map_err(|source| NodeError::Client { address: config.client_listen, source })?;
        let switch = Arc::<Switch>::default();
        let homeserver = open_homeserver(&config, &secret, switch.clone())?;
        let mesh = MeshConfig { secret, listen: config.listen, peers: config.peers, discovery: config.discovery };
        let network = Network { config: mesh, switch, homeserver: homeserver.clone(), running: Mutex::default() };
        let network = Arc::new(network);
        if let Err(error) = network.switch_on().await {
            stop_quietly(&homeserver).await;
            return Err(error.into());
        }
        homeserver.start();
        let (control, token) = control::router(homeserver.clone(), network.clone());
        let run_file = run_file_path(&data);
        if let Err(source) = control::write_run_file(&run_file, client, &token) {
            network.switch_off().await;
            stop_quietly(&homeserver).await;
            return Err(NodeError::RunFile { path: run_file, source });
        }
        let router = homeserver.client_router().merge(control);
        let clients = tokio::spawn(loopback::serve(listener, router));
        Ok(Self { homeserver, network, client, first_start, clients, run_file })
    }

    /// The homeserver.
    pub fn homeserver(&self) -> &Homeserver {
        &self.homeserver
    }

    /// The server's name.
    pub fn server_name(&self) -> OwnedServerName {
        self.homeserver.home().server_name().to_owned()
    }

    /// Where the client API listens.
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Whether the key was made just now.
    pub fn first_start(&self) -> bool {
        self.first_start
    }

    /// Where other homeservers reach this one. Empty while the network is off.
    pub async fn addresses(&self) -> Vec<Multiaddr> {
        self.network.addresses().await
    }

    /// Waits until the database has failed for good, and says how. A full disk is the usual reason.
    pub async fn failed(&self) -> StoreError {
        self.homeserver.home().store.failed().await
    }

    /// Ends everything in order: no more clients, no more peers, then the store. What was answered is on disk.
    ///
    /// # Errors
    /// When the last write fails.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.clients.abort();
        self.network.switch_off().await;
        let stopped = self.homeserver.stop().await;
        if let Err(error) = fs::remove_file(&self.run_file) {
            tracing::debug!(%error, "the run file stays behind");
        }
        stopped
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("homeserver", &self.homeserver)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Starts the mesh; does nothing while it runs.
    async fn switch_on(&self) -> Result<(), MeshError> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let (mesh, mut events) = Mesh::start(self.config.clone()).await?;
        mesh.serve(self.homeserver.federation_router());
        self.switch.set(Some(mesh.transport()));
        let homeserver = self.homeserver.clone();
        let events = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    PeerEvent::Seen(server) => homeserver.peer_seen(&server),
                    PeerEvent::Gone(server) => homeserver.peer_gone(&server),
                }
            }
        });
        *running = Some(Running { mesh, events });
        Ok(())
    }

    /// Ends the mesh. The homeserver goes on alone, and queues.
    async fn switch_off(&self) {
        let Some(running) = self.running.lock().await.take() else { return };
        self.switch.set(None);
        running.mesh.stop().await;
        running.events.abort();
        for server in self.homeserver.home().near() {
            self.homeserver.peer_gone(&server);
        }
    }

    async fn addresses(&self) -> Vec<Multiaddr> {
        match &*self.running.lock().await {
            Some(running) => running.mesh.listen_addresses().await,
            None => Vec::new(),
        }
    }

    async fn peers(&self) -> Vec<crate::PeerStatus> {
        match &*self.running.lock().await {
            Some(running) => running.mesh.peers().await,
            None => Vec::new(),
        }
    }
}

fn open_homeserver(config: &NodeConfig, secret: &[u8; 32], switch: Arc<Switch>) -> Result<Homeserver, NodeError> {
    let local = match &config.server_name {
        Some(name) => LocalServer::with_name(secret, name.clone()),
        None => LocalServer::new(secret),
    };
    let path = database_path(&config.data);
    let ports = Ports { transport: switch, clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
    let config = Config { local, store: StoreConfig::file(path.clone()), registration: config.registration.clone() };
    Homeserver::open(config, ports).map_err(|source| NodeError::Store { path, source })
}

/// The database file in a data directory.
pub fn database_path(data: &Path) -> PathBuf {
    data.join("hearth.redb")
}

/// The key file in a data directory.
pub fn key_path(data: &Path) -> PathBuf {
    data.join("key")
}

/// The file that tells where a running node listens.
pub fn run_file_path(data: &Path) -> PathBuf {
    data.join("run.json")
}

async fn stop_quietly(homeserver: &Homeserver) {
    if let Err(error) = homeserver.stop().await {
        tracing::warn!(%error, "the database did not close cleanly");
    }
}

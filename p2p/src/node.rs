//! A whole node: the homeserver, its network and its client API, opened and ended together.
//!
//! What the binary runs and what the phone's bindings will wrap. Deliberately absent: signals, terminals and flags.

mod clients;
mod control;
mod everything;
mod network;
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
    server::{Config, Homeserver, MediaConfig, OpenError, StoreConfig},
    store::StoreError,
    types::LocalServer,
};
use libp2p::Multiaddr;
use ruma::OwnedServerName;

use self::{clients::Clients, switch::Switch};
use crate::{
    Discovery, MeshConfig, MeshError, Power,
    host::{SystemClock, SystemRandom},
    identity::{self, IdentityError},
};

pub use self::{
    control::RunFile,
    everything::{ArchiveError, Imported, export, import, wipe},
    network::{Network, Peer},
};

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
    /// How much to spend on being within reach; `None` to start off the network.
    pub power: Option<Power>,
    /// Where the client API listens from the start. `None`: nowhere, until [`Node::open_clients`].
    pub client_listen: Option<SocketAddr>,
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
    clients: Clients,
    first_start: bool,
    data: PathBuf,
    run_file: PathBuf,
}

impl Node {
    /// Opens the data, starts the homeserver and the network, and opens the client API if it is asked for.
    ///
    /// # Errors
    /// See [`NodeError`]. Nothing keeps running then.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let data = config.data.clone();
        let directory = |source| NodeError::Directory { path: data.clone(), source };
        fs::create_dir_all(&data).map_err(directory)?;
        let (secret, first_start) = identity::load_or_create(&key_path(&data))?;
        let switch = Arc::<Switch>::default();
        let homeserver = open_homeserver(&config, &secret, switch.clone())?;
        let mesh = MeshConfig {
            secret,
            listen: config.listen,
            peers: config.peers,
            discovery: config.discovery,
            power: config.power.unwrap_or_default(),
        };
        let network = Arc::new(Network::new(mesh, switch, homeserver.clone()));
        let (clients, run_file) = (Clients::default(), run_file_path(&data));
        let node = Self { homeserver, network, clients, first_start, data, run_file };
        match node.begin(config.client_listen, config.power.is_some()).await {
            Ok(()) => Ok(node),
            Err(error) => {
                if let Err(error) = node.stop().await {
                    tracing::warn!(%error, "the database did not close cleanly");
                }
                Err(error)
            }
        }
    }

    async fn begin(&self, client_listen: Option<SocketAddr>, online: bool) -> Result<(), NodeError> {
        // First, because a port that is taken is the likeliest mistake, and the others should not be bothered by it.
        if let Some(address) = client_listen {
            self.open_clients(address).await?;
        }
        if online {
            self.network.switch_on().await?;
        }
        self.homeserver.start();
        Ok(())
    }

    /// Opens the client API for ordinary Matrix clients, and answers where it listens. Does nothing while it is open.
    ///
    /// # Errors
    /// [`NodeError::Client`] and [`NodeError::RunFile`].
    pub async fn open_clients(&self, address: SocketAddr) -> Result<SocketAddr, NodeError> {
        let (control, token) = control::router(self.homeserver.clone(), self.network.clone());
        let router = self.homeserver.client_router().merge(control);
        if let Some(open) = self.clients.address().await {
            return Ok(open);
        }
        let client =
            self.clients.open(address, router).await.map_err(|source| NodeError::Client { address, source })?;
        if let Err(source) = control::write_run_file(&self.run_file, client, &token) {
            self.clients.close().await;
            return Err(NodeError::RunFile { path: self.run_file.clone(), source });
        }
        Ok(client)
    }

    /// Closes the client API and its connections.
    pub async fn close_clients(&self) {
        self.clients.close().await;
        if let Err(error) = fs::remove_file(&self.run_file) {
            tracing::debug!(%error, "the run file stays behind");
        }
    }

    /// The homeserver.
    pub fn homeserver(&self) -> &Homeserver {
        &self.homeserver
    }

    /// The network half.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The server's name.
    pub fn server_name(&self) -> OwnedServerName {
        self.homeserver.home().server_name().to_owned()
    }

    /// Where the client API listens, while it is open.
    pub async fn client_address(&self) -> Option<SocketAddr> {
        self.clients.address().await
    }

    /// Whether the key was made just now.
    pub fn first_start(&self) -> bool {
        self.first_start
    }

    /// Waits until the database has failed for good, and says how. A full disk is the usual reason.
    pub async fn failed(&self) -> StoreError {
        self.homeserver.home().store.failed().await
    }

    /// Ends everything in order: no more clients, no more peers, then the store. What was answered is on disk, and no file is
    /// locked any more when this returns.
    ///
    /// # Errors
    /// When the last write fails.
    pub async fn stop(&self) -> Result<(), StoreError> {
        self.close_clients().await;
        self.network.switch_off().await;
        self.homeserver.stop().await
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("homeserver", &self.homeserver).finish_non_exhaustive()
    }
}

fn open_homeserver(config: &NodeConfig, secret: &[u8; 32], switch: Arc<Switch>) -> Result<Homeserver, NodeError> {
    let local = match &config.server_name {
        Some(name) => LocalServer::with_name(secret, name.clone()),
        None => LocalServer::new(secret),
    };
    let path = database_path(&config.data);
    let ports = Ports { transport: switch, clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
    let config = Config {
        local,
        store: StoreConfig::file(path.clone()),
        media: MediaConfig::folder(media_path(&config.data)),
        registration: config.registration.clone(),
    };
    Homeserver::open(config, ports).map_err(|source| NodeError::Store { path, source })
}

/// The database file in a data directory.
pub fn database_path(data: &Path) -> PathBuf {
    data.join("hearth.redb")
}

/// Where the files of media lie in a data directory: all of them, and nothing else.
pub fn media_path(data: &Path) -> PathBuf {
    data.join("media")
}

/// The key file in a data directory.
pub fn key_path(data: &Path) -> PathBuf {
    data.join("key")
}

/// The file that tells where a running node listens.
pub fn run_file_path(data: &Path) -> PathBuf {
    data.join("run.json")
}

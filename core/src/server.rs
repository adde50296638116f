//! The homeserver as its host sees it: open the store, wire the ports, start, serve two routers, stop.
//!
//! Everything else stands below: this file holds no feature. The host serves the routers wherever it likes, tells who comes
//! within reach, and ends with [`Homeserver::stop`]. Deliberately absent: sockets, signals, and where the key is kept.
//!
//! Invariant: what runs in the background belongs to the homeserver and ends with it.

mod status;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use ruma::ServerName;
use tokio::task::JoinHandle;

pub use self::status::{QueueStatus, RoomStatus, Status};
use crate::{
    api, federation,
    home::{Home, Registration},
    keys, media,
    outbox::{self, Outbox},
    ports::Ports,
    rooms,
    store::StoreError,
    types::LocalServer,
};
pub use crate::{
    home::MediaConfig,
    store::{OpenError, StoreConfig},
};

/// What a homeserver is opened with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name and key.
    pub local: LocalServer,
    /// Where its data lies.
    pub store: StoreConfig,
    /// Where its files lie, and how many of them.
    pub media: MediaConfig,
    /// Who may make an account.
    pub registration: Registration,
}

/// A homeserver. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Homeserver {
    home: Arc<Home>,
    outbox: Arc<Outbox>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Homeserver {
    /// Opens the store and the media directory, and wires the ports. Nothing runs before [`Homeserver::start`].
    ///
    /// # Errors
    /// When the store does not open: see [`OpenError`].
    pub fn open(config: Config, ports: Ports) -> Result<Self, OpenError> {
        let store = crate::store::Store::open(&config.store, &config.local.name)?;
        let repository = media::repository(&config.media, &store)?;
        let home = Arc::new(Home::new(config.local, store, ports, config.registration, repository));
        Ok(Self { home, outbox: Arc::default(), tasks: Arc::default() })
    }

    /// Spawns the outbox, the advertiser of heads and the fetcher of stale device lists on the current tokio runtime. A second
    /// call does nothing.
    pub fn start(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            tasks.push(tokio::spawn(outbox::run(self.home.clone(), self.outbox.clone())));
            tasks.push(tokio::spawn(federation::heads::run(self.home.clone())));
            tasks.push(tokio::spawn(keys::resync::run(self.home.clone())));
            tasks.push(tokio::spawn(rooms::typing::run(self.home.clone())));
        }
    }

    /// The client-server API.
    pub fn client_router(&self) -> Router {
        api::client::router(self.home.clone())
    }

    /// The server-server API. The host puts a [`PeerServer`](crate::ports::PeerServer) into each request's extensions.
    pub fn federation_router(&self) -> Router {
        api::server::router(self.home.clone())
    }

    /// The ground under the features, for those who call them directly.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// A connection to a server came up: its queue wakes, and both sides tell their heads.
    pub fn peer_seen(&self, server: &ServerName) {
        self.home.peer_seen(server);
    }

    /// The last connection to a server went down.
    pub fn peer_gone(&self, server: &ServerName) {
        self.home.peer_gone(server);
    }

    /// What a person or a monitor wants to know.
    ///
    /// # Errors
    /// When the database fails.
    pub fn status(&self) -> Result<Status, StoreError> {
        status::status(&self.home, &self.outbox)
    }

    /// Ends the tasks, makes everything durable and lets go of the file. Requests that still run fail cleanly.
    ///
    /// # Errors
    /// When the last write fails; the file is let go of all the same.
    pub async fn stop(&self) -> Result<(), StoreError> {
        let tasks = self.end_tasks();
        for task in tasks {
            // An aborted task ends with an error by design; a panicked one has spoken through the panic hook.
            drop(task.await);
        }
        let flushed = self.home.store.flush().await;
        let closed = self.home.store.close();
        self.home.store.released().await?;
        closed.and(flushed)
    }

    /// Lets go of everything as a killed process does: no flush, no clean mark. For simulation.
    pub fn kill(&self) {
        drop(self.end_tasks());
        self.home.store.kill();
    }

    fn end_tasks(&self) -> Vec<JoinHandle<()>> {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in &tasks {
            task.abort();
        }
        tasks
    }
}

impl std::fmt::Debug for Homeserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Homeserver").field("name", &self.home.local.name).finish_non_exhaustive()
    }
}

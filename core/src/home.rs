//! What every feature stands on: the store, the server's name and key, the host's ports, and who is within reach.
//!
//! It holds no feature and knows none, so that nothing can call sideways through it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedServerName, ServerName};
use tokio::sync::{Semaphore, watch};

use crate::{
    ports::Ports,
    store::Store,
    types::{LocalServer, Millis},
};

/// Who may make an account over the client API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Registration {
    /// Anyone who reaches the client API, which is loopback only unless the host says otherwise.
    #[default]
    Open,
    /// Nobody.
    Closed,
    /// Whoever knows the token.
    Token(String),
}

/// The ground under the features. Shared by all of them, behind one `Arc`.
#[derive(Debug)]
pub struct Home {
    /// Name and key.
    pub local: LocalServer,
    /// The store.
    pub store: Store,
    /// Transport, clock and randomness.
    pub ports: Ports,
    /// Who may make an account.
    pub registration: Registration,
    /// Held by work that needs much memory for a moment, such as a password hash: one at a time, whoever asks.
    pub heavy: Arc<Semaphore>,
    near: Mutex<BTreeSet<OwnedServerName>>,
    near_watch: watch::Sender<u64>,
}

impl Home {
    /// A home with nobody near.
    pub fn new(local: LocalServer, store: Store, ports: Ports, registration: Registration) -> Self {
        let heavy = Arc::new(Semaphore::new(1));
        Self { local, store, ports, registration, heavy, near: Mutex::default(), near_watch: watch::channel(0).0 }
    }

    /// Our server name.
    pub fn server_name(&self) -> &ServerName {
        &self.local.name
    }

    /// Whether a server is this one.
    pub fn is_local(&self, server: &ServerName) -> bool {
        *server == *self.local.name
    }

    /// The wall clock.
    pub fn now(&self) -> Millis {
        self.ports.clock.now()
    }

    /// A connection to a server came up. Each call wakes those who wait on [`Home::near_watch`], also for a server that was
    /// near already: it may have restarted.
    pub fn peer_seen(&self, server: &ServerName) {
        self.lock_near().insert(server.to_owned());
        self.near_watch.send_modify(|count| *count += 1);
    }

    /// The last connection to a server went down.
    pub fn peer_gone(&self, server: &ServerName) {
        self.lock_near().remove(server);
    }

    /// The servers within reach, sorted.
    pub fn near(&self) -> Vec<OwnedServerName> {
        self.lock_near().iter().cloned().collect()
    }

    /// Whether a server is within reach.
    pub fn is_near(&self, server: &ServerName) -> bool {
        self.lock_near().contains(server)
    }

    /// Moves whenever a server comes within reach.
    pub fn near_watch(&self) -> watch::Receiver<u64> {
        self.near_watch.subscribe()
    }

    fn lock_near(&self) -> MutexGuard<'_, BTreeSet<OwnedServerName>> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

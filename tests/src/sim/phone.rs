//! A simulated phone: a key, a disk, a clock, and a homeserver while it is on.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body};
use bytes::Bytes;
use hearth_core::{
    home::Registration,
    ports::Ports,
    server::{Config, Homeserver, MediaConfig},
    store::{Backend, BlobPlace, CrashDisk, MemoryDisk, StoreConfig, Threading},
    types::LocalServer,
};
use http::{Request, Response};
use ruma::OwnedServerName;
use tokio::sync::watch;

use super::{
    net::{Net, answer},
    ports::{SimClock, SimRandom},
};

/// Pages that a simulated store keeps in memory. The disk is memory too.
const CACHE_BYTES: usize = 1024 * 1024;

/// A phone.
pub struct Phone {
    /// Its number in the net.
    pub number: usize,
    /// Its homeserver's name.
    pub name: OwnedServerName,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// Its key.
    pub local: LocalServer,
    /// The net that it is in.
    pub net: Arc<Net>,
    disk: CrashDisk,
    files: MemoryDisk,
    random: Arc<SimRandom>,
    running: Mutex<Option<Running>>,
    /// Odd while the phone is on; moves on with each start and end.
    life: watch::Sender<u64>,
}

struct Running {
    server: Homeserver,
    client_router: Router,
}

impl Phone {
    /// A phone that is off, with an empty disk.
    pub fn new(net: &Arc<Net>, secret: [u8; 32], seed: u64) -> Self {
        let local = LocalServer::new(&secret);
        Self {
            number: net.number(&local.name),
            name: local.name.clone(),
            clock: Arc::new(SimClock::new()),
            local,
            net: net.clone(),
            disk: CrashDisk::new(),
            files: MemoryDisk::new(),
            random: Arc::new(SimRandom::new(seed)),
            running: Mutex::new(None),
            life: watch::channel(0).0,
        }
    }

    /// Switches the phone on. Does nothing when it is on.
    pub fn start(&self) {
        let mut running = self.running.lock().unwrap();
        if running.is_some() {
            return;
        }
        let backend = Backend::Crash(self.disk.clone());
        let store = StoreConfig { backend, threading: Threading::Inline, cache_bytes: CACHE_BYTES };
        let media = MediaConfig::at(BlobPlace::Memory(self.files.clone()));
        let config = Config { local: self.local.clone(), store, media, registration: Registration::Open };
        let ports = Ports {
            transport: self.net.transport(self.number),
            clock: self.clock.clone(),
            random: self.random.clone(),
        };
        let server = Homeserver::open(config, ports);
        let server = server.unwrap_or_else(|error| panic!("phone {} does not open its store: {error}", self.number));
        server.start();
        self.net.up(self.number, &server);
        *running = Some(Running { client_router: server.client_router(), server });
        self.life.send_modify(|life| *life += 1);
    }

    /// Pulls the battery: what was not synced is gone, and nobody is told.
    pub fn kill(&self) {
        let Some(running) = self.running.lock().unwrap().take() else { return };
        self.net.down(self.number);
        self.disk.crash();
        self.files.crash();
        running.server.kill();
        self.life.send_modify(|life| *life += 1);
    }

    /// Ends the homeserver as a system does that gives it time to.
    pub async fn stop(&self) {
        let running = self.running.lock().unwrap().take();
        let Some(running) = running else { return };
        self.net.down(self.number);
        running.server.stop().await.expect("a clean end");
        self.life.send_modify(|life| *life += 1);
    }

    /// The homeserver, while the phone is on.
    pub fn server(&self) -> Option<Homeserver> {
        self.running.lock().unwrap().as_ref().map(|running| running.server.clone())
    }

    /// Waits until the phone is on.
    pub async fn until_on(&self) {
        let mut life = self.life.subscribe();
        life.wait_for(|life| life % 2 == 1).await.expect("the phone outlives its users");
    }

    /// One request of a client on this phone. `None` when the phone is off, or dies over it.
    pub async fn call(&self, request: Request<Body>) -> Option<Response<Bytes>> {
        let mut life = self.life.subscribe();
        let router = self.running.lock().unwrap().as_ref().map(|running| running.client_router.clone())?;
        tokio::select! {
            biased;
            _ = life.changed() => None,
            answer = answer(router, request) => Some(answer),
        }
    }
}

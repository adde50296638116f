//! What every feature stands on: the store, the server's name and key, the host's ports, who is within reach, and what lives
//! in memory only.
//!
//! It holds no feature and knows none, so that nothing can call sideways through it.

mod bell;
mod entering;
mod heavy;
mod login_tokens;
mod neighbours;
mod repository;
mod typing;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedEventId, OwnedServerName, RoomId, ServerName};
use tokio::sync::Semaphore;

pub(crate) use self::bell::Bell;
use self::{entering::Doorstep, login_tokens::LoginTokens, neighbours::Neighbours, typing::Typing};
pub use self::{
    entering::Entering,
    repository::{FetchError, MediaConfig, Progress, Repository},
    typing::TypingNews,
};
use crate::{
    ports::Ports,
    store::{Store, UserKey},
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
    /// The files of media, and what is under way with them.
    pub repository: Repository,
    /// Held by work that needs much memory for a moment, such as a password hash: one at a time, whoever asks.
    pub heavy: Arc<Semaphore>,
    doorstep: Doorstep,
    login_tokens: LoginTokens,
    near: Mutex<Neighbours>,
    contacts: Bell,
    deliveries: Bell,
    typing: Typing,
}

impl Home {
    /// A home with nobody near.
    pub fn new(
        local: LocalServer,
        store: Store,
        ports: Ports,
        registration: Registration,
        repository: Repository,
    ) -> Self {
        let heavy = Arc::new(Semaphore::new(1));
        let typing = Typing::new(ports.clock.now());
        Self {
            local,
            store,
            ports,
            registration,
            repository,
            heavy,
            doorstep: Doorstep::default(),
            login_tokens: LoginTokens::default(),
            near: Mutex::default(),
            contacts: Bell::default(),
            deliveries: Bell::default(),
            typing,
        }
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

    /// A connection to a server came up. Each call wakes those who wait on [`Home::contact_after`], also for a server that was
    /// near already: it may have restarted.
    pub fn peer_seen(&self, server: &ServerName) {
        self.lock_near().seen(server);
        self.contacts.ring();
    }

    /// The last connection to a server went down.
    pub fn peer_gone(&self, server: &ServerName) {
        self.lock_near().gone(server);
    }

    /// The servers within reach, sorted.
    pub fn near(&self) -> Vec<OwnedServerName> {
        self.lock_near().names()
    }

    /// Whether a server is within reach.
    pub fn is_near(&self, server: &ServerName) -> bool {
        self.lock_near().contains(server)
    }

    /// A token that lets one client of a user in, once and soon.
    pub fn make_login_token(&self, user: UserKey) -> String {
        self.login_tokens.make(user, self.now(), &*self.ports.random)
    }

    /// Whom a login token lets in. It is used up by this.
    pub fn take_login_token(&self, token: &str) -> Option<UserKey> {
        self.login_tokens.take(token, self.now())
    }

    /// Marks a room as one that we are about to enter, until the answer is dropped.
    pub fn enter(&self, room: &RoomId) -> Entering {
        self.doorstep.enter(room)
    }

    /// Whether we are about to enter a room.
    pub fn is_entering(&self, room: &RoomId) -> bool {
        self.doorstep.holds(room)
    }

    /// The number of the contact with a server: another one each time that it is seen, 0 while it is out of reach.
    pub fn contact(&self, server: &ServerName) -> u64 {
        self.lock_near().contact(server)
    }

    /// A server near told or acknowledged that it has these events. Forgotten when it goes.
    pub fn note_has(&self, server: &ServerName, room: &RoomId, events: &[OwnedEventId]) {
        self.lock_near().has(server, room, events);
    }

    /// Which of some events a server is not known to have.
    pub fn may_lack(&self, server: &ServerName, room: &RoomId, events: &[OwnedEventId]) -> BTreeSet<OwnedEventId> {
        self.lock_near().lacks(server, room, events)
    }

    /// How often a server came within reach.
    pub fn contacts(&self) -> u64 {
        self.contacts.count()
    }

    /// Waits until a server came within reach more often than `seen` times in all.
    pub async fn contact_after(&self, seen: u64) {
        self.contacts.after(seen).await;
    }

    /// A server acknowledged something, or refused it.
    pub fn note_delivery(&self) {
        self.deliveries.ring();
    }

    /// How often something was acknowledged.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.count()
    }

    /// Waits until something was acknowledged more often than `seen` times in all.
    pub async fn delivery_after(&self, seen: u64) {
        self.deliveries.after(seen).await;
    }

    fn lock_near(&self) -> MutexGuard<'_, Neighbours> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

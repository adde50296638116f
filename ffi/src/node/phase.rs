//! What a node does now, and what runs while it runs.

use std::{sync::Arc, time::Duration};

use hearth_core::chat::Chat;
use hearth_p2p::{Multiaddr, node::Node as Whole};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::error::NodeError;

/// What the node does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum NodeState {
    /// It was not started, or was stopped.
    Stopped,
    /// It runs.
    Running,
    /// It holds no file and no connection, and goes on with `resume`.
    Paused,
    /// Everything is gone.
    Wiped,
}

/// What a background fetch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct FetchSummary {
    /// Phones that were reached.
    pub peers: u32,
    /// Rows of the log that came in: messages, receipts, keys.
    pub received: u64,
    /// Whether nothing waits for the phones that were reached any more.
    pub delivered: bool,
}

/// A started node.
pub(crate) struct Running {
    pub(crate) node: Whole,
    pub(crate) chat: Chat,
}

/// See [`NodeState`].
#[derive(Clone, Default)]
pub(crate) enum Phase {
    #[default]
    Stopped,
    Running(Arc<Running>),
    Paused,
    Wiped,
}

impl Phase {
    pub(super) fn running(&self) -> Option<Arc<Running>> {
        match self {
            Self::Running(running) => Some(running.clone()),
            _ => None,
        }
    }
}

/// The phase, to be read from any thread and waited on.
#[derive(Clone)]
pub(crate) struct Phases(watch::Sender<Phase>);

impl Default for Phases {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Stopped))
    }
}

impl Phases {
    pub(crate) fn now(&self) -> Phase {
        self.0.borrow().clone()
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    pub(crate) fn state(&self) -> NodeState {
        match &*self.0.borrow() {
            Phase::Stopped => NodeState::Stopped,
            Phase::Running(_) => NodeState::Running,
            Phase::Paused => NodeState::Paused,
            Phase::Wiped => NodeState::Wiped,
        }
    }

    /// What runs now.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub(crate) fn running(&self) -> Result<Arc<Running>, NodeError> {
        let not = |reason: &str| NodeError::NotRunning { reason: reason.to_owned() };
        match self.now() {
            Phase::Running(running) => Ok(running),
            Phase::Stopped => Err(not("start it first")),
            Phase::Wiped => Err(not("everything was wiped")),
            Phase::Paused => Err(NodeError::Paused { reason: "resume it first".to_owned() }),
        }
    }

    /// Waits until the node runs. `None` when it never will.
    pub(crate) async fn until_running(&self) -> Option<Arc<Running>> {
        let mut phases = self.0.subscribe();
        let phase = phases.wait_for(|phase| matches!(phase, Phase::Running(_) | Phase::Wiped)).await;
        phase.ok()?.running()
    }

    /// The phase as of now, and a way to wait for the next.
    pub(super) fn watch(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }

    /// Waits until something else than this runs, or nothing.
    pub(crate) async fn until_other(&self, running: Arc<Running>) {
        let mut phases = self.0.subscribe();
        let is_other = |phase: &Phase| !matches!(phase, Phase::Running(now) if Arc::ptr_eq(now, &running));
        // The sender lives in `self`.
        drop(phases.wait_for(is_other).await);
    }
}

/// How long nothing may happen before a background fetch is done.
const QUIET: Duration = Duration::from_millis(1_500);

impl Running {
    /// Dials the contacts whose addresses are known.
    pub(crate) async fn call_contacts(&self) {
        let contacts = match self.chat.contacts() {
            Ok(contacts) => contacts,
            Err(error) => {
                tracing::warn!(%error, "the contacts could not be read");
                return;
            }
        };
        for contact in contacts.into_iter().filter(|contact| !contact.blocked) {
            for address in contact.addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok()) {
                self.node.network().add_address(address).await;
            }
        }
    }

    /// Waits until nothing has happened for a moment, or until the deadline.
    pub(crate) async fn fetch(&self, deadline: Instant) -> Result<FetchSummary, NodeError> {
        let home = self.node.homeserver().home();
        let mut log = home.store.log_watch();
        let start = *log.borrow_and_update();
        loop {
            let quiet = (Instant::now() + QUIET).min(deadline);
            let deliveries = home.deliveries();
            let moved = async {
                tokio::select! {
                    changed = log.changed() => changed.is_ok(),
                    () = home.delivery_after(deliveries) => true,
                }
            };
            match timeout_at(quiet, moved).await {
                Ok(true) if Instant::now() < deadline => {}
                _ => break,
            }
        }
        let status = self.node.homeserver().status().map_err(NodeError::storage)?;
        let delivered = status.queues.iter().filter(|queue| queue.near).all(|queue| queue.pending + queue.letters == 0);
        let received = *log.borrow() - start;
        Ok(FetchSummary { peers: u32::try_from(status.near.len()).unwrap_or(u32::MAX), received, delivered })
    }
}

//! What an app shows of its node: does it run, who is near, what waits to be delivered.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    Node, NodeState, Running,
    phase::{Phase, Phases},
};
use crate::{
    error::NodeError,
    platform::ListenerError,
    watch::{TaskHandle, hand_over},
};

/// How long the node may change before a listener hears of it: a burst of deliveries is one change.
const STATUS_PAUSE: Duration = Duration::from_millis(250);

/// How it goes with a node.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NodeStatus {
    /// What it does.
    pub state: NodeState,
    /// Phones that are within reach now.
    pub near: u32,
    /// What waits to be delivered, to whomever.
    pub waiting: u64,
    /// Phones that something waits for.
    pub waiting_for: u32,
    /// Where the loopback Client-Server API listens, while it is enabled.
    pub client_api_url: Option<String>,
}

/// Whoever wants to know how it goes with the node.
#[uniffi::export(foreign)]
pub trait StatusListener: Send + Sync {
    /// Takes the status as it is now.
    ///
    /// # Errors
    /// Whatever goes wrong: the listener is called again with what comes next.
    fn on_status(&self, status: NodeStatus) -> Result<(), ListenerError>;
}

#[uniffi::export]
impl Node {
    /// How it goes with the node, in whatever state it is.
    ///
    /// # Errors
    /// [`NodeError::Storage`].
    pub async fn status(&self) -> Result<NodeStatus, NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run(Box::pin(async move { shared.phases.status().await })).await
    }

    /// Tells a listener how it goes with the node, at once and whenever that changes, until the answer is cancelled or dropped.
    ///
    /// # Errors
    /// [`NodeError::Internal`] when the runtime has ended.
    pub fn subscribe_status(&self, listener: Arc<dyn StatusListener>) -> Result<Arc<TaskHandle>, NodeError> {
        let phases = self.shared.phases.clone();
        let task = self.shared.runtime.spawn(async move {
            let listener = move |status| listener.on_status(status);
            let mut shown = None;
            loop {
                // Taken before the status, so that what changes in between is noticed.
                let sight = Sight::of(&phases);
                match phases.status().await {
                    Ok(status) if shown.as_ref() != Some(&status) => {
                        shown = Some(status.clone());
                        hand_over(&listener, status).await;
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "the status could not be read"),
                }
                sight.moved().await;
                tokio::time::sleep(STATUS_PAUSE).await;
            }
        })?;
        Ok(TaskHandle::new(&task))
    }
}

/// What a status depends on, as it was at a moment.
struct Sight {
    phases: watch::Receiver<Phase>,
    running: Option<Seen>,
}

struct Seen {
    running: Arc<Running>,
    outbox: watch::Receiver<u64>,
    peers: watch::Receiver<u64>,
    deliveries: u64,
}

impl Sight {
    fn of(phases: &Phases) -> Self {
        let phases = phases.watch();
        let running = phases.borrow().running().map(|running| {
            let home = running.node.homeserver().home();
            let (outbox, deliveries) = (home.store.outbox_watch(), home.deliveries());
            Seen { outbox, deliveries, peers: running.node.network().changes(), running }
        });
        Self { phases, running }
    }

    async fn moved(mut self) {
        // A channel that has ended did so with the node, whose phase moves then.
        let Some(mut seen) = self.running else { return drop(self.phases.changed().await) };
        let delivered = seen.running.node.homeserver().home().delivery_after(seen.deliveries);
        tokio::select! {
            _ = self.phases.changed() => {}
            _ = seen.outbox.changed() => {}
            _ = seen.peers.changed() => {}
            () = delivered => {}
        }
    }
}

impl Phases {
    async fn status(&self) -> Result<NodeStatus, NodeError> {
        let state = self.state();
        let mut status = NodeStatus { state, near: 0, waiting: 0, waiting_for: 0, client_api_url: None };
        let Ok(running) = self.running() else { return Ok(status) };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let told = running.node.homeserver().status()?;
        status.near = count(told.near.len());
        status.waiting = told.queues.iter().map(|queue| queue.pending + queue.letters).sum();
        status.waiting_for = count(told.queues.iter().filter(|queue| queue.pending + queue.letters > 0).count());
        status.client_api_url = running.node.client_address().await.map(|address| format!("http://{address}"));
        Ok(status)
    }
}

//! The node: open, start, pause, resume, stop, wipe.
//!
//! Everything else an app holds (rooms, timelines, peers) is a handle on this one and asks it, call by call, for what runs
//! now. So handles outlive a pause: they answer [`NodeError::Paused`] meanwhile, and their subscriptions go on by
//! themselves, with a `Reset`, once the node is back.

mod events;
mod life;
mod phase;
mod power;
pub(crate) mod secrets;
mod status;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::sync::{Mutex, watch};

use self::phase::Phases;
pub(crate) use self::phase::Running;
pub use self::{
    events::{Event, EventKind},
    phase::{FetchSummary, NodeState},
    power::PowerMode,
    status::{NodeStatus, StatusListener},
};
use crate::{
    config::{NodeConfig, Settings},
    error::NodeError,
    logs,
    platform::{LogLevel, LogSink, Platform},
    runtime::{Runtime, Work},
};

/// What all handles share.
pub(crate) struct Shared {
    pub(crate) runtime: Runtime,
    pub(crate) settings: Settings,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) phases: Phases,
    /// How much the app lets the node spend.
    power: watch::Sender<PowerMode>,
    /// Held while the node changes its state, so that changes come one after another.
    changing: Mutex<()>,
    /// Counts what the app asked for, so that a background fetch does not undo what was asked meanwhile.
    wishes: AtomicU64,
}

/// A homeserver with its client, in this process.
#[derive(uniffi::Object)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
}

#[uniffi::export]
impl Node {
    /// Makes a node that does nothing yet. Fast; touches no disk and no keystore.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for a configuration that cannot work.
    #[uniffi::constructor(default(log_sink = None))]
    pub fn open(
        config: NodeConfig,
        platform: Arc<dyn Platform>,
        log_sink: Option<Arc<dyn LogSink>>,
    ) -> Result<Arc<Self>, NodeError> {
        logs::attach(log_sink, config.log_level.unwrap_or(LogLevel::Info));
        let shared = Shared {
            runtime: Runtime::new()?,
            settings: Settings::check(config)?,
            platform,
            phases: Phases::default(),
            power: watch::Sender::new(PowerMode::default()),
            changing: Mutex::default(),
            wishes: AtomicU64::default(),
        };
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    /// Starts the homeserver, the client and the network. The first start makes the key, the account and the device. Does
    /// nothing while the node runs.
    ///
    /// # Errors
    /// [`NodeError::Storage`], [`NodeError::Network`], [`NodeError::Callback`] when the keystore fails, [`NodeError::Crypto`]
    /// when it holds another key than the data was sealed with. The node is stopped then.
    pub async fn start(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run_whole(Box::pin(async move { shared.start().await })).await
    }

    /// Ends everything in order. What was acknowledged is on disk. Does nothing while the node is stopped.
    ///
    /// # Errors
    /// [`NodeError::Storage`] when the last write failed; the node is stopped all the same.
    pub async fn stop(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run_whole(Box::pin(async move { shared.stop().await })).await
    }

    /// Ends all traffic and lets go of every file, as an app must before it is suspended. When it returns no file is locked.
    /// Does nothing while the node is paused.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`] when there is nothing to pause; [`NodeError::Storage`] when the last write failed; the node
    /// is paused all the same.
    pub async fn pause(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run_whole(Box::pin(async move { shared.pause().await })).await
    }

    /// Goes on after a pause. Does nothing while the node runs.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`] when the node was not paused; as [`Node::start`].
    pub async fn resume(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run_whole(Box::pin(async move { shared.resume().await })).await
    }

    /// Goes by another name in all rooms, or by none.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for a name that is too long; [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub async fn set_display_name(&self, name: Option<String>) -> Result<(), NodeError> {
        self.with(async move |running| Ok(running.chat.set_display_name(name.as_deref()).await?)).await
    }

    /// The network changed: another Wi-Fi, or an interface more or less. Listens and connects anew, unless the node is off the
    /// network.
    ///
    /// # Errors
    /// [`NodeError::Network`] when no address can be listened on; [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub async fn network_changed(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run_whole(Box::pin(async move { shared.network_changed().await })).await
    }

    /// Wakes a paused or stopped node for as long as there is something to fetch or to deliver, and at most for
    /// `deadline_ms`; then leaves it as it was. For the platform's background tasks.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn background_fetch(&self, deadline_ms: u64) -> Result<FetchSummary, NodeError> {
        let shared = self.shared.clone();
        let limit = Duration::from_millis(deadline_ms);
        self.shared.runtime.run_whole(Box::pin(async move { shared.background_fetch(limit).await })).await
    }

    /// What the node does now.
    pub fn state(&self) -> NodeState {
        self.shared.phases.state()
    }

    /// Destroys the keys, then the files, in whatever state the node is; blocks until it is done. The node cannot be started
    /// again. Safe to call twice.
    ///
    /// # Errors
    /// [`NodeError::Storage`] or [`NodeError::Callback`] when something may be left: call it again. The keys that could be
    /// reached are gone all the same.
    pub fn panic_wipe(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.block(Box::pin(async move { shared.wipe().await }))
    }
}

impl Node {
    /// Does some work with what runs now, on the runtime.
    pub(crate) async fn with<T, Fut>(
        &self,
        work: impl FnOnce(Arc<Running>) -> Fut + Send + 'static,
    ) -> Result<T, NodeError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, NodeError>> + Send + 'static,
    {
        self.shared.with(work).await
    }
}

impl Shared {
    /// Does some work with what runs now, on the runtime.
    pub(crate) async fn with<T, Fut>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Running>) -> Fut + Send + 'static,
    ) -> Result<T, NodeError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, NodeError>> + Send + 'static,
    {
        let running = self.phases.running()?;
        self.done(Box::pin(async move { work(running).await })).await
    }

    async fn done<T: Send + 'static>(&self, work: Work<T>) -> Result<T, NodeError> {
        match self.runtime.run(work).await {
            // It ended under the work, and the phase says better why: a pause is over some time.
            Err(NodeError::NotRunning { reason }) => {
                Err(self.phases.running().err().unwrap_or(NodeError::NotRunning { reason }))
            }
            done => done,
        }
    }
}

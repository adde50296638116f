//! The node: open, start, pause, resume, stop, wipe.
//!
//! Everything else an app holds (rooms, timelines, peers) is a handle on this one and asks it, call by call, for what runs
//! now. So handles outlive a pause: they answer [`NodeError::Paused`] meanwhile, and their subscriptions go on by
//! themselves, with a `Reset`, once the node is back.

mod phase;
mod secrets;

use std::{sync::Arc, time::Duration};

use hearth_core::chat::{Chat, ChatConfig};
use hearth_p2p::{
    Multiaddr,
    node::{Node as Whole, NodeConfig as WholeConfig},
};
use tokio::sync::Mutex;

pub(crate) use self::phase::Running;
pub use self::phase::{FetchSummary, NodeState};
use self::phase::{Phase, Phases};
use crate::{
    config::{NodeConfig, Settings},
    error::NodeError,
    logs,
    platform::{LogLevel, LogSink, Platform},
    runtime::Runtime,
};

/// What all handles share.
pub(crate) struct Shared {
    pub(crate) runtime: Runtime,
    pub(crate) settings: Settings,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) phases: Phases,
    /// Held while the node changes its state, so that changes come one after another.
    changing: Mutex<()>,
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
    #[uniffi::constructor]
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
            changing: Mutex::default(),
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
        self.shared.runtime.run(async move { shared.start().await }).await
    }

    /// Ends everything in order. What was acknowledged is on disk. Does nothing while the node is stopped.
    ///
    /// # Errors
    /// [`NodeError::Storage`] when the last write failed; the node is stopped all the same.
    pub async fn stop(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run(async move { shared.halt(Phase::Stopped).await }).await
    }

    /// Ends all traffic and lets go of every file, as an app must before it is suspended. When it returns no file is locked.
    /// Does nothing while the node is paused.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`] when there is nothing to pause; [`NodeError::Storage`] when the last write failed; the node
    /// is paused all the same.
    pub async fn pause(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run(async move { shared.pause().await }).await
    }

    /// Goes on after a pause. Does nothing while the node runs.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`] when the node was not paused; as [`Node::start`].
    pub async fn resume(&self) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run(async move { shared.resume().await }).await
    }

    /// The network changed: another Wi-Fi, or an interface more or less. Listens and connects anew.
    ///
    /// # Errors
    /// [`NodeError::Network`] when no address can be listened on; [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub async fn network_changed(&self) -> Result<(), NodeError> {
        self.with(async |running| Ok(running.node.network().restart().await.map_err(NodeError::network)?)).await
    }

    /// Wakes a paused or stopped node for as long as there is something to fetch or to deliver, and at most for
    /// `deadline_ms`; then leaves it as it was. For the platform's background tasks.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn background_fetch(&self, deadline_ms: u64) -> Result<FetchSummary, NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run(async move { shared.background_fetch(Duration::from_millis(deadline_ms)).await }).await
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
        self.shared.runtime.block(async move { shared.wipe().await })
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
        self.runtime.run(async move { work(running).await }).await
    }

    async fn start(self: &Arc<Self>) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        self.start_now().await
    }

    async fn start_now(self: &Arc<Self>) -> Result<(), NodeError> {
        match self.phases.now() {
            Phase::Running(_) => return Ok(()),
            Phase::Wiped => return Err(NodeError::NotRunning { reason: "everything was wiped".to_owned() }),
            Phase::Stopped | Phase::Paused => {}
        }
        let store_key = secrets::store_key(self.platform.clone()).await?;
        let settings = self.settings.clone();
        let node = Whole::start(WholeConfig {
            data: settings.data,
            server_name: None,
            listen: Vec::<Multiaddr>::new(),
            peers: Vec::new(),
            discovery: settings.discovery,
            client_listen: None,
            registration: hearth_core::home::Registration::Closed,
        })
        .await?;
        let config = ChatConfig {
            store_key,
            localpart: settings.account,
            display_name: settings.display_name,
            device_name: settings.device_name,
        };
        match Chat::open(node.homeserver().home().clone(), config).await {
            Ok(chat) => {
                chat.start();
                let running = Running { node, chat };
                running.call_contacts().await;
                self.phases.set(Phase::Running(Arc::new(running)));
                Ok(())
            }
            Err(error) => {
                if let Err(error) = node.stop().await {
                    tracing::warn!(%error, "the database did not close cleanly");
                }
                Err(error.into())
            }
        }
    }

    async fn halt(&self, to: Phase) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        self.halt_now(to).await
    }

    async fn halt_now(&self, to: Phase) -> Result<(), NodeError> {
        let Phase::Running(running) = self.phases.now() else {
            if !matches!(self.phases.now(), Phase::Wiped) {
                self.phases.set(to);
            }
            return Ok(());
        };
        self.phases.set(to);
        running.chat.stop().await;
        running.node.stop().await.map_err(|error| NodeError::Storage { reason: error.to_string() })
    }

    async fn pause(&self) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        match self.phases.now() {
            Phase::Running(_) | Phase::Paused => self.halt_now(Phase::Paused).await,
            _ => self.phases.running().map(drop),
        }
    }

    async fn resume(self: &Arc<Self>) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        match self.phases.now() {
            Phase::Running(_) | Phase::Paused => self.start_now().await,
            _ => self.phases.running().map(drop),
        }
    }

    async fn background_fetch(self: &Arc<Self>, limit: Duration) -> Result<FetchSummary, NodeError> {
        let _changing = self.changing.lock().await;
        let before = self.phases.now();
        // Closing takes a moment too, and iOS counts it.
        let reserve = limit.min(FETCH_RESERVE);
        let deadline = tokio::time::Instant::now() + limit.saturating_sub(reserve);
        if tokio::time::timeout_at(deadline, self.start_now()).await.is_err() {
            self.halt_now(phase_after(&before)).await?;
            return Ok(FetchSummary::default());
        }
        let summary = match self.phases.now() {
            Phase::Running(running) => running.fetch(deadline).await?,
            _ => FetchSummary::default(),
        };
        if !matches!(before, Phase::Running(_)) {
            self.halt_now(phase_after(&before)).await?;
        }
        Ok(summary)
    }

    async fn wipe(self: &Arc<Self>) -> Result<(), NodeError> {
        // The key in the keystore first: without it nothing on the disk can be read any more.
        let key_gone = secrets::destroy(self.platform.clone()).await;
        let _changing = self.changing.lock().await;
        if let Phase::Running(running) = self.phases.now() {
            running.chat.destroy_keys().await;
        }
        let halted = self.halt_now(Phase::Wiped).await;
        self.phases.set(Phase::Wiped);
        if let Err(error) = halted {
            tracing::warn!(%error, "the database did not close cleanly before it was wiped");
        }
        let data = self.settings.data.clone();
        let wiped = tokio::task::spawn_blocking(move || hearth_p2p::node::wipe(&data)).await;
        wiped
            .map_err(|_| NodeError::internal("the wipe was interrupted: call it again"))?
            .map_err(|error| NodeError::Storage { reason: format!("something may be left, call it again: {error}") })?;
        key_gone
    }
}

/// What a background fetch keeps of its time for closing.
const FETCH_RESERVE: Duration = Duration::from_millis(500);

fn phase_after(before: &Phase) -> Phase {
    match before {
        Phase::Paused => Phase::Paused,
        _ => Phase::Stopped,
    }
}

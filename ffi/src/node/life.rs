//! What the calls of a node do: start, pause, resume, stop, fetch, wipe. One after another, each carried through.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hearth_core::{
    chat::{Chat, ChatConfig},
    home::Registration,
};
use hearth_p2p::{
    Multiaddr,
    node::{Node as Whole, NodeConfig as WholeConfig},
};
use tokio::{
    sync::MutexGuard,
    time::{Instant, timeout},
};

use super::{
    Shared,
    phase::{FetchSummary, Phase, Running},
    power::PowerMode,
    secrets,
};
use crate::error::NodeError;

/// What a background fetch keeps of its time for closing.
const FETCH_RESERVE: Duration = Duration::from_millis(500);
/// How long a wipe waits for the keystore, and for a change of the node that is under way. The keys in memory and the files are
/// gone by then.
const WIPE_PATIENCE: Duration = Duration::from_secs(5);

impl Shared {
    /// Notes that the app asked for something.
    fn wish(&self) {
        self.wishes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn start(self: &Arc<Self>) -> Result<(), NodeError> {
        self.wish();
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
            power: self.power_mode().power(),
            client_listen: None,
            registration: Registration::Closed,
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

    pub(super) async fn stop(&self) -> Result<(), NodeError> {
        self.wish();
        let _changing = self.changing.lock().await;
        self.halt_now(Phase::Stopped).await
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

    pub(super) async fn pause(&self) -> Result<(), NodeError> {
        self.wish();
        let _changing = self.changing.lock().await;
        match self.phases.now() {
            Phase::Running(_) | Phase::Paused => self.halt_now(Phase::Paused).await,
            _ => self.phases.running().map(drop),
        }
    }

    pub(super) async fn resume(self: &Arc<Self>) -> Result<(), NodeError> {
        self.wish();
        let _changing = self.changing.lock().await;
        match self.phases.now() {
            Phase::Running(_) | Phase::Paused => self.start_now().await,
            _ => self.phases.running().map(drop),
        }
    }

    pub(super) async fn background_fetch(self: &Arc<Self>, limit: Duration) -> Result<FetchSummary, NodeError> {
        // Closing takes a moment too, and iOS counts it.
        let deadline = Instant::now() + limit.saturating_sub(FETCH_RESERVE);
        let wishes = self.wishes.load(Ordering::Relaxed);
        let (before, running) = {
            let _changing = self.changing.lock().await;
            let before = self.phases.now();
            self.start_now().await?;
            (before, self.phases.running()?)
        };
        // Whoever is to be fetched from may have moved, so the little time that there is goes into searching as well.
        self.spend_on(&running, PowerMode::Foreground).await;
        let summary = running.fetch(deadline).await;
        let _changing = self.changing.lock().await;
        self.spend_on(&running, self.power_mode()).await;
        // Whoever asked for something meanwhile gets that.
        if self.wishes.load(Ordering::Relaxed) == wishes {
            match before {
                Phase::Stopped | Phase::Wiped => self.halt_now(Phase::Stopped).await?,
                Phase::Paused => self.halt_now(Phase::Paused).await?,
                Phase::Running(_) => {}
            }
        }
        summary
    }

    /// Holds the node stopped for as long as the answer lives.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] while it runs or is paused.
    pub(crate) async fn stopped(&self) -> Result<MutexGuard<'_, ()>, NodeError> {
        let changing = self.changing.lock().await;
        match self.phases.now() {
            Phase::Stopped => Ok(changing),
            Phase::Wiped => Err(NodeError::NotRunning { reason: "everything was wiped".to_owned() }),
            Phase::Running(_) | Phase::Paused => Err(NodeError::invalid("the node is not stopped: stop it first")),
        }
    }

    pub(super) async fn wipe(self: &Arc<Self>) -> Result<(), NodeError> {
        // The keystore is the app's, and may take its time; nothing else waits for it.
        let key_gone = tokio::spawn(secrets::destroy(self.platform.clone()));
        if let Phase::Running(running) = self.phases.now() {
            running.chat.destroy_keys().await;
        }
        // Before the node is stopped, which may take a moment, and again after: it may have been writing meanwhile.
        if let Err(error) = self.wipe_files().await {
            tracing::warn!(%error, "not all could be wiped at once");
        }
        let slow = |what: &str| NodeError::Callback { reason: format!("{what} takes too long: call it again") };
        let changing = timeout(WIPE_PATIENCE, self.changing.lock()).await;
        let _changing = changing.map_err(|_| slow("what the node was doing"))?;
        let halted = self.halt_now(Phase::Wiped).await;
        self.phases.set(Phase::Wiped);
        if let Err(error) = halted {
            tracing::warn!(%error, "the database did not close cleanly before it was wiped");
        }
        self.wipe_files().await?;
        let key_gone = timeout(WIPE_PATIENCE, key_gone).await.map_err(|_| slow("the keystore"))?;
        key_gone.map_err(|_| NodeError::internal("the wipe was interrupted: call it again"))?
    }

    async fn wipe_files(&self) -> Result<(), NodeError> {
        let data = self.settings.data.clone();
        tokio::task::spawn_blocking(move || hearth_p2p::node::wipe(&data))
            .await
            .map_err(|_| NodeError::internal("the wipe was interrupted: call it again"))?
            .map_err(|error| NodeError::Storage { reason: format!("something may be left, call it again: {error}") })
    }
}

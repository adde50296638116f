//! How much the node may spend on being within reach: the app's wish, which outlives pauses and restarts of the node.

use hearth_p2p::Power;

use super::{
    Node, Shared,
    phase::{Phase, Running},
};
use crate::error::NodeError;

/// How much a node does while nothing is said. In every mode but the last a message goes out at once, and whoever calls is
/// answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Enum)]
pub enum PowerMode {
    /// Somebody looks at the app: the local network is searched, connections are kept, and phones that are away are tried
    /// again at short pauses.
    #[default]
    Foreground,
    /// Nobody looks, and messages shall come in as they are written: connections are kept, but nothing is searched, and phones
    /// that are away are tried only now and then.
    Background,
    /// The battery or the data plan must last: connections end a few seconds after they were used, and nobody is called
    /// unless there is something to say. Other phones know it, and call with something to say, too.
    LowPower,
    /// Off the network. Everything else goes on, and what is sent waits.
    Offline,
}

impl PowerMode {
    /// What it means to the network; nothing when that is off.
    pub(super) fn power(self) -> Option<Power> {
        match self {
            Self::Foreground => Some(Power::Foreground),
            Self::Background => Some(Power::Background),
            Self::LowPower => Some(Power::Low),
            Self::Offline => None,
        }
    }
}

#[uniffi::export]
impl Node {
    /// Spends more or less on being within reach, from now on; a node that does not run, once it does.
    ///
    /// # Errors
    /// [`NodeError::Network`] when no address can be listened on after the node was off the network; the mode is taken all
    /// the same, and is tried again with `network_changed`.
    pub async fn set_power_mode(&self, mode: PowerMode) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.shared.runtime.run_whole(Box::pin(async move { shared.set_power_mode(mode).await })).await
    }

    /// How much the node may spend, as it was said last.
    pub fn power_mode(&self) -> PowerMode {
        self.shared.power_mode()
    }
}

impl Shared {
    pub(super) fn power_mode(&self) -> PowerMode {
        *self.power.borrow()
    }

    /// Spends so much, as long as the app wants the node on the network.
    pub(super) async fn spend_on(&self, running: &Running, mode: PowerMode) {
        if self.power_mode() != PowerMode::Offline
            && let Some(power) = mode.power()
        {
            running.node.network().set_power(power).await;
        }
    }

    pub(super) async fn network_changed(&self) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        let running = self.phases.running()?;
        if self.power_mode() != PowerMode::Offline {
            running.node.network().restart().await.map_err(NodeError::network)?;
            running.call_contacts().await;
        }
        Ok(())
    }

    async fn set_power_mode(&self, mode: PowerMode) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        self.power.send_replace(mode);
        let Phase::Running(running) = self.phases.now() else { return Ok(()) };
        let network = running.node.network();
        let Some(power) = mode.power() else {
            network.switch_off().await;
            return Ok(());
        };
        network.set_power(power).await;
        // A mesh that runs knows whom to call, and whether this mode lets it.
        if network.switch_on().await.map_err(NodeError::network)? {
            running.call_contacts().await;
        }
        Ok(())
    }
}

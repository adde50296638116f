//! How a node is set up, and what it says of itself.

use std::path::PathBuf;

use hearth_p2p::Discovery;

use crate::{error::NodeError, platform::LogLevel};

/// Who looks for other phones on the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Enum)]
pub enum DiscoveryMode {
    /// Hearth itself, by multicast DNS on every network: laptops, and phones whose platform allows it.
    #[default]
    BuiltIn,
    /// The platform (NsdManager, NWBrowser), which hands what it finds to `Peers.found` and announces `Peers.announcement`.
    Platform,
    /// Hearth itself, on this device's loopback interface alone: for tests and demonstrations.
    Loopback,
}

/// How a node is set up.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NodeConfig {
    /// A directory for the key, the database and the media, private to the app. It must not be in a shared app-group
    /// container: iOS ends apps that hold locks there.
    pub data_dir: String,
    /// The account's name: lower-case letters, digits and `._=-/+`. It is chosen once; the same name must be given ever after.
    pub account: String,
    /// The name to be seen by, for a new account.
    #[uniffi(default = None)]
    pub display_name: Option<String>,
    /// The name of this device, for a new account.
    #[uniffi(default = None)]
    pub device_name: Option<String>,
    /// Who looks for other phones.
    #[uniffi(default = None)]
    pub discovery: Option<DiscoveryMode>,
    /// Up to which level the log is wanted.
    #[uniffi(default = None)]
    pub log_level: Option<LogLevel>,
}

/// The configuration, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) account: String,
    pub(crate) display_name: Option<String>,
    pub(crate) device_name: Option<String>,
    pub(crate) discovery: Discovery,
}

impl Settings {
    pub(crate) fn check(config: NodeConfig) -> Result<Self, NodeError> {
        if config.data_dir.trim().is_empty() {
            return Err(NodeError::invalid("`data_dir` is empty: name a directory that is private to the app"));
        }
        let discovery = match config.discovery.unwrap_or_default() {
            DiscoveryMode::BuiltIn => Discovery::All,
            DiscoveryMode::Platform => Discovery::Off,
            DiscoveryMode::Loopback => Discovery::Loopback,
        };
        Ok(Self {
            data: PathBuf::from(config.data_dir),
            account: config.account,
            display_name: config.display_name,
            device_name: config.device_name,
            discovery,
        })
    }
}

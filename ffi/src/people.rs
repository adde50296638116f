//! Who we are, whom we know, and who is near.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use hearth_p2p::{
    contact::{self, Contact as ContactUri},
    found_addresses,
};
use tokio::{sync::watch, time::Instant};

use crate::{
    error::NodeError,
    node::{Node, Running, Shared},
    parse::user_id,
    platform::ListenerError,
    watch::{BoxFuture, TaskHandle, follow_mut},
};

/// Who the person is on this device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Identity {
    /// The account's user id.
    pub user_id: String,
    /// The device's id.
    pub device_id: String,
    /// The device's ed25519 key in base64, for people to compare.
    pub fingerprint: String,
    /// The server's name, which is its key.
    pub server: String,
}

/// A QR code: a square of modules.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct QrMatrix {
    /// Modules on a side.
    pub size: u32,
    /// Row by row, true for dark.
    pub modules: Vec<bool>,
}

/// Somebody whom the person knows, or blocked.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Contact {
    /// Their user id.
    pub user: String,
    /// The name that the person gave them.
    pub name: Option<String>,
    /// Whether the person wants to hear nothing of them.
    pub blocked: bool,
    /// Whether their phone is within reach now.
    pub near: bool,
}

/// What a contact URI says.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ContactPreview {
    /// The user id.
    pub user: String,
    /// Whether the URI says where their phone may be.
    pub has_address: bool,
    /// Whether they are a contact already.
    pub known: bool,
}

/// A phone on the network.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Peer {
    /// Its server's name.
    pub id: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether it said that it rests (`PowerMode.LowPower`): then it is called when there is something to say to it, and not
    /// kept connected.
    pub rests: bool,
    /// `quic` or `tcp`, while there is one.
    pub transport: Option<String>,
    /// The round trip in milliseconds, while it is known.
    pub rtt_ms: Option<u32>,
    /// Seconds since it came or went; `None` for one that was never connected.
    pub last_seen_s: Option<u64>,
}

/// What the platform's own discovery must announce for this node: a DNS-SD service.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Announcement {
    /// The service type, `_hearth._udp`.
    pub service: String,
    /// The instance's name.
    pub instance: String,
    /// The port.
    pub port: u16,
    /// The TXT record.
    pub properties: HashMap<String, String>,
}

/// Whoever wants to know who is near.
#[uniffi::export(foreign)]
pub trait PeersListener: Send + Sync {
    /// Takes all phones that are known on the network now.
    ///
    /// # Errors
    /// Whatever goes wrong: the listener is called again with what comes next.
    fn on_peers(&self, peers: Vec<Peer>) -> Result<(), ListenerError>;
}

/// The people whom the person knows.
#[derive(uniffi::Object)]
pub struct Contacts {
    shared: Arc<Shared>,
}

/// The phones on the network.
#[derive(uniffi::Object)]
pub struct Peers {
    shared: Arc<Shared>,
}

#[uniffi::export]
impl Node {
    /// Who the person is.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub fn identity(&self) -> Result<Identity, NodeError> {
        let running = self.shared.phases.running()?;
        let identity = running.chat.identity();
        Ok(Identity {
            user_id: identity.user_id.to_string(),
            device_id: identity.device_id.to_string(),
            fingerprint: identity.fingerprint,
            server: running.node.server_name().to_string(),
        })
    }

    /// The person's contact as a `matrix:` URI, with where this phone is now.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub async fn contact_uri(&self) -> Result<String, NodeError> {
        self.with(async |running| {
            let addresses = running.node.network().addresses().await;
            Ok(contact::contact_uri(&running.chat.identity().user_id, &addresses))
        })
        .await
    }

    /// The people whom the person knows.
    pub fn contacts(&self) -> Arc<Contacts> {
        Arc::new(Contacts { shared: self.shared.clone() })
    }

    /// The phones on the network.
    pub fn peers(&self) -> Arc<Peers> {
        Arc::new(Peers { shared: self.shared.clone() })
    }
}

/// A text as a QR code, for a contact URI or a verification.
///
/// # Errors
/// [`NodeError::InvalidInput`] for a text that is too long for a QR code.
#[uniffi::export]
pub fn qr_matrix(text: String) -> Result<QrMatrix, NodeError> {
    let (size, modules) = contact::qr_modules(&text).map_err(NodeError::invalid)?;
    Ok(QrMatrix { size: u32::try_from(size).unwrap_or(u32::MAX), modules })
}

#[uniffi::export]
impl Contacts {
    /// What a scanned or typed contact says, without adding it.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no contact.
    pub async fn preview(&self, uri: String) -> Result<ContactPreview, NodeError> {
        let contact: ContactUri = uri.parse().map_err(NodeError::invalid)?;
        self.shared
            .with(async move |running| {
                let known = running.chat.contacts()?.iter().any(|known| known.user == contact.user && !known.blocked);
                Ok(ContactPreview { user: contact.user.to_string(), has_address: !contact.addresses.is_empty(), known })
            })
            .await
    }

    /// Adds a contact by its URI, or changes its name, and calls its phone. Answers the user id.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no contact, and for the person's own.
    #[uniffi::method(default(name = None))]
    pub async fn add(&self, uri: String, name: Option<String>) -> Result<String, NodeError> {
        let contact: ContactUri = uri.parse().map_err(NodeError::invalid)?;
        self.shared
            .with(async move |running| {
                let addresses = contact.addresses.iter().map(ToString::to_string).collect();
                running.chat.add_contact(&contact.user, name, addresses).await?;
                for address in contact.addresses {
                    running.node.network().add_address(address).await;
                }
                Ok(contact.user.to_string())
            })
            .await
    }

    /// Everybody who was added or blocked.
    ///
    /// # Errors
    /// [`NodeError::Storage`].
    pub async fn list(&self) -> Result<Vec<Contact>, NodeError> {
        self.shared
            .with(async |running| {
                let home = running.node.homeserver().home();
                let contacts = running.chat.contacts()?.into_iter();
                Ok(contacts
                    .map(|contact| Contact {
                        near: home.is_near(contact.user.server_name()),
                        user: contact.user.to_string(),
                        name: contact.name,
                        blocked: contact.blocked,
                    })
                    .collect())
            })
            .await
    }

    /// Blocks somebody, or lifts that: their invites and messages are not shown.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`].
    pub async fn set_blocked(&self, user: String, blocked: bool) -> Result<(), NodeError> {
        let user = user_id(&user)?;
        self.shared.with(async move |running| Ok(running.chat.set_blocked(&user, blocked).await?)).await
    }

    /// Forgets somebody. Rooms and messages stay.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub async fn remove(&self, user: String) -> Result<(), NodeError> {
        let user = user_id(&user)?;
        self.shared.with(async move |running| Ok(running.chat.remove_contact(&user).await?)).await
    }
}

#[uniffi::export]
impl Peers {
    /// Tells a listener who is near, until the answer is cancelled or dropped.
    ///
    /// # Errors
    /// [`NodeError::Internal`] when the runtime has ended.
    pub fn subscribe(&self, listener: Arc<dyn PeersListener>) -> Result<Arc<TaskHandle>, NodeError> {
        let open = |running: &Arc<Running>| (running.clone(), running.node.network().changes(), true);
        follow_mut(&self.shared, open, next_peers, move |peers| listener.on_peers(peers))
    }

    /// Who is near now.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub async fn list(&self) -> Result<Vec<Peer>, NodeError> {
        self.shared.with(async |running| Ok(peers(&running).await)).await
    }

    /// What the platform's own discovery must announce, with [`DiscoveryMode::Platform`](crate::DiscoveryMode).
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`], [`NodeError::Network`] while the network is off.
    pub async fn announcement(&self) -> Result<Announcement, NodeError> {
        self.shared
            .with(async |running| {
                let announcement = running.node.network().announcement().await;
                let announcement = announcement.ok_or_else(|| NodeError::network("the network is off"))?;
                Ok(Announcement {
                    service: announcement.service,
                    instance: announcement.instance,
                    port: announcement.port,
                    properties: announcement.properties.into_iter().collect(),
                })
            })
            .await
    }

    /// Hands in what the platform's own discovery found: a service's TXT record and the IP addresses of its host. It goes into
    /// the same address book as what Hearth finds itself. Answers whether it was a phone that can be called.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`].
    pub async fn found(&self, properties: HashMap<String, String>, hosts: Vec<String>) -> Result<bool, NodeError> {
        self.shared
            .with(async move |running| {
                let hosts: Vec<IpAddr> = hosts.iter().filter_map(|host| host.parse().ok()).collect();
                let addresses = found_addresses(&properties.into_iter().collect(), &hosts);
                let found = !addresses.is_empty();
                for address in addresses {
                    running.node.network().add_address(address).await;
                }
                Ok(found)
            })
            .await
    }
}

/// The peers at once, and then whenever one comes or goes.
fn next_peers(
    (running, changes, first): &mut (Arc<Running>, watch::Receiver<u64>, bool),
) -> BoxFuture<'_, Option<Vec<Peer>>> {
    Box::pin(async move {
        if !std::mem::take(first) {
            changes.changed().await.ok()?;
        }
        Some(peers(running).await)
    })
}

async fn peers(running: &Running) -> Vec<Peer> {
    let now = Instant::now().into_std();
    let shown = running.node.network().peers().await.into_iter().map(|peer| Peer {
        id: peer.status.server.to_string(),
        connected: peer.status.connected,
        rests: peer.status.rests,
        transport: peer.status.transport.map(str::to_owned),
        rtt_ms: peer.status.rtt.map(|rtt| u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX)),
        last_seen_s: peer.seen.map(|seen| now.saturating_duration_since(seen).as_secs()),
    });
    shown.collect()
}

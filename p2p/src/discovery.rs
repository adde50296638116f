//! Finding peers on the local network: DNS-SD over multicast DNS, service `_hearth._udp.local`.
//!
//! The records are plain DNS-SD, so a phone may announce and browse with its platform's own API (NsdManager, NWBrowser) and
//! hand what it finds to [`Mesh::add_address`](crate::Mesh::add_address). TXT carries the peer's name, its ports, and its
//! boot id, which changes at each start and tells the others that an old connection is dead. Nothing is probed for before it
//! is announced: the instance and the host are named by the node's key, so no other node has a claim to them, and probing
//! would take most of the second in which a returning peer must be seen.
//!
//! Announcements are unsigned. They are hints: a dial proves who is there.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use ruma::{OwnedServerName, ServerName};

use crate::{
    addresses::{ip_of, quic, tcp, transport_of},
    identity::peer_id_of,
    limits::{ADDRESSES_PER_PEER_MAX, PEERS_KNOWN_MAX},
    mesh::MeshError,
};

/// The service type.
const SERVICE: &str = "_hearth._udp.local.";

/// Where peers are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discovery {
    /// Nowhere. Peers are configured, or handed in by the platform.
    Off,
    /// On every network that this machine is on, and not on loopback.
    #[default]
    All,
    /// On 127.0.0.1 only, with real multicast DNS that no other machine hears. The node then listens on loopback by default
    /// and dials nothing else.
    Loopback,
}

/// How a node is announced on the local network, by us or by the platform: one DNS-SD service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// The service type, as Android and Apple want it: `_hearth._udp`.
    pub service: String,
    /// The instance's name: the server's name.
    pub instance: String,
    /// The port of the SRV record.
    pub port: u16,
    /// The TXT record: `id`, `boot`, and the ports by transport.
    pub properties: BTreeMap<String, String>,
}

impl Announcement {
    /// The announcement of a node that listens at these addresses.
    pub(crate) fn new(name: &ServerName, boot: &str, listening: &[Multiaddr]) -> Self {
        let ports = ports(listening);
        let mut properties: BTreeMap<String, String> =
            ports.iter().map(|(key, port)| ((*key).to_owned(), port.to_string())).collect();
        properties.insert("id".to_owned(), name.to_string());
        properties.insert("boot".to_owned(), boot.to_owned());
        Self {
            service: SERVICE.trim_end_matches(".local.").to_owned(),
            instance: name.to_string(),
            port: ports.values().next().copied().unwrap_or_default(),
            properties,
        }
    }
}

/// The addresses of a peer that the platform's own discovery found, each with the peer's id at its end: what its TXT record
/// and the addresses of its host say together. Empty for what is no announcement of a node.
pub fn found_addresses(properties: &BTreeMap<String, String>, hosts: &[IpAddr]) -> Vec<Multiaddr> {
    let id = properties.get("id").and_then(|id| <&ServerName>::try_from(id.as_str()).ok());
    let Some(peer) = id.and_then(peer_id_of) else { return Vec::new() };
    let port = |key: &str| properties.get(key).and_then(|port| port.parse().ok());
    let addresses = addresses_at(hosts.iter().copied(), port);
    addresses.into_iter().map(|address| address.with(libp2p::multiaddr::Protocol::P2p(peer))).collect()
}

/// What is dialled at the given hosts and ports: QUIC and TCP, sorted, not too many.
fn addresses_at(hosts: impl Iterator<Item = IpAddr>, port: impl for<'k> Fn(&'k str) -> Option<u16>) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    for ip in hosts {
        let (quic_port, tcp_port) = if ip.is_ipv4() { ("quic", "tcp") } else { ("quic6", "tcp6") };
        addresses.extend(port(quic_port).map(|port| quic(ip, port)));
        addresses.extend(port(tcp_port).map(|port| tcp(ip, port)));
    }
    addresses.sort();
    addresses.truncate(ADDRESSES_PER_PEER_MAX);
    addresses
}

/// What was seen.
#[derive(Debug)]
pub(crate) enum Sighting {
    /// A peer announces itself here.
    Appeared { peer: PeerId, boot: Option<String>, addresses: Vec<Multiaddr> },
    /// Its announcement ended.
    Vanished(PeerId),
}

/// The running announcement and search.
pub(crate) struct Beacon {
    discovery: Discovery,
    daemon: ServiceDaemon,
    /// What the search finds, while there is one.
    events: Option<Receiver<ServiceEvent>>,
    /// Whom each announced instance belongs to: its end names the instance only.
    instances: BTreeMap<String, PeerId>,
    name: OwnedServerName,
    boot: String,
}

impl Beacon {
    /// Starts to announce what `listening` says, and to search if it shall. Answers nothing when discovery is off.
    pub(crate) fn start(
        discovery: Discovery,
        searches: bool,
        name: OwnedServerName,
        boot: String,
        listening: &[Multiaddr],
    ) -> Result<Option<Self>, MeshError> {
        if discovery == Discovery::Off {
            return Ok(None);
        }
        let refused = |error: mdns_sd::Error| MeshError::Discovery(error.to_string());
        let daemon = ServiceDaemon::new().map_err(refused)?;
        match discovery {
            Discovery::Loopback => {
                daemon.disable_interface(IfKind::All).map_err(refused)?;
                daemon.enable_interface(IfKind::LoopbackV4).map_err(refused)?;
            }
            Discovery::All | Discovery::Off => {
                daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]).map_err(refused)?;
            }
        }
        // The swarm hears of new interfaces from the kernel and has the daemon look then; polling would wake the phone.
        daemon.set_ip_check_interval(0).map_err(refused)?;
        let mut beacon = Self { discovery, daemon, events: None, instances: BTreeMap::new(), name, boot };
        beacon.search(searches)?;
        beacon.announce(listening)?;
        Ok(Some(beacon))
    }

    /// Searches, or does so no longer; whoever searches finds us all the same. A search repeats its question at growing pauses
    /// and asks again for all that it found before that expires, every minute and a half.
    pub(crate) fn search(&mut self, searches: bool) -> Result<(), MeshError> {
        let refused = |error: mdns_sd::Error| MeshError::Discovery(error.to_string());
        match (&self.events, searches) {
            (None, true) => self.events = Some(self.daemon.browse(SERVICE).map_err(refused)?),
            (Some(_), false) => {
                self.daemon.stop_browse(SERVICE).map_err(refused)?;
                self.events = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// Announces where we listen now, on the interfaces that are there now.
    pub(crate) fn announce(&self, listening: &[Multiaddr]) -> Result<(), MeshError> {
        let refused = |error: mdns_sd::Error| MeshError::Discovery(error.to_string());
        let Announcement { port, properties, .. } = Announcement::new(&self.name, &self.boot, listening);
        let properties: Vec<(String, String)> = properties.into_iter().collect();
        let host = format!("{}.local.", self.name);
        let name = self.name.as_str();
        let info = if self.discovery == Discovery::Loopback {
            ServiceInfo::new(SERVICE, name, &host, IpAddr::V4(Ipv4Addr::LOCALHOST), port, properties.as_slice())
        } else {
            ServiceInfo::new(SERVICE, name, &host, (), port, properties.as_slice()).map(ServiceInfo::enable_addr_auto)
        };
        let mut info = info.map_err(refused)?;
        info.set_requires_probe(false);
        self.daemon.register(info).map_err(refused)
    }

    /// Looks at the interfaces again and announces on the new ones.
    pub(crate) fn interfaces_changed(&self, listening: &[Multiaddr]) {
        let selection = match self.discovery {
            Discovery::Loopback => self.daemon.enable_interface(IfKind::LoopbackV4),
            _ => self.daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]),
        };
        if let Err(error) =
            selection.map_err(|error| MeshError::Discovery(error.to_string())).and_then(|()| self.announce(listening))
        {
            tracing::warn!(%error, "peers may not find this node on a new network");
        }
    }

    /// The next sighting; nothing when the search has ended by itself. Without a search, none ever comes.
    pub(crate) async fn next(&mut self) -> Option<Sighting> {
        let Some(events) = self.events.clone() else { return std::future::pending().await };
        loop {
            let sighting = match events.recv_async().await.ok()? {
                ServiceEvent::ServiceResolved(service) => self.appeared(&service),
                ServiceEvent::ServiceRemoved(_, instance) => self.instances.remove(&instance).map(Sighting::Vanished),
                ServiceEvent::SearchStopped(_) => return None,
                _ => None,
            };
            if sighting.is_some() {
                return sighting;
            }
        }
    }

    fn appeared(&mut self, service: &ResolvedService) -> Option<Sighting> {
        let id = <&ServerName>::try_from(service.get_property_val_str("id")?).ok()?;
        let peer = peer_id_of(id)?;
        if *id == *self.name
            || (self.instances.len() >= PEERS_KNOWN_MAX && !self.instances.contains_key(service.get_fullname()))
        {
            return None;
        }
        self.instances.insert(service.get_fullname().to_owned(), peer);
        let boot = service.get_property_val_str("boot").filter(|boot| boot.len() <= 32).map(str::to_owned);
        let port = |key: &str| service.get_property_val_str(key).and_then(|port| port.parse::<u16>().ok());
        let loopback = self.discovery == Discovery::Loopback;
        let hosts = service.get_addresses().iter().map(|ip| ip.to_ip_addr()).filter(|ip| ip.is_loopback() == loopback);
        let addresses = addresses_at(hosts, port);
        Some(Sighting::Appeared { peer, boot, addresses })
    }

    /// Says goodbye, so that the others need not find out.
    pub(crate) async fn stop(self) {
        // The daemon answers when the goodbye is sent; it has no reason to take longer, and no claim to.
        if let Ok(stopped) = self.daemon.shutdown() {
            drop(tokio::time::timeout(Duration::from_millis(500), stopped.recv_async()).await);
        }
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        // The daemon is a thread that holds its own channel, so it would outlive us. A second shutdown changes nothing.
        drop(self.daemon.shutdown());
    }
}

/// The ports by transport and IP version: `quic`, `quic6`, `tcp`, `tcp6`.
fn ports(listening: &[Multiaddr]) -> BTreeMap<&'static str, u16> {
    let mut ports = BTreeMap::new();
    for address in listening {
        let (Some(ip), Some((transport, port))) = (ip_of(address), transport_of(address)) else { continue };
        let key = match (transport, ip.is_ipv4()) {
            ("quic", true) => "quic",
            ("quic", false) => "quic6",
            (_, true) => "tcp",
            (_, false) => "tcp6",
        };
        ports.entry(key).or_insert(port);
    }
    ports
}

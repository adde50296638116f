//! Listening, and knowing that it works before anything else begins.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use libp2p::{Multiaddr, Swarm, swarm::SwarmEvent};
use tokio::time::timeout;

use super::MeshError;
use crate::{
    addresses::{default_listen, ip_of, transport_of},
    behaviour::Behaviour,
};

/// How long the listeners may take to say their addresses. It is a system call; the rest is for a machine that is starting.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Listens on what was asked for, and waits until it is done: a taken port must be told at the start. Of the default
/// addresses, IPv6 may be missing.
pub(super) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    asked: Vec<Multiaddr>,
    loopback_only: bool,
) -> Result<(), MeshError> {
    let lenient = asked.is_empty();
    let addresses = if lenient { default_listen(loopback_only) } else { asked };
    let mut awaited = BTreeMap::new();
    for address in addresses {
        let optional = lenient && ip_of(&address).is_some_and(|ip| ip.is_ipv6());
        if let Err(source) = probe(&address) {
            return Err(MeshError::Listen { address, source });
        }
        match swarm.listen_on(address.clone()) {
            Ok(id) if !optional => drop(awaited.insert(id.to_string(), address)),
            Ok(_) => {}
            Err(error) if optional => tracing::debug!(%address, %error, "not listening"),
            Err(error) => return Err(MeshError::Listen { address, source: std::io::Error::other(error.to_string()) }),
        }
    }
    let ready = async {
        while !awaited.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, .. } => drop(awaited.remove(&listener_id.to_string())),
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(address) = awaited.remove(&listener_id.to_string()) {
                        let source = reason.err().unwrap_or_else(|| std::io::Error::other("it closed at once"));
                        return Err(MeshError::Listen { address, source });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    };
    match timeout(LISTEN_TIMEOUT, ready).await {
        Ok(ready) => ready,
        Err(_) => match awaited.into_values().next() {
            Some(address) => Err(MeshError::Listen { address, source: std::io::ErrorKind::TimedOut.into() }),
            None => Ok(()),
        },
    }
}

/// Whether somebody listens on this TCP port already: libp2p shares its ports, so that it would not notice.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    match (ip_of(address), transport_of(address)) {
        (Some(ip), Some(("tcp", port))) => std::net::TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

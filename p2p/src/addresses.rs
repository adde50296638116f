//! What we know about where peers are: multiaddresses, read and judged.
//!
//! An address is only ever a hint. It is dialled with the expected peer id, so a wrong one costs a handshake and nothing
//! else. Link-local IPv6 is left out, because a multiaddress loses its scope; names are left out, because resolving them is
//! the host's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::limits::ADDRESSES_PER_PEER_MAX;

/// Where an address comes from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The owner of this node named it: it is never forgotten.
    Configured,
    /// Somebody announces it on the network: it is forgotten when the announcement ends.
    Announced,
    /// The peer itself named it over a connection: it is forgotten when it fails.
    Learned,
}

/// The addresses of one peer.
#[derive(Debug, Default)]
pub(crate) struct Candidates(Vec<(Multiaddr, Source)>);

impl Candidates {
    /// Remembers an address. Answers whether it is new. A full list gives up its weakest entry.
    pub(crate) fn add(&mut self, address: Multiaddr, source: Source) -> bool {
        if let Some(known) = self.0.iter_mut().find(|(known, _)| *known == address) {
            known.1 = known.1.min(source);
            return false;
        }
        if self.0.len() >= ADDRESSES_PER_PEER_MAX {
            let weakest = self.0.iter().enumerate().max_by_key(|(_, (_, source))| *source);
            match weakest {
                Some((at, (_, weakest))) if *weakest >= source => drop(self.0.remove(at)),
                _ => return false,
            }
        }
        self.0.push((address, source));
        true
    }

    /// Puts `addresses` in the place of everything else from this source.
    pub(crate) fn replace(&mut self, addresses: Vec<Multiaddr>, source: Source) -> bool {
        self.0.retain(|(known, from)| *from != source || addresses.contains(known));
        // All are added, also behind the first new one.
        addresses.into_iter().filter(|address| self.add(address.clone(), source)).count() > 0
    }

    /// Forgets what came from this source.
    pub(crate) fn forget(&mut self, source: Source) {
        self.0.retain(|(_, from)| *from != source);
    }

    /// Whether the owner of this node wants the peer kept.
    pub(crate) fn configured(&self) -> bool {
        self.0.iter().any(|(_, source)| *source == Source::Configured)
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All addresses.
    pub(crate) fn all(&self) -> Vec<Multiaddr> {
        self.0.iter().map(|(address, _)| address.clone()).collect()
    }
}

/// Parts an address from the peer id at its end.
pub(crate) fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}

/// The IP address at the head of an address.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// How an address is spoken to: `quic`, `tcp`, or nothing that we speak. Ports of zero are nothing either.
pub(crate) fn transport_of(address: &Multiaddr) -> Option<(&'static str, u16)> {
    let mut parts = address.iter().skip(1);
    match (parts.next()?, parts.next(), parts.next()) {
        (Protocol::Udp(port), Some(Protocol::QuicV1), None) if port != 0 => Some(("quic", port)),
        (Protocol::Tcp(port), None, None) if port != 0 => Some(("tcp", port)),
        _ => None,
    }
}

/// Whether an address without its peer id can be dialled from a node that is, or is not, confined to this machine.
pub(crate) fn dialable(address: &Multiaddr, loopback_only: bool) -> bool {
    let reachable = match ip_of(address) {
        Some(ip) if loopback_only => ip.is_loopback(),
        Some(IpAddr::V4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(IpAddr::V6(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
        None => false,
    };
    reachable && transport_of(address).is_some()
}

/// The address of a QUIC or a TCP listener.
pub(crate) fn quic(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::from(ip).with(Protocol::Udp(port)).with(Protocol::QuicV1)
}

/// See [`quic`].
pub(crate) fn tcp(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::from(ip).with(Protocol::Tcp(port))
}

/// Where a node listens when it is not told: any port, QUIC first, TCP beside it. Loopback has IPv4 only, because a plain
/// `lo` in a container often has nothing else.
pub(crate) fn default_listen(loopback_only: bool) -> Vec<Multiaddr> {
    let ips: &[IpAddr] = if loopback_only {
        &[IpAddr::V4(Ipv4Addr::LOCALHOST)]
    } else {
        &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
    };
    ips.iter().flat_map(|ip| [quic(*ip, 0), tcp(*ip, 0)]).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_lead_somewhere_are_dialled() {
        let judge = |address: &str, loopback| dialable(&address.parse().unwrap(), loopback);
        assert!(judge("/ip4/192.168.1.7/udp/4001/quic-v1", false));
        assert!(judge("/ip6/2001:db8::1/tcp/4001", false));
        assert!(judge("/ip4/127.0.0.1/tcp/4001", true));
        assert!(!judge("/ip4/192.168.1.7/udp/4001/quic-v1", true));
        assert!(!judge("/ip4/0.0.0.0/tcp/4001", false));
        assert!(!judge("/ip6/fe80::1/udp/4001/quic-v1", false));
        assert!(!judge("/ip4/192.168.1.7/udp/4001", false));
        assert!(!judge("/ip4/192.168.1.7/tcp/0", false));
        assert!(!judge("/dns4/example.org/tcp/443", false));
    }

    #[test]
    fn a_flood_of_addresses_displaces_only_weaker_ones() {
        let mut candidates = Candidates::default();
        let address = |n: u16| -> Multiaddr { tcp(IpAddr::V4(Ipv4Addr::LOCALHOST), n) };
        assert!(candidates.add(address(1), Source::Configured));
        for n in 2..1000 {
            candidates.add(address(n), Source::Learned);
        }
        assert_eq!(candidates.all().len(), ADDRESSES_PER_PEER_MAX);
        assert!(candidates.all().contains(&address(1)));
        assert!(candidates.replace(vec![address(5000)], Source::Announced));
        assert!(candidates.all().contains(&address(5000)));
        candidates.forget(Source::Announced);
        assert!(!candidates.all().contains(&address(5000)));
    }
}

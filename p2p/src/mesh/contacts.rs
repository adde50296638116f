//! The peers we know: where they are, how they are connected, and when to dial them.
//!
//! A state machine without a socket or a clock: facts go in with the time at which they happened, [`Action`]s come out. A
//! peer is dialled when it appears, when somebody asks for it, and again with growing pauses for as long as an address is
//! known. Nothing is due while every peer with an address is connected, so an idle, converged mesh sets no timer. When we
//! rest, or the peer says that it does, it is dialled when it appears and when somebody asks for it, and not again.
//!
//! A restart is told by the *boot id*: an announcement with another one than the connection's means that the connection is
//! dead or soon will be, so the peer is dialled although it counts as connected; a new connection with another one closes
//! the older ones, so that requests which hang on them fail now and not after QUIC's idle time. Only what an authenticated
//! connection said closes anything. An announcement can be forged; it costs a dial, and those are spaced.

mod contact;

use std::{collections::BTreeMap, time::Duration};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use tokio::time::Instant;

pub(crate) use self::contact::{Contact, Link};
use crate::{
    addresses::{Source, dialable, ip_of, transport_of},
    limits::{GATHER, LEARNED_FAILURES_MAX, PEERS_KNOWN_MAX, REDIAL_MIN, TIE_BREAK},
    power::Power,
};

/// What must be done now.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Dial the peer at these addresses, connected or not.
    Dial(PeerId, Vec<Multiaddr>),
    /// Close a connection that a newer one replaced.
    Close(ConnectionId),
    /// The requests that wait for this peer wait in vain.
    GiveUp(PeerId, String),
    /// The peer is connected, or connected anew.
    Seen(PeerId),
    /// The peer's last connection closed.
    Gone(PeerId),
    /// Something else about the peer is to be shown.
    Changed(PeerId),
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Contacts {
    local: PeerId,
    loopback_only: bool,
    power: Power,
    peers: BTreeMap<PeerId, Contact>,
    touches: u64,
    actions: Vec<Action>,
}

impl Contacts {
    /// Nobody is known.
    pub(crate) fn new(local: PeerId, loopback_only: bool, power: Power) -> Self {
        Self { local, loopback_only, power, peers: BTreeMap::new(), touches: 0, actions: Vec::new() }
    }

    /// What has become due, each once.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Everybody, for the status.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Contact)> {
        self.peers.iter()
    }

    /// The next time at which [`Contacts::tick`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.peers.values().filter_map(|contact| contact.due).min()
    }

    /// More or less may be spent from now on. With more, those who are away are tried at once.
    pub(crate) fn set_power(&mut self, power: Power, now: Instant) {
        let was = std::mem::replace(&mut self.power, power);
        for contact in self.peers.values_mut() {
            if !power.searches() {
                // Whether it is still true is not heard any more.
                contact.announced = None;
            }
            if !contact.links.is_empty() {
                continue;
            }
            if power.redial_max().is_none() {
                contact.due = None;
            } else if power < was && !contact.rests && !contact.candidates.is_empty() {
                contact.failures = 0;
                contact.due = Some(now);
            }
        }
    }

    /// An address was handed in. The peer is dialled when it is new or the peer is not connected, a moment later, because
    /// addresses come one by one and QUIC shall go first.
    pub(crate) fn add(&mut self, peer: PeerId, address: Multiaddr, source: Source, now: Instant) {
        if peer == self.local || !dialable(&address, self.loopback_only) {
            return;
        }
        let Some(contact) = self.contact(peer) else { return };
        let new = contact.candidates.add(address, source);
        if new || contact.links.is_empty() {
            contact.failures = 0;
            contact.news |= new;
            contact.again |= new && !contact.dials.is_empty();
            contact.due = Some(now + GATHER);
        }
    }

    /// The peer announces itself on the network.
    pub(crate) fn announced(&mut self, peer: PeerId, boot: Option<String>, addresses: Vec<Multiaddr>, now: Instant) {
        let loopback_only = self.loopback_only;
        let addresses: Vec<_> = addresses.into_iter().filter(|address| dialable(address, loopback_only)).collect();
        if peer == self.local || addresses.is_empty() {
            return;
        }
        let first = self.local < peer;
        let Some(contact) = self.contact(peer) else { return };
        let new = contact.candidates.replace(addresses, Source::Announced);
        let restarted = boot.is_some() && boot != contact.announced;
        if boot.is_some() {
            contact.announced = boot;
        }
        if contact.live() || !(new || restarted || (contact.links.is_empty() && !contact.rests)) {
            return;
        }
        contact.failures = 0;
        // A connection that has not said its boot id yet is most likely the one that this announcement asks for.
        let unsure = contact.links.iter().any(|link| link.boot.is_none());
        let theirs = contact.links.is_empty() && contact.dials.is_empty() && !first;
        if unsure || theirs {
            contact.due = Some(now + TIE_BREAK);
        } else {
            self.dial(peer, true, now);
        }
    }

    /// The peer's announcement ended: it left, or was silent for longer than its records live.
    pub(crate) fn vanished(&mut self, peer: PeerId) {
        if let Some(contact) = self.peers.get_mut(&peer) {
            contact.candidates.forget(Source::Announced);
            contact.announced = None;
            if contact.candidates.is_empty() {
                contact.due = None;
            }
            self.prune(peer);
        }
    }

    /// Somebody waits for a connection to this peer.
    pub(crate) fn wanted(&mut self, peer: PeerId, now: Instant) {
        if self.peers.get(&peer).is_none_or(|contact| contact.candidates.is_empty() && contact.dials.is_empty()) {
            self.actions.push(Action::GiveUp(peer, "no address of it is known".to_owned()));
        } else {
            self.dial(peer, false, now);
        }
    }

    /// A dial that was asked for is under way.
    pub(crate) fn dialling(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(contact) = self.peers.get_mut(&peer) {
            contact.dials.push(id);
        }
    }

    /// A dial met somebody else at this address, and is over.
    pub(crate) fn deceived(&mut self, peer: PeerId, id: ConnectionId, address: Multiaddr, now: Instant) {
        let Some(contact) = self.peers.get_mut(&peer) else { return };
        contact.lies.push(address);
        if contact.candidates.all().iter().any(|address| !contact.lies.contains(address)) {
            contact.dials.retain(|dial| *dial != id);
            // The spacing is against announcements, and every lie is met only once.
            contact.dialled_at = None;
            self.dial(peer, true, now);
        } else {
            contact.lies.clear();
            self.dial_failed(peer, id, "somebody else is at its address".to_owned(), now);
        }
    }

    /// A dial failed, at every address.
    pub(crate) fn dial_failed(&mut self, peer: PeerId, id: ConnectionId, reason: String, now: Instant) {
        let Some(contact) = self.peers.get_mut(&peer) else { return };
        contact.dials.retain(|dial| *dial != id);
        contact.failures = contact.failures.saturating_add(1);
        if contact.failures >= LEARNED_FAILURES_MAX {
            contact.candidates.forget(Source::Learned);
            contact.news = false;
        }
        // Beside a connection that may be alive after all, a few attempts are enough.
        let worthwhile = contact.links.is_empty() || contact.failures < LEARNED_FAILURES_MAX;
        if contact.dials.is_empty() && !contact.live() && worthwhile && !contact.candidates.is_empty() {
            contact.due = self.power.redial_max().map(|max| now + pause(contact.failures, max));
        }
        if contact.idle() {
            self.actions.push(Action::GiveUp(peer, reason));
        }
        if self.peers.get(&peer).is_some_and(|contact| contact.again && !contact.live()) {
            self.dial(peer, true, now);
        }
        self.prune(peer);
    }

    /// A connection is there; `dialled` when it is ours.
    pub(crate) fn connected(&mut self, peer: PeerId, id: ConnectionId, address: Multiaddr, dialled: bool) {
        // A connected peer is always known: the number of connections is bounded elsewhere.
        let touched = self.touch();
        let contact = self.peers.entry(peer).or_default();
        contact.touched = touched;
        contact.dials.retain(|dial| *dial != id);
        if dialled {
            contact.candidates.add(address.clone(), Source::Learned);
        }
        let here = ip_of(&address).is_some_and(|ip| ip.is_loopback());
        let quic = transport_of(&address).is_some_and(|(transport, _)| transport == "quic");
        contact.links.push(Link { id, quic, here, boot: None, rtt: None });
        contact.failures = 0;
        contact.lies.clear();
        contact.news = false;
        if contact.live() {
            contact.due = None;
        }
        if contact.links.len() == 1 {
            self.actions.push(Action::Seen(peer));
        }
    }

    /// A connected peer said whether it rests.
    pub(crate) fn rests(&mut self, peer: PeerId, rests: bool) {
        if let Some(contact) = self.peers.get_mut(&peer)
            && std::mem::replace(&mut contact.rests, rests) != rests
        {
            self.actions.push(Action::Changed(peer));
        }
    }

    /// A connected peer said who it is and where it listens.
    pub(crate) fn identified(&mut self, peer: PeerId, id: ConnectionId, boot: Option<String>, listen: Vec<Multiaddr>) {
        let Some(contact) = self.peers.get_mut(&peer) else { return };
        let Some(at) = contact.links.iter().position(|link| link.id == id) else { return };
        let here = contact.links.get(at).is_some_and(|link| link.here);
        // A peer elsewhere cannot mean our own loopback.
        let meant = |address: &Multiaddr| dialable(address, self.loopback_only) && (here || !dialable(address, true));
        for address in listen.into_iter().filter(meant) {
            contact.candidates.add(address, Source::Learned);
        }
        if boot.is_none() {
            return;
        }
        // A link that has not said its boot id yet is no older life of the peer: both ends may have dialled at once.
        let other = |link: &Link| link.boot.is_some() && link.boot != boot;
        let outlived = contact.links.iter().skip(at + 1).any(other);
        let dead: Vec<_> = match outlived {
            true => vec![id],
            false => contact.links.iter().take(at).filter(|link| other(link)).map(|link| link.id).collect(),
        };
        if let Some(link) = contact.links.get_mut(at) {
            link.boot = boot;
        }
        if contact.live() {
            contact.due = None;
        }
        if !dead.is_empty() {
            self.actions.extend(dead.into_iter().map(Action::Close));
            self.actions.push(Action::Seen(peer));
        }
    }

    /// A ping was answered.
    pub(crate) fn measured(&mut self, peer: PeerId, id: ConnectionId, rtt: Duration) {
        let links = self.peers.get_mut(&peer).map(|contact| contact.links.iter_mut());
        if let Some(link) = links.into_iter().flatten().find(|link| link.id == id) {
            link.rtt = Some(rtt);
        }
    }

    /// A connection closed.
    pub(crate) fn closed(&mut self, peer: PeerId, id: ConnectionId, now: Instant) {
        let Some(contact) = self.peers.get_mut(&peer) else { return };
        contact.links.retain(|link| link.id != id);
        if contact.links.is_empty() {
            if contact.dials.is_empty() && !contact.candidates.is_empty() && !contact.rests {
                contact.due = self.power.redial_max().map(|max| now + pause(1, max));
            }
            self.actions.push(Action::Gone(peer));
        } else {
            // What hung on the old connection has failed by now and can be tried again on the new one.
            self.actions.push(Action::Seen(peer));
        }
        self.prune(peer);
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        let due = self.peers.iter().filter(|(_, contact)| contact.due.is_some_and(|due| due <= now));
        for peer in due.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            if let Some(contact) = self.peers.get_mut(&peer) {
                contact.due = None;
                if !contact.live() {
                    self.dial(peer, true, now);
                }
            }
        }
    }

    /// Dials, unless that was just done: then it is done again a moment later. A dial under way is enough, unless there is
    /// `news` of the peer that it does not know; two are always enough.
    fn dial(&mut self, peer: PeerId, news: bool, now: Instant) {
        let Some(contact) = self.peers.get_mut(&peer) else { return };
        let mut addresses = contact.candidates.all();
        contact.lies.retain(|lie| addresses.contains(lie));
        addresses.retain(|address| !contact.lies.contains(address));
        if addresses.is_empty() || (!contact.dials.is_empty() && !news) {
            return;
        }
        if contact.dials.len() >= 2 {
            contact.again = true;
            return;
        }
        if let Some(earliest) = contact.dialled_at.map(|at| at + REDIAL_MIN).filter(|earliest| *earliest > now) {
            contact.due = Some(earliest);
            return;
        }
        contact.dialled_at = Some(now);
        contact.due = None;
        contact.again = false;
        self.actions.push(Action::Dial(peer, addresses));
    }

    /// The contact, made when there is room: a full book gives up the one that was touched longest ago and is worth least.
    fn contact(&mut self, peer: PeerId) -> Option<&mut Contact> {
        let touched = self.touch();
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_KNOWN_MAX {
            let idle = self.peers.iter().filter(|(_, contact)| contact.idle() && !contact.candidates.configured());
            let oldest = idle.min_by_key(|(_, contact)| contact.touched).map(|(peer, _)| *peer)?;
            self.peers.remove(&oldest);
        }
        let contact = self.peers.entry(peer).or_default();
        contact.touched = touched;
        Some(contact)
    }

    fn touch(&mut self) -> u64 {
        self.touches += 1;
        self.touches
    }

    fn prune(&mut self, peer: PeerId) {
        if self.peers.get(&peer).is_some_and(|contact| contact.idle() && contact.candidates.is_empty()) {
            self.peers.remove(&peer);
        }
    }
}

/// The pause after so many failures: half a second, doubled each time, with a quarter of chance so that peers which lost one
/// another together do not dial together.
fn pause(failures: u32, max: Duration) -> Duration {
    let pause = Duration::from_millis(250).saturating_mul(1 << failures.min(12)).min(max);
    pause.mul_f64(rand::random_range(0.75..1.0))
}

#[cfg(test)]
mod tests;

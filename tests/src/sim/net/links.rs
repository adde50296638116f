//! Which servers reach each other, and when they notice.

use std::{sync::Arc, time::Duration};

use rand::Rng;
use tokio::time::sleep;

use super::Net;

impl Net {
    /// Servers of different groups do not reach each other any more; all others do.
    pub fn partition(self: &Arc<Self>, groups: &[Vec<usize>]) {
        let group = |number: usize| groups.iter().position(|group| group.contains(&number));
        let count = self.lock().nodes.len();
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        self.lock().cut = pairs.filter(|(a, b)| group(*a) != group(*b)).collect();
        self.note(format_args!("partition {groups:?}"));
        self.relink();
    }

    /// Two servers do not reach each other any more.
    pub fn cut(self: &Arc<Self>, a: usize, b: usize) {
        self.lock().cut.insert((a.min(b), a.max(b)));
        self.note(format_args!("{a} | {b}"));
        self.relink();
    }

    /// Two servers reach each other again.
    pub fn mend(self: &Arc<Self>, a: usize, b: usize) {
        self.lock().cut.remove(&(a.min(b), a.max(b)));
        self.note(format_args!("{a} - {b}"));
        self.relink();
    }

    /// All servers reach one another.
    pub fn heal(self: &Arc<Self>) {
        self.lock().cut.clear();
        self.note(format_args!("healed"));
        self.relink();
    }

    /// Notices which connections came up or went down, and lets the servers know after a while.
    pub(super) fn relink(self: &Arc<Self>) {
        let mut state = self.lock();
        let count = state.nodes.len();
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            let linked = state.is_linked(a, b);
            let (was, change) = state.links.get(&(a, b)).copied().unwrap_or((false, 0));
            if linked == was {
                continue;
            }
            state.links.insert((a, b), (linked, change + 1));
            // A new peer is found by its announcement; a lost one is missed when its keep-alive does not come.
            let delay = if linked { 5..800 } else { 5..4_000 };
            let delay = Duration::from_millis(state.random.random_range(delay));
            let net = self.clone();
            tokio::spawn(async move {
                sleep(delay).await;
                net.tell(a, b, linked, change + 1);
            });
        }
    }

    fn tell(&self, a: usize, b: usize, linked: bool, change: u64) {
        let (server, peer) = {
            let state = self.lock();
            let names = &state.names;
            let peer = names.iter().find(|(_, number)| **number == b).map(|(name, _)| name.clone());
            let current = state.links.get(&(a, b)) == Some(&(linked, change));
            let server = state.nodes[a].as_ref().filter(|_| current).and_then(|node| node.server.clone());
            (server, peer)
        };
        let (Some(server), Some(peer)) = (server, peer) else { return };
        self.note(format_args!("{a} {} {b}", if linked { "sees" } else { "misses" }));
        if linked { server.peer_seen(&peer) } else { server.peer_gone(&peer) }
    }
}

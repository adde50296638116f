//! Who may come in, and who may run: the places and the turns of inbound requests.
//!
//! A *place* is memory: a stream that is open here, running or waiting. A *turn* is work. Places are given at once or not at
//! all; turns are waited for in a place. One peer can take neither all places nor all turns, and each lane has its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p::PeerId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::{Lane, lane::Bounds};

/// The places and turns of one mesh.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    events: House,
    media: House,
}

/// The places and turns of one lane.
#[derive(Clone, Debug)]
struct House {
    bounds: Bounds,
    places: Arc<Mutex<Places>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    peers: BTreeMap<PeerId, (usize, Arc<Semaphore>)>,
}

impl Admission {
    /// All places free.
    pub(crate) fn new() -> Self {
        Self { events: House::new(Lane::Events.bounds()), media: House::new(Lane::Media.bounds()) }
    }

    /// A place for one request of this peer, if there is one.
    pub(crate) fn place(&self, peer: PeerId, lane: Lane) -> Option<Place> {
        match lane {
            Lane::Events => self.events.place(peer),
            Lane::Media => self.media.place(peer),
        }
    }
}

impl House {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, places: Arc::default(), turns: Arc::new(Semaphore::new(bounds.running)) }
    }

    fn place(&self, peer: PeerId) -> Option<Place> {
        let mut places = lock(&self.places);
        if places.taken >= self.bounds.admitted {
            return None;
        }
        let own_turns = || (0, Arc::new(Semaphore::new(self.bounds.running_per_peer)));
        let (taken, turns) = places.peers.entry(peer).or_insert_with(own_turns);
        if *taken >= self.bounds.admitted_per_peer {
            return None;
        }
        *taken += 1;
        let peer_turns = turns.clone();
        places.taken += 1;
        Some(Place { peer, peer_turns, house: self.clone() })
    }
}

/// A place. Dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    peer: PeerId,
    peer_turns: Arc<Semaphore>,
    house: House,
}

impl Place {
    /// Waits for a turn, first among the peer's own requests, so that waiting for them holds nobody else's.
    pub(crate) async fn turn(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), AcquireError> {
        let own = self.peer_turns.clone().acquire_owned().await?;
        let shared = self.house.turns.clone().acquire_owned().await?;
        Ok((own, shared))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.house.places);
        places.taken -= 1;
        if let Some((taken, _)) = places.peers.get_mut(&self.peer) {
            *taken -= 1;
            if *taken == 0 {
                places.peers.remove(&self.peer);
            }
        }
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // Counting cannot panic half-way, so a poisoned lock still guards sound counts.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_takes_its_share_of_each_lane_and_gives_it_back() {
        let (admission, greedy) = (Admission::new(), PeerId::random());
        let mut held = Vec::new();
        for lane in Lane::ALL {
            let got: Vec<_> = (0..10_000).filter_map(|_| admission.place(greedy, lane)).collect();
            assert_eq!(got.len(), lane.bounds().admitted_per_peer);
            assert!(admission.place(PeerId::random(), lane).is_some());
            held.push(got);
        }
        drop(held);
        for (lane, house) in [(Lane::Events, &admission.events), (Lane::Media, &admission.media)] {
            assert!(admission.place(greedy, lane).is_some());
            assert!(lock(&house.places).peers.is_empty());
        }
    }

    #[tokio::test]
    async fn a_crowd_fills_the_house_and_no_more() {
        for lane in Lane::ALL {
            let admission = Admission::new();
            let held: Vec<_> = (0..1000).filter_map(|_| admission.place(PeerId::random(), lane)).collect();
            assert_eq!(held.len(), lane.bounds().admitted);
            let mut turns = Vec::new();
            for place in held.iter().take(lane.bounds().running) {
                turns.push(place.turn().await.unwrap());
            }
            let late = tokio::time::timeout(std::time::Duration::from_millis(10), held.last().unwrap().turn());
            assert!(late.await.is_err());
        }
    }
}

//! A world of homeservers in one thread: a seeded network, a virtual clock, disks that forget what was not synced.
//!
//! Everything that the homeservers ask of their host is answered out of one seed, and time passes only when nobody has
//! anything to do. So the same seed gives the same run, to the byte: a failure is a number, and whoever has the number has
//! the failure. [`check`] says what must hold in the end; [`seed`] makes a life out of a number.
//!
//! Deliberately absent: sockets, libp2p, discovery. They have suites of their own.

pub mod chats;
pub mod chatter;
pub mod check;
pub mod history;
pub mod life;
pub mod net;
pub mod person;
pub mod phone;
pub mod ports;
pub mod seed;
pub mod trace;
pub mod troubles;

use std::{sync::Arc, time::Duration};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use self::{net::Net, person::Person, phone::Phone};

/// The people of a world, in order of appearance.
pub const NAMES: [&str; 20] = [
    "alice", "bob", "carol", "dave", "erin", "fiona", "grace", "heidi", "ivan", "judy", "karl", "liam", "mallory",
    "nina", "oscar", "peggy", "quinn", "rupert", "sybil", "trent",
];

/// The network has become quiet when it was silent for so long.
const SILENCE: Duration = Duration::from_secs(60);

/// A world: phones, the net between them, and what happens by chance.
pub struct World {
    /// The net.
    pub net: Arc<Net>,
    /// The phones, by number.
    pub phones: Vec<Arc<Phone>>,
    seed: u64,
}

impl World {
    /// Some phones, all of them on and in reach of one another. To be called inside a runtime whose time is paused.
    pub fn new(seed: u64, phones: usize) -> Self {
        let net = Arc::new(Net::new(seed));
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6b65_7973);
        let phones = (0..phones).map(|_| {
            let mut secret = [0; 32];
            random.fill_bytes(&mut secret);
            let phone = Arc::new(Phone::new(&net, secret, random.next_u64()));
            phone.start();
            phone
        });
        let phones = phones.collect();
        Self { net, phones, seed }
    }

    /// A source of chance of its own for each purpose, so that one purpose's use does not shift another's.
    pub fn random(&self, purpose: u64) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(purpose + 1);
        random
    }

    /// One person for each phone, registered.
    pub async fn people(&self) -> Vec<Arc<Person>> {
        let mut people = Vec::new();
        for (phone, name) in self.phones.iter().zip(NAMES) {
            people.push(Arc::new(Person::register(phone, name).await));
        }
        people
    }

    /// Everybody is in reach of everybody, nothing is lost any more, and every phone is on.
    pub fn heal(&self) {
        self.net.calm();
        for phone in &self.phones {
            phone.start();
        }
        self.net.heal();
    }

    /// Waits until no federation request has been on its way for a minute, and answers whether it came to that in time.
    pub async fn quiet(&self, at_most: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < at_most {
            if self.net.silent_for() >= SILENCE {
                return true;
            }
            sleep(Duration::from_secs(1)).await;
        }
        false
    }
}

/// Runs something in a world's own runtime: one thread, virtual time.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O can always be made").block_on(work)
}

//! The clock and the randomness of a simulated phone.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use hearth_core::{
    ports::{Clock, Random},
    types::Millis,
};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokio::time::Instant;

/// When every world begins: an evening in June 2025.
const BEGINNING_MS: u64 = 1_750_000_000_000;

/// Virtual time, off by as much as a phone's clock is wrong.
#[derive(Debug)]
pub struct SimClock {
    started: Instant,
    skew_ms: AtomicI64,
}

impl SimClock {
    /// A clock that is right.
    pub fn new() -> Self {
        Self { started: Instant::now(), skew_ms: AtomicI64::new(0) }
    }

    /// Puts the clock wrong.
    pub fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::SeqCst);
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap();
        Millis((BEGINNING_MS + elapsed).saturating_add_signed(self.skew_ms.load(Ordering::SeqCst)))
    }
}

/// Seeded randomness.
pub struct SimRandom(Mutex<ChaCha20Rng>);

impl SimRandom {
    /// The randomness of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl fmt::Debug for SimRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimRandom")
    }
}

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}

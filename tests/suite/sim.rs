//! Simulated lives of many phones: see `hearth_tests::sim`.
//!
//! `HEARTH_SIM_SEEDS=200` says how many seeds, `HEARTH_SIM_SEED=17` plays one alone, and `HEARTH_SIM_TRACE=FILE` writes down
//! what happened in it. `RUST_LOG=debug` shows what the homeservers say to it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use hearth_tests::sim::seed::{Outcome, play};

/// Without being asked for more, `cargo test` plays so many; `tests/run` asks for 200.
const SEEDS: u64 = 20;
/// As many as this machine has cores. Each seed has a thread, and so a runtime, of its own.
const THREADS: usize = 2;
/// One defect has many faces; the first few say enough.
const FAULTS_SHOWN: usize = 10;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn command(seed: u64) -> String {
    format!("HEARTH_SIM_SEED={seed} cargo test -p hearth-tests --test suite sim::seeds -- --exact --nocapture")
}

fn guarded(seed: u64) -> Result<Outcome, String> {
    let outcome = std::panic::catch_unwind(|| play(seed));
    let outcome = outcome.map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default()
    })?;
    if outcome.faults.is_empty() {
        return Ok(outcome);
    }
    let more = outcome.faults.len().saturating_sub(FAULTS_SHOWN);
    let mut shown: Vec<String> = outcome.faults.into_iter().take(FAULTS_SHOWN).collect();
    shown.extend((more > 0).then(|| format!("and {more} more")));
    Err(shown.join("\n    "))
}

#[test]
fn seeds() {
    // A second test of this process may have asked for the log before.
    drop(tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init());
    let seeds = match number("HEARTH_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HEARTH_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let started = Instant::now();
                    match guarded(seed) {
                        Ok(outcome) => println!("seed {seed}: {:.1} s, {outcome:?}", started.elapsed().as_secs_f32()),
                        Err(fault) => {
                            println!("seed {seed} FAILED:\n    {fault}\n  again: {}", command(seed));
                            failed.lock().unwrap().push(seed);
                        }
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    let again: Vec<_> = failed.iter().map(|seed| command(*seed)).collect();
    assert!(failed.is_empty(), "{} of {} seeds failed: {failed:?}\n{}", failed.len(), seeds.count(), again.join("\n"));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2] {
        assert_eq!(play(seed), play(seed), "seed {seed}");
    }
    assert_ne!(play(1).trace, play(2).trace, "another seed is another run");
}

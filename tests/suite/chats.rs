//! Encrypted chats of simulated phones through their troubles: see `hearth_tests::sim::chats`.
//!
//! `HEARTH_CHAT_SEEDS=50` says how many seeds. A seed is the same evening each time but for the encryption's own randomness, so
//! a failure most often comes back, and not always.

use hearth_tests::sim::chats::play;

/// Without being asked for more.
const SEEDS: u64 = 4;

#[test]
fn after_any_troubles_everybody_reads_everything_and_no_claim_was_false() {
    let seeds = std::env::var("HEARTH_CHAT_SEEDS").ok().map(|seeds| seeds.parse().unwrap()).unwrap_or(SEEDS);
    let mut claims = 0;
    for seed in 0..seeds {
        let outcome = play(seed);
        println!("seed {seed}: {outcome:?}");
        assert!(outcome.faults.is_empty(), "seed {seed}:\n{}", outcome.faults.join("\n"));
        assert!(outcome.said > 10, "seed {seed}: hardly anything was said");
        claims += outcome.claims;
    }
    assert!(claims > 100, "hardly anything was claimed");
}

//! What the encrypted client does, on real files: `cargo bench -p hearth-tests --bench chat`.
//!
//! Each figure is taken in a process of its own, so that memory and caches are those of that figure alone. Where two phones
//! talk they are whole nodes on loopback QUIC; only healing goes through memory, because a key must be held back on its way.
//! It measures and judges nothing: the targets stand beside the figures for whoever reads them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod figures;
mod phones;

use std::{path::Path, process::Command, time::Duration};

/// Set in the processes of single figures: which.
const FIGURE: &str = "HEARTH_BENCH_FIGURE";
/// Set in them too: where the data lies.
const DATA: &str = "HEARTH_BENCH_DATA";
/// Fresh processes that open the list of rooms; the figure is their median.
const OPENINGS: usize = 9;

fn main() {
    if let Ok(figure) = std::env::var(FIGURE) {
        let data = std::env::var(DATA).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(figures::take(&figure, Path::new(&data)));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    println!("{}", figure("rooms", dir.path()));
    let openings: Vec<Vec<f64>> = (0..OPENINGS).map(|_| numbers(&figure("open", dir.path()))).collect();
    let median = |part: usize| {
        let mut times: Vec<f64> = openings.iter().map(|times| times[part]).collect();
        times.sort_by(f64::total_cmp);
        times[OPENINGS / 2]
    };
    println!(
        "open to the first list of 100 encrypted rooms, no transport: median {:.1} ms (target <= 60 ms), of it {:.1} ms until \
         the homeserver is open and {:.1} ms until the client is",
        median(2),
        median(0),
        median(1) - median(0)
    );
    for each in ["memory", "send", "throughput", "heal", "wipe"] {
        println!("{}", figure(each, dir.path()));
    }
}

/// Takes one figure in a process of its own, and answers what it says.
fn figure(name: &str, data: &Path) -> String {
    let mut process = Command::new(std::env::current_exe().unwrap());
    let output = process.env(FIGURE, name).env(DATA, data).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said.trim().to_owned()
}

fn numbers(said: &str) -> Vec<f64> {
    said.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

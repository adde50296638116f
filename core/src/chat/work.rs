//! Long work: how far it is, the way to call it off, and a thread for it that is not an async one.
//!
//! A [`Progress`] is shared by whoever does the work and whoever watches it. Nothing is queued for the watcher: it asks how
//! far things are, or waits until they are further. Work that blocks, such as reading a file, runs aside; where the runtime
//! has one thread only, as in simulation, it runs in place, so that a run stays repeatable.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use crate::store::{self, StoreError};

/// How far something is, in bytes, and the way to call it off. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    done: u64,
    total: u64,
    cancelled: bool,
}

/// The work was called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was cancelled")]
pub struct Cancelled;

impl Progress {
    /// Nothing done of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes done, and bytes in all. The total is 0 while it is not known, and is an estimate until the end.
    pub fn at(&self) -> (u64, u64) {
        let state = self.state.borrow();
        (state.done, state.total)
    }

    /// Waits until it is further than `seen`, as [`Progress::at`] answered it, and says how far. It moves by whole percents
    /// at the least, and not at all once the work has ended.
    pub async fn after(&self, seen: (u64, u64)) -> (u64, u64) {
        let mut watch = self.state.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        drop(watch.wait_for(|state| (state.done, state.total) != seen).await);
        self.at()
    }

    /// Calls the work off. It ends soon, and leaves nothing half-made behind.
    pub fn cancel(&self) {
        self.state.send_modify(|state| state.cancelled = true);
    }

    /// Whether it was called off.
    pub fn is_cancelled(&self) -> bool {
        self.state.borrow().cancelled
    }

    /// Waits until it is called off.
    pub(crate) async fn cancelled(&self) {
        drop(self.state.subscribe().wait_for(|state| state.cancelled).await);
    }

    /// Begins to count anew, towards a total.
    pub(crate) fn begin(&self, total: u64) {
        self.state.send_modify(|state| (state.done, state.total) = (0, total));
    }

    /// Says how far it is.
    pub(crate) fn set(&self, done: u64) {
        self.state.send_if_modified(|state| {
            let percent = |done: u64| done.saturating_mul(100).checked_div(state.total).unwrap_or(done);
            let moved = percent(state.done) != percent(done) || done >= state.total;
            state.done = done;
            moved
        });
    }
}

/// What blocking work is handed to say how far it is, and to hear whether it is wanted still.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    progress: Progress,
    given_up: Arc<AtomicBool>,
}

impl Pace {
    /// The work has so many bytes in all.
    pub(crate) fn begin(&self, total: u64) {
        self.progress.begin(total);
    }

    /// So many bytes more are done.
    pub(crate) fn step(&self, bytes: usize) -> Result<(), Cancelled> {
        let (done, _) = self.progress.at();
        self.progress.set(done.saturating_add(bytes as u64));
        self.check()
    }

    /// Whether to go on.
    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        let ended = self.given_up.load(Ordering::Relaxed) || self.progress.is_cancelled();
        if ended { Err(Cancelled) } else { Ok(()) }
    }
}

/// Tells work that nobody waits for it any more, when it is dropped.
#[derive(Debug)]
pub(crate) struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// For work that is run by somebody else. It is told to give up when the second half is dropped.
pub(crate) fn pace(progress: &Progress) -> (Pace, GiveUp) {
    let given_up = Arc::new(AtomicBool::new(false));
    (Pace { progress: progress.clone(), given_up: given_up.clone() }, GiveUp(given_up))
}

/// Runs work that blocks where it holds nobody up. When the future is dropped, the work hears of it at its next step.
///
/// # Errors
/// When the work panicked.
pub(crate) async fn aside<T: Send + 'static>(
    progress: &Progress,
    work: impl FnOnce(&Pace) -> T + Send + 'static,
) -> Result<T, StoreError> {
    let (pace, _give_up) = pace(progress);
    store::aside(move || work(&pace)).await.map_err(|error| StoreError::Panicked(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_watches_hears_of_whole_percents_and_of_the_end() {
        let progress = Progress::new();
        progress.begin(10_000);
        let mut watch = progress.state.subscribe();
        watch.mark_unchanged();
        progress.set(99);
        assert!(!watch.has_changed().unwrap());
        progress.set(100);
        assert!(watch.has_changed().unwrap());
        assert_eq!(progress.after((99, 10_000)).await, (100, 10_000));
        progress.set(10_000);
        assert_eq!(progress.after((100, 10_000)).await, (10_000, 10_000));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_nobody_waits_for_ends() {
        let (ended, end) = std::sync::mpsc::sync_channel(1);
        let progress = Progress::new();
        let work = aside(&progress, move |pace| {
            while pace.step(1).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            ended.send(()).unwrap();
        });
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), work).await.is_err());
        end.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert!(!progress.is_cancelled(), "another try with the same handle is not called off");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_is_called_off_ends() {
        let progress = Progress::new();
        let work = aside(&progress, |pace| while pace.step(1).is_ok() {});
        let cancel = async {
            progress.after((0, 0)).await;
            progress.cancel();
            progress.cancelled().await;
        };
        let (done, ()) = tokio::join!(work, cancel);
        done.unwrap();
    }
}

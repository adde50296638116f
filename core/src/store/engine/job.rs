//! A unit of the engine's work.
//!
//! Jobs are of one type whatever they answer, because everything around them is compiled anew for each type otherwise, and there
//! are a hundred kinds. What a job answers lies in a place that only it and its caller know.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use super::lock;
use crate::store::{Result, StoreError, WriteTx};

/// What a job does, and whether it succeeded.
pub(super) type Work = Box<dyn FnMut(&mut WriteTx<'_>) -> bool + Send>;

/// A unit of work. It may be run more than once; only the last outcome counts.
pub(in crate::store) struct Job {
    work: Work,
    durable: bool,
    /// The last run panicked.
    panicked: Option<StoreError>,
    reply: oneshot::Sender<Result<()>>,
}

impl Job {
    pub(super) fn new(work: Work, durable: bool, reply: oneshot::Sender<Result<()>>) -> Self {
        Self { work, durable, panicked: None, reply }
    }

    /// True when the job succeeded.
    pub(super) fn run(&mut self, tx: &mut WriteTx<'_>) -> bool {
        // A panic must not take the only writer with it: hostile input becomes an error.
        match catch_unwind(AssertUnwindSafe(|| (self.work)(tx))) {
            Ok(succeeded) => {
                self.panicked = None;
                succeeded
            }
            Err(panic) => {
                let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
                self.panicked = Some(StoreError::Panicked(said.unwrap_or_else(|| "no message".into())));
                tx.dirty = true;
                false
            }
        }
    }

    /// Answers the caller.
    pub(super) fn finish(self, committed: Result<()>) {
        // A caller that no longer waits has given its interest up, not the write.
        drop(self.reply.send(self.panicked.map_or(committed, Err)));
    }

    pub(super) fn durable(&self) -> bool {
        self.durable
    }
}

/// Where a job leaves what it answers.
pub(super) struct Outcome<T, E>(Arc<Mutex<Option<Result<T, E>>>>);

impl<T, E> Default for Outcome<T, E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Send + 'static, E: From<StoreError> + Send + 'static> Outcome<T, E> {
    /// A job's work, which leaves its answer here.
    pub(super) fn of<F>(&self, mut work: F) -> Work
    where
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let place = self.0.clone();
        Box::new(move |tx| {
            // Nothing of an earlier run is left, should this one panic.
            *lock(&place) = None;
            let outcome = work(tx);
            let succeeded = outcome.is_ok();
            *lock(&place) = Some(outcome);
            succeeded
        })
    }

    /// What the caller is told once the batch is committed, or was not.
    pub(super) fn after(self, committed: Result<()>) -> Result<T, E> {
        let outcome = lock(&self.0).take();
        match (committed, outcome) {
            // A job's own error stands whatever became of the others' commit.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Closed.into()),
        }
    }
}

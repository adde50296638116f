//! The node's own tokio runtime: whatever thread an app calls from, the work is done here.
//!
//! An exported method hands its work over and waits for it, so a foreign executor never polls a tokio future. When the app
//! drops what it waits for (Kotlin cancels a coroutine), the work is aborted, unless it is one that must not end halfway.

use std::future::Future;

use hearth_core::ports::BoxFuture;
use tokio::task::{JoinError, JoinHandle};

use crate::{error::NodeError, watch::LISTENERS_AT_ONCE_MAX};

/// Two threads: the engine and the swarm have threads or tasks of their own, and a phone has better uses for more.
const WORKERS: usize = 2;
/// Threads for foreign callbacks and files, made when they are needed and gone ten seconds later. Listeners take most of them at
/// the most, so that an app whose listeners all block still gets its files and its keystore read.
const BLOCKING_MAX: usize = LISTENERS_AT_ONCE_MAX + 64;

/// Some work, with what comes of it. Boxed, so that what tokio makes of a task is compiled for each kind of outcome and not for
/// each piece of work: a tenth of a megabyte of code.
pub(crate) type Work<T> = BoxFuture<'static, Result<T, NodeError>>;

/// A runtime that ends with its owner, from whatever thread that is dropped.
#[derive(Debug)]
pub(crate) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(crate) fn new() -> Result<Self, NodeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_MAX)
            .thread_name("hearth")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| NodeError::internal(format!("no threads for the node: {error}")))?;
        Ok(Self(Some(runtime)))
    }

    /// Does some work and waits for it. Dropping the future ends the work.
    pub(crate) async fn run<T: Send + 'static>(&self, work: Work<T>) -> Result<T, NodeError> {
        let mut task = Aborting(self.spawn(work)?);
        outcome((&mut task.0).await)
    }

    /// As [`Runtime::run`], for work that must not be left halfway: it goes on when nobody waits for it any more.
    pub(crate) async fn run_whole<T: Send + 'static>(&self, work: Work<T>) -> Result<T, NodeError> {
        outcome(self.spawn(work)?.await)
    }

    /// Starts some work that goes on by itself.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>, NodeError> {
        let runtime = self.0.as_ref().ok_or_else(|| NodeError::internal("the runtime has ended"))?;
        Ok(runtime.spawn(work))
    }

    /// As [`Runtime::run`], for a caller that must block. Not to be called from the runtime's own threads, where it answers an
    /// error.
    pub(crate) fn block<T: Send + 'static>(&self, work: Work<T>) -> Result<T, NodeError> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.spawn(async move {
            // The caller waits in this very call, so there is someone to take the answer.
            drop(reply.send(work.await));
        })?;
        let gone = |_| NodeError::internal("an internal error was contained; the log says more");
        answer.recv().map_err(gone)?
    }
}

fn outcome<T>(joined: Result<Result<T, NodeError>, JoinError>) -> Result<T, NodeError> {
    match joined {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => {
            Err(NodeError::internal("an internal error was contained; the log says more"))
        }
        Err(_) => Err(NodeError::NotRunning { reason: "the node ended meanwhile".to_owned() }),
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The last handle may be dropped on one of the runtime's own threads, which cannot wait for itself.
            runtime.shutdown_background();
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct Aborting<T>(JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

//! From a feed to an app's listener: one batch at a time, never two at once, and nothing piles up behind a slow one.
//!
//! A feed is pulled: the next batch is computed when the listener has returned from the last, and says what changed between.
//! So a listener that takes a minute costs a thread for a minute and no memory. One that throws gets the next batch as if it
//! had taken this one. It runs on a thread where it may block and may call the node back.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinHandle},
};

use crate::{
    error::NodeError,
    node::{Running, Shared},
    platform::ListenerError,
};

/// A subscription. It ends when [`TaskHandle::cancel`] is called or the last reference to this is gone.
#[derive(Debug, uniffi::Object)]
pub struct TaskHandle(Life);

/// Whether a subscription goes on.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    task: AbortHandle,
    /// A task that was told to end does so a moment later; the app is told what it asked for.
    cancelled: Arc<AtomicBool>,
}

impl Life {
    pub(crate) fn is_over(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.task.is_finished()
    }
}

impl TaskHandle {
    pub(crate) fn new<T>(task: &JoinHandle<T>) -> Arc<Self> {
        Arc::new(Self(Life { task: task.abort_handle(), cancelled: Arc::default() }))
    }

    /// What sees whether it has ended, and does not end it.
    pub(crate) fn life(&self) -> Life {
        self.0.clone()
    }
}

#[uniffi::export]
impl TaskHandle {
    /// Ends the subscription. A call of the listener that is under way still ends; no other follows. Safe to call twice.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
        self.0.task.abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_over()
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Calls an app's code where it may block, and waits for it. What it throws is a [`NodeError::Callback`].
pub(crate) async fn call_out<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(call).await.map_err(|error| NodeError::Callback {
        reason: if error.is_panic() { "the app's callback failed" } else { "the node ended meanwhile" }.to_owned(),
    })
}

/// Hands batches to a listener until the feed ends. `next` answers `None` at the end.
async fn pump<T, Next, Fut>(mut next: Next, listener: impl Fn(T) -> Result<(), ListenerError> + Clone + Send + 'static)
where
    T: Send + 'static,
    Next: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    while let Some(batch) = next().await {
        hand_over(&listener, batch).await;
    }
}

/// Listeners of all nodes that run at once. Each takes a thread for as long as it does not return; further ones wait.
pub(crate) const LISTENERS_AT_ONCE_MAX: usize = 256;

static TURNS: Semaphore = Semaphore::const_new(LISTENERS_AT_ONCE_MAX);

/// Calls a listener with one batch, and waits for it.
pub(crate) async fn hand_over<T: Send + 'static>(
    listener: &(impl Fn(T) -> Result<(), ListenerError> + Clone + Send + 'static),
    batch: T,
) {
    let listener = listener.clone();
    let turn = TURNS.acquire().await;
    let called = call_out(move || {
        // Held until the listener returns, also when nobody waits for it any more.
        let _turn = turn;
        listener(batch)
    });
    // The first error is a panic or the end of the node, the second is the listener's own.
    let failure = match called.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!("a listener failed; it is called again with what comes next");
    // What an app's exception says is the app's, and may hold anything.
    tracing::debug!(failure, "why the listener failed");
}

/// A future that borrows what it was made from.
pub(crate) type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Follows a feed that is pulled through a shared handle, through every pause of the node, and hands its batches to a
/// listener.
pub(crate) fn follow<Feed, T, Open, Next, Fut>(
    shared: &Arc<Shared>,
    open: Open,
    next: Next,
    listener: impl Fn(T) -> Result<(), ListenerError> + Clone + Send + Sync + 'static,
) -> Result<Arc<TaskHandle>, NodeError>
where
    Feed: Clone + Send + Sync + 'static,
    T: Send + 'static,
    Open: Fn(&Arc<Running>) -> Feed + Send + Sync + 'static,
    Next: Fn(Feed) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<T>> + Send + 'static,
{
    let phases = shared.phases.clone();
    let task = shared.runtime.spawn(async move {
        while let Some(running) = phases.until_running().await {
            let feed = open(&running);
            pump(|| next(feed.clone()), listener.clone()).await;
            phases.until_other(running).await;
        }
    })?;
    Ok(TaskHandle::new(&task))
}

/// As [`follow`], for a feed that only one can hold.
pub(crate) fn follow_mut<Feed, T, Open, Next>(
    shared: &Arc<Shared>,
    open: Open,
    next: Next,
    listener: impl Fn(T) -> Result<(), ListenerError> + Clone + Send + Sync + 'static,
) -> Result<Arc<TaskHandle>, NodeError>
where
    Feed: Send + 'static,
    T: Send + 'static,
    Open: Fn(&Arc<Running>) -> Feed + Send + Sync + 'static,
    Next: for<'a> Fn(&'a mut Feed) -> BoxFuture<'a, Option<T>> + Send + Sync + 'static,
{
    let phases = shared.phases.clone();
    let task = shared.runtime.spawn(async move {
        while let Some(running) = phases.until_running().await {
            let mut feed = open(&running);
            while let Some(batch) = next(&mut feed).await {
                hand_over(&listener, batch).await;
            }
            drop(feed);
            phases.until_other(running).await;
        }
    })?;
    Ok(TaskHandle::new(&task))
}

//! From a feed to an app's listener: one batch at a time, never two at once, and nothing piles up behind a slow one.
//!
//! A feed is pulled: the next batch is computed when the listener has returned from the last, and says what changed between.
//! So a listener that takes a minute costs a thread for a minute and no memory. One that throws gets the next batch as if it
//! had taken this one. It runs on a thread where it may block and may call the node back.

use std::{future::Future, sync::Mutex, sync::PoisonError};

use tokio::task::{AbortHandle, JoinHandle};

use crate::error::NodeError;

/// A subscription. It ends when [`TaskHandle::cancel`] is called or the last reference to this is gone.
#[derive(Debug, uniffi::Object)]
pub struct TaskHandle(Mutex<Option<AbortHandle>>);

impl TaskHandle {
    pub(crate) fn new<T>(task: &JoinHandle<T>) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(Mutex::new(Some(task.abort_handle()))))
    }
}

#[uniffi::export]
impl TaskHandle {
    /// Ends the subscription. A call of the listener that is under way still ends; no other follows. Safe to call twice.
    pub fn cancel(&self) {
        if let Some(task) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(AbortHandle::is_finished)
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
pub(crate) async fn pump<T, Next, Fut>(mut next: Next, listener: impl Fn(T) + Clone + Send + 'static)
where
    T: Send + 'static,
    Next: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    while let Some(batch) = next().await {
        let listener = listener.clone();
        if let Err(error) = call_out(move || listener(batch)).await {
            tracing::warn!(%error, "a listener failed; it is called again with what comes next");
        }
    }
}

//! Calling off what takes long, where dropping the call does not do it: a cancelled Swift task goes on waiting.

use std::{future::Future, sync::Arc};

use hearth_core::chat::Progress;

use crate::error::NodeError;

/// Calls off one long piece of work, from any thread: give it to the call, and use it for that call alone. (A cancelled Kotlin
/// coroutine calls its work off by itself; a cancelled Swift task does not.)
#[derive(Debug, uniffi::Object)]
pub struct CancelToken(Progress);

#[uniffi::export]
impl CancelToken {
    /// A token that nothing was called off with.
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Progress::new()))
    }

    /// Calls it off: the call ends with [`NodeError::Cancelled`]. Safe to call twice, before and after.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl CancelToken {
    /// What the work of a call tells of itself, and listens to.
    pub(crate) fn progress(token: Option<Arc<Self>>) -> Progress {
        token.map_or_else(Progress::new, |token| token.0.clone())
    }

    /// Some work, which ends as soon as it is called off.
    pub(crate) async fn guard<T>(
        token: Option<Arc<Self>>,
        work: impl Future<Output = Result<T, NodeError>>,
    ) -> Result<T, NodeError> {
        let Some(token) = token else { return work.await };
        tokio::select! {
            biased;
            () = token.0.cancelled() => Err(NodeError::Cancelled { reason: "it was cancelled".to_owned() }),
            done = work => done,
        }
    }
}

//! Work that needs much memory for a moment: a password hash, a picture that is made smaller. One at a time, whoever asks,
//! and aside.

use super::Home;
use crate::store::aside;

/// Why heavy work was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotDone(String);

impl Home {
    /// Does heavy work when its turn has come. The turn goes with the work, so that a caller who gives up does not let a
    /// second one start beside the first.
    ///
    /// # Errors
    /// When the work panicked, or the runtime is ending.
    pub(crate) async fn heavily<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let turn = self.heavy.clone().acquire_owned().await.map_err(|error| NotDone(error.to_string()))?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        aside(work).await.map_err(|error| NotDone(error.to_string()))
    }
}

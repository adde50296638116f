//! Work that would hold an async thread up: reading and writing files, hashing, decoding.
//!
//! Where the runtime has several threads it goes to one that is for such work; where it has one, as in simulation, it is
//! done in place, so that a run stays repeatable.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::JoinError,
};

/// Does `work` where it holds nobody up. It runs to its end even when nobody waits for it any more.
///
/// # Errors
/// When the work panicked, or the runtime is ending.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread => runtime.spawn_blocking(work).await,
        _ => Ok(work()),
    }
}

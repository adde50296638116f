//! From a finished file to a row that speaks of it, and back: in which order, so that no kill and no neighbour can part them.
//!
//! The file gets its name, then the row commits, then the files whose rows went are removed. All three under the repository's
//! door: two files with one content are one blob, and the end of the one must not take the other's file.

use super::{MediaError, address::MediaKey, rows};
use crate::{
    home::Home,
    store::{BlobHash, Finished, StoreError, View, WriteTx},
};

/// Names a finished file and writes its row, both for good. `job` writes the row and answers the blobs that are not needed
/// any more.
///
/// # Errors
/// The job's own, or the disk's. The file is gone then, unless another row speaks of it.
pub(super) async fn keep<F>(home: &Home, finished: Option<Finished>, job: F) -> Result<(), MediaError>
where
    F: FnMut(&mut WriteTx<'_>) -> Result<Vec<BlobHash>, MediaError> + Send + 'static,
{
    let door = home.repository.door().await;
    let hash = finished.as_ref().map(|finished| finished.hash);
    if let Some(finished) = finished {
        home.repository.blobs.keep(finished).await?;
    }
    let (gone, outcome) = match home.store.write(job).await {
        Ok(gone) => (gone, Ok(())),
        Err(error) => (hash.into_iter().filter(|hash| is_orphan(home, hash)).collect(), Err(error)),
    };
    if !gone.is_empty() {
        home.repository.blobs.remove(gone, door).await;
    }
    outcome
}

/// Takes a file away that may go.
pub(super) async fn forget(home: &Home, key: MediaKey) -> Result<(), MediaError> {
    keep(home, None, move |tx| Ok(rows::remove(tx, &key)?.into_iter().collect())).await
}

/// Notes that a file was used. A note that is lost costs nothing, so it need not be durable.
pub(super) async fn note_use(home: &Home, key: MediaKey, place: Option<u64>) -> Result<(), StoreError> {
    let Some(place) = place else { return Ok(()) };
    if rows::is_stale(&home.store.snapshot()?, place)? {
        home.store.write_soon(move |tx| rows::used(tx, &key)).await?;
    }
    Ok(())
}

/// Whether no row speaks of a blob. Where that cannot be known, the next start's sweep will know.
fn is_orphan(home: &Home, hash: &BlobHash) -> bool {
    let known = home.store.snapshot().and_then(|view| Ok(view.blob()?.row(hash)?.is_some()));
    known.is_ok_and(|known| !known)
}

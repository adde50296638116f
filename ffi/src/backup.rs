//! Everything in one file under a passphrase, and back.

use std::{path::PathBuf, sync::Arc};

use hearth_p2p::node::{export, import};

use crate::{
    cancel::CancelToken,
    error::NodeError,
    node::{Node, Shared, secrets},
    timeline::{ProgressListener, watch_progress},
};

/// Export and import of everything: identity, keys, rooms, messages and files.
#[derive(uniffi::Object)]
pub struct Backup {
    shared: Arc<Shared>,
}

#[uniffi::export]
impl Node {
    /// Export and import of everything.
    pub fn backup(&self) -> Arc<Backup> {
        Arc::new(Backup { shared: self.shared.clone() })
    }
}

#[uniffi::export]
impl Backup {
    /// Writes everything into a new file, sealed by a passphrase, while the node runs. Answers how many bytes it has.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for an empty passphrase or a file that is there already; [`NodeError::Storage`].
    #[uniffi::method(default(listener = None, cancel = None))]
    pub async fn export(
        &self,
        to: String,
        passphrase: String,
        listener: Option<Arc<dyn ProgressListener>>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<u64, NodeError> {
        let progress = CancelToken::progress(cancel);
        let watcher = listener.map(|listener| watch_progress(&self.shared, &progress, listener)).transpose()?;
        let shared = self.shared.clone();
        let done = self
            .shared
            .with(async move |running| {
                let key = secrets::store_key(shared.platform.clone()).await?;
                Ok(export(&running.node, &key, &passphrase, &PathBuf::from(to), &progress).await?)
            })
            .await;
        if let Some(watcher) = watcher {
            watcher.cancel();
        }
        done
    }

    /// Takes everything out of such a file, on a phone whose node was never started: the data directory must not exist, or be
    /// empty. Start the node afterwards.
    ///
    /// # Errors
    /// [`NodeError::Crypto`] for a wrong passphrase or a damaged file; [`NodeError::InvalidInput`] for another kind of file, or
    /// when there is data already; [`NodeError::Storage`]. Nothing is left behind then.
    #[uniffi::method(default(listener = None, cancel = None))]
    pub async fn import(
        &self,
        from: String,
        passphrase: String,
        listener: Option<Arc<dyn ProgressListener>>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<(), NodeError> {
        let progress = CancelToken::progress(cancel);
        let watcher = listener.map(|listener| watch_progress(&self.shared, &progress, listener)).transpose()?;
        let shared = self.shared.clone();
        let done = self
            .shared
            .runtime
            .run(Box::pin(async move {
                let _changing = shared.stopped().await?;
                let imported = import(&PathBuf::from(from), &passphrase, &shared.settings.data, &progress).await?;
                // The key first: data without its key would be locked for ever, a key without data harms nobody.
                secrets::keep(shared.platform.clone(), imported.store_key()).await?;
                Ok(imported.put_in_place()?)
            }))
            .await;
        if let Some(watcher) = watcher {
            watcher.cancel();
        }
        done
    }
}

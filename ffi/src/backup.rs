//! Everything in one file under a passphrase, and back; and the recovery key, by which other clients of the person read the past.

use std::{path::PathBuf, sync::Arc};

use hearth_core::chat;
use hearth_p2p::node::{export, import};

use crate::{
    cancel::CancelToken,
    error::NodeError,
    node::{Node, Shared, secrets},
    timeline::{ProgressListener, watch_progress},
};

/// How the backup of room keys stands that a recovery key opens.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RecoveryState {
    /// There is none that this phone knows of: make a recovery key, or recover by one.
    Off,
    /// Room keys go into it by themselves.
    On {
        /// Which version of the account's backup it is.
        version: String,
        /// Room keys that are in it.
        backed_up: u64,
        /// Room keys that are on this phone.
        total: u64,
    },
    /// Another client of the person put another backup in its place, or deleted it. Nothing goes into it from this phone: make
    /// another recovery key, or recover by the one that the other client showed.
    Replaced,
}

/// What a recovery brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Recovered {
    /// The person's identity vouches for this phone, and its private keys are here.
    pub is_verified: bool,
    /// Room keys that were not here before, or not as good ones.
    pub room_keys: u64,
}

/// Export and import of everything: identity, keys, rooms, messages and files. And the recovery key, with which another Matrix
/// client of the same account becomes a verified device that reads the whole history.
#[derive(uniffi::Object)]
pub struct Backup {
    shared: Arc<Shared>,
}

#[uniffi::export]
impl Node {
    /// Export and import of everything, and the recovery key.
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

    /// Makes a new recovery key: 48 letters and digits in groups of four, for the person to write down. Show it once and keep
    /// it nowhere: Hearth does not keep it either. Given to another Matrix client that is signed in to the account (see
    /// `ClientApi`), it makes that one a verified device and opens the whole history. The one before stops working at the same
    /// moment. From then on room keys go into the account's backup by themselves.
    ///
    /// If the state is `Replaced`, recover by the other client's recovery key first, if there is one: room keys that its backup
    /// alone has go with it.
    ///
    /// # Errors
    /// [`NodeError::Crypto`] when another client of the account made its cross-signing keys, and this phone does not have them;
    /// [`NodeError::NotRunning`], [`NodeError::Paused`], [`NodeError::Storage`]. The key before works on then.
    /// [`NodeError::Cancelled`]: it works on as well, unless the new one was ready and only the answer is lost; make another to
    /// be sure.
    #[uniffi::method(default(cancel = None))]
    pub async fn recovery_key(&self, cancel: Option<Arc<CancelToken>>) -> Result<String, NodeError> {
        self.shared
            .with(async move |running| {
                CancelToken::guard(cancel, async { Ok(running.chat.make_recovery_key().await?.as_str().to_owned()) })
                    .await
            })
            .await
    }

    /// Takes what a recovery key opens that another client of the account showed: the person's private keys, if they are those
    /// of the account's identity, and all room keys of the account's backup, which this phone goes on with from then on.
    /// Messages that were waiting for their keys become readable by themselves. White space in the key means nothing.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no recovery key, such as one with a slip of the pen; [`NodeError::Crypto`] for
    /// another one than the account's; [`NodeError::NotFound`] when no client of the account has made one;
    /// [`NodeError::NotRunning`], [`NodeError::Paused`], [`NodeError::Storage`], [`NodeError::Cancelled`]. Try again: what came
    /// in already stays.
    #[uniffi::method(default(cancel = None))]
    pub async fn recover(&self, key: String, cancel: Option<Arc<CancelToken>>) -> Result<Recovered, NodeError> {
        self.shared
            .with(async move |running| {
                let recovered = CancelToken::guard(cancel, async { Ok(running.chat.recover(&key).await?) }).await?;
                Ok(Recovered { is_verified: recovered.is_verified, room_keys: recovered.room_keys })
            })
            .await
    }

    /// How the backup of room keys stands. Looks at every room key: for a screen that shows it, not for every frame.
    ///
    /// # Errors
    /// [`NodeError::NotRunning`], [`NodeError::Paused`], [`NodeError::Storage`].
    pub async fn recovery_state(&self) -> Result<RecoveryState, NodeError> {
        self.shared.with(async |running| Ok(running.chat.recovery().await?.into())).await
    }
}

impl From<chat::Recovery> for RecoveryState {
    fn from(state: chat::Recovery) -> Self {
        match state {
            chat::Recovery::Off => Self::Off,
            chat::Recovery::On { version, backed_up, total } => Self::On { version, backed_up, total },
            chat::Recovery::Replaced => Self::Replaced,
        }
    }
}

//! The recovery key: one line that a person writes down, and with which another client of theirs becomes a verified device and
//! reads everything, without this phone's screen at hand.
//!
//! It opens the account's secret storage: account data that any client can fetch and only the key can open (`secrets`). In
//! there lie the private cross-signing keys, and the key of a backup of all room keys, which our own homeserver keeps like any
//! other's (`fill`). [`Chat::make_recovery_key`] makes all of that (`make`); where another client of the account made it,
//! [`Chat::recover`] takes it from there (`restore`). Client-server API, "Secrets" and "Server-side key backups".
//!
//! What the backup is good for although the homeserver is this very phone: other devices of the account read the past by it.
//! For the day on which the phone is lost there are archives ([`super::archive`]).
//!
//! Invariants: the written key is kept nowhere, neither on disk nor in a log. At every moment either the old key opens a whole
//! backup or the new one does. Room keys go into a backup only while it is the latest and is made with the key that we have.

mod fill;
mod make;
mod restore;
mod secrets;

use std::sync::atomic::{AtomicBool, Ordering};

use matrix_sdk_crypto::{store::types::BackupDecryptionKey, types::RoomKeyBackupInfo};
use tokio::sync::MutexGuard;
use zeroize::Zeroizing;

pub(super) use self::fill::keep_up;
use super::{Chat, ChatError, Inner, crypto::CryptoError};
use crate::keys::{KeysError, backup};

/// What a person writes down. Wiped from memory when it is dropped, and not shown by `Debug`.
#[derive(Clone)]
pub struct RecoveryKey(Zeroizing<String>);

impl RecoveryKey {
    /// The key as it is to be written down: base58 in groups of four, with spaces that mean nothing. Appendices,
    /// "Cryptographic key representation".
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryKey")
    }
}

/// How the backup of room keys stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// There is none that this client knows of: make a recovery key, or recover by one.
    Off,
    /// Room keys go into it by themselves.
    On {
        /// Which version of the account's backup it is.
        version: String,
        /// Room keys that are in it.
        backed_up: u64,
        /// Room keys that are here.
        total: u64,
    },
    /// Another client of the account put another backup in its place, or deleted it. Nothing goes into it from here: make
    /// another recovery key, or recover by the one that the other client showed.
    Replaced,
}

/// What a recovery brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The account's identity vouches for this device, and its private keys are here.
    pub is_verified: bool,
    /// Room keys that were not here before, or not as good ones.
    pub room_keys: u64,
}

/// Who works on the backup, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Held by whoever makes, fills or reads a backup.
    turn: tokio::sync::Mutex<()>,
    /// The backup took no more keys, so it is offered none until there is another one, or another start.
    is_full: AtomicBool,
}

/// A turn at the backup that may change which one it is. Whatever becomes of it, the loop of encryption looks anew afterwards at
/// what the backup lacks.
struct Turn<'a> {
    inner: &'a Inner,
    held: Option<MutexGuard<'a, ()>>,
}

impl<'a> Turn<'a> {
    async fn take(inner: &'a Inner) -> Self {
        Self { inner, held: Some(inner.recovery.turn.lock().await) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Given back before the bell, so that whoever comes finds it free.
        drop(self.held.take());
        self.inner.crypto.forget_backed_up();
        self.inner.recovery.is_full.store(false, Ordering::Relaxed);
        self.inner.crypto.wishes.ring();
    }
}

impl Chat {
    /// Makes a new recovery key, and everything that it opens: secret storage with the private cross-signing keys, and a new
    /// backup of all room keys that are here. What an older recovery key opened, or another client's, is replaced at the end
    /// in one commit; until then the old one stays as it was. From then on room keys go into the backup by themselves.
    ///
    /// The answer is the only copy: whoever did not get it, because the phone died right then, makes another. Dropping the
    /// future calls it off. Room keys that only another client's backup has, and whose key is not here, go with that backup:
    /// recover by that client's recovery key first, if there is one.
    ///
    /// # Errors
    /// [`ChatError::Crypto`] when the private cross-signing keys are not on this device, because another client made them:
    /// verify this device by that client, or recover by its key; the store's.
    pub async fn make_recovery_key(&self) -> Result<RecoveryKey, ChatError> {
        make::make(&self.inner).await
    }

    /// Takes what a recovery key opens that another client of the account showed: the private cross-signing keys, if they are
    /// those of the account's identity, and all room keys of the backup, which this client goes on with from then on. Messages
    /// that were waiting for their keys become readable by themselves.
    ///
    /// White space in the key means nothing. A passphrase is no recovery key.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for what is no recovery key, such as one with a slip of the pen; [`ChatError::Crypto`] for
    /// another one than the account's, and for secret storage that is damaged; [`ChatError::NotFound`] when the account has
    /// none; the store's. Nothing has changed then, but room keys that were taken in before the database failed.
    pub async fn recover(&self, key: &str) -> Result<Recovered, ChatError> {
        restore::recover(&self.inner, key).await
    }

    /// How the backup of room keys stands. Looks at every room key: for a screen that shows it, not for every frame.
    ///
    /// # Errors
    /// The store's.
    pub async fn recovery(&self) -> Result<Recovery, ChatError> {
        let version = match standing(&self.inner).await? {
            Standing::Off => return Ok(Recovery::Off),
            Standing::Replaced => return Ok(Recovery::Replaced),
            Standing::On(ours) => ours.version,
        };
        let counts = self.inner.crypto.room_keys_in(&version).await?;
        Ok(Recovery::On { version, backed_up: counts.backed_up as u64, total: counts.total as u64 })
    }
}

/// A backup whose key we have.
#[derive(Clone, Debug)]
struct Ours {
    version: String,
    key: BackupDecryptionKey,
}

/// How what we know of a backup stands to what our homeserver has.
#[derive(Debug)]
enum Standing {
    Off,
    On(Ours),
    Replaced,
}

/// Compares what the crypto store knows with the latest version of the account's backup.
async fn standing(inner: &Inner) -> Result<Standing, CryptoError> {
    let kept = inner.crypto.machine.backup_machine().get_backup_keys().await?;
    let (Some(key), Some(version)) = (kept.decryption_key, kept.backup_version) else { return Ok(Standing::Off) };
    let latest = latest(inner)?;
    let is_ours = latest.is_some_and(|(latest, info)| latest == version && key.backup_key_matches(&info));
    Ok(if is_ours { Standing::On(Ours { version, key }) } else { Standing::Replaced })
}

/// The latest version of the account's backup, and how its keys are encrypted. `None` if there is none.
fn latest(inner: &Inner) -> Result<Option<(String, RoomKeyBackupInfo)>, CryptoError> {
    let found = match backup::info(&inner.home.store.snapshot()?, &inner.me, None) {
        Err(KeysError::NotFound(_)) => return Ok(None),
        found => found?,
    };
    let backup::Backup { version, algorithm, .. } = found;
    // What a client wrote that we cannot read is a backup that we cannot use.
    let Ok(info) = serde_json::from_str(algorithm.json().get()) else {
        return Ok(Some((version, RoomKeyBackupInfo::Other { algorithm: String::new(), auth_data: [].into() })));
    };
    Ok(Some((version, info)))
}

/// Makes the encryption machine know the backup that the crypto store keeps, as it would after a start.
async fn adopt(inner: &Inner, ours: &Ours) -> Result<(), CryptoError> {
    let machine = inner.crypto.machine.backup_machine();
    if machine.backup_version().await.as_ref() == Some(&ours.version) {
        return Ok(());
    }
    machine.disable_backup().await?;
    let public = ours.key.megolm_v1_public_key();
    public.set_version(ours.version.clone());
    Ok(machine.enable_backup_v1(public).await?)
}

#[cfg(test)]
mod tests;

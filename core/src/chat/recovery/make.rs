//! Making a recovery key, so that a kill at any moment leaves the old one or the new one in force, and a whole backup with it.
//!
//! The order: first what only the old backup has is taken from it. Then the new one is filled as a draft that no client sees,
//! batch by batch. One commit at the end makes the draft the account's only backup, writes the secret storage that the new key
//! opens, and tells the crypto store which backup it is. A kill before that commit leaves the draft, which the next attempt
//! sweeps away; room keys that were marked as being in it go into the old backup again, which takes those that it lacks.

use matrix_sdk_crypto::{secret_storage::SecretStorageKey, store::types::BackupDecryptionKey};
use ruma::{api::client::backup::BackupAlgorithm, events::secret::request::SecretName, serde::Raw};
use zeroize::Zeroizing;

use super::{Ours, RecoveryKey, Standing, Turn, adopt, fill::fill, restore, secrets, standing};
use crate::{
    chat::{ChatError, Inner, crypto::CryptoError},
    keys::backup::draft,
    store::{StoreError, WriteTx},
};

/// See [`Chat::make_recovery_key`](crate::chat::Chat::make_recovery_key).
pub(super) async fn make(inner: &Inner) -> Result<RecoveryKey, ChatError> {
    let _turn = Turn::take(inner).await;
    let mut kept = cross_signing(inner).await?;
    if let Standing::On(old) = standing(inner).await? {
        restore::take_in(inner, &old).await?;
    }
    let user = inner.me.user_key;
    let draft = inner.home.store.write::<_, StoreError, _>(move |tx| draft::begin(tx, user)).await?;
    let ours = Ours { version: draft.version(), key: BackupDecryptionKey::new() };
    let draft = fill(inner, &ours, draft).await?;

    let storage = SecretStorageKey::new();
    let written = RecoveryKey(Zeroizing::new(storage.to_base58()));
    kept.push((SecretName::RecoveryKey, Zeroizing::new(ours.key.to_base64())));
    let sealed = secrets::seal(&storage, kept)?;
    let algorithm = signed(inner, &ours).await?;
    let rows = inner.crypto.backup_key_rows(&ours.key, &ours.version).await?;
    let job = move |tx: &mut WriteTx<'_>| -> Result<(), CryptoError> {
        draft::publish(tx, &draft, &algorithm)?;
        sealed.write(tx, user)?;
        Ok(rows.apply(tx)?)
    };
    inner.home.store.write(job).await?;
    adopt(inner, &ours).await?;
    Ok(written)
}

/// The private cross-signing keys, by the names that they are kept under.
async fn cross_signing(inner: &Inner) -> Result<Vec<(SecretName, Zeroizing<String>)>, ChatError> {
    let mut kept = Vec::new();
    for name in restore::CROSS_SIGNING {
        let secret = inner.crypto.machine.store().export_secret(&name).await.map_err(CryptoError::from)?;
        let secret = secret.ok_or_else(|| {
            let why = "another client of yours made your cross-signing keys, and this device does not have them: verify \
                       this device by that client, or recover by its recovery key";
            ChatError::Crypto(why.into())
        })?;
        kept.push((name, Zeroizing::new(secret)));
    }
    Ok(kept)
}

/// How the backup is encrypted, signed by the person's master key and by this device.
async fn signed(inner: &Inner, ours: &Ours) -> Result<Raw<BackupAlgorithm>, CryptoError> {
    let mut info = ours.key.to_backup_info();
    let signed = inner.crypto.machine.backup_machine().sign_backup(&mut info).await;
    signed.map_err(|error| CryptoError::Failed(format!("the backup cannot be signed: {error}")))?;
    let info = Raw::new(&info);
    Ok(info.map_err(|error| CryptoError::Failed(format!("the backup cannot be described: {error}")))?.cast())
}

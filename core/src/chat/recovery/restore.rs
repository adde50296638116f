//! Taking in what a recovery key opens: the private cross-signing keys, and the room keys of a backup, page by page.

use matrix_sdk_crypto::{
    olm::ExportedRoomKey,
    store::{
        SecretImportError,
        types::{BackupDecryptionKey, CrossSigningKeyExport},
    },
};
use ruma::{OwnedRoomId, api::client::backup::KeyBackupData, events::secret::request::SecretName, serde::Raw};

use super::{
    Ours, Recovered, Turn, adopt, latest,
    secrets::{self, Opened, damaged},
};
use crate::{
    chat::{ChatError, Inner, crypto::CryptoError},
    keys::backup,
    store::{UserKey, View, WriteTx},
};

/// The names of the private cross-signing keys.
pub(super) const CROSS_SIGNING: [SecretName; 3] =
    [SecretName::CrossSigningMasterKey, SecretName::CrossSigningSelfSigningKey, SecretName::CrossSigningUserSigningKey];

/// Room keys of a backup that are looked at in one step, and that are one commit if all of them are new.
const PAGE_KEYS: usize = 100;

/// See [`Chat::recover`](crate::chat::Chat::recover).
pub(super) async fn recover(inner: &Inner, typed: &str) -> Result<Recovered, ChatError> {
    let _turn = Turn::take(inner).await;
    let (identity, backup_key) = {
        let (view, user) = (inner.home.store.snapshot()?, inner.me.user_key);
        let opened = secrets::open(&view, user, typed)?;
        let backup_key = opened.secret(&view, user, &SecretName::RecoveryKey)?;
        (identity(&opened, &view, user)?, backup_key)
    };
    let ours = match backup_key {
        Some(key) => matching(inner, &key)?,
        None => None,
    };
    let is_verified = take_identity(inner, identity).await?;
    let mut room_keys = 0;
    if let Some(ours) = ours {
        room_keys = take_in(inner, &ours).await?;
        go_on_with(inner, &ours).await?;
    }
    inner.reads.trust_moved();
    inner.changes.ring();
    Ok(Recovered { is_verified, room_keys })
}

/// The private cross-signing keys as they lie in secret storage.
fn identity(opened: &Opened, view: &dyn View, user: UserKey) -> Result<CrossSigningKeyExport, ChatError> {
    let secret = |name| -> Result<Option<String>, ChatError> {
        Ok(opened.secret(view, user, name)?.map(|mut secret| std::mem::take(&mut *secret)))
    };
    let [master, self_signing, user_signing] = &CROSS_SIGNING;
    let mut keys = CrossSigningKeyExport::default();
    keys.master_key = secret(master)?;
    keys.self_signing_key = secret(self_signing)?;
    keys.user_signing_key = secret(user_signing)?;
    Ok(keys)
}

/// The latest backup, which a key from secret storage must open. `None` if there is no backup any more.
fn matching(inner: &Inner, key: &str) -> Result<Option<Ours>, ChatError> {
    let key = BackupDecryptionKey::from_base64(key).map_err(|_| damaged("the backup's key is malformed"))?;
    match latest(inner)? {
        None => Ok(None),
        Some((version, info)) if key.backup_key_matches(&info) => Ok(Some(Ours { version, key })),
        Some(_) => Err(damaged("the key in it is not the one of the account's backup")),
    }
}

/// Takes the private cross-signing keys, if they are those of the published identity, and signs this device by them. Answers
/// whether the identity vouches for this device then.
async fn take_identity(inner: &Inner, keys: CrossSigningKeyExport) -> Result<bool, ChatError> {
    // The machine compares with the identity as it is published now.
    inner.crypto.publish(&inner.home, &inner.me).await?;
    let machine = &inner.crypto.machine;
    match machine.import_cross_signing_keys(keys).await {
        Ok(_) => inner.crypto.publish(&inner.home, &inner.me).await?,
        Err(SecretImportError::Store(error)) => return Err(CryptoError::from(error).into()),
        // The identity was replaced since. The room keys are as good as before.
        Err(error) => tracing::warn!(%error, "the cross-signing keys in secret storage are not those of the account"),
    }
    let is_complete = machine.cross_signing_status().await.is_complete();
    let own = machine.get_device(&inner.me.user, &inner.me.device, None).await.map_err(CryptoError::from)?;
    Ok(is_complete && own.is_some_and(|own| own.is_cross_signed_by_owner()))
}

/// Makes a backup the one that room keys go into.
async fn go_on_with(inner: &Inner, ours: &Ours) -> Result<(), CryptoError> {
    let rows = inner.crypto.backup_key_rows(&ours.key, &ours.version).await?;
    let user = inner.me.user_key;
    let job = move |tx: &mut WriteTx<'_>| -> Result<(), CryptoError> {
        secrets::want_backup(tx, user)?;
        Ok(rows.apply(tx)?)
    };
    inner.home.store.write(job).await?;
    adopt(inner, ours).await
}

/// Takes in all room keys of a backup that are not here, or not as good, and answers how many those were.
pub(super) async fn take_in(inner: &Inner, ours: &Ours) -> Result<u64, CryptoError> {
    let (mut taken, mut damaged) = (0, 0_u64);
    let mut after: Option<(OwnedRoomId, String)> = None;
    loop {
        let view = inner.home.store.snapshot()?;
        let page = backup::page(&view, inner.me.user_key, &ours.version, after.as_ref(), PAGE_KEYS)?;
        drop(view);
        let Some((room, session, _)) = page.last() else { break };
        after = Some((room.clone(), session.clone()));
        let mut keys = Vec::new();
        for (room, session, sealed) in page {
            match open(inner, ours, room, session, &sealed).await? {
                Kept::New(key) => keys.push(*key),
                Kept::Known => {}
                Kept::Damaged => damaged += 1,
            }
        }
        taken += inner.crypto.take_room_keys(keys, &ours.version).await?;
    }
    if taken > 0 {
        // What waited for these keys is read again.
        inner.changes.ring();
    }
    if damaged > 0 {
        tracing::warn!(damaged, "room keys of the backup do not open");
    }
    Ok(taken)
}

/// What a room key in a backup is to us.
enum Kept {
    New(Box<ExportedRoomKey>),
    Known,
    Damaged,
}

async fn open(
    inner: &Inner,
    ours: &Ours,
    room: OwnedRoomId,
    session: String,
    sealed: &Raw<KeyBackupData>,
) -> Result<Kept, CryptoError> {
    let Ok(sealed) = sealed.deserialize() else { return Ok(Kept::Damaged) };
    let known = inner.crypto.first_index(&room, &session).await?;
    if known.is_some_and(|known| u64::from(known) <= u64::from(sealed.first_message_index)) {
        return Ok(Kept::Known);
    }
    let Ok(opened) = ours.key.decrypt_session_data(sealed.session_data) else { return Ok(Kept::Damaged) };
    Ok(Kept::New(Box::new(ExportedRoomKey::from_backed_up_room_key(room, session, opened))))
}

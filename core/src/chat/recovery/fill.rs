//! Room keys on their way into the backup: all of them into a new one, and afterwards each that comes.
//!
//! A batch is encrypted outside of the engine. Its rows in the homeserver's backup and the marks of the crypto store that they
//! are there are one commit, so neither is ever there without the other.

use std::sync::atomic::Ordering;

use ruma::serde::Raw;

use super::{Ours, Standing, adopt, standing};
use crate::{
    chat::{Inner, crypto::CryptoError, crypto_store::Marks},
    keys::{
        KeysError,
        backup::{
            self, Ranked,
            draft::{self, Draft},
        },
    },
    store::WriteTx,
};

/// Room keys of one commit: about a hundred kilobytes, which take some ten milliseconds to encrypt.
const BATCH_KEYS_MAX: usize = 100;
/// Batches of one step of the loop of encryption, which has other things to do as well.
const STEP_BATCHES_MAX: usize = 4;

/// Puts room keys that came since into the backup, if there is one. Called by each step of the loop of encryption.
pub(in crate::chat) async fn keep_up(inner: &Inner) -> Result<(), CryptoError> {
    if inner.crypto.backup_lacks_nothing() || inner.recovery.is_full.load(Ordering::Relaxed) {
        return Ok(());
    }
    // Whoever makes a backup or reads one rings when they are done.
    let Ok(_turn) = inner.recovery.turn.try_lock() else { return Ok(()) };
    let Standing::On(ours) = standing(inner).await? else { return Ok(()) };
    adopt(inner, &ours).await?;
    for _ in 0..STEP_BATCHES_MAX {
        match put(inner, &ours).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(Refusal::Replaced) => return Ok(()),
            Err(Refusal::Full(why)) => {
                tracing::warn!(why, "room keys that come from here on are in no backup");
                inner.recovery.is_full.store(true, Ordering::Relaxed);
                return Ok(());
            }
            Err(Refusal::Failed(error)) => return Err(error),
        }
    }
    // There may be more, once others had their turn.
    inner.crypto.wishes.ring();
    Ok(())
}

/// Why a batch did not go into a backup.
#[derive(Debug)]
enum Refusal {
    /// It is not the latest any more.
    Replaced,
    /// It takes no more.
    Full(String),
    Failed(CryptoError),
}

impl From<CryptoError> for Refusal {
    fn from(error: CryptoError) -> Self {
        Self::Failed(error)
    }
}

impl From<KeysError> for Refusal {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::WrongVersion { .. } | KeysError::NotFound(_) => Self::Replaced,
            KeysError::TooMuch(why) => Self::Full(why),
            other => Self::Failed(other.into()),
        }
    }
}

/// Puts a batch into the backup. Answers whether there was one.
async fn put(inner: &Inner, ours: &Ours) -> Result<bool, Refusal> {
    let Some((keys, marks)) = batch(inner, ours).await? else { return Ok(false) };
    let (user, version) = (inner.me.user_key, ours.version.clone());
    let job = move |tx: &mut WriteTx<'_>| -> Result<(), KeysError> {
        backup::add_in(tx, user, &version, &keys)?;
        Ok(marks.apply(tx)?)
    };
    inner.home.store.write(job).await?;
    Ok(true)
}

/// Puts all room keys into a draft, and answers it with them.
pub(super) async fn fill(inner: &Inner, ours: &Ours, mut draft: Draft) -> Result<Draft, CryptoError> {
    while let Some((keys, marks)) = batch(inner, ours).await? {
        let job = move |tx: &mut WriteTx<'_>| -> Result<Draft, KeysError> {
            let draft = draft::add(tx, draft, &keys)?;
            marks.apply(tx)?;
            Ok(draft)
        };
        draft = inner.home.store.write(job).await?;
    }
    Ok(draft)
}

/// Some of the room keys that a backup lacks, encrypted for it, and the marks that say it has them. `None` if it has all.
async fn batch(inner: &Inner, ours: &Ours) -> Result<Option<(Ranked, Marks)>, CryptoError> {
    let (sessions, marks) = inner.crypto.not_backed_up(&ours.version, BATCH_KEYS_MAX).await?;
    if sessions.is_empty() {
        return Ok(None);
    }
    let public = ours.key.megolm_v1_public_key();
    let mut keys = Ranked::default();
    for session in sessions {
        let (room, id) = (session.room_id().to_owned(), session.session_id().to_owned());
        let sealed = public.encrypt(session).await;
        let sealed = sealed.map_err(|error| CryptoError::Failed(format!("a room key cannot be encrypted: {error}")))?;
        let sealed = Raw::new(&sealed);
        let sealed = sealed.map_err(|error| CryptoError::Failed(format!("a room key cannot be written: {error}")))?;
        // One that no backup can hold counts as done: it must not keep the others out, at this try and at each later one.
        if let Err(error) = keys.push(room, id, &sealed) {
            tracing::warn!(%error, "a room key is left out of the backup");
        }
    }
    Ok(Some((keys, marks)))
}

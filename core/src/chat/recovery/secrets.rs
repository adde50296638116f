//! Secret storage: secrets in the account's global account data, sealed by a key that only the person has.
//!
//! One key at a time is the default one, and it is the one that all of this is about. Client-server API, "Secrets", "Storage",
//! algorithm `m.secret_storage.v1.aes-hmac-sha2`.

use std::collections::BTreeMap;

use matrix_sdk_crypto::{
    secret_storage::{AesHmacSha2EncryptedData, DecodeError, SecretStorageKey},
    store::types::BackupDecryptionKey,
};
use ruma::events::{
    EventContentFromType, secret::request::SecretName, secret_storage::key::SecretStorageKeyEventContent,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    chat::{ChatError, crypto::CryptoError},
    store::{StoreError, UserKey, View, WriteTx},
    users::account_data::{self, AccountDataError},
};

/// The type that names the default key.
const DEFAULT_KEY: &str = "m.secret_storage.default_key";
/// What the type of a key begins with; its id follows.
const KEY: &str = "m.secret_storage.key.";
/// Whether the person wants a backup of room keys. Client-server API, "Key backup enabled preference".
const KEY_BACKUP: &str = "m.key_backup";
/// Characters of a recovery key that are looked at: 48, and as many spaces as somebody may type.
const TYPED_CHARS_MAX: usize = 256;

#[derive(Serialize, Deserialize)]
struct DefaultKey {
    key: String,
}

/// The content of a secret's type.
#[derive(Serialize, Deserialize)]
struct Secret<T> {
    encrypted: BTreeMap<String, T>,
}

/// Account data that makes a new secret storage.
pub(super) struct Sealed {
    key_id: String,
    rows: Vec<(String, String)>,
}

/// Seals secrets by a new key.
pub(super) fn seal(
    key: &SecretStorageKey,
    secrets: Vec<(SecretName, Zeroizing<String>)>,
) -> Result<Sealed, CryptoError> {
    let key_id = key.key_id().to_owned();
    let mut rows = vec![(format!("{KEY}{key_id}"), json(key.event_content())?)];
    for (name, secret) in secrets {
        let sealed = key.encrypt(secret.as_bytes().to_vec(), &name);
        rows.push((name.to_string(), json(&Secret { encrypted: [(key_id.clone(), sealed)].into() })?));
    }
    // The last row: whoever reads the rows one by one finds the key that it names.
    rows.push((DEFAULT_KEY.to_owned(), json(&DefaultKey { key: key_id.clone() })?));
    Ok(Sealed { key_id, rows })
}

impl Sealed {
    /// Makes it the account's secret storage. The description of the default key before it goes, unless something else is
    /// still sealed by that one.
    ///
    /// # Errors
    /// When the account has too many types of account data; the store's.
    pub(super) fn write(&self, tx: &mut WriteTx<'_>, user: UserKey) -> Result<(), CryptoError> {
        let old = default_key(tx, user)?.filter(|old| *old != self.key_id);
        for (kind, content) in &self.rows {
            account_data::set(tx, user, None, kind, content)?;
        }
        want_backup(tx, user)?;
        if let Some(old) = old
            && !is_needed(tx, user, &old)?
        {
            account_data::remove(tx, user, &format!("{KEY}{old}"))?;
        }
        Ok(())
    }
}

/// Says to the account's other clients that the person wants a backup of room keys.
pub(super) fn want_backup(tx: &mut WriteTx<'_>, user: UserKey) -> Result<(), CryptoError> {
    account_data::set(tx, user, None, KEY_BACKUP, r#"{"enabled":true}"#)?;
    Ok(())
}

/// Whether a secret of the account is sealed by a key.
fn is_needed(view: &dyn View, user: UserKey, key_id: &str) -> Result<bool, StoreError> {
    let all = account_data::changed_since(view, user, None, 0)?;
    Ok(all.iter().any(|data| {
        let secret = serde_json::from_str::<Secret<serde::de::IgnoredAny>>(data.content.get());
        secret.is_ok_and(|secret| secret.encrypted.contains_key(key_id))
    }))
}

fn default_key(view: &dyn View, user: UserKey) -> Result<Option<String>, StoreError> {
    let content = account_data::get(view, user, None, DEFAULT_KEY)?;
    Ok(content.and_then(|content| serde_json::from_str(content.get()).ok()).map(|DefaultKey { key }| key))
}

fn json(value: &impl Serialize) -> Result<String, CryptoError> {
    serde_json::to_string(value).map_err(|error| CryptoError::Failed(format!("a secret cannot be written: {error}")))
}

/// An account's secret storage, opened.
pub(super) struct Opened(SecretStorageKey);

/// Opens an account's secret storage with what a person typed.
///
/// # Errors
/// See [`Chat::recover`](crate::chat::Chat::recover).
pub(super) fn open(view: &dyn View, user: UserKey, typed: &str) -> Result<Opened, ChatError> {
    // Decoding takes time that grows with the square of the length.
    let is_key = typed.chars().take(TYPED_CHARS_MAX + 1).count() <= TYPED_CHARS_MAX
        && BackupDecryptionKey::from_base58(typed).is_ok();
    if !is_key {
        return Err(malformed());
    }
    let id = default_key(view, user)?;
    let id = id.ok_or_else(|| ChatError::NotFound("no client of this account has made a recovery key yet".into()))?;
    let kind = format!("{KEY}{id}");
    let content = account_data::get(view, user, None, &kind)?;
    let content = content.ok_or_else(|| damaged("what describes its key is missing"))?;
    let content = SecretStorageKeyEventContent::from_parts(&kind, &content);
    let mut content = content.map_err(|error| damaged(&error.to_string()))?;
    // A key that a passphrase stands for as well is tried as what it is, not as a passphrase, which takes long.
    content.passphrase = None;
    // The decoder's own errors tell what was typed.
    SecretStorageKey::from_account_data(typed, content).map(Opened).map_err(|error| match error {
        DecodeError::Mac(_) => wrong(),
        DecodeError::UnsupportedAlgorithm(_) => damaged("it is sealed in a way that is not known here"),
        DecodeError::MacLength(..) | DecodeError::IvLength(..) => damaged("what its key is checked by is malformed"),
        _ => malformed(),
    })
}

impl Opened {
    /// A secret. `None` if it is not there, or is sealed by another key.
    ///
    /// # Errors
    /// [`ChatError::Crypto`] if the key does not open it.
    pub(super) fn secret(
        &self,
        view: &dyn View,
        user: UserKey,
        name: &SecretName,
    ) -> Result<Option<Zeroizing<String>>, ChatError> {
        let Some(content) = account_data::get(view, user, None, name.as_str())? else { return Ok(None) };
        let secret: Result<Secret<serde_json::Value>, _> = serde_json::from_str(content.get());
        let Some(sealed) = secret.ok().and_then(|mut secret| secret.encrypted.remove(self.0.key_id())) else {
            return Ok(None);
        };
        let sealed: AesHmacSha2EncryptedData =
            serde_json::from_value(sealed).map_err(|error| damaged(&error.to_string()))?;
        // A key without anything to check it by is found out here.
        let plain = self.0.decrypt(&sealed, name).map_err(|_| wrong())?;
        String::from_utf8(plain).map(|plain| Some(Zeroizing::new(plain))).map_err(|_| damaged("a secret is no text"))
    }
}

pub(super) fn damaged(why: &str) -> ChatError {
    ChatError::Crypto(format!("the account's secret storage cannot be used: {why}"))
}

fn wrong() -> ChatError {
    ChatError::Crypto("this is not the recovery key of this account, or not the latest one".into())
}

fn malformed() -> ChatError {
    ChatError::Invalid("this is no recovery key: look for a letter that is missing or another one".into())
}

impl From<AccountDataError> for CryptoError {
    fn from(error: AccountDataError) -> Self {
        match error {
            AccountDataError::Store(error) => Self::Store(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

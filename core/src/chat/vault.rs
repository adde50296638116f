//! The vault: what seals the person's secrets in the database, and hides the names in its keys.
//!
//! Everything is sealed by one random data key. It lies in the database itself, wrapped by a 32-byte *store key* that only
//! the platform's keystore holds. So the store key can change without rewriting what is sealed, and whoever throws the
//! wrapped key away has thrown away everything that it sealed.
//!
//! Randomness: matrix-sdk-store-encryption draws keys and nonces from the operating system's generator by itself, and not
//! from `ports::Random`. That is as it should be: a simulation repeats its random numbers, and a nonce must never be
//! repeated. Nothing is decided by these bytes, so a run with the same seed still does the same.
//!
//! Deliberately absent: passphrases. The store key is random, and protecting it is the platform's work.
//!
//! Invariants: a value opens only under the name of the table that it was sealed for. A wrong store key changes nothing.
//! A destroyed vault is never replaced by a new one in the same database.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use matrix_sdk_store_encryption::{EncryptedValue, Error as CipherError, StoreCipher};
use zeroize::Zeroizing;

use crate::store::{Record, Store, StoreError, VaultRecord, View, WriteTx};

/// The only row of the table.
const ROW: u8 = 1;
/// Bytes at the end of what is sealed that name its table.
const TAG_BYTES: usize = 8;
/// What tells the names of tables from the names in keys, where both are hashed.
const TAG_CONTEXT: &str = "hearth vault table";

/// The key that the platform's keystore holds for us: 32 random bytes. Gone from memory when it is dropped.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl StoreKey {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, for whatever keeps them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey")
    }
}

/// Why the vault does not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The store key is another one. Nothing was changed.
    #[error(
        "the store key is not the one that this database was sealed with: give the key that the keystore made for it"
    )]
    WrongKey,
    /// The vault was destroyed on purpose.
    #[error("the vault of this database was destroyed, and what it sealed is lost: begin with a new data directory")]
    Destroyed,
    /// The wrapped key is no wrapped key.
    #[error("the vault's own row is damaged: {0}")]
    Damaged(String),
    /// A sealed value is damaged, or belongs to another table.
    #[error("a sealed value of `{table}` does not open")]
    Unreadable {
        /// The table that it was looked for in.
        table: String,
    },
    /// The cipher refused, as with a value of more than 256 GiB.
    #[error("the cipher failed: {0}")]
    Cipher(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn cipher_failed(error: CipherError) -> VaultError {
    VaultError::Cipher(error.to_string())
}

/// The vault of one database, open.
pub struct Vault {
    /// `None` once it was destroyed.
    cipher: RwLock<Option<StoreCipher>>,
}

impl Vault {
    /// Opens the vault of a database, or makes it the first time.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`], which changes nothing; [`VaultError::Destroyed`]; the store's.
    pub async fn open_or_create(store: &Store, key: &StoreKey) -> Result<Self, VaultError> {
        let record = match row(&store.snapshot()?)? {
            Some(record) => record,
            None => {
                let fresh = StoreCipher::new().map_err(cipher_failed)?;
                let fresh = VaultRecord::Wrapped(fresh.export_with_key(&key.0).map_err(cipher_failed)?);
                // Whoever else opens it at this moment may have been first, and then theirs is the vault.
                let job = move |tx: &mut WriteTx<'_>| match row(tx)? {
                    Some(there) => Ok(there),
                    None => put(tx, &fresh).map(|()| fresh.clone()),
                };
                store.write::<_, StoreError, _>(job).await?
            }
        };
        let VaultRecord::Wrapped(wrapped) = record else { return Err(VaultError::Destroyed) };
        let cipher = StoreCipher::import_with_key(&key.0, &wrapped).map_err(|error| match error {
            CipherError::Encryption(_) => VaultError::WrongKey,
            other => VaultError::Damaged(other.to_string()),
        })?;
        Ok(Self { cipher: RwLock::new(Some(cipher)) })
    }

    /// Seals a value of a table. Two seals of one value differ.
    ///
    /// # Errors
    /// [`VaultError::Destroyed`].
    pub fn seal(&self, table: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.with(|cipher| {
            // The cipher wipes this copy when it is done.
            let mut data = Vec::with_capacity(plain.len() + TAG_BYTES);
            data.extend_from_slice(plain);
            data.extend_from_slice(&tag(cipher, table));
            let sealed = cipher.encrypt_value_data(data).map_err(cipher_failed)?;
            Ok(postcard::to_stdvec(&sealed).map_err(StoreError::from)?)
        })
    }

    /// Opens what [`Vault::seal`] sealed for the same table.
    ///
    /// # Errors
    /// [`VaultError::Unreadable`] for everything else; [`VaultError::Destroyed`].
    pub fn open(&self, table: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let unreadable = || VaultError::Unreadable { table: table.to_owned() };
        self.with(|cipher| {
            let sealed: EncryptedValue = postcard::from_bytes(sealed).map_err(|_| unreadable())?;
            let mut plain = Zeroizing::new(cipher.decrypt_value_data(sealed).map_err(|_| unreadable())?);
            let len = plain.len().checked_sub(TAG_BYTES).ok_or_else(unreadable)?;
            if plain.get(len..) != Some(&tag(cipher, table)) {
                return Err(unreadable());
            }
            plain.truncate(len);
            Ok(plain)
        })
    }

    /// The keyed hash of a name in a table: the same for the same name, and of no use to whoever lacks the vault.
    ///
    /// # Errors
    /// [`VaultError::Destroyed`].
    pub fn hash(&self, table: &str, name: &[u8]) -> Result<[u8; 32], VaultError> {
        self.with(|cipher| Ok(cipher.hash_key(table, name)))
    }

    /// Throws the key away, in memory at once and on disk before this answers: what it sealed can never be read again.
    ///
    /// The database is written anew at another place, so its old pages hold the wrapped key until they are written over. It
    /// is worth nothing without the store key: a keystore that forgets that one as well has closed this door too.
    ///
    /// # Errors
    /// When the database fails. The key in memory is gone all the same.
    pub async fn destroy(&self, store: &Store) -> Result<(), VaultError> {
        drop(self.cipher.write().unwrap_or_else(PoisonError::into_inner).take());
        Self::destroy_closed(store).await
    }

    /// As [`Vault::destroy`], for a vault that nobody opened or can open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn destroy_closed(store: &Store) -> Result<(), VaultError> {
        Ok(store.write::<_, StoreError, _>(|tx| put(tx, &VaultRecord::Destroyed)).await?)
    }

    /// Wraps the key by another store key, from then on the only one that opens the vault.
    ///
    /// # Errors
    /// [`VaultError::Destroyed`]; the store's, after which the old key still holds.
    pub async fn rewrap(&self, store: &Store, key: &StoreKey) -> Result<(), VaultError> {
        let wrapped = self.with(|cipher| cipher.export_with_key(&key.0).map_err(cipher_failed))?;
        let record = VaultRecord::Wrapped(wrapped);
        store
            .write(move |tx| match row(tx)? {
                Some(VaultRecord::Wrapped(_)) => Ok(put(tx, &record)?),
                Some(VaultRecord::Destroyed) | None => Err(VaultError::Destroyed),
            })
            .await
    }

    fn with<T>(&self, work: impl FnOnce(&StoreCipher) -> Result<T, VaultError>) -> Result<T, VaultError> {
        let cipher: RwLockReadGuard<'_, _> = self.cipher.read().unwrap_or_else(PoisonError::into_inner);
        work(cipher.as_ref().ok_or(VaultError::Destroyed)?)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

fn tag(cipher: &StoreCipher, table: &str) -> [u8; TAG_BYTES] {
    let hash = cipher.hash_key(TAG_CONTEXT, table.as_bytes());
    hash.first_chunk().copied().unwrap_or_default()
}

fn row(view: &dyn View) -> Result<Option<VaultRecord>, StoreError> {
    view.vault()?.row(ROW)?.map(|row| VaultRecord::decode(row.value())).transpose()
}

fn put(tx: &mut WriteTx<'_>, record: &VaultRecord) -> Result<(), StoreError> {
    let bytes = record.encode()?;
    tx.write().vault.insert(ROW, bytes.as_slice())?;
    Ok(())
}

#[cfg(test)]
mod tests;

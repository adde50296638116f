//! The rows of the crypto store: their kinds, how their keys hide names, and how their values are packed and sealed.
//!
//! One table holds them all, by the local user that they belong to and the kind of row. What follows in the key is one keyed
//! hash of 16 bytes for each name, so that all rows of a room, say, lie together and yet nobody learns which room. That many
//! bytes never meet by chance, and nobody can search for a pair without the vault.
//!
//! Values are MessagePack with field names, which matrix-sdk-crypto's pickles are made to be read from after fields were
//! added; JSON only where a pickle carries raw JSON in itself.

use std::{
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use matrix_sdk_crypto::store::CryptoStoreError;
use rmp_serde::{Serializer, config::BytesMode};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    chat::vault::{Vault, VaultError},
    store::{Record, Result, Store, StoreError, UserKey, View, WriteTx},
};

/// The keyed hash of one name in a key.
pub(super) type Hash = [u8; 16];

/// Rows that one step of a long read takes, before other tasks get their turn: well below a millisecond to copy, and a few
/// to unseal and unpickle.
const PAGE_ROWS: usize = 64;
/// Room for most values, so that none is moved while it grows and leaves a copy of a key behind.
const PACKED_BYTES: usize = 4_096;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal,)*) => {
        /// What a row holds. The numbers are part of the file format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Kind { $($(#[doc = $doc])* $name = $number,)* }

        impl Kind {
            /// What the vault knows the kind by.
            fn table(self) -> &'static str {
                match self { $(Self::$name => concat!("crypto ", $number),)* }
            }
        }
    };
}
kinds! {
    /// The Olm account. No names.
    Account = 1,
    /// The private cross-signing keys. No names.
    PrivateIdentity = 2,
    /// Where a sync of to-device messages goes on. No names.
    NextBatch = 3,
    /// The key that opens the backup. No names.
    BackupKey = 4,
    /// The version of the backup. No names.
    BackupVersion = 5,
    /// The key of a dehydrated device. No names.
    DehydratedKey = 6,
    /// (curve25519 key of the device, session): an Olm session.
    Session = 10,
    /// (room, session): an inbound group session, as a record.
    RoomKey = 11,
    /// (curve25519 key of the device, kind of sender data, session, room) -> nothing: room keys by who made them. The kind
    /// is a byte, not a hash.
    RoomKeyOfDevice = 12,
    /// (room): the outbound group session.
    Outbound = 13,
    /// (room, session): what our own session began with, as a record.
    Original = 14,
    /// (room, session): why a key was withheld.
    Withheld = 15,
    /// A number in place of names -> key of `Withheld`: the order in which they came.
    WithheldOrder = 16,
    /// (user, device): a device.
    Device = 17,
    /// (user): the public cross-signing keys.
    Identity = 18,
    /// (user): whether the user's devices are up to date.
    TrackedUser = 19,
    /// (sender key and hash of an Olm message) -> nothing.
    OlmHash = 20,
    /// A number in place of names -> key of `OlmHash`.
    OlmHashOrder = 21,
    /// (request): a key request, as a record.
    KeyRequest = 22,
    /// (what is asked for) -> key of `KeyRequest`.
    KeyRequestByInfo = 23,
    /// (name of the secret, the secret): a secret that was sent to us.
    Secret = 24,
    /// (room): settings.
    RoomSettings = 25,
    /// (room, sender): an announced bundle of the room's keys.
    Bundle = 26,
    /// A number in place of names -> key of `Bundle`.
    BundleOrder = 27,
    /// (room) -> nothing: all of the room's keys were fetched from the backup.
    Downloaded = 28,
    /// (room): an invite that was accepted, and whose bundle is awaited.
    PendingBundle = 29,
    /// (name): what the caller likes.
    Custom = 30,
    /// (name): a lock, as a record.
    Lease = 31,
}

impl Kind {
    /// Whether values are JSON, because they hold `Raw` JSON or fields that only JSON knows.
    fn is_json(self) -> bool {
        matches!(self, Self::Outbound | Self::Withheld)
    }

    /// How arrays of bytes are packed. As MessagePack's integers, half of them take two bytes, so the rows that there are most
    /// of pack them as bytes. Not all pickles can be read from that: an Olm session's cannot.
    fn bytes_mode(self) -> BytesMode {
        if self == Self::RoomKey { BytesMode::ForceAll } else { BytesMode::Normal }
    }
}

impl From<StoreError> for CryptoStoreError {
    fn from(error: StoreError) -> Self {
        Self::backend(error)
    }
}

impl From<VaultError> for CryptoStoreError {
    fn from(error: VaultError) -> Self {
        Self::backend(error)
    }
}

/// Whose rows they are, and what seals them.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) user: UserKey,
    pub(super) vault: Arc<Vault>,
}

impl Owner {
    /// The keyed hash of a name.
    pub(super) fn hash(&self, kind: Kind, name: impl AsRef<[u8]>) -> Result<Hash, VaultError> {
        let hash = self.vault.hash(kind.table(), name.as_ref())?;
        Ok(hash.first_chunk().copied().unwrap_or_default())
    }

    /// The key of a row with one name.
    pub(super) fn key(&self, kind: Kind, name: impl AsRef<[u8]>) -> Result<Vec<u8>, VaultError> {
        Ok(self.hash(kind, name)?.to_vec())
    }

    /// The key of a row with two names.
    pub(super) fn pair(&self, kind: Kind, one: impl AsRef<[u8]>, two: impl AsRef<[u8]>) -> Result<Vec<u8>, VaultError> {
        Ok([self.hash(kind, one)?, self.hash(kind, two)?].concat())
    }

    /// A value, packed and sealed.
    pub(super) fn seal(&self, kind: Kind, value: &impl Serialize) -> Result<Vec<u8>, CryptoStoreError> {
        Ok(self.vault.seal(kind.table(), &pack(kind, value)?)?)
    }

    /// The value of what [`Owner::seal`] made.
    pub(super) fn open<T: DeserializeOwned>(&self, kind: Kind, sealed: &[u8]) -> Result<T, CryptoStoreError> {
        let packed = self.vault.open(kind.table(), sealed)?;
        if kind.is_json() {
            return Ok(serde_json::from_slice(&packed)?);
        }
        let value = rmp_serde::from_slice(&packed);
        Ok(value.map_err(|error| StoreError::Corrupt(format!("a row of {kind:?} does not decode: {error}")))?)
    }

    /// The bytes of a row.
    pub(super) fn bytes(&self, view: &dyn View, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let row = view.crypto()?.row((self.user.0, kind as u8, key))?;
        Ok(row.map(|row| row.value().to_vec()))
    }

    /// A row that is a record.
    pub(super) fn record<R: Record>(&self, view: &dyn View, kind: Kind, key: &[u8]) -> Result<Option<R>> {
        let row = view.crypto()?.row((self.user.0, kind as u8, key))?;
        row.map(|row| R::decode(row.value())).transpose()
    }

    /// A row that is sealed.
    pub(super) fn value<T: DeserializeOwned>(
        &self,
        store: &Store,
        kind: Kind,
        key: &[u8],
    ) -> Result<Option<T>, CryptoStoreError> {
        let sealed = self.bytes(&store.snapshot()?, kind, key)?;
        sealed.map(|sealed| self.open(kind, &sealed)).transpose()
    }

    /// The rows of a kind whose keys begin with `prefix` and come after `after`, in order, at most `rows_max`.
    pub(super) fn page(
        &self,
        view: &dyn View,
        kind: Kind,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let from = match after {
            Some(after) => Bound::Excluded((self.user.0, kind as u8, after)),
            None => Bound::Included((self.user.0, kind as u8, prefix)),
        };
        let mut page = Vec::new();
        for row in view.crypto()?.between(from, Bound::Unbounded)? {
            let (key, value) = row?;
            let (user, number, key) = key.value();
            if page.len() == rows_max || user != self.user.0 || number != kind as u8 || !key.starts_with(prefix) {
                break;
            }
            page.push((key.to_vec(), value.value().to_vec()));
        }
        Ok(page)
    }

    /// The greatest key of a kind.
    pub(super) fn last_key(&self, view: &dyn View, kind: Kind) -> Result<Option<Vec<u8>>> {
        let nothing: &[u8] = &[];
        let from = Bound::Included((self.user.0, kind as u8, nothing));
        let to = Bound::Excluded((self.user.0, kind as u8 + 1, nothing));
        let last = view.crypto()?.between(from, to)?.next_back().transpose()?;
        Ok(last.map(|(key, _)| key.value().2.to_vec()))
    }

    /// Bytes of all keys and values.
    pub(super) async fn size(&self, store: &Store) -> Result<usize> {
        let (mut size, mut next) = (0, Some((0_u8, Vec::new())));
        while let Some((kind, key)) = next.take() {
            let snapshot = store.snapshot()?;
            let from = Bound::Excluded((self.user.0, kind, key.as_slice()));
            for (place, row) in snapshot.crypto()?.between(from, Bound::Unbounded)?.enumerate() {
                let (key, value) = row?;
                let (user, kind, key) = key.value();
                if user != self.user.0 {
                    break;
                }
                size += size_of_val(&user) + size_of_val(&kind) + key.len() + value.value().len();
                if place + 1 == PAGE_ROWS {
                    next = Some((kind, key.to_vec()));
                    break;
                }
            }
            drop(snapshot);
            tokio::task::yield_now().await;
        }
        Ok(size)
    }

    /// Shows every row of a kind whose key begins with `prefix`, until told to break. Each page is of a snapshot of its own
    /// and other tasks run in between, so what is written meanwhile may or may not be seen.
    pub(super) async fn walk<F>(&self, store: &Store, kind: Kind, prefix: &[u8], show: F) -> Walked
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, CryptoStoreError> + Send,
    {
        self.walk_after(store, kind, prefix, None, show).await
    }

    /// As [`Owner::walk`], for the rows after one.
    pub(super) async fn walk_after<F>(
        &self,
        store: &Store,
        kind: Kind,
        prefix: &[u8],
        mut after: Option<Vec<u8>>,
        mut show: F,
    ) -> Walked
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, CryptoStoreError> + Send,
    {
        loop {
            let page = self.page(&store.snapshot()?, kind, prefix, after.as_deref(), PAGE_ROWS)?;
            for (key, value) in &page {
                if show(key, value)?.is_break() {
                    return Ok(());
                }
            }
            let is_last = page.len() < PAGE_ROWS;
            after = page.into_iter().next_back().map(|(key, _)| key);
            if is_last {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// All values of a kind whose keys begin with `prefix`.
    pub(super) async fn values<T: DeserializeOwned + Send>(
        &self,
        store: &Store,
        kind: Kind,
        prefix: &[u8],
    ) -> Result<Vec<T>, CryptoStoreError> {
        let mut values = Vec::new();
        let show = |_: &[u8], sealed: &[u8]| {
            values.push(self.open(kind, sealed)?);
            Ok(ControlFlow::Continue(()))
        };
        self.walk(store, kind, prefix, show).await?;
        Ok(values)
    }

    /// Writes a row.
    pub(super) fn put(&self, tx: &mut WriteTx<'_>, kind: Kind, key: &[u8], value: &[u8]) -> Result<()> {
        tx.write().crypto.insert((self.user.0, kind as u8, key), value)?;
        Ok(())
    }

    /// Removes a row, if it is there.
    pub(super) fn remove(&self, tx: &mut WriteTx<'_>, kind: Kind, key: &[u8]) -> Result<()> {
        tx.write().crypto.remove((self.user.0, kind as u8, key))?;
        Ok(())
    }
}

/// What a walk answers.
type Walked = Result<(), CryptoStoreError>;

/// A value as bytes that are wiped when they are dropped.
fn pack(kind: Kind, value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, CryptoStoreError> {
    let mut packed = Zeroizing::new(Vec::with_capacity(PACKED_BYTES));
    if kind.is_json() {
        serde_json::to_writer(&mut *packed, value)?;
        return Ok(packed);
    }
    let mut serializer = Serializer::new(&mut *packed).with_struct_map().with_bytes(kind.bytes_mode());
    let done = value.serialize(&mut serializer);
    done.map_err(|error| StoreError::Corrupt(format!("a row of {kind:?} cannot be packed: {error}")))?;
    Ok(packed)
}

//! The store of end-to-end encryption: matrix-sdk-crypto's `CryptoStore` over the homeserver's own database.
//!
//! The encryption machine keeps everything here: its account, the sessions, other people's devices. One step of it is one
//! durable job of the engine, in the same file as the events that the step is about. Values are sealed by the vault and names
//! are hashed, so the file says nothing to whoever has it without the store key ([`rows`]).
//!
//! Reads look at a snapshot and take microseconds; those that look at many rows give way in between. Nothing is cached but
//! what the account is, which an outbound session needs to be unpickled: the machine has caches of its own.
//!
//! Invariants: an answered save is on disk. Saves are pickled and written in one order, so an older pickle never replaces a
//! newer one. What anybody may send us unasked is bounded ([`bounded`]), but for room keys: to lose one is to lose messages.

mod backup;
mod bounded;
mod changes;
mod lacking;
mod leases;
pub(crate) mod originals;
mod room_keys;
mod rows;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use async_trait::async_trait;
use matrix_sdk_common::cross_process_lock::CrossProcessLockGeneration;
use matrix_sdk_crypto::{
    DeviceData, GossipRequest, SecretInfo, TrackedUser, UserIdentityData,
    olm::{
        Account, InboundGroupSession, OlmMessageHash, OutboundGroupSession, PickledOutboundGroupSession,
        PickledSession, PrivateCrossSigningIdentity, SenderDataType, Session, StaticAccountData,
    },
    store::{
        CryptoStore, CryptoStoreError, Result,
        types::{
            BackupKeys, Changes, DehydratedDeviceKey, PendingChanges, RoomKeyCounts, RoomKeyWithheldEntry,
            RoomPendingKeyBundleDetails, RoomSettings, StoredRoomKeyBundleData,
        },
    },
};
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, RoomId, TransactionId, UserId, events::secret::request::SecretName};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, RwLock, RwLockReadGuard};
use vodozemac::Curve25519PublicKey;
use zeroize::Zeroizing;

pub(crate) use self::{backup::BackupKeyRows, room_keys::Marks};
use self::{
    changes::{Batch, Change},
    lacking::Lacking,
    room_keys::BackedUp,
    rows::{Kind, Owner},
};
use super::vault::Vault;
use crate::{
    ports::Clock,
    store::{KeyRequestRecord, Record, Store, StoreError, UserKey, WriteTx},
};

/// Throws away the sessions that messages are being sent with, whoever's: for a database that may be older than what was
/// sent last, since a session must not say two things at one place of its ratchet. New ones are made by themselves.
pub(crate) fn forget_outbound(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    Ok(tx.write().crypto.retain(|(_, kind, _), _| kind != Kind::Outbound as u8)?)
}

/// The crypto store of one local account.
pub(crate) struct RedbCryptoStore {
    store: Store,
    clock: Arc<dyn Clock>,
    owner: Owner,
    user: OwnedUserId,
    device: OwnedDeviceId,
    account: std::sync::RwLock<Option<StaticAccountData>>,
    /// Held from the first pickle of a save to its commit.
    saving: Mutex<()>,
    lacking: Lacking,
    /// False between `close` and `reopen`. Every operation holds it for reading, so that closing waits for them.
    is_open: RwLock<bool>,
}

impl RedbCryptoStore {
    /// Opens the crypto store of a local account's device. Several accounts may each have one in the same database.
    ///
    /// # Errors
    /// When the database fails, or the vault does not open what is in it.
    pub(crate) async fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<Self> {
        let found = UserKey::find(&store.snapshot()?, user)?;
        let number = match found {
            Some(number) => number,
            None => {
                let user = user.to_owned();
                store.write::<_, StoreError, _>(move |tx| UserKey::intern(tx, &user)).await?
            }
        };
        Ok(Self {
            store,
            clock,
            owner: Owner { user: number, vault },
            user: user.to_owned(),
            device: device.to_owned(),
            account: std::sync::RwLock::default(),
            saving: Mutex::default(),
            lacking: Lacking::default(),
            is_open: RwLock::new(true),
        })
    }

    async fn opened(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let is_open = self.is_open.read().await;
        if *is_open { Ok(is_open) } else { Err(StoreError::Closed.into()) }
    }

    /// The row of a kind that there is one of.
    async fn only<T: DeserializeOwned>(&self, kind: Kind) -> Result<Option<T>> {
        let _open = self.opened().await?;
        self.owner.value(&self.store, kind, &[])
    }

    /// The row of a name.
    async fn named<T: DeserializeOwned>(&self, kind: Kind, name: impl AsRef<[u8]> + Send) -> Result<Option<T>> {
        let _open = self.opened().await?;
        self.owner.value(&self.store, kind, &self.owner.key(kind, name)?)
    }

    /// The row of two names.
    async fn paired<T, N>(&self, kind: Kind, one: &N, two: impl AsRef<[u8]> + Send) -> Result<Option<T>>
    where
        T: DeserializeOwned,
        N: AsRef<[u8]> + Sync + ?Sized,
    {
        let _open = self.opened().await?;
        self.owner.value(&self.store, kind, &self.owner.pair(kind, one, two)?)
    }

    /// Writes a batch and answers once it is on disk.
    async fn write(&self, batch: Batch) -> Result<()> {
        let (owner, room_keys) = (self.owner.clone(), batch.room_key_rows());
        self.store.write::<_, CryptoStoreError, _>(move |tx| batch.apply(&owner, tx)).await?;
        self.lacking.saved(room_keys);
        Ok(())
    }

    fn own_device(&self) -> Result<DeviceData> {
        let key = self.owner.pair(Kind::Device, &self.user, &self.device)?;
        self.owner.value(&self.store, Kind::Device, &key)?.ok_or(CryptoStoreError::AccountUnset)
    }

    fn get_static_account(&self) -> Option<StaticAccountData> {
        self.account.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn_account(&self, account: StaticAccountData) {
        *self.account.write().unwrap_or_else(PoisonError::into_inner) = Some(account);
    }

    fn request(&self, key: &[u8]) -> Result<Option<GossipRequest>> {
        let record = self.owner.record(&self.store.snapshot()?, Kind::KeyRequest, key)?;
        record.map(|record: KeyRequestRecord| self.owner.open(Kind::KeyRequest, &record.sealed)).transpose()
    }
}

#[async_trait]
impl CryptoStore for RedbCryptoStore {
    type Error = CryptoStoreError;

    async fn load_account(&self) -> Result<Option<Account>> {
        let Some(pickle) = self.only(Kind::Account).await? else { return Ok(None) };
        let account = Account::from_pickle(pickle)?;
        self.learn_account(account.static_data().clone());
        Ok(Some(account))
    }

    async fn load_identity(&self) -> Result<Option<PrivateCrossSigningIdentity>> {
        let pickle = self.only(Kind::PrivateIdentity).await?;
        let identity = pickle.map(PrivateCrossSigningIdentity::from_pickle).transpose();
        identity.map_err(|_| CryptoStoreError::UnpicklingError)
    }

    async fn save_changes(&self, changes: Changes) -> Result<()> {
        let _open = self.opened().await?;
        let _saving = self.saving.lock().await;
        self.write(Batch::of(&self.owner, changes).await?).await
    }

    async fn save_pending_changes(&self, changes: PendingChanges) -> Result<()> {
        let _open = self.opened().await?;
        let _saving = self.saving.lock().await;
        let Some(account) = changes.account else { return Ok(()) };
        let mut batch = Batch::default();
        batch.sealed(&self.owner, Kind::Account, Vec::new(), &account.pickle())?;
        self.write(batch).await?;
        self.learn_account(account.static_data().clone());
        Ok(())
    }

    async fn save_inbound_group_sessions(
        &self,
        sessions: Vec<InboundGroupSession>,
        backup: Option<&str>,
    ) -> Result<()> {
        let _open = self.opened().await?;
        let _saving = self.saving.lock().await;
        let backed_up = match backup {
            Some(version) => BackedUp::In(room_keys::version(&self.owner, version)?),
            None => BackedUp::AsBefore,
        };
        let mut batch = Batch::default();
        batch.room_keys(&self.owner, &sessions, backed_up).await?;
        self.write(batch).await
    }

    async fn get_sessions(&self, sender_key: &str) -> Result<Option<Vec<Session>>> {
        let _open = self.opened().await?;
        let device_keys = self.own_device()?.as_device_keys().clone();
        let prefix = self.owner.key(Kind::Session, sender_key)?;
        let pickles: Vec<PickledSession> = self.owner.values(&self.store, Kind::Session, &prefix).await?;
        let sessions = pickles.into_iter().map(|pickle| Session::from_pickle(device_keys.clone(), pickle));
        let sessions = sessions.collect::<Result<Vec<_>, _>>().map_err(|_| CryptoStoreError::UnpicklingError)?;
        Ok((!sessions.is_empty()).then_some(sessions))
    }

    async fn get_inbound_group_session(&self, room: &RoomId, session: &str) -> Result<Option<InboundGroupSession>> {
        let _open = self.opened().await?;
        room_keys::one(&self.owner, &self.store, room, session)
    }

    async fn get_withheld_info(&self, room: &RoomId, session: &str) -> Result<Option<RoomKeyWithheldEntry>> {
        self.paired(Kind::Withheld, room, session).await
    }

    async fn get_withheld_sessions_by_room_id(&self, room: &RoomId) -> Result<Vec<RoomKeyWithheldEntry>> {
        let _open = self.opened().await?;
        let prefix = self.owner.key(Kind::Withheld, room)?;
        self.owner.values(&self.store, Kind::Withheld, &prefix).await
    }

    async fn get_inbound_group_sessions(&self) -> Result<Vec<InboundGroupSession>> {
        let _open = self.opened().await?;
        room_keys::all(&self.owner, &self.store, None).await
    }

    async fn inbound_group_session_counts(&self, backup: Option<&str>) -> Result<RoomKeyCounts> {
        let _open = self.opened().await?;
        room_keys::counts(&self.owner, &self.store, backup).await
    }

    async fn get_inbound_group_sessions_by_room_id(&self, room: &RoomId) -> Result<Vec<InboundGroupSession>> {
        let _open = self.opened().await?;
        room_keys::all(&self.owner, &self.store, Some(room)).await
    }

    async fn get_inbound_group_sessions_for_device_batch(
        &self,
        curve_key: Curve25519PublicKey,
        sender_data: SenderDataType,
        after: Option<String>,
        sessions_max: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let _open = self.opened().await?;
        room_keys::of_device(&self.owner, &self.store, (curve_key, sender_data), after.as_deref(), sessions_max)
    }

    async fn inbound_group_sessions_for_backup(
        &self,
        backup: &str,
        sessions_max: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let _open = self.opened().await?;
        let version = room_keys::version(&self.owner, backup)?;
        let found = self.lacking.page(&self.owner, &self.store, version, sessions_max).await?;
        Ok(found.into_iter().map(|found| found.session).collect())
    }

    async fn mark_inbound_group_sessions_as_backed_up(&self, backup: &str, sessions: &[(&RoomId, &str)]) -> Result<()> {
        let _open = self.opened().await?;
        let marks = Marks::named(&self.owner, backup, sessions)?;
        self.store.write(move |tx| Ok(marks.apply(tx)?)).await
    }

    /// Nothing to do: rows name the version of the backup that has them, so a new one begins with none.
    async fn reset_backup_state(&self) -> Result<()> {
        Ok(())
    }

    async fn load_backup_keys(&self) -> Result<BackupKeys> {
        let decryption_key = self.only(Kind::BackupKey).await?;
        Ok(BackupKeys { decryption_key, backup_version: self.only(Kind::BackupVersion).await? })
    }

    async fn load_dehydrated_device_pickle_key(&self) -> Result<Option<DehydratedDeviceKey>> {
        self.only(Kind::DehydratedKey).await
    }

    async fn delete_dehydrated_device_pickle_key(&self) -> Result<()> {
        let _open = self.opened().await?;
        self.write(Batch(vec![Change::Remove(Kind::DehydratedKey, Vec::new())])).await
    }

    async fn get_outbound_group_session(&self, room: &RoomId) -> Result<Option<OutboundGroupSession>> {
        let pickle: Option<PickledOutboundGroupSession> = self.named(Kind::Outbound, room).await?;
        let Some(pickle) = pickle else { return Ok(None) };
        let account = self.get_static_account().ok_or(CryptoStoreError::AccountUnset)?;
        Ok(Some(OutboundGroupSession::from_pickle(account.device_id, account.identity_keys, pickle)?))
    }

    async fn load_tracked_users(&self) -> Result<Vec<TrackedUser>> {
        let _open = self.opened().await?;
        self.owner.values(&self.store, Kind::TrackedUser, &[]).await
    }

    async fn save_tracked_users(&self, users: &[(&UserId, bool)]) -> Result<()> {
        let _open = self.opened().await?;
        let mut batch = Batch::default();
        for (user, dirty) in users {
            let tracked = TrackedUser { user_id: (*user).to_owned(), dirty: *dirty };
            batch.sealed(&self.owner, Kind::TrackedUser, self.owner.key(Kind::TrackedUser, user)?, &tracked)?;
        }
        self.write(batch).await
    }

    async fn get_device(&self, user: &UserId, device: &DeviceId) -> Result<Option<DeviceData>> {
        self.paired(Kind::Device, user, device).await
    }

    async fn get_user_devices(&self, user: &UserId) -> Result<HashMap<OwnedDeviceId, DeviceData>> {
        let _open = self.opened().await?;
        let prefix = self.owner.key(Kind::Device, user)?;
        let devices: Vec<DeviceData> = self.owner.values(&self.store, Kind::Device, &prefix).await?;
        Ok(devices.into_iter().map(|device| (device.device_id().to_owned(), device)).collect())
    }

    async fn get_own_device(&self) -> Result<DeviceData> {
        let _open = self.opened().await?;
        self.own_device()
    }

    async fn get_user_identity(&self, user: &UserId) -> Result<Option<UserIdentityData>> {
        self.named(Kind::Identity, user).await
    }

    async fn is_message_known(&self, OlmMessageHash { sender_key, hash }: &OlmMessageHash) -> Result<bool> {
        let _open = self.opened().await?;
        let key = self.owner.key(Kind::OlmHash, changes::olm_hash_name(sender_key, hash))?;
        Ok(self.owner.bytes(&self.store.snapshot()?, Kind::OlmHash, &key)?.is_some())
    }

    async fn get_outgoing_secret_requests(&self, request: &TransactionId) -> Result<Option<GossipRequest>> {
        let _open = self.opened().await?;
        self.request(&self.owner.key(Kind::KeyRequest, request)?)
    }

    async fn get_secret_request_by_info(&self, info: &SecretInfo) -> Result<Option<GossipRequest>> {
        let _open = self.opened().await?;
        let info = self.owner.key(Kind::KeyRequestByInfo, info.as_key())?;
        let key = self.owner.bytes(&self.store.snapshot()?, Kind::KeyRequestByInfo, &info)?;
        key.map_or(Ok(None), |key| self.request(&key))
    }

    async fn get_unsent_secret_requests(&self) -> Result<Vec<GossipRequest>> {
        let _open = self.opened().await?;
        let mut unsent = Vec::new();
        let show = |_: &[u8], row: &[u8]| {
            let record = KeyRequestRecord::decode(row)?;
            if !record.sent {
                unsent.push(self.owner.open(Kind::KeyRequest, &record.sealed)?);
            }
            Ok(std::ops::ControlFlow::Continue(()))
        };
        self.owner.walk(&self.store, Kind::KeyRequest, &[], show).await?;
        Ok(unsent)
    }

    async fn delete_outgoing_secret_requests(&self, request: &TransactionId) -> Result<()> {
        let _open = self.opened().await?;
        let (owner, key) = (self.owner.clone(), self.owner.key(Kind::KeyRequest, request)?);
        self.store.write(move |tx| Ok(changes::remove_request(&owner, tx, &key)?)).await
    }

    async fn get_secrets_from_inbox(&self, name: &SecretName) -> Result<Vec<Zeroizing<String>>> {
        let _open = self.opened().await?;
        let prefix = self.owner.key(Kind::Secret, name.as_str())?;
        let secrets: Vec<String> = self.owner.values(&self.store, Kind::Secret, &prefix).await?;
        Ok(secrets.into_iter().map(Zeroizing::new).collect())
    }

    async fn delete_secrets_from_inbox(&self, name: &SecretName) -> Result<()> {
        let _open = self.opened().await?;
        let (owner, prefix) = (self.owner.clone(), self.owner.key(Kind::Secret, name.as_str())?);
        let job = move |tx: &mut WriteTx<'_>| {
            for (key, _) in owner.page(tx, Kind::Secret, &prefix, None, usize::MAX)? {
                owner.remove(tx, Kind::Secret, &key)?;
            }
            Ok(())
        };
        self.store.write(job).await
    }

    async fn get_room_settings(&self, room: &RoomId) -> Result<Option<RoomSettings>> {
        self.named(Kind::RoomSettings, room).await
    }

    async fn get_received_room_key_bundle_data(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> Result<Option<StoredRoomKeyBundleData>> {
        self.paired(Kind::Bundle, room, user).await
    }

    async fn get_pending_key_bundle_details_for_room(
        &self,
        room: &RoomId,
    ) -> Result<Option<RoomPendingKeyBundleDetails>> {
        self.named(Kind::PendingBundle, room).await
    }

    async fn get_all_rooms_pending_key_bundles(&self) -> Result<Vec<RoomPendingKeyBundleDetails>> {
        let _open = self.opened().await?;
        self.owner.values(&self.store, Kind::PendingBundle, &[]).await
    }

    async fn has_downloaded_all_room_keys(&self, room: &RoomId) -> Result<bool> {
        let _open = self.opened().await?;
        let key = self.owner.key(Kind::Downloaded, room)?;
        Ok(self.owner.bytes(&self.store.snapshot()?, Kind::Downloaded, &key)?.is_some())
    }

    async fn get_custom_value(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.named(Kind::Custom, key).await
    }

    async fn set_custom_value(&self, key: &str, value: Vec<u8>) -> Result<()> {
        let _open = self.opened().await?;
        let mut batch = Batch::default();
        batch.sealed(&self.owner, Kind::Custom, self.owner.key(Kind::Custom, key)?, &value)?;
        self.write(batch).await
    }

    async fn remove_custom_value(&self, key: &str) -> Result<()> {
        let _open = self.opened().await?;
        self.write(Batch(vec![Change::Remove(Kind::Custom, self.owner.key(Kind::Custom, key)?)])).await
    }

    async fn try_take_leased_lock(
        &self,
        lease_ms: u32,
        key: &str,
        holder: &str,
    ) -> Result<Option<CrossProcessLockGeneration>> {
        let _open = self.opened().await?;
        self.take_lease(key, holder, lease_ms).await
    }

    async fn next_batch_token(&self) -> Result<Option<String>> {
        self.only(Kind::NextBatch).await
    }

    async fn close(&self) -> Result<()> {
        *self.is_open.write().await = false;
        Ok(())
    }

    async fn reopen(&self) -> Result<()> {
        *self.is_open.write().await = true;
        Ok(())
    }

    async fn get_size(&self) -> Result<Option<usize>> {
        let _open = self.opened().await?;
        Ok(Some(self.owner.size(&self.store).await?))
    }
}

impl std::fmt::Debug for RedbCryptoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbCryptoStore").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

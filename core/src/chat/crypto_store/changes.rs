//! What one step of the encryption machine changes, packed and sealed outside of the engine, to be written as one job.
//!
//! Invariant: a [`Batch`] commits together or not at all, and may be applied again when its transaction is.

use matrix_sdk_crypto::{
    GossipRequest,
    olm::{InboundGroupSession, OlmMessageHash, Session},
    store::{
        CryptoStoreError,
        types::{Changes, DeviceChanges, IdentityChanges, SecretsInboxItem},
    },
};
use serde::Serialize;

use super::{
    bounded::{self, Bounded},
    originals,
    room_keys::{self, BackedUp},
    rows::{Kind, Owner},
};
use crate::{
    store::{KeyRequestRecord, Record, Result, WriteTx},
    types::limits::OLM_SESSIONS_PER_DEVICE_MAX,
};

type Sealed<T = ()> = Result<T, CryptoStoreError>;

/// One change of the table.
pub(super) enum Change {
    /// A row gets a value.
    Put(Kind, Vec<u8>, Vec<u8>),
    /// A row goes.
    Remove(Kind, Vec<u8>),
    /// An Olm session, and with which device.
    Session { device: Vec<u8>, key: Vec<u8>, sealed: Vec<u8> },
    /// A room key, which is found by its device too.
    RoomKey(room_keys::Update),
    /// A row of a kind that is bounded.
    Remember(Bounded, Vec<u8>, Vec<u8>),
    /// A key request, which replaces an older one for the same thing.
    Request { key: Vec<u8>, record: KeyRequestRecord },
    /// The original key of a session that was just made.
    Original { key: Vec<u8>, sealed: Vec<u8> },
}

/// Changes that commit together.
#[derive(Default)]
pub(super) struct Batch(pub(super) Vec<Change>);

impl Batch {
    /// Packs and seals all of it.
    pub(super) async fn of(owner: &Owner, changes: Changes) -> Sealed<Self> {
        let mut batch = Self::default();
        batch.ours(owner, &changes).await?;
        batch.devices(owner, &changes.devices)?;
        batch.identities(owner, &changes.identities)?;
        for session in &changes.sessions {
            batch.session(owner, session).await?;
        }
        batch.room_keys(owner, &changes.inbound_group_sessions, BackedUp::AsBefore).await?;
        for session in &changes.outbound_group_sessions {
            let pickle = session.pickle().await;
            batch.sealed(owner, Kind::Outbound, owner.key(Kind::Outbound, session.room_id())?, &pickle)?;
            batch.0.extend(originals::of(owner, session).await?);
        }
        for OlmMessageHash { sender_key, hash } in &changes.message_hashes {
            let key = owner.key(Kind::OlmHash, olm_hash_name(sender_key, hash))?;
            batch.0.push(Change::Remember(bounded::OLM_HASHES, key, Vec::new()));
        }
        for request in &changes.key_requests {
            batch.request(owner, request)?;
        }
        for (room, withheld) in &changes.withheld_session_info {
            for (session, entry) in withheld {
                let key = owner.pair(Kind::Withheld, room, session)?;
                let sealed = owner.seal(Kind::Withheld, entry)?;
                batch.0.push(Change::Remember(bounded::WITHHELD, key, sealed));
            }
        }
        batch.secrets(owner, &changes.secrets)?;
        batch.rooms(owner, &changes)?;
        Ok(batch)
    }

    /// A value that is packed and sealed, and needs nothing more.
    pub(super) fn sealed(&mut self, owner: &Owner, kind: Kind, key: Vec<u8>, value: &impl Serialize) -> Sealed {
        self.0.push(Change::Put(kind, key, owner.seal(kind, value)?));
        Ok(())
    }

    /// What there is one of.
    async fn ours(&mut self, owner: &Owner, changes: &Changes) -> Sealed {
        let none = Vec::new;
        if let Some(identity) = &changes.private_identity {
            self.sealed(owner, Kind::PrivateIdentity, none(), &identity.pickle().await)?;
        }
        if let Some(token) = &changes.next_batch_token {
            self.sealed(owner, Kind::NextBatch, none(), token)?;
        }
        if let Some(key) = &changes.backup_decryption_key {
            self.sealed(owner, Kind::BackupKey, none(), key)?;
        }
        if let Some(version) = &changes.backup_version {
            self.sealed(owner, Kind::BackupVersion, none(), version)?;
        }
        if let Some(key) = &changes.dehydrated_device_pickle_key {
            self.sealed(owner, Kind::DehydratedKey, none(), key)?;
        }
        Ok(())
    }

    fn devices(&mut self, owner: &Owner, changes: &DeviceChanges) -> Sealed {
        for device in changes.new.iter().chain(&changes.changed) {
            let key = owner.pair(Kind::Device, device.user_id(), device.device_id())?;
            self.sealed(owner, Kind::Device, key, device)?;
        }
        for device in &changes.deleted {
            let key = owner.pair(Kind::Device, device.user_id(), device.device_id())?;
            self.0.push(Change::Remove(Kind::Device, key));
        }
        Ok(())
    }

    fn identities(&mut self, owner: &Owner, changes: &IdentityChanges) -> Sealed {
        for identity in changes.new.iter().chain(&changes.changed) {
            self.sealed(owner, Kind::Identity, owner.key(Kind::Identity, identity.user_id())?, identity)?;
        }
        Ok(())
    }

    async fn session(&mut self, owner: &Owner, session: &Session) -> Sealed {
        let device = owner.key(Kind::Session, session.sender_key().to_base64())?;
        let key = [device.as_slice(), owner.hash(Kind::Session, session.session_id())?.as_slice()].concat();
        let sealed = owner.seal(Kind::Session, &session.pickle().await)?;
        self.0.push(Change::Session { device, key, sealed });
        Ok(())
    }

    /// Room keys, which all stand to the backup alike.
    pub(super) async fn room_keys(
        &mut self,
        owner: &Owner,
        sessions: &[InboundGroupSession],
        backed_up: BackedUp,
    ) -> Sealed {
        for session in sessions {
            self.0.push(Change::RoomKey(room_keys::Update::of(owner, session, backed_up).await?));
        }
        Ok(())
    }

    /// The rows of room keys that it writes.
    pub(super) fn room_key_rows(&self) -> Vec<Vec<u8>> {
        let key = |change: &Change| match change {
            Change::RoomKey(update) => Some(update.key().to_vec()),
            _ => None,
        };
        self.0.iter().filter_map(key).collect()
    }

    fn request(&mut self, owner: &Owner, request: &GossipRequest) -> Sealed {
        let key = owner.key(Kind::KeyRequest, &request.request_id)?;
        let info = owner.hash(Kind::KeyRequestByInfo, request.info.as_key())?;
        let record = KeyRequestRecord { sent: request.sent_out, info, sealed: owner.seal(Kind::KeyRequest, request)? };
        self.0.push(Change::Request { key, record });
        Ok(())
    }

    fn secrets(&mut self, owner: &Owner, secrets: &[SecretsInboxItem]) -> Sealed {
        for SecretsInboxItem { secret_name, secret } in secrets {
            // The secret in the key makes one row of a secret that is sent twice.
            let key = owner.pair(Kind::Secret, secret_name.as_str(), secret.as_bytes())?;
            self.sealed(owner, Kind::Secret, key, &secret.as_str())?;
        }
        Ok(())
    }

    fn rooms(&mut self, owner: &Owner, changes: &Changes) -> Sealed {
        for (room, settings) in &changes.room_settings {
            self.sealed(owner, Kind::RoomSettings, owner.key(Kind::RoomSettings, room)?, settings)?;
        }
        for bundle in &changes.received_room_key_bundles {
            let key = owner.pair(Kind::Bundle, &bundle.bundle_data.room_id, &bundle.sender_user)?;
            self.0.push(Change::Remember(bounded::BUNDLES, key, owner.seal(Kind::Bundle, bundle)?));
        }
        for room in &changes.room_key_backups_fully_downloaded {
            self.0.push(Change::Put(Kind::Downloaded, owner.key(Kind::Downloaded, room)?, Vec::new()));
        }
        for (room, details) in &changes.rooms_pending_key_bundle {
            let key = owner.key(Kind::PendingBundle, room)?;
            match details {
                Some(details) => self.sealed(owner, Kind::PendingBundle, key, details)?,
                None => self.0.push(Change::Remove(Kind::PendingBundle, key)),
            }
        }
        Ok(())
    }

    /// Writes all of it.
    pub(super) fn apply(&self, owner: &Owner, tx: &mut WriteTx<'_>) -> Sealed {
        for change in &self.0 {
            match change {
                Change::Put(kind, key, value) => owner.put(tx, *kind, key, value)?,
                Change::Remove(kind, key) => owner.remove(tx, *kind, key)?,
                Change::Session { device, key, sealed } => {
                    owner.put(tx, Kind::Session, key, sealed)?;
                    trim_sessions(owner, tx, device)?;
                }
                Change::RoomKey(update) => update.apply(owner, tx)?,
                Change::Remember(bounded, key, value) => bounded.put(owner, tx, key, value)?,
                Change::Request { key, record } => put_request(owner, tx, key, record)?,
                Change::Original { key, sealed } => originals::put(owner, tx, key, sealed)?,
            }
        }
        Ok(())
    }
}

/// The name of an Olm message: its sender and its hash. A base64 key holds no NUL, so no two messages share one.
pub(super) fn olm_hash_name(sender_key: &str, hash: &str) -> String {
    format!("{sender_key}\0{hash}")
}

/// Lets the least recently used Olm sessions with a device go that are too many.
fn trim_sessions(owner: &Owner, tx: &mut WriteTx<'_>, device: &[u8]) -> Sealed {
    let sessions = owner.page(tx, Kind::Session, device, None, usize::MAX)?;
    let Some(surplus) = sessions.len().checked_sub(OLM_SESSIONS_PER_DEVICE_MAX).filter(|surplus| *surplus > 0) else {
        return Ok(());
    };
    let mut by_use = Vec::with_capacity(sessions.len());
    for (key, sealed) in sessions {
        let pickle: matrix_sdk_crypto::olm::PickledSession = owner.open(Kind::Session, &sealed)?;
        by_use.push((pickle.last_use_time, key));
    }
    by_use.sort_unstable();
    for (_, key) in by_use.iter().take(surplus) {
        owner.remove(tx, Kind::Session, key)?;
    }
    Ok(())
}

fn put_request(owner: &Owner, tx: &mut WriteTx<'_>, key: &[u8], record: &KeyRequestRecord) -> Result<()> {
    remove_request(owner, tx, key)?;
    if let Some(older) = owner.bytes(tx, Kind::KeyRequestByInfo, &record.info)? {
        owner.remove(tx, Kind::KeyRequest, &older)?;
    }
    owner.put(tx, Kind::KeyRequest, key, &record.encode()?)?;
    owner.put(tx, Kind::KeyRequestByInfo, &record.info, key)
}

/// Removes a key request, and the way to find it by what it asks for.
pub(super) fn remove_request(owner: &Owner, tx: &mut WriteTx<'_>, key: &[u8]) -> Result<()> {
    let Some(record) = owner.record::<KeyRequestRecord>(tx, Kind::KeyRequest, key)? else { return Ok(()) };
    owner.remove(tx, Kind::KeyRequestByInfo, &record.info)?;
    owner.remove(tx, Kind::KeyRequest, key)
}

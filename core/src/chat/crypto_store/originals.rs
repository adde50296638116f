//! The keys that our own outbound sessions began with.
//!
//! The encryption machine hands a session out from its current message on. A member who was out of reach when the session was
//! made would never read what was sent before. So the first save of a session, before its first message, keeps a copy of the
//! key that opens all of it, until the client knows that nobody is owed it.
//!
//! Deliberately absent: who is owed what. That is the client's affair, as is whether somebody may have a key at all.

use matrix_sdk_crypto::{olm::OutboundGroupSession, store::CryptoStoreError, types::EventEncryptionAlgorithm};
use ruma::{RoomId, SecondsSinceUnixEpoch, events::room::history_visibility::HistoryVisibility};
use serde::{Deserialize, Serialize};
use vodozemac::megolm::SessionKey;

use super::{
    RedbCryptoStore,
    changes::Change,
    rows::{Hash, Kind, Owner},
};
use crate::{
    store::{OriginalKeyRecord, Record, Result, WriteTx},
    types::limits::ORIGINAL_KEYS_PER_ROOM_MAX,
};

/// What an `m.room_key` says of a whole session.
#[derive(Serialize, Deserialize)]
pub(crate) struct OriginalKey {
    /// The key at the session's first message, signed by the session. Wiped from memory when it is dropped.
    pub(crate) session_key: SessionKey,
    /// The session's algorithm.
    pub(crate) algorithm: EventEncryptionAlgorithm,
    /// When the session was made.
    pub(crate) created: SecondsSinceUnixEpoch,
    /// Whether the room's history was open to later members when the session was made. Client-server API,
    /// `m.room_key`, `shared_history`.
    pub(crate) shared_history: bool,
}

impl std::fmt::Debug for OriginalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OriginalKey")
    }
}

/// The change that keeps the original key of a session, if it still is at its beginning.
pub(super) async fn of(owner: &Owner, session: &OutboundGroupSession) -> Result<Option<Change>, CryptoStoreError> {
    let session_key = session.session_key().await;
    // The session may move on between two looks at it, but never back: index 0 after the key was taken is index 0 before.
    if session.message_index().await != 0 {
        return Ok(None);
    }
    let pickle = session.pickle().await;
    let visibility = &pickle.settings.history_visibility;
    let original = OriginalKey {
        session_key,
        algorithm: pickle.settings.algorithm.clone(),
        created: pickle.creation_time,
        shared_history: matches!(visibility, HistoryVisibility::Shared | HistoryVisibility::WorldReadable),
    };
    let key = owner.pair(Kind::Original, session.room_id(), session.session_id())?;
    Ok(Some(Change::Original { key, sealed: owner.seal(Kind::Original, &original)? }))
}

/// Keeps an original key. A session is saved several times before its first message, and the first time counts. The oldest
/// of too many in one room goes.
pub(super) fn put(owner: &Owner, tx: &mut WriteTx<'_>, key: &[u8], sealed: &[u8]) -> Result<()> {
    if owner.bytes(tx, Kind::Original, key)?.is_some() {
        return Ok(());
    }
    let (room, _) = key.split_at_checked(size_of::<Hash>()).unwrap_or_default();
    let mut places = Vec::new();
    for (key, row) in owner.page(tx, Kind::Original, room, None, usize::MAX)? {
        places.push((OriginalKeyRecord::decode(&row)?.seq, key));
    }
    places.sort_unstable();
    let seq = places.last().map_or(0, |(seq, _)| seq + 1);
    let surplus = (places.len() + 1).saturating_sub(ORIGINAL_KEYS_PER_ROOM_MAX);
    for (_, key) in places.iter().take(surplus) {
        owner.remove(tx, Kind::Original, key)?;
    }
    owner.put(tx, Kind::Original, key, &OriginalKeyRecord { seq, sealed: sealed.to_vec() }.encode()?)
}

impl RedbCryptoStore {
    /// The original key of one of our own sessions, if it is kept.
    ///
    /// # Errors
    /// When the database fails or the vault does not open it.
    pub(crate) fn original_key(&self, room: &RoomId, session: &str) -> Result<Option<OriginalKey>, CryptoStoreError> {
        let key = self.owner.pair(Kind::Original, room, session)?;
        let record: Option<OriginalKeyRecord> = self.owner.record(&self.store.snapshot()?, Kind::Original, &key)?;
        record.map(|record| self.owner.open(Kind::Original, &record.sealed)).transpose()
    }
}

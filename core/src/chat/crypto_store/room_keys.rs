//! Room keys: the inbound group sessions that messages are read with, and three ways to find them.
//!
//! Reading a message looks one up by its room and session: one row, one unsealing, one unpickling. The keys of a room lie side
//! by side. Those that a device made are found by rows of their own, for when more is learnt about the device. Which of them
//! a backup lacks is found by looking at all of them, as a backup does seldom: a row for each key that is in no backup would
//! double their number for those who have none.

use std::ops::ControlFlow;

use matrix_sdk_crypto::{
    olm::{InboundGroupSession, PickledInboundGroupSession, SenderDataType},
    store::{CryptoStoreError, types::RoomKeyCounts},
};
use ruma::RoomId;
use vodozemac::Curve25519PublicKey;

use super::rows::{Hash, Kind, Owner};
use crate::store::{Record, Result, RoomKeyRecord, Store, WriteTx};

type Answer<T = ()> = Result<T, CryptoStoreError>;

/// How room keys that are saved stand to the backup.
#[derive(Clone, Copy, Debug)]
pub(super) enum BackedUp {
    /// As their rows say, unless they are no longer what the backup has.
    AsBefore,
    /// The backup of this version has them.
    In(Hash),
}

/// The keyed hash of a version of the backup.
pub(super) fn version(owner: &Owner, version: &str) -> Answer<Hash> {
    Ok(owner.hash(Kind::BackupVersion, version)?)
}

/// A room key that is new or has changed.
pub(super) struct Update {
    key: Vec<u8>,
    record: RoomKeyRecord,
    /// Whether the backup that has the old one has this one as well.
    keeps_backup: bool,
}

impl Update {
    /// The key of its row.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) async fn of(owner: &Owner, session: &InboundGroupSession, backed_up: BackedUp) -> Answer<Self> {
        let (backup, keeps_backup) = match backed_up {
            BackedUp::AsBefore => (None, session.backed_up()),
            BackedUp::In(version) => (Some(version), false),
        };
        let record = RoomKeyRecord {
            backup,
            device: device(owner, session.sender_key())?,
            sender_data: session.sender_data_type() as u8,
            sealed: owner.seal(Kind::RoomKey, &session.pickle().await)?,
        };
        Ok(Self { key: key(owner, session.room_id(), session.session_id())?, record, keeps_backup })
    }

    pub(super) fn apply(&self, owner: &Owner, tx: &mut WriteTx<'_>) -> Result<()> {
        let mut record = self.record.clone();
        if let Some(old) = owner.record::<RoomKeyRecord>(tx, Kind::RoomKey, &self.key)? {
            owner.remove(tx, Kind::RoomKeyOfDevice, &by_device(&old, &self.key))?;
            if self.keeps_backup {
                record.backup = old.backup;
            }
        }
        owner.put(tx, Kind::RoomKey, &self.key, &record.encode()?)?;
        owner.put(tx, Kind::RoomKeyOfDevice, &by_device(&record, &self.key), &[])
    }
}

fn key(owner: &Owner, room: &RoomId, session: &str) -> Answer<Vec<u8>> {
    Ok(owner.pair(Kind::RoomKey, room, session)?)
}

fn device(owner: &Owner, curve_key: Curve25519PublicKey) -> Answer<Hash> {
    Ok(owner.hash(Kind::RoomKeyOfDevice, curve_key.as_bytes())?)
}

/// Where a room key is found by its device. The session comes before the room, because batches go on after a session.
fn by_device(record: &RoomKeyRecord, key: &[u8]) -> Vec<u8> {
    let (room, session) = key.split_at_checked(size_of::<Hash>()).unwrap_or_default();
    [&record.device, [record.sender_data].as_slice(), session, room].concat()
}

/// The key of the room key that a row of the index stands for.
fn indexed(index: &[u8]) -> Option<Vec<u8>> {
    let (_, place) = index.split_at_checked(size_of::<Hash>() + 1)?;
    let (session, room) = place.split_at_checked(size_of::<Hash>())?;
    Some([room, session].concat())
}

pub(super) fn unpickle(owner: &Owner, record: &RoomKeyRecord) -> Answer<InboundGroupSession> {
    let mut pickle: PickledInboundGroupSession = owner.open(Kind::RoomKey, &record.sealed)?;
    // What the backup has is marked beside the pickle, which stays as it is.
    pickle.backed_up = record.backup.is_some();
    Ok(InboundGroupSession::from_pickle(pickle)?)
}

/// The room key of a session.
pub(super) fn one(owner: &Owner, store: &Store, room: &RoomId, session: &str) -> Answer<Option<InboundGroupSession>> {
    let record = owner.record(&store.snapshot()?, Kind::RoomKey, &key(owner, room, session)?)?;
    record.map(|record| unpickle(owner, &record)).transpose()
}

/// All room keys, or those of one room.
pub(super) async fn all(owner: &Owner, store: &Store, room: Option<&RoomId>) -> Answer<Vec<InboundGroupSession>> {
    let prefix = room.map(|room| owner.key(Kind::RoomKey, room)).transpose()?.unwrap_or_default();
    let mut sessions = Vec::new();
    let show = |_: &[u8], row: &[u8]| {
        sessions.push(unpickle(owner, &RoomKeyRecord::decode(row)?)?);
        Ok(ControlFlow::Continue(()))
    };
    owner.walk(store, Kind::RoomKey, &prefix, show).await?;
    Ok(sessions)
}

/// At most `sessions_max` room keys that a device made and of which this much is known, after a session.
pub(super) fn of_device(
    owner: &Owner,
    store: &Store,
    (curve_key, sender_data): (Curve25519PublicKey, SenderDataType),
    after: Option<&str>,
    sessions_max: usize,
) -> Answer<Vec<InboundGroupSession>> {
    let prefix = [device(owner, curve_key)?.as_slice(), &[sender_data as u8]].concat();
    // Beyond every room that a session of this name could be in.
    let beyond =
        |session| -> Answer<_> { Ok([&prefix, &owner.hash(Kind::RoomKey, session)?[..], &[u8::MAX; 17]].concat()) };
    let after = after.map(beyond).transpose()?;
    let view = store.snapshot()?;
    let mut sessions = Vec::new();
    for (index, _) in owner.page(&view, Kind::RoomKeyOfDevice, &prefix, after.as_deref(), sessions_max)? {
        let key = indexed(&index).unwrap_or_default();
        if let Some(record) = owner.record(&view, Kind::RoomKey, &key)? {
            sessions.push(unpickle(owner, &record)?);
        }
    }
    Ok(sessions)
}

/// How many room keys there are, and how many of them a backup has.
pub(super) async fn counts(owner: &Owner, store: &Store, backup: Option<&str>) -> Answer<RoomKeyCounts> {
    let backup = backup.map(|backup| version(owner, backup)).transpose()?;
    let mut counts = RoomKeyCounts::default();
    let show = |_: &[u8], row: &[u8]| {
        counts.total += 1;
        counts.backed_up += usize::from(backup.is_some() && RoomKeyRecord::decode(row)?.backup == backup);
        Ok(ControlFlow::Continue(()))
    };
    owner.walk(store, Kind::RoomKey, &[], show).await?;
    Ok(counts)
}

/// Room keys that are to be marked as being in a backup.
pub(crate) struct Marks {
    owner: Owner,
    version: Hash,
    rows: Vec<Marked>,
}

/// The key of a row, and what was sealed in it when its room key was read, if that matters.
type Marked = (Vec<u8>, Option<Vec<u8>>);

impl Marks {
    /// Of room keys by room and session, whatever they are by now.
    pub(super) fn named(owner: &Owner, backup: &str, sessions: &[(&RoomId, &str)]) -> Answer<Self> {
        let row = |(room, session): &(&RoomId, &str)| Ok((key(owner, room, session)?, None));
        let rows = sessions.iter().map(row).collect::<Answer<Vec<_>>>()?;
        Ok(Self { owner: owner.clone(), version: version(owner, backup)?, rows })
    }

    /// Of room keys as they were read. One that was replaced by a better one meanwhile is not marked, as the backup does not
    /// have that.
    pub(super) fn read(owner: &Owner, version: Hash, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let rows = rows.map(|(row, sealed)| (row, Some(sealed))).collect();
        Self { owner: owner.clone(), version, rows }
    }

    /// Marks them.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn apply(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        for (row, sealed) in &self.rows {
            let Some(mut record) = self.owner.record::<RoomKeyRecord>(tx, Kind::RoomKey, row)? else { continue };
            if sealed.as_ref().is_some_and(|sealed| *sealed != record.sealed) {
                continue;
            }
            record.backup = Some(self.version);
            self.owner.put(tx, Kind::RoomKey, row, &record.encode()?)?;
        }
        Ok(())
    }
}

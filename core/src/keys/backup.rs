//! Backups of room keys: encrypted by the client, for the day on which a device is lost.
//!
//! A user has versions of a backup, each encrypted in its own way; keys go into the latest alone. Of two keys for one session
//! the better one stays. Client-server API, "Server-side key backups".
//!
//! The person's own client in this process fills a new version before anybody sees it (`draft`), and reads one in pages
//! (`page`); what puts keys into it is the same as for every other client.

pub(crate) mod draft;

use std::{collections::BTreeMap, ops::Bound};

use ruma::{
    OwnedRoomId, RoomId, UInt,
    api::client::backup::{BackupAlgorithm, KeyBackupData, RoomKeyBackup},
    serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Actor, KeysError, lists};
use crate::{
    home::Home,
    store::{BackupRecord, Record, Result, StoreError, UserKey, View, WriteTx},
    types::limits::{BACKUP_KEY_BYTES_MAX, BACKUP_KEYS_MAX, BACKUPS_MAX, ID_BYTES_MAX},
};

/// The row of `bkv` that counts versions.
const COUNTER: u64 = 0;

/// A version of a backup.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Which.
    pub version: String,
    /// `algorithm` and `auth_data`.
    pub algorithm: Raw<BackupAlgorithm>,
    /// How it stands.
    pub state: BackupState,
}

/// How a backup stands: changes with each change of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupState {
    /// Another one after each change.
    pub etag: String,
    /// Keys in it.
    pub count: UInt,
}

/// Which keys of a backup are meant.
#[derive(Clone, Debug)]
pub enum Part {
    /// All.
    All,
    /// Those of a room.
    Room(OwnedRoomId),
    /// That of a session in a room.
    Session(OwnedRoomId, String),
}

/// Keys by room and session.
pub type RoomKeys = BTreeMap<OwnedRoomId, BTreeMap<String, Raw<KeyBackupData>>>;

/// Begins a new version, which is the latest from here on; answers which.
///
/// # Errors
/// [`KeysError::TooMuch`] for too many versions or too long data, and for what is malformed.
pub async fn create(home: &Home, actor: &Actor, algorithm: &Raw<BackupAlgorithm>) -> Result<String, KeysError> {
    let described = Described::read(algorithm)?;
    let user = actor.user_key;
    let job = move |tx: &mut WriteTx<'_>| -> Result<u64, KeysError> {
        if versions(tx, user)?.len() >= BACKUPS_MAX {
            return Err(KeysError::TooMuch(format!("at most {BACKUPS_MAX} backups are kept; delete one")));
        }
        let last = find(tx, user, COUNTER)?.map_or(0, |counter| counter.last) + 1;
        put(tx, user, COUNTER, &BackupRecord { last, ..BackupRecord::default() })?;
        let record = BackupRecord {
            algorithm: described.algorithm.clone(),
            auth_data: described.auth_data.get().to_owned(),
            ..BackupRecord::default()
        };
        put(tx, user, last, &record)?;
        Ok(last)
    };
    Ok(home.store.write(job).await?.to_string())
}

/// A version, or the latest.
///
/// # Errors
/// [`KeysError::NotFound`].
pub fn info(view: &dyn View, actor: &Actor, version: Option<&str>) -> Result<Backup, KeysError> {
    let number = match version {
        Some(version) => number_of(version)?,
        None => latest(view, actor.user_key)?.ok_or_else(|| KeysError::NotFound("there is no backup".into()))?,
    };
    let record = must(view, actor.user_key, number)?;
    let auth_data = RawValue::from_string(record.auth_data.clone());
    let auth_data = auth_data.map_err(|error| StoreError::Corrupt(format!("a backup: {error}")))?;
    let described = Described { algorithm: record.algorithm.clone(), auth_data, version: None };
    let json = serde_json::to_string(&described).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Backup { version: number.to_string(), algorithm: lists::raw(json)?, state: state_of(&record) })
}

/// Changes the `auth_data` of a version.
///
/// # Errors
/// [`KeysError::Invalid`] for another algorithm or version than the backup's, [`KeysError::NotFound`], and for what is
/// malformed.
pub async fn update(
    home: &Home,
    actor: &Actor,
    version: &str,
    algorithm: &Raw<BackupAlgorithm>,
) -> Result<(), KeysError> {
    let described = Described::read(algorithm)?;
    let (user, number) = (actor.user_key, number_of(version)?);
    if described.version.as_deref().is_some_and(|named| named != version) {
        return Err(KeysError::Invalid("the version in the body is not the one in the path".into()));
    }
    let job = move |tx: &mut WriteTx<'_>| -> Result<(), KeysError> {
        let mut record = must(tx, user, number)?;
        if record.algorithm != described.algorithm {
            return Err(KeysError::Invalid(format!("the backup's algorithm is {}", record.algorithm)));
        }
        described.auth_data.get().clone_into(&mut record.auth_data);
        Ok(put(tx, user, number, &record)?)
    };
    home.store.write(job).await
}

/// Deletes a version with its keys. One that was deleted before is no error.
///
/// # Errors
/// [`KeysError::NotFound`] for a version that never was.
pub async fn delete(home: &Home, actor: &Actor, version: &str) -> Result<(), KeysError> {
    let (user, number) = (actor.user_key, number_of(version)?);
    let job = move |tx: &mut WriteTx<'_>| -> Result<(), KeysError> {
        let last = find(tx, user, COUNTER)?.map_or(0, |counter| counter.last);
        if number > last {
            return Err(unknown(number));
        }
        if find(tx, user, number)?.is_some() {
            remove_version(tx, user, number)?;
        }
        Ok(())
    };
    home.store.write(job).await
}

/// Puts keys into the latest version, each where it is better than what is there.
///
/// # Errors
/// [`KeysError::WrongVersion`] for a version that is not the latest, [`KeysError::NotFound`], [`KeysError::TooMuch`], and for
/// what is malformed.
pub async fn add(home: &Home, actor: &Actor, version: &str, keys: RoomKeys) -> Result<BackupState, KeysError> {
    let (user, version, keys) = (actor.user_key, version.to_owned(), Ranked::read(keys)?);
    home.store.write(move |tx| add_in(tx, user, &version, &keys)).await
}

/// As [`add`], in a transaction that does more.
///
/// # Errors
/// See [`add`].
pub(crate) fn add_in(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    version: &str,
    keys: &Ranked,
) -> Result<BackupState, KeysError> {
    let number = number_of(version)?;
    let current = latest(tx, user)?.ok_or_else(|| unknown(number))?;
    let mut record = must(tx, user, number)?;
    if number != current {
        return Err(KeysError::WrongVersion { current: current.to_string() });
    }
    let (count, changed) = put_keys(tx, user, number, record.count, keys)?;
    if changed {
        record.count = count;
        record.etag += 1;
        put(tx, user, number, &record)?;
    }
    Ok(state_of(&record))
}

/// Puts keys into a version that has `count` of them, each where it is better than what is there. Answers how many it has
/// then, and whether anything changed.
fn put_keys(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    number: u64,
    mut count: u64,
    Ranked(keys): &Ranked,
) -> Result<(u64, bool), KeysError> {
    if count + keys.len() as u64 > BACKUP_KEYS_MAX {
        return Err(KeysError::TooMuch(format!("a backup holds {BACKUP_KEYS_MAX} keys at most")));
    }
    let mut changed = false;
    for (room, session, rank, json) in keys {
        let key = (user.0, number, room.as_bytes(), session.as_bytes());
        let old = tx.bk()?.row(key)?.map(|row| text(row.value())).transpose()?;
        let old = old.map(|old| Rank::read(&old)).transpose()?;
        if old.as_ref().is_some_and(|old| !rank.is_better_than(old)) {
            continue;
        }
        count += u64::from(old.is_none());
        changed = true;
        tx.write().bk.insert(key, json.as_bytes()).map_err(StoreError::from)?;
    }
    Ok((count, changed))
}

/// At most `keys_max` keys of a version, in order, after a room and a session.
///
/// # Errors
/// [`KeysError::NotFound`] for an unknown version.
pub(crate) fn page(
    view: &dyn View,
    user: UserKey,
    version: &str,
    after: Option<&(OwnedRoomId, String)>,
    keys_max: usize,
) -> Result<Vec<(OwnedRoomId, String, Raw<KeyBackupData>)>, KeysError> {
    let number = number_of(version)?;
    must(view, user, number)?;
    let none: &[u8] = &[];
    let from = match after {
        Some((room, session)) => Bound::Excluded((user.0, number, room.as_bytes(), session.as_bytes())),
        None => Bound::Included((user.0, number, none, none)),
    };
    let mut page = Vec::new();
    for row in view.bk()?.between(from, Bound::Excluded((user.0, number + 1, none, none)))?.take(keys_max) {
        let (key, json) = row.map_err(StoreError::from)?;
        let (_, _, room, session) = key.value();
        page.push((room_of(&text(room)?)?, text(session)?, lists::raw(text(json.value())?)?));
    }
    Ok(page)
}

/// The keys of a version.
///
/// # Errors
/// [`KeysError::NotFound`] for an unknown version; of keys that are not there, nothing is answered.
pub fn keys(view: &dyn View, actor: &Actor, version: &str, part: &Part) -> Result<RoomKeys, KeysError> {
    let (user, number) = (actor.user_key, number_of(version)?);
    must(view, user, number)?;
    let mut keys = RoomKeys::new();
    for (room, session) in rows(view, user, number, part)? {
        let row = view.bk()?.row((user.0, number, room.as_bytes(), session.as_bytes()))?;
        let Some(json) = row.map(|row| text(row.value())).transpose()? else { continue };
        keys.entry(room_of(&room)?).or_default().insert(session, lists::raw(json)?);
    }
    Ok(keys)
}

/// Deletes keys of a version.
///
/// # Errors
/// [`KeysError::NotFound`] for an unknown version.
pub async fn remove(home: &Home, actor: &Actor, version: &str, part: Part) -> Result<BackupState, KeysError> {
    let (user, number) = (actor.user_key, number_of(version)?);
    let job = move |tx: &mut WriteTx<'_>| -> Result<BackupState, KeysError> {
        let mut record = must(tx, user, number)?;
        let gone = remove_keys(tx, user, number, &part)?;
        if gone > 0 {
            record.count = record.count.saturating_sub(gone);
            record.etag += 1;
            put(tx, user, number, &record)?;
        }
        Ok(state_of(&record))
    };
    home.store.write(job).await
}

/// Keys of rooms as ruma's answers hold them.
pub fn rooms(keys: RoomKeys) -> BTreeMap<OwnedRoomId, RoomKeyBackup> {
    keys.into_iter().map(|(room, sessions)| (room, RoomKeyBackup::new(sessions))).collect()
}

/// Takes all backups of a user away.
///
/// # Errors
/// When the database fails.
pub(super) fn forget(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    draft::sweep(tx, user)?;
    for number in versions(tx, user)? {
        remove_version(tx, user, number)?;
    }
    Ok(())
}

/// Keys that a backup can hold, each with how good it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranked(Vec<(OwnedRoomId, String, Rank, String)>);

impl Ranked {
    /// Looks at keys as clients send them.
    fn read(keys: RoomKeys) -> Result<Self, KeysError> {
        let mut ranked = Self::default();
        for (room, sessions) in keys {
            for (session, key) in sessions {
                ranked.push(room.clone(), session, &key)?;
            }
        }
        Ok(ranked)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`KeysError::TooMuch`] for a key that is too long, and for what is malformed. It is left out then.
    pub(crate) fn push(
        &mut self,
        room: OwnedRoomId,
        session: String,
        key: &Raw<KeyBackupData>,
    ) -> Result<(), KeysError> {
        if session.is_empty() || session.len() > ID_BYTES_MAX {
            return Err(KeysError::Invalid("a session id has 1 to 255 bytes".into()));
        }
        let json = key.json().get();
        self.0.push((room, session, Rank::read(json)?, json.to_owned()));
        Ok(())
    }
}

/// How a backup is described on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Described {
    algorithm: String,
    auth_data: Box<RawValue>,
    #[serde(default, skip_serializing)]
    version: Option<String>,
}

impl Described {
    fn read(raw: &Raw<BackupAlgorithm>) -> Result<Self, KeysError> {
        if raw.json().get().len() > BACKUP_KEY_BYTES_MAX {
            return Err(KeysError::TooMuch(format!("the data of a backup have {BACKUP_KEY_BYTES_MAX} bytes at most")));
        }
        let described: Self = serde_json::from_str(raw.json().get())
            .map_err(|error| KeysError::Malformed(format!("a backup needs `algorithm` and `auth_data`: {error}")))?;
        if described.algorithm.is_empty() || !described.auth_data.get().trim_start().starts_with('{') {
            return Err(KeysError::Malformed("`algorithm` is a name and `auth_data` an object".into()));
        }
        Ok(described)
    }
}

/// How good a key is.
#[derive(Clone, Debug, Deserialize)]
struct Rank {
    first_message_index: UInt,
    forwarded_count: UInt,
    is_verified: bool,
    session_data: Box<RawValue>,
}

impl Rank {
    fn read(json: &str) -> Result<Self, KeysError> {
        if json.len() > BACKUP_KEY_BYTES_MAX {
            return Err(KeysError::TooMuch(format!("a key in a backup has {BACKUP_KEY_BYTES_MAX} bytes at most")));
        }
        let rank: Self = serde_json::from_str(json)
            .map_err(|error| KeysError::Malformed(format!("not a key as a backup holds it: {error}")))?;
        if !rank.session_data.get().trim_start().starts_with('{') {
            return Err(KeysError::Malformed("`session_data` is an object".into()));
        }
        Ok(rank)
    }

    /// Verified before not, then the earlier start, then the shorter way. Of two that are equal, the one that is there stays.
    fn is_better_than(&self, old: &Self) -> bool {
        let order = |rank: &Self| (!rank.is_verified, rank.first_message_index, rank.forwarded_count);
        order(self) < order(old)
    }
}

fn number_of(version: &str) -> Result<u64, KeysError> {
    let number = version.parse().ok().filter(|number: &u64| *number != COUNTER && number.to_string() == version);
    number.ok_or_else(|| KeysError::NotFound("there is no such version of the backup".into()))
}

fn unknown(number: u64) -> KeysError {
    KeysError::NotFound(format!("there is no version {number} of the backup"))
}

fn find(view: &dyn View, user: UserKey, number: u64) -> Result<Option<BackupRecord>> {
    view.bkv()?.row((user.0, number))?.map(|row| BackupRecord::decode(row.value())).transpose()
}

fn must(view: &dyn View, user: UserKey, number: u64) -> Result<BackupRecord, KeysError> {
    find(view, user, number)?.ok_or_else(|| unknown(number))
}

fn put(tx: &mut WriteTx<'_>, user: UserKey, number: u64, record: &BackupRecord) -> Result<()> {
    let bytes = record.encode()?;
    tx.write().bkv.insert((user.0, number), bytes.as_slice())?;
    Ok(())
}

fn versions(view: &dyn View, user: UserKey) -> Result<Vec<u64>> {
    let (from, to) = (Bound::Excluded((user.0, COUNTER)), Bound::Included((user.0, u64::MAX)));
    view.bkv()?.between(from, to)?.map(|row| Ok(row?.0.value().1)).collect()
}

fn latest(view: &dyn View, user: UserKey) -> Result<Option<u64>> {
    Ok(versions(view, user)?.last().copied())
}

fn state_of(record: &BackupRecord) -> BackupState {
    BackupState { etag: record.etag.to_string(), count: UInt::new_saturating(record.count) }
}

/// The rooms and sessions of the keys that are meant.
fn rows(view: &dyn View, user: UserKey, number: u64, part: &Part) -> Result<Vec<(String, String)>> {
    let none: &[u8] = &[];
    let from = match part {
        Part::All => (user.0, number, none, none),
        Part::Room(room) => (user.0, number, room.as_bytes(), none),
        Part::Session(room, session) => (user.0, number, room.as_bytes(), session.as_bytes()),
    };
    let mut rows = Vec::new();
    for row in view.bk()?.between(Bound::Included(from), Bound::Excluded((user.0, number + 1, none, none)))? {
        let key = row?.0;
        let (_, _, room, session) = key.value();
        let is_meant = match part {
            Part::All => true,
            Part::Room(wanted) => room == wanted.as_bytes(),
            Part::Session(wanted, id) => room == wanted.as_bytes() && session == id.as_bytes(),
        };
        if !is_meant {
            break;
        }
        rows.push((text(room)?, text(session)?));
    }
    Ok(rows)
}

fn remove_version(tx: &mut WriteTx<'_>, user: UserKey, number: u64) -> Result<()> {
    remove_keys(tx, user, number, &Part::All)?;
    tx.write().bkv.remove((user.0, number))?;
    Ok(())
}

fn remove_keys(tx: &mut WriteTx<'_>, user: UserKey, number: u64, part: &Part) -> Result<u64> {
    let rows = rows(tx, user, number, part)?;
    for (room, session) in &rows {
        tx.write().bk.remove((user.0, number, room.as_bytes(), session.as_bytes()))?;
    }
    Ok(rows.len() as u64)
}

fn room_of(room: &str) -> Result<OwnedRoomId> {
    RoomId::parse(room).map_err(|error| StoreError::Corrupt(format!("a room of a backup: {error}")))
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::Corrupt("a backup holds what is no text".into()))
}

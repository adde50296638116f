//! One-time and fallback keys of local devices: kept in the order of upload, handed out once.
//!
//! Invariants: a one-time key that was claimed is in the store no more, and its hash is remembered for a while, so that the
//! retry of an upload whose answer was lost cannot bring it back. A fallback key stays until its device replaces it.

use std::{collections::BTreeMap, ops::Bound};

use ruma::{OneTimeKeyAlgorithm, OwnedOneTimeKeyId, UInt};
use sha2::{Digest, Sha256};

use super::{Actor, KeysError};
use crate::{
    store::{FallbackRecord, OneTimeKeyRecord, PrekeyRecord, Record, Result, StoreError, UserKey, View, WriteTx},
    types::limits::{CLAIMED_KEYS_REMEMBERED_MAX, FALLBACK_KEYS_MAX, ONE_TIME_KEYS_MAX},
};

/// Unclaimed one-time keys of a device, by algorithm. Once a device has keys, the usual algorithm is always named: clients
/// upload more only when they are told of zero.
///
/// # Errors
/// When the database fails.
pub(crate) fn one_time_keys(view: &dyn View, actor: &Actor) -> Result<BTreeMap<OneTimeKeyAlgorithm, UInt>> {
    let device = actor.device.as_str();
    let counts = find(view, actor.user_key, device)?.counts;
    let mut counts: BTreeMap<_, _> =
        counts.into_iter().map(|(name, count)| (OneTimeKeyAlgorithm::from(name), UInt::from(count))).collect();
    if view.dkey()?.row((actor.user_key.0, device.as_bytes()))?.is_some() {
        counts.entry(OneTimeKeyAlgorithm::SignedCurve25519).or_default();
    }
    Ok(counts)
}

/// The algorithms whose fallback key of a device nobody was given yet.
///
/// # Errors
/// When the database fails.
pub(crate) fn unused_fallback(view: &dyn View, actor: &Actor) -> Result<Vec<OneTimeKeyAlgorithm>> {
    let keys = find(view, actor.user_key, actor.device.as_str())?.fallback;
    Ok(keys.iter().filter(|key| !key.used).map(|key| algorithm_of(&key.id).into()).collect())
}

/// Adds one-time keys, each with its JSON. One that is there already is passed over; another under the same id is refused.
///
/// # Errors
/// [`KeysError::Invalid`] and [`KeysError::TooMuch`].
pub(super) fn add(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    device: &str,
    keys: &[(OwnedOneTimeKeyId, String)],
) -> Result<(), KeysError> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut record = find(tx, user, device)?;
    let there = all(tx, user, device)?;
    let known: BTreeMap<&str, &str> = there.iter().map(|key| (key.id.as_str(), key.json.as_str())).collect();
    let mut fresh = Vec::new();
    for (id, json) in keys {
        match known.get(id.as_str()) {
            Some(known) if known == json => {}
            Some(_) => return Err(KeysError::Invalid(format!("there is another one-time key {id} already"))),
            None if record.claimed.contains(&hash(id.as_str(), json)) => {}
            None => fresh.push(OneTimeKeyRecord { id: id.to_string(), json: json.clone() }),
        }
    }
    if there.len() + fresh.len() > ONE_TIME_KEYS_MAX {
        return Err(KeysError::TooMuch(format!("at most {ONE_TIME_KEYS_MAX} one-time keys of a device are kept")));
    }
    for key in fresh {
        count(&mut record, algorithm_of(&key.id), 1);
        let bytes = key.encode()?;
        tx.write().otk.insert((user.0, device.as_bytes(), record.next), bytes.as_slice()).map_err(StoreError::from)?;
        record.next += 1;
    }
    Ok(put(tx, user, device, &record)?)
}

/// Sets fallback keys, one for each algorithm. A new one is unused; the same one again stays as it is.
///
/// # Errors
/// [`KeysError::Invalid`] and [`KeysError::TooMuch`].
pub(super) fn set_fallback(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    device: &str,
    keys: &[(OwnedOneTimeKeyId, String)],
) -> Result<(), KeysError> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut record = find(tx, user, device)?;
    for (id, json) in keys {
        let key = FallbackRecord { id: id.to_string(), json: json.clone(), used: false };
        match record.fallback.iter_mut().find(|old| algorithm_of(&old.id) == algorithm_of(&key.id)) {
            Some(old) if old.id == key.id && old.json == key.json => {}
            Some(old) => *old = key,
            None => record.fallback.push(key),
        }
    }
    if record.fallback.len() > FALLBACK_KEYS_MAX {
        return Err(KeysError::TooMuch(format!("at most {FALLBACK_KEYS_MAX} fallback keys of a device are kept")));
    }
    Ok(put(tx, user, device, &record)?)
}

/// Takes the oldest one-time key of an algorithm away; answers its id and JSON.
///
/// # Errors
/// When the database fails.
pub(super) fn take(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    device: &str,
    algorithm: &str,
) -> Result<Option<(String, String)>> {
    let mut oldest = None;
    for row in tx.otk()?.between(Bound::Included((user.0, device.as_bytes(), 0)), up_to(user, device))? {
        let (key, value) = row?;
        let record = OneTimeKeyRecord::decode(value.value())?;
        if algorithm_of(&record.id) == algorithm {
            oldest = Some((key.value().2, record));
            break;
        }
    }
    let Some((place, key)) = oldest else { return Ok(None) };
    tx.write().otk.remove((user.0, device.as_bytes(), place))?;
    let mut record = find(tx, user, device)?;
    count(&mut record, algorithm, -1);
    record.claimed.push(hash(&key.id, &key.json));
    let surplus = record.claimed.len().saturating_sub(CLAIMED_KEYS_REMEMBERED_MAX);
    record.claimed.drain(..surplus);
    put(tx, user, device, &record)?;
    Ok(Some((key.id, key.json)))
}

/// Gives the fallback key of an algorithm, which counts as used from here on.
///
/// # Errors
/// When the database fails.
pub(super) fn use_fallback(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    device: &str,
    algorithm: &str,
) -> Result<Option<(String, String)>> {
    let mut record = find(tx, user, device)?;
    let Some(key) = record.fallback.iter_mut().find(|key| algorithm_of(&key.id) == algorithm) else { return Ok(None) };
    let given = (key.id.clone(), key.json.clone());
    if !key.used {
        key.used = true;
        put(tx, user, device, &record)?;
    }
    Ok(Some(given))
}

/// Takes all one-time and fallback keys of a device away.
///
/// # Errors
/// When the database fails.
pub(super) fn forget(tx: &mut WriteTx<'_>, user: UserKey, device: &str) -> Result<()> {
    let device = device.as_bytes();
    let tables = tx.write();
    tables.prekey.remove((user.0, device))?;
    tables.otk.remove_in((user.0, device, 0)..=(user.0, device, u64::MAX))?;
    tables.otk_claims.remove_in((user.0, device, 0)..=(user.0, device, u32::MAX))?;
    Ok(())
}

/// Takes the one-time keys of all devices away, for a database that is older than what was handed out last: none may go to
/// two claimants. Devices upload new ones when they hear that there are none.
///
/// # Errors
/// When the database fails.
pub(crate) fn forget_one_time_keys(tx: &mut WriteTx<'_>) -> Result<()> {
    let mut records = Vec::new();
    for row in tx.prekey()?.between(Bound::Unbounded, Bound::Unbounded)? {
        let (key, value) = row?;
        let (user, device) = key.value();
        records.push((user, device.to_vec(), PrekeyRecord::decode(value.value())?));
    }
    tx.write().otk.retain(|_, _| false)?;
    for (user, device, record) in records {
        let bytes = PrekeyRecord { counts: Vec::new(), ..record }.encode()?;
        tx.write().prekey.insert((user, device.as_slice()), bytes.as_slice())?;
    }
    Ok(())
}

fn all(view: &dyn View, user: UserKey, device: &str) -> Result<Vec<OneTimeKeyRecord>> {
    let rows = view.otk()?.between(Bound::Included((user.0, device.as_bytes(), 0)), up_to(user, device))?;
    rows.map(|row| OneTimeKeyRecord::decode(row?.1.value())).collect()
}

fn up_to(user: UserKey, device: &str) -> Bound<(u32, &[u8], u64)> {
    Bound::Included((user.0, device.as_bytes(), u64::MAX))
}

fn find(view: &dyn View, user: UserKey, device: &str) -> Result<PrekeyRecord> {
    let row = view.prekey()?.row((user.0, device.as_bytes()))?;
    Ok(row.map(|row| PrekeyRecord::decode(row.value())).transpose()?.unwrap_or_default())
}

fn put(tx: &mut WriteTx<'_>, user: UserKey, device: &str, record: &PrekeyRecord) -> Result<()> {
    let bytes = record.encode()?;
    tx.write().prekey.insert((user.0, device.as_bytes()), bytes.as_slice())?;
    Ok(())
}

fn count(record: &mut PrekeyRecord, algorithm: &str, change: i32) {
    match record.counts.iter_mut().find(|(name, _)| name == algorithm) {
        Some((_, count)) => *count = count.saturating_add_signed(change),
        None => record.counts.push((algorithm.to_owned(), u32::from(change > 0))),
    }
    record.counts.retain(|(_, count)| *count > 0);
}

fn algorithm_of(id: &str) -> &str {
    id.split_once(':').map_or(id, |(algorithm, _)| algorithm)
}

fn hash(id: &str, json: &str) -> [u8; 8] {
    let digest = Sha256::new().chain_update(id).chain_update([0]).chain_update(json).finalize();
    digest.first_chunk::<8>().copied().unwrap_or_default()
}

//! A new version of a backup that is filled before anybody sees it.
//!
//! Clients read the latest version alone, so one that is made first and filled then would for a while hide the old keys behind
//! a backup that lacks them. A draft has a number and keys, and no row that says there is such a version; [`publish`] writes
//! that row and takes all other versions away, in the caller's transaction. A draft that was given up is swept when the next
//! one begins.
//!
//! Invariant: no request finds a draft, since all of them look for the version's row first.

use std::{collections::BTreeSet, ops::Bound};

use ruma::{api::client::backup::BackupAlgorithm, serde::Raw};

use super::{COUNTER, Described, Part, Ranked, find, put, put_keys, remove_keys, remove_version, versions};
use crate::{
    keys::KeysError,
    store::{BackupRecord, Result, UserKey, View, WriteTx},
};

/// A version that nobody sees yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    user: UserKey,
    number: u64,
    /// Keys in it.
    count: u64,
}

impl Draft {
    /// What the version will be called. No other version ever bears this name.
    pub(crate) fn version(&self) -> String {
        self.number.to_string()
    }
}

/// Begins a draft, and takes away what was left of those before.
///
/// # Errors
/// When the database fails.
pub(crate) fn begin(tx: &mut WriteTx<'_>, user: UserKey) -> Result<Draft> {
    sweep(tx, user)?;
    let number = find(tx, user, COUNTER)?.map_or(0, |counter| counter.last) + 1;
    put(tx, user, COUNTER, &BackupRecord { last: number, ..BackupRecord::default() })?;
    Ok(Draft { user, number, count: 0 })
}

/// Puts keys into a draft, and answers it with them.
///
/// # Errors
/// [`KeysError::TooMuch`]; the store's.
pub(crate) fn add(tx: &mut WriteTx<'_>, draft: Draft, keys: &Ranked) -> Result<Draft, KeysError> {
    let (count, _) = put_keys(tx, draft.user, draft.number, draft.count, keys)?;
    Ok(Draft { count, ..draft })
}

/// Makes a draft the only version of its user's backup.
///
/// # Errors
/// When the algorithm is malformed; the store's.
pub(crate) fn publish(tx: &mut WriteTx<'_>, draft: &Draft, algorithm: &Raw<BackupAlgorithm>) -> Result<(), KeysError> {
    let Described { algorithm, auth_data, .. } = Described::read(algorithm)?;
    for number in versions(tx, draft.user)? {
        remove_version(tx, draft.user, number)?;
    }
    let record = BackupRecord {
        algorithm,
        auth_data: auth_data.get().to_owned(),
        count: draft.count,
        ..BackupRecord::default()
    };
    Ok(put(tx, draft.user, draft.number, &record)?)
}

/// Takes away all keys that belong to no version.
///
/// # Errors
/// When the database fails.
pub(crate) fn sweep(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    let known: BTreeSet<u64> = versions(tx, user)?.into_iter().collect();
    let mut from = COUNTER;
    while let Some(number) = next_with_keys(tx, user, from)? {
        if !known.contains(&number) {
            remove_keys(tx, user, number, &Part::All)?;
        }
        from = number + 1;
    }
    Ok(())
}

/// The first version from a number on that has keys.
fn next_with_keys(view: &dyn View, user: UserKey, from: u64) -> Result<Option<u64>> {
    let none: &[u8] = &[];
    let (from, to) = (Bound::Included((user.0, from, none, none)), Bound::Included((user.0, u64::MAX, none, none)));
    let first = view.bk()?.between(from, to)?.next().transpose()?;
    Ok(first.map(|(key, _)| key.value().1))
}

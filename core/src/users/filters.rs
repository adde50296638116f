//! Filters that clients upload and name in later syncs.
//!
//! Kept as JSON that the API has validated. Invariant: a number is not given twice while its filter is kept, and a filter
//! under a number never changes, so a client may trust the number for as long as it finds it.

use std::ops::Bound;

use crate::{
    store::{Result, UserKey, View, WriteTx},
    types::limits::FILTERS_MAX,
};

/// A filter's JSON.
///
/// # Errors
/// When the database fails.
pub fn find(view: &dyn View, user: UserKey, number: u32) -> Result<Option<Vec<u8>>> {
    Ok(view.filter()?.row((user.0, number))?.map(|row| row.value().to_vec()))
}

/// Keeps a filter and answers its number. The same filter gets the same number; the oldest goes when there are too many.
///
/// # Errors
/// When the database fails.
pub fn add(tx: &mut WriteTx<'_>, user: UserKey, json: &[u8]) -> Result<u32> {
    let mut numbers = Vec::new();
    for row in tx.filter()?.between(Bound::Included((user.0, 0)), Bound::Included((user.0, u32::MAX)))? {
        let (key, value) = row?;
        let number = key.value().1;
        if value.value() == json {
            return Ok(number);
        }
        numbers.push(number);
    }
    let number = numbers.last().map_or(1, |last| last.saturating_add(1));
    let oldest = numbers.first().copied().filter(|_| numbers.len() >= FILTERS_MAX);
    let tables = tx.write();
    if let Some(oldest) = oldest {
        tables.filter.remove((user.0, oldest))?;
    }
    tables.filter.insert((user.0, number), json)?;
    Ok(number)
}

/// Forgets all filters of a user.
///
/// # Errors
/// When the database fails.
pub fn remove_all(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    tx.write().filter.remove_in((user.0, 0)..=(user.0, u32::MAX))?;
    Ok(())
}

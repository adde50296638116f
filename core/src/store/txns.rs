//! Which event a client's transaction became, so that a retry finds it instead of sending again.
//!
//! Rows go in order of events, and the engine keeps them in memory by their names: a table in order of names would touch
//! another page for every message, which was a third of all that a message wrote. What is older than the window is
//! forgotten; clients retry within minutes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Esn, Result, UserKey, View, WriteTx};

/// Transactions that are remembered: on a phone the messages of weeks, in a megabyte of memory.
const WINDOW: usize = 16_384;
/// Rows beyond the window that may gather before they are removed together.
const SLACK: usize = 4_096;

/// A transaction's name: whose, and a hash of device and transaction id.
type Name = (u32, [u8; 16]);

/// The engine's memory of the table.
#[derive(Default)]
struct Window {
    loaded: bool,
    events: BTreeMap<Name, Esn>,
    /// The names in order of events.
    order: BTreeMap<Esn, Name>,
}

fn hash<const N: usize>(device: &str, txn: &str) -> [u8; N] {
    let digest = Sha256::new().chain_update(device).chain_update([0]).chain_update(txn).finalize();
    digest.first_chunk::<N>().copied().unwrap_or([0; N])
}

/// The event that a device's transaction became.
///
/// # Errors
/// When the database fails.
pub(crate) fn find(tx: &mut WriteTx<'_>, user: UserKey, device: &str, txn: &str) -> Result<Option<Esn>> {
    load(tx)?;
    Ok(tx.kept::<Window>().events.get(&(user.0, hash(device, txn))).copied())
}

/// Remembers what a transaction became.
///
/// # Errors
/// When the database fails.
pub(crate) fn keep(tx: &mut WriteTx<'_>, user: UserKey, device: &str, txn: &str, esn: Esn) -> Result<()> {
    load(tx)?;
    let name = (user.0, hash(device, txn));
    tx.write().client_txn.insert(esn, (user.0, u32::from_le_bytes(hash(device, "")), &name.1))?;
    let window = tx.kept::<Window>();
    window.events.insert(name, esn);
    window.order.insert(esn, name);
    if window.order.len() <= WINDOW + SLACK {
        return Ok(());
    }
    let Some(oldest_kept) = window.order.keys().nth(SLACK).copied() else { return Ok(()) };
    let young = window.order.split_off(&oldest_kept);
    let old = std::mem::replace(&mut window.order, young);
    for (esn, name) in old {
        if window.events.get(&name) == Some(&esn) {
            window.events.remove(&name);
        }
    }
    tx.write().client_txn.remove_in(..oldest_kept)?;
    Ok(())
}

/// Forgets the transactions of a device that is logged out: another device of the same name starts anew.
///
/// # Errors
/// When the database fails.
pub(crate) fn forget_device(tx: &mut WriteTx<'_>, user: UserKey, device: &str) -> Result<()> {
    let device = u32::from_le_bytes(hash(device, ""));
    tx.write().client_txn.retain(|_, (row_user, row_device, _)| (row_user, row_device) != (user.0, device))?;
    tx.keep(Window::default());
    Ok(())
}

fn load(tx: &mut WriteTx<'_>) -> Result<()> {
    if tx.kept::<Window>().loaded {
        return Ok(());
    }
    let mut window = Window { loaded: true, ..Window::default() };
    let rows = tx.client_txn()?.between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)?;
    for row in rows.rev().take(WINDOW) {
        let (esn, value) = row?;
        let (user, _, name) = value.value();
        window.order.insert(esn.value(), (user, *name));
        window.events.entry((user, *name)).or_insert(esn.value());
    }
    tx.keep(window);
    Ok(())
}

//! What a server has not acknowledged yet, read from `out_log` in order.

use std::{collections::BTreeMap, ops::Bound};

use ruma::ServerName;

use crate::{
    event::Pdu,
    store::{DestRecord, Record, Result, ServerKey, ServerSet, Stored, View, WriteTx},
};

/// Rows that a server's cursor may lag behind without need before it is written anew, so that they are not read again.
const IDLE_ROWS_MAX: u64 = 1_000;

/// The next events for a server.
#[derive(Debug)]
pub(super) struct Batch {
    /// The events, in order.
    pub(super) pdus: Vec<Pdu>,
    /// Everything up to this row is in the batch or not for this server.
    pub(super) last: u64,
}

impl Batch {
    /// Whether an empty batch passed so many rows that the cursor should move.
    pub(super) fn is_worth_writing(&self, cursor: u64) -> bool {
        self.last.saturating_sub(cursor) > IDLE_ROWS_MAX
    }
}

/// The next events for a server after its cursor, `limit` at most.
pub(super) fn next(view: &dyn View, server: ServerKey, cursor: u64, limit: usize) -> Result<Batch> {
    let mut batch = Batch { pdus: Vec::new(), last: cursor };
    let mut meant: BTreeMap<(u32, u32), bool> = BTreeMap::new();
    for row in view.out_log()?.between(Bound::Excluded(cursor), Bound::Unbounded)? {
        if batch.pdus.len() >= limit {
            break;
        }
        let (n, value) = row?;
        let (esn, room, version) = value.value();
        if is_meant(view, &mut meant, server, room, version)? {
            match Stored::load(view, esn)? {
                Some(stored) => batch.pdus.push(stored.pdu),
                None => tracing::error!(esn, "an event of the outbox is missing"),
            }
        }
        batch.last = n.value();
    }
    Ok(batch)
}

/// How many events wait for a server.
///
/// # Errors
/// When the database fails.
pub fn pending(view: &dyn View, server: &ServerName) -> Result<u64> {
    let Some(server) = ServerKey::find(view, server)? else { return Ok(0) };
    let mut meant: BTreeMap<(u32, u32), bool> = BTreeMap::new();
    let mut count = 0;
    for row in view.out_log()?.between(Bound::Excluded(cursor(view, server)?), Bound::Unbounded)? {
        let (_, room, version) = row?.1.value();
        count += u64::from(is_meant(view, &mut meant, server, room, version)?);
    }
    Ok(count)
}

fn is_meant(
    view: &dyn View,
    meant: &mut BTreeMap<(u32, u32), bool>,
    server: ServerKey,
    room: u32,
    version: u32,
) -> Result<bool> {
    if let Some(meant) = meant.get(&(room, version)) {
        return Ok(*meant);
    }
    let is_meant = servers(view, room, version)?.contains(&server);
    meant.insert((room, version), is_meant);
    Ok(is_meant)
}

/// The servers that rows of a room with this version of its server set are meant for, ours among them.
pub(super) fn servers(view: &dyn View, room: u32, version: u32) -> Result<Vec<ServerKey>> {
    let row = view.dset()?.row((room, version))?;
    Ok(row.map(|row| ServerSet::decode(row.value())).transpose()?.unwrap_or_default().0)
}

/// The row up to which a server acknowledged.
pub(super) fn cursor(view: &dyn View, server: ServerKey) -> Result<u64> {
    let record = view.dest()?.row(server.0)?.map(|row| DestRecord::decode(row.value())).transpose()?;
    Ok(record.map_or(0, |record| record.cursor))
}

/// Moves a server's cursor. It never moves back: two senders for one server cannot undo each other.
pub(super) fn advance(tx: &mut WriteTx<'_>, server: ServerKey, to: u64, now: u64) -> Result<()> {
    let cursor = cursor(tx, server)?.max(to);
    let bytes = DestRecord { cursor, failures: 0, last_success: now }.encode()?;
    tx.write().dest.insert(server.0, bytes.as_slice())?;
    Ok(())
}

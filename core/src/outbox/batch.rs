//! What a server has not acknowledged yet: events out of `out_log` and letters, each in order.

use std::{collections::BTreeMap, ops::Bound};

use ruma::ServerName;

use super::letters;
use crate::{
    store::{DestRecord, InviteLetter, LetterRecord, Record, Result, ServerKey, ServerSet, Stored, View, WriteTx},
    types::limits::{TRANSACTION_EDU_BYTES_MAX, TRANSACTION_EDUS_MAX, TRANSACTION_PDUS_MAX},
};

/// Rows that a server's cursor may lag behind without need before it is written anew, so that they are not read again.
const IDLE_ROWS_MAX: u64 = 1_000;

/// What goes to a server next.
#[derive(Debug)]
pub(super) enum Next {
    /// A transaction; empty when nothing waits.
    Transaction(Batch),
    /// An invite, and its place among the letters.
    Invite(Box<InviteLetter>, u64),
}

/// The next transaction for a server.
#[derive(Debug)]
pub(super) struct Batch {
    /// The events, in order.
    pub(super) events: Vec<Stored>,
    /// Everything up to this row is in the batch or not for this server.
    pub(super) last: u64,
    /// The EDUs, in order.
    pub(super) edus: Vec<String>,
    /// The places of the first and the last of them.
    pub(super) letters: Option<(u64, u64)>,
}

impl Batch {
    /// How much it holds.
    pub(super) fn len(&self) -> usize {
        self.events.len() + self.edus.len()
    }

    /// Whether an empty batch passed so many rows that the cursor should move.
    pub(super) fn is_worth_writing(&self, cursor: u64) -> bool {
        self.last.saturating_sub(cursor) > IDLE_ROWS_MAX
    }
}

/// What goes to a server next after its cursor: `limit` things at most if there is one, and no more than a transaction may
/// hold. Letters come first: they may hold the keys of the events.
pub(super) fn next(view: &dyn View, server: ServerKey, cursor: u64, limit: Option<usize>) -> Result<Next> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut batch = Batch { events: Vec::new(), last: cursor, edus: Vec::new(), letters: None };
    let mut bytes = 0;
    for letter in letters::waiting(view, server)? {
        let (place, letter) = letter?;
        match letter {
            LetterRecord::Invite(invite) if batch.edus.is_empty() => return Ok(Next::Invite(Box::new(invite), place)),
            LetterRecord::Invite(_) => break,
            LetterRecord::Edu { json, .. } => {
                bytes += json.len();
                let full = bytes > TRANSACTION_EDU_BYTES_MAX && !batch.edus.is_empty();
                if full || batch.edus.len() >= TRANSACTION_EDUS_MAX.min(limit) {
                    break;
                }
                batch.edus.push(json);
                batch.letters = Some((batch.letters.map_or(place, |(first, _)| first), place));
            }
        }
    }
    let room_left = TRANSACTION_PDUS_MAX.min(limit - batch.edus.len());
    add_events(view, server, &mut batch, room_left)?;
    Ok(Next::Transaction(batch))
}

fn add_events(view: &dyn View, server: ServerKey, batch: &mut Batch, limit: usize) -> Result<()> {
    let mut meant: BTreeMap<(u32, u32), bool> = BTreeMap::new();
    for row in view.out_log()?.between(Bound::Excluded(batch.last), Bound::Unbounded)? {
        if batch.events.len() >= limit {
            break;
        }
        let (n, value) = row?;
        let (esn, room, version) = value.value();
        if is_meant(view, &mut meant, server, room, version)? {
            match Stored::load(view, esn)? {
                Some(stored) => batch.events.push(stored),
                None => tracing::error!(esn, "an event of the outbox is missing"),
            }
        }
        batch.last = n.value();
    }
    Ok(())
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

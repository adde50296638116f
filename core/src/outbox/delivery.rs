//! How an event of ours stands with each server that it was meant for, as far as is proven.
//!
//! *Taken* is said only when that server answered for this very event. What it got from a neighbour is not known here until
//! it has acknowledged ours, which it then does at once.

use super::batch;
use crate::store::{Esn, Result, ServerKey, View, WriteTx};

/// What is known of an event's way to one server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// It waits here, or its acknowledgement has not come back.
    Queued,
    /// The server has acknowledged it.
    Taken,
    /// The server will not have it.
    Refused(String),
}

/// How the event at a position of the log stands with the other servers that it was meant for; empty for what was meant
/// for nobody else.
///
/// # Errors
/// When the database fails.
pub fn deliveries(view: &dyn View, n: u64) -> Result<Vec<(ServerKey, Delivery)>> {
    let Some(row) = view.out_log()?.row(n)? else { return Ok(Vec::new()) };
    let (esn, room, version) = row.value();
    let mut deliveries = Vec::new();
    for server in batch::servers(view, room, version)? {
        let delivery = match view.refused()?.row((esn, server.0))? {
            Some(why) => Delivery::Refused(String::from_utf8_lossy(why.value()).into_owned()),
            None if batch::cursor(view, server)? >= n => Delivery::Taken,
            None => Delivery::Queued,
        };
        deliveries.push((server, delivery));
    }
    Ok(deliveries)
}

/// Bytes kept of a server's reason to refuse an event.
const REASON_BYTES_MAX: usize = 200;

/// Keeps that a server refused an event for good.
pub(super) fn refuse(tx: &mut WriteTx<'_>, esn: Esn, server: ServerKey, why: &str) -> Result<()> {
    let why: String = why.chars().take(REASON_BYTES_MAX / 4).collect();
    tx.write().refused.insert((esn, server.0), why.as_bytes())?;
    Ok(())
}

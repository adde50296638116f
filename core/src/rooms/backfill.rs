//! History that fills a gap of the timeline.
//!
//! It is judged by its own auth events alone: the state at a place that nobody fetched is not known. For showing it, the
//! state at the gap's edge stands in.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId, RoomId};

use super::{
    error::ApplyError,
    gap::{Gap, gaps, open},
    judge::allowed_by_auth_events,
    keep::{add_to_graph, missing_auth, numbered, save},
    read::Room,
    receipts, redact, relations,
};
use crate::{
    event::Pdu,
    store::{Flags, Result, StateRef, StoreError, Stored, View, WriteTx},
};

/// Fills a gap from below its event with verified history, in any order; closes the gap, or moves it down. Answers how many
/// events were new on the timeline.
///
/// Events that do not connect to the gap through the others are left out: a peer may send what it likes.
///
/// # Errors
/// [`ApplyError::Need`] when auth events are not here; nothing is written then.
pub(crate) fn apply_backfill(
    tx: &mut WriteTx<'_>,
    room: &RoomId,
    gap_pos: u64,
    pdus: &[Pdu],
) -> Result<usize, ApplyError> {
    let Some(mut room) = Room::find(tx, room)? else { return Err(ApplyError::NoRoom(room.to_owned())) };
    let Some(gap) = gaps(tx, room.key)?.into_iter().find(|gap| gap.pos == gap_pos) else { return Ok(0) };
    let given: BTreeMap<&EventId, &Pdu> = pdus.iter().map(|pdu| (&*pdu.event_id, pdu)).collect();
    let connected = newest_first(&gap.missing, &given);
    let mut auth = Vec::new();
    for pdu in &connected {
        auth.extend(missing_auth(tx, pdu)?.into_iter().filter(|id| !given.contains_key(&**id)));
    }
    if !auth.is_empty() {
        auth.sort_unstable();
        auth.dedup();
        return Err(ApplyError::Need { prev: Vec::new(), auth });
    }
    let edge = tx.tl()?.row((room.key.0, gap_pos))?.map(|row| row.value());
    let edge = edge.ok_or_else(|| StoreError::Corrupt(format!("no event at the gap {gap_pos} of {}", room.id)))?;
    let edge = Stored::must(tx, edge)?.header.before;
    // Oldest first for the rules, since they build on one another; the places are given newest first.
    let mut kept = Vec::new();
    for pdu in connected.iter().rev() {
        kept.push(keep(tx, &mut room, pdu, edge)?);
    }
    let mut pos = gap_pos;
    let mut fresh = 0;
    for (pdu, kept) in connected.iter().zip(kept.into_iter().rev()) {
        if let Some(mut stored) = kept {
            pos -= 1;
            fresh += 1;
            stored.header.pos = pos;
            tx.write().tl.insert((room.key.0, pos), stored.esn).map_err(StoreError::from)?;
            Stored::put(tx, stored.esn, &stored.header, stored.pdu.json())?;
            relations::note(tx, room.key, stored.esn, &stored.header, &stored.pdu)?;
            redact::on_event(tx, &room, stored.esn, &stored.header, pdu)?;
            receipts::arrived(tx, room.key, &pdu.event_id)?;
        }
    }
    close(tx, &room, &gap, &connected, pos)?;
    save(tx, &room)?;
    Ok(fresh)
}

/// The given events that the gap leads to, children before parents, and deeper events first among the rest.
fn newest_first<'a>(missing: &[OwnedEventId], given: &BTreeMap<&EventId, &'a Pdu>) -> Vec<&'a Pdu> {
    let mut children: BTreeMap<&EventId, usize> = BTreeMap::new();
    let mut reached: BTreeMap<&EventId, &'a Pdu> = BTreeMap::new();
    let mut open: Vec<&EventId> = missing.iter().map(|id| -> &EventId { id }).collect();
    while let Some(id) = open.pop() {
        if let Some(pdu) = given.get(id)
            && reached.insert(&pdu.event_id, pdu).is_none()
        {
            for prev in &pdu.prev_events {
                *children.entry(prev).or_default() += 1;
                open.push(prev);
            }
        }
    }
    let rank = |pdu: &Pdu| (pdu.depth, pdu.origin_server_ts, pdu.event_id.clone());
    let mut ready: BTreeMap<_, &Pdu> = BTreeMap::new();
    for pdu in reached.values().filter(|pdu| !children.contains_key(&*pdu.event_id)) {
        ready.insert(rank(pdu), pdu);
    }
    let mut order = Vec::new();
    while let Some((_, pdu)) = ready.pop_last() {
        order.push(pdu);
        for prev in &pdu.prev_events {
            if let Some(count) = children.get_mut(&**prev) {
                *count -= 1;
                if *count == 0
                    && let Some(prev) = reached.get(&**prev)
                {
                    ready.insert(rank(prev), prev);
                }
            }
        }
    }
    order
}

/// Stores one event of history. `None` when it has a place already, or none to get.
fn keep(tx: &mut WriteTx<'_>, room: &mut Room, pdu: &Pdu, edge: StateRef) -> Result<Option<Stored>, ApplyError> {
    let (esn, mut header) = numbered(tx, room, pdu)?;
    let stored_before = Stored::header(tx, esn)?;
    if stored_before.as_ref().is_some_and(|header| !header.flags.outlier) {
        return Ok(None);
    }
    let rejected = match &stored_before {
        Some(header) => header.flags.rejected,
        None => allowed_by_auth_events(tx, room, pdu, None)?.is_err(),
    };
    let redacted = header.flags.redacted;
    header.flags = Flags { rejected, redacted, history: true, ..Flags::default() };
    header.before = edge;
    header.after = edge;
    if !rejected {
        add_to_graph(tx, room, pdu, esn, &mut header)?;
    }
    let json = match Stored::load(tx, esn)? {
        Some(stored) if redacted => stored.pdu.json().to_owned(),
        _ => pdu.json().to_owned(),
    };
    Stored::put(tx, esn, &header, &json)?;
    Ok((!rejected).then_some(Stored::must(tx, esn)?))
}

/// Closes the gap; opens another at `pos` for parents that are still not here.
fn close(tx: &mut WriteTx<'_>, room: &Room, gap: &Gap, connected: &[&Pdu], pos: u64) -> Result<()> {
    let mut missing = Vec::new();
    for id in gap.missing.iter().chain(connected.iter().flat_map(|pdu| &pdu.prev_events)) {
        let esn = Stored::find(tx, id)?;
        let header = esn.map(|esn| Stored::header(tx, esn)).transpose()?.flatten();
        if header.is_none_or(|header| header.flags.outlier) && !missing.contains(id) {
            missing.push(id.clone());
        }
    }
    tx.write().gap.remove((room.key.0, gap.pos))?;
    open(tx, room.key, pos, &missing)
}

//! Gaps in the timeline and the history that fills them.
//!
//! A gap stands before an event whose parents are not here: we joined there, or were away for longer than could be caught
//! up. Positions leave 2^32 places below such an event, so history is filled in downward without moving anything.

use std::{collections::BTreeMap, ops::Bound};

use ruma::{EventId, OwnedEventId, RoomId};

use super::{
    apply::{add_to_graph, missing_auth, numbered, save},
    error::ApplyError,
    judge::allowed_by_auth_events,
    read::Room,
    redact,
};
use crate::{
    event::Pdu,
    store::{Flags, GapRecord, Record, Result, RoomKey, StateRef, Stored, StoreError, View, WriteTx},
};

/// Places between a gap and what lies before it.
pub(super) const CHUNK: u64 = 1 << 32;

/// A gap before an event of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The event's place.
    pub pos: u64,
    /// Its parents that are not here.
    pub missing: Vec<OwnedEventId>,
}

/// The gaps of a room, newest first.
///
/// # Errors
/// When the database fails.
pub fn gaps(view: &dyn View, room: RoomKey) -> Result<Vec<Gap>> {
    let mut gaps = Vec::new();
    for row in view.gap()?.between(Bound::Included((room.0, 0)), Bound::Included((room.0, u64::MAX)))?.rev() {
        let (key, value) = row?;
        let missing = GapRecord::decode(value.value())?.missing;
        let missing = missing.into_iter().filter_map(|id| OwnedEventId::try_from(id).ok()).collect();
        gaps.push(Gap { pos: key.value().1, missing });
    }
    Ok(gaps)
}

/// Opens a gap before the event at a place.
pub(super) fn open(tx: &mut WriteTx<'_>, room: RoomKey, pos: u64, missing: &[OwnedEventId]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let record = GapRecord { missing: missing.iter().map(ToString::to_string).collect() };
    let bytes = record.encode()?;
    tx.write().gap.insert((room.0, pos), bytes.as_slice())?;
    Ok(())
}

/// Whether a gap waits for this event; it then waits no longer. Such an event is an ancestor of what is here, and no head.
pub(super) fn take_awaited(tx: &mut WriteTx<'_>, room: RoomKey, id: &EventId) -> Result<bool> {
    let mut awaited = false;
    for mut gap in gaps(tx, room)? {
        let before = gap.missing.len();
        gap.missing.retain(|missing| missing != id);
        if gap.missing.len() == before {
            continue;
        }
        awaited = true;
        tx.write().gap.remove((room.0, gap.pos))?;
        open(tx, room, gap.pos, &gap.missing)?;
    }
    Ok(awaited)
}

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
            redact::on_event(tx, &room, stored.esn, &stored.header, pdu)?;
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

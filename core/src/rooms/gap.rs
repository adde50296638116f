//! Gaps in the timeline.
//!
//! A gap stands before an event whose parents are not here: we joined there, or were away for longer than could be caught
//! up. Positions leave 2^32 places below such an event, so history is filled in downward without moving anything.

use std::ops::Bound;

use ruma::{EventId, OwnedEventId};

use crate::store::{GapRecord, Record, Result, RoomKey, View, WriteTx};

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

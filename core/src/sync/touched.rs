//! Which of a user's rooms have something new: the log read forward, or every room asked when that would be longer.

use std::{collections::BTreeSet, ops::Bound};

use crate::{
    rooms::{standing, standings},
    store::{LogRow, MembRecord, Record, Result, RoomKey, UserKey, View},
    types::SyncToken,
};

/// Rows of the log that a sync reads to find its rooms. Beyond that, asking each room of the user is the shorter way.
const ROWS_MAX: u64 = 2_000;

/// The user's rooms that the log names after `since`, and maybe others, in order of their numbers.
pub(super) fn since(
    view: &dyn View,
    user: UserKey,
    since: SyncToken,
    last: SyncToken,
) -> Result<Vec<(RoomKey, MembRecord)>> {
    // Positions are dense but for the jump after an unclean end, so their distance bounds the rows.
    if last.0.saturating_sub(since.0) > ROWS_MAX {
        return standings(view, user);
    }
    let mut rooms = BTreeSet::new();
    for row in view.log()?.between(Bound::Excluded(since.0), Bound::Included(last.0))? {
        rooms.insert(LogRow::decode(row?.1.value())?.room);
    }
    rooms.remove(&0);
    let mut touched = Vec::new();
    for room in rooms.into_iter().map(RoomKey) {
        touched.extend(standing(view, user, room)?.map(|memb| (room, memb)));
    }
    Ok(touched)
}

//! What of a user's may be new: the log read forward, or everything asked when that would be longer.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::{
    store::{LogKind, LogRow, Record, Result, RoomKey, UserKey, View},
    types::SyncToken,
};

/// Rows of the log that a sync reads to find what is new. Beyond that, asking each room of the user is the shorter way.
const ROWS_MAX: u64 = 2_000;

/// What the log names after a place.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// `None`: it was not read, so anything may be new.
    named: Option<Named>,
}

#[derive(Debug, Default)]
struct Named {
    rooms: BTreeSet<RoomKey>,
    /// Whose receipts moved where.
    readers: BTreeMap<RoomKey, BTreeSet<UserKey>>,
    /// Where the user's account data changed; `None` is outside of rooms.
    account_data: BTreeSet<Option<RoomKey>>,
}

impl Touched {
    /// Reads the log after `since`, if it is not too long.
    pub(super) fn since(view: &dyn View, user: UserKey, since: Option<SyncToken>, last: SyncToken) -> Result<Self> {
        // Positions are dense but for the jump after an unclean end, so their distance bounds the rows.
        let Some(since) = since.filter(|since| last.0.saturating_sub(since.0) <= ROWS_MAX) else {
            return Ok(Self { named: None });
        };
        let mut named = Named::default();
        for row in view.log()?.between(Bound::Excluded(since.0), Bound::Included(last.0))? {
            let row = LogRow::decode(row?.1.value())?;
            let room = (row.room != 0).then_some(RoomKey(row.room));
            match (row.kind, room) {
                (LogKind::AccountData, _) if row.user != user.0 => continue,
                (LogKind::AccountData, room) => {
                    named.account_data.insert(room);
                }
                (LogKind::Receipt, Some(room)) => {
                    named.readers.entry(room).or_default().insert(UserKey(row.user));
                }
                _ => {}
            }
            named.rooms.extend(room);
        }
        Ok(Self { named: Some(named) })
    }

    /// The rooms that are named, and maybe others that are not the user's; `None` if it may be any.
    pub(super) fn rooms(&self) -> Option<&BTreeSet<RoomKey>> {
        self.named.as_ref().map(|named| &named.rooms)
    }

    /// Whose receipts moved in a room; `None` if it may be anybody's.
    pub(super) fn readers(&self, room: RoomKey) -> Option<Vec<UserKey>> {
        let named = self.named.as_ref()?;
        Some(named.readers.get(&room).into_iter().flatten().copied().collect())
    }

    /// Whether the user's account data may have changed, in a room or outside of rooms.
    pub(super) fn account_data(&self, room: Option<RoomKey>) -> bool {
        self.named.as_ref().is_none_or(|named| named.account_data.contains(&room))
    }
}

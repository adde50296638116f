//! What the log says has changed between two looks, so that a list that has nothing to do with it is not read again.

use std::{collections::BTreeSet, ops::Bound};

use crate::{
    keys::Actor,
    store::{LogKind, LogRow, Record, Result, View},
    types::limits::TOUCHED_ROWS_MAX,
};

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These rooms, by number.
    Rooms(BTreeSet<u32>),
    /// Everything.
    All,
}

impl Touched {
    /// What may have changed after a place of the log and up to another, for somebody who looks at rooms.
    pub(crate) fn between(view: &dyn View, me: &Actor, from: u64, to: u64) -> Result<Self> {
        if to.saturating_sub(from) > TOUCHED_ROWS_MAX {
            return Ok(Self::All);
        }
        let mut rooms = BTreeSet::new();
        for row in view.log()?.between(Bound::Excluded(from), Bound::Included(to))? {
            let row = LogRow::decode(row?.1.value())?;
            match row.kind {
                // Which rooms are direct, whom we ignore, what we want to be told of.
                LogKind::AccountData if row.room == 0 && row.user == me.user_key.0 => return Ok(Self::All),
                LogKind::Timeline | LogKind::State | LogKind::Standing | LogKind::AccountData | LogKind::Receipt => {
                    rooms.insert(row.room);
                }
                LogKind::Profile | LogKind::ToDevice | LogKind::DeviceList => {}
            }
        }
        Ok(Self::Rooms(rooms))
    }

    /// Whether a room may have changed.
    pub(crate) fn has(&self, room: u32) -> bool {
        match self {
            Self::Rooms(rooms) => rooms.contains(&room),
            Self::All => true,
        }
    }
}

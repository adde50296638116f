//! The last message of a room, as the list shows it.

use std::ops::Bound;

use ruma::OwnedUserId;

use crate::{
    chat::{
        preview::Preview,
        timeline::{ItemContent, Reader, Version, is_silent},
    },
    rooms::relations::Relation,
    store::{Result, Stored},
    types::{Millis, limits::LAST_MESSAGE_SCAN_MAX},
};

/// The last message of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastMessage {
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The name that they are shown by.
    pub sender_name: String,
    /// Whether that is us.
    pub mine: bool,
    /// What it says.
    pub preview: Preview,
    /// When, by the sender's clock.
    pub ts: Millis,
}

/// The last message, and where it stands in the log; 0 for history.
pub(super) struct Last {
    pub(super) message: LastMessage,
    pub(super) n: u64,
    /// Whether it cannot be read, and may be once a key comes.
    pub(super) is_shut: bool,
}

/// Looks for the last message. State events are none: a room does not come up because somebody changed their picture.
pub(super) fn last(reader: &mut Reader<'_, '_>) -> Result<Option<Last>> {
    let (view, room) = (reader.look.view, reader.room.key);
    let rows = view.tl()?.between(Bound::Included((room.0, 0)), Bound::Included((room.0, u64::MAX)))?;
    for row in rows.rev().take(LAST_MESSAGE_SCAN_MAX) {
        let stored = Stored::must(view, row?.1.value())?;
        if stored.pdu.is_state()
            || is_silent(&stored.pdu.kind)
            || acts_on_another(&stored)
            || !reader.sight.sees(&stored)?
        {
            continue;
        }
        let Some(Version { content, .. }) = reader.version(&stored)? else { continue };
        let sender = reader.names.show(view, reader.room, stored.header.sender)?;
        let message = LastMessage {
            sender: sender.user,
            sender_name: sender.name,
            mine: stored.header.sender == reader.look.inner.me.user_key,
            preview: Preview::of(&content),
            ts: stored.pdu.origin_server_ts,
        };
        let is_shut = matches!(content, ItemContent::Undecryptable { .. });
        return Ok(Some(Last { message, n: stored.header.n, is_shut }));
    }
    Ok(None)
}

fn acts_on_another(stored: &Stored) -> bool {
    let relation = Relation::of(&stored.pdu);
    relation.is_some_and(|relation| ["m.replace", "m.annotation", "m.reference"].contains(&relation.rel_type.as_str()))
}

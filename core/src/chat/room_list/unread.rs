//! What is unread in a room, and what of it stands out.
//!
//! The homeserver counts by what it can read. In an encrypted room that is next to nothing: every message counts, and none
//! stands out. So the unread ones are decrypted, and the person's push rules are asked about them in clear. Client-server API,
//! "Receiving notifications" and "User and room mentions".

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{
    chat::{
        Inner,
        content::object,
        reading::{ENCRYPTED, Look, Opened, Reading, settled},
    },
    rooms::{Room, unread},
    store::{Result, RoomKey, StoreError, Stored, UserKey, View},
    types::limits::UNREAD_JUDGED_MAX,
    users::push::{Heard, Listener, Setting},
};

/// What push rules say of a message in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Verdict {
    pub(in crate::chat) notifies: bool,
    pub(in crate::chat) highlight: bool,
}

/// What was said of the unread messages of each room, by their places.
#[derive(Default)]
pub(super) struct Judged(BTreeMap<RoomKey, BTreeMap<u64, Verdict>>);

/// What is unread in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) notifications: u64,
    pub(super) highlights: u64,
    /// Whether nobody was asked yet about some of it.
    pub(super) is_unjudged: bool,
}

impl Judged {
    /// Replaces what is known of a room.
    pub(super) fn keep(&mut self, room: RoomKey, verdicts: BTreeMap<u64, Verdict>) {
        match verdicts.is_empty() {
            true => drop(self.0.remove(&room)),
            false => drop(self.0.insert(room, verdicts)),
        }
    }

    fn of(&self, room: RoomKey, pos: u64) -> Option<Verdict> {
        self.0.get(&room)?.get(&pos).copied()
    }
}

/// What is unread in a room, as far as it was judged; the rest as the homeserver counts it.
pub(super) fn count(
    view: &dyn View,
    me: UserKey,
    room: RoomKey,
    judged: &Judged,
    is_encrypted: bool,
) -> Result<Unread> {
    let counts = unread::counts(view, me, room)?;
    let mut sum = Unread { notifications: counts.notifications, highlights: counts.highlights, is_unjudged: false };
    if !is_encrypted || sum.notifications == 0 {
        return Ok(sum);
    }
    for unread in unread::positions(view, me, room)?.iter().rev().take(UNREAD_JUDGED_MAX) {
        let Some(verdict) = judged.of(room, unread.pos) else {
            sum.is_unjudged = true;
            continue;
        };
        sum.notifications = sum.notifications.saturating_sub(u64::from(!verdict.notifies));
        sum.highlights =
            sum.highlights + u64::from(verdict.highlight) - u64::from(unread.highlight).min(sum.highlights);
    }
    Ok(sum)
}

/// Asks about the newest unread messages of a room. What cannot be decrypted is left out.
pub(super) async fn judge(inner: &Inner, room: RoomKey, judged: &Judged) -> Result<BTreeMap<u64, Verdict>> {
    let me = inner.me.user_key;
    settled(inner, |look| {
        let mut verdicts = BTreeMap::new();
        let Some(found) = Room::by_key(look.view, room)? else { return Ok(verdicts) };
        let listener = Listener::of(look.view, me)?;
        for unread in unread::positions(look.view, me, room)?.into_iter().rev().take(UNREAD_JUDGED_MAX) {
            if let Some(known) = judged.of(room, unread.pos) {
                verdicts.insert(unread.pos, known);
                continue;
            }
            let stored = event_at(look.view, room, unread.pos)?;
            let as_counted = Verdict { notifies: true, highlight: unread.highlight };
            verdicts.extend(verdict(look, &found, &listener, &stored, as_counted)?.map(|said| (unread.pos, said)));
        }
        Ok(verdicts)
    })
    .await
}

/// What the person's push rules say of a message in clear. `None` when it cannot be read.
pub(in crate::chat) fn verdict(
    look: &mut Look<'_>,
    room: &Room,
    listener: &Listener,
    stored: &Stored,
    as_counted: Verdict,
) -> Result<Option<Verdict>> {
    if stored.pdu.kind.to_string() != ENCRYPTED {
        return Ok(Some(as_counted));
    }
    let Reading::Clear(opened) = look.open(stored) else { return Ok(None) };
    let heard = Heard::in_clear(&stored.pdu, &opened.kind, &with_relation(&opened, &stored.pdu.content));
    let mut setting = Setting { room: room.id.clone(), members: room.record.joined, name: None, levels: None };
    if listener.asks_name() {
        let names = look.inner.reads.names(look.view, room)?;
        setting.name = names.own_name(look.inner.me.user_key).map(str::to_owned);
    }
    if listener.asks_levels(&heard) {
        setting.levels = Some(room.power_levels(look.view)?.into());
    }
    let notice = listener.judge(&heard, setting);
    Ok(Some(Verdict { notifies: notice.is_some(), highlight: notice.is_some_and(|notice| notice.highlight) }))
}

/// A content in clear with the relation that stands outside of what was encrypted: rules ask about it.
fn with_relation(opened: &Opened, outer: &RawValue) -> Box<RawValue> {
    let mut content = object(&opened.content);
    content.remove("m.relates_to");
    content.extend(object(outer).remove("m.relates_to").map(|relates_to| ("m.relates_to".to_owned(), relates_to)));
    serde_json::value::to_raw_value(&content).unwrap_or_else(|_| opened.content.clone())
}

fn event_at(view: &dyn View, room: RoomKey, pos: u64) -> Result<Stored> {
    let esn = view.tl()?.row((room.0, pos))?.map(|row| row.value());
    Stored::must(view, esn.ok_or_else(|| StoreError::Corrupt(format!("no event at {pos} of room {}", room.0)))?)
}

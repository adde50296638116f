//! The events that notified a user, newest first, over all of their rooms. Client-server API, "Listing Notifications".
//!
//! Each thread has its rows in order, so the list is a merge of them by the places that the events have in the log.

use std::{collections::BinaryHeap, ops::Bound};

use serde_json::{Value, json};

use super::{HIGHLIGHT, Row, SOUND};
use crate::{
    rooms::{Room, joined_rooms, timeline::Reached},
    store::{Esn, Result, RoomKey, StoreError, Stored, ThreadKey, UserKey, View},
    types::SyncToken,
};

/// An event that notified a user.
#[derive(Clone, Debug)]
pub struct Told {
    /// The event.
    pub event: Stored,
    /// What their push rules said to do, as JSON actions.
    pub actions: Vec<Value>,
    /// Whether they have read it.
    pub read: bool,
}

/// The next event of one thread.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    n: u64,
    esn: Esn,
    room: RoomKey,
    thread: ThreadKey,
    pos: u64,
    bits: u8,
}

/// A page of the events that notified a user before a place of the log, and the place where the next page begins, if there
/// is one.
///
/// # Errors
/// When the database fails.
pub fn told(
    view: &dyn View,
    user: UserKey,
    before: Option<u64>,
    limit: usize,
    only_highlights: bool,
) -> Result<(Vec<Told>, Option<u64>)> {
    let mut heads = BinaryHeap::new();
    for key in joined_rooms(view, user)? {
        let threads = threads(view, user, key)?;
        let Some(room) = Room::by_key(view, key)?.filter(|_| !threads.is_empty()) else { continue };
        let below = match before {
            Some(before) => Reached::at(view, &room, SyncToken(before.saturating_sub(1)))?.point.0,
            None => u64::MAX,
        };
        for thread in threads {
            heads.extend(next(view, user, key, thread, below, only_highlights)?);
        }
    }
    let mut page: Vec<Told> = Vec::new();
    while let Some(head) = heads.pop() {
        if page.len() >= limit {
            let last = page.last().map(|told| told.event.header.n);
            return Ok((page, last));
        }
        let Head { esn, room, thread, pos, bits, .. } = head;
        heads.extend(next(view, user, room, thread, pos, only_highlights)?);
        let read = Row::find(view, user, room, thread)?.is_none_or(|row| pos <= row.read);
        page.push(Told { event: Stored::must(view, esn)?, actions: actions(bits), read });
    }
    Ok((page, None))
}

/// The threads of a room that events have notified of: one seek for each, however many events.
fn threads(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Vec<ThreadKey>> {
    let end = Bound::Included((user.0, room.0, u32::MAX, u64::MAX));
    let mut threads = Vec::new();
    let mut from = (user.0, room.0, 0, 0);
    while let Some(row) = view.push()?.between(Bound::Included(from), end)?.next() {
        let thread = row?.0.value().2;
        threads.push(ThreadKey(thread));
        let Some(next) = thread.checked_add(1) else { break };
        from = (user.0, room.0, next, 0);
    }
    Ok(threads)
}

fn next(
    view: &dyn View,
    user: UserKey,
    room: RoomKey,
    thread: ThreadKey,
    below: u64,
    only_highlights: bool,
) -> Result<Option<Head>> {
    let key = |pos| (user.0, room.0, thread.0, pos);
    for row in view.push()?.between(Bound::Included(key(0)), Bound::Excluded(key(below)))?.rev() {
        let (key, bits) = row?;
        let (pos, bits) = (key.value().3, bits.value());
        if !only_highlights || bits & HIGHLIGHT != 0 {
            let missing = || StoreError::Corrupt(format!("no event at {pos} of room {}", room.0));
            let esn = view.tl()?.row((room.0, pos))?.map(|row| row.value()).ok_or_else(missing)?;
            let n = Stored::header(view, esn)?.ok_or_else(missing)?.n;
            return Ok(Some(Head { n, esn, room, thread, pos, bits }));
        }
    }
    Ok(None)
}

/// The actions that the bits stand for. Sounds other than the default one are not kept.
fn actions(bits: u8) -> Vec<Value> {
    let mut actions = vec![json!("notify")];
    if bits & SOUND != 0 {
        actions.push(json!({ "set_tweak": "sound", "value": "default" }));
    }
    if bits & HIGHLIGHT != 0 {
        actions.push(json!({ "set_tweak": "highlight" }));
    }
    actions
}

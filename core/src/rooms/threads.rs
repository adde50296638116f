//! Threads: which one an event belongs to, and the threads of a room by their last events. Client-server API, "Threading".

use std::ops::Bound;

use ruma::{EventId, OwnedEventId};

use super::{
    Room,
    relations::{Kind, Prefix, Relation, children_of},
    timeline::{PAGE_SCAN_MAX, Point},
    visibility::UserSight,
};
use crate::{
    event::Pdu,
    store::{Result, RoomKey, Stored, ThreadKey, UserKey, View, WriteTx},
    types::limits,
};

/// The root of the thread that an event belongs to; `None` for the main timeline, where roots are too.
///
/// # Errors
/// When the database fails.
pub fn root_of(view: &dyn View, pdu: &Pdu) -> Result<Option<OwnedEventId>> {
    let ancestry = Ancestry::of(view, pdu)?;
    Ok(ancestry.root)
}

/// Whether an event belongs to a thread, as a receipt means it: its root, and what is about its root, do too.
pub(super) fn holds(view: &dyn View, root: &EventId, pdu: &Pdu) -> Result<bool> {
    if pdu.event_id == root {
        return Ok(true);
    }
    let ancestry = Ancestry::of(view, pdu)?;
    Ok(ancestry.root.as_deref() == Some(root)
        || (ancestry.root.is_none() && ancestry.parents.iter().any(|id| id == root)))
}

/// The number of an event's thread.
pub(super) fn key_of(tx: &mut WriteTx<'_>, pdu: &Pdu) -> Result<ThreadKey> {
    match root_of(tx, pdu)? {
        Some(root) => ThreadKey::intern(tx, &root),
        None => Ok(ThreadKey::MAIN),
    }
}

/// The number of an event's thread, if it has one by now.
pub(super) fn known_key_of(view: &dyn View, pdu: &Pdu) -> Result<Option<ThreadKey>> {
    match root_of(view, pdu)? {
        Some(root) => ThreadKey::find(view, &root),
        None => Ok(Some(ThreadKey::MAIN)),
    }
}

/// What an event relates to, and what that relates to.
struct Ancestry {
    root: Option<OwnedEventId>,
    parents: Vec<OwnedEventId>,
}

impl Ancestry {
    fn of(view: &dyn View, pdu: &Pdu) -> Result<Self> {
        let mut ancestry = Self { root: None, parents: Vec::new() };
        let mut relation = Relation::of(pdu);
        while let Some(Relation { parent, rel_type, .. }) = relation {
            if rel_type == "m.thread" {
                ancestry.root = Some(parent);
                break;
            }
            ancestry.parents.push(parent.clone());
            if ancestry.parents.len() > limits::THREAD_HOPS_MAX {
                break;
            }
            let parent = Stored::by_id(view, &parent)?.filter(|parent| parent.pdu.room_id == pdu.room_id);
            relation = parent.and_then(|parent| Relation::of(&parent.pdu));
        }
        Ok(ancestry)
    }
}

/// The place of a thread's last event.
fn last(view: &dyn View, room: RoomKey, root: &Prefix) -> Result<Option<u64>> {
    Ok(children_of(view, room, root, Kind::Thread)?.next_back().transpose()?.map(|child| child.pos))
}

/// A thread is about to get an event, which is not in the index yet.
pub(super) fn grew(tx: &mut WriteTx<'_>, room: RoomKey, root: &Prefix, pos: u64) -> Result<()> {
    let last = last(tx, room, root)?;
    if last.is_some_and(|last| last > pos) {
        return Ok(());
    }
    if let Some(last) = last {
        tx.write().thread.remove((room.0, last))?;
    }
    tx.write().thread.insert((room.0, pos), root)?;
    Ok(())
}

/// A thread has lost an event, which is not in the index any more.
pub(super) fn shrank(tx: &mut WriteTx<'_>, room: RoomKey, root: &Prefix, pos: u64) -> Result<()> {
    if tx.write().thread.remove((room.0, pos))?.is_none() {
        return Ok(());
    }
    if let Some(last) = last(tx, room, root)? {
        tx.write().thread.insert((room.0, last), root)?;
    }
    Ok(())
}

/// A page of a room's threads.
#[derive(Clone, Debug)]
pub struct ThreadPage {
    /// The roots, that of the thread which got its last event latest first.
    pub roots: Vec<Stored>,
    /// Where the next page begins, if there is one.
    pub next: Option<Point>,
}

/// Reads a page of the threads whose roots the reader may see, or would if they did not ignore the sender.
///
/// # Errors
/// When the database fails.
pub fn page(
    view: &dyn View,
    room: &Room,
    sight: &mut UserSight<'_>,
    from: Point,
    limit: usize,
    participant: Option<UserKey>,
) -> Result<ThreadPage> {
    let mut page = ThreadPage { roots: Vec::new(), next: None };
    let rows = view.thread()?.between(Bound::Included((room.key.0, 0)), Bound::Excluded((room.key.0, from.0)))?;
    let mut end = from;
    for (scanned, row) in rows.rev().enumerate() {
        let (key, prefix) = row?;
        if page.roots.len() >= limit || scanned >= PAGE_SCAN_MAX {
            page.next = Some(end);
            break;
        }
        end = Point(key.value().1);
        let prefix = *prefix.value();
        let Some(esn) = view.eid()?.row(&prefix)?.map(|row| row.value()) else { continue };
        let root = Stored::must(view, esn)?;
        let is_root = root.header.room == room.key && Relation::of(&root.pdu).is_none();
        if !is_root || !sight.may_see(&root)? {
            continue;
        }
        if let Some(user) = participant
            && !has_participant(view, &root, &prefix, user)?
        {
            continue;
        }
        page.roots.push(root);
    }
    Ok(page)
}

fn has_participant(view: &dyn View, root: &Stored, prefix: &Prefix, user: UserKey) -> Result<bool> {
    if root.header.sender == user {
        return Ok(true);
    }
    let rows = children_of(view, root.header.room, prefix, Kind::Thread)?;
    for child in rows.rev().take(limits::AGGREGATED_CHILDREN_MAX) {
        if child?.sender == user {
            return Ok(true);
        }
    }
    Ok(false)
}

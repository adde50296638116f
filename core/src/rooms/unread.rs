//! What local users have not read: the events that notify them, counted for each room and thread. Client-server API,
//! "Receiving notifications".
//!
//! Push rules are asked when an event gets its place, for each local member but the sender, in the transaction that places
//! it: the count and the event are never seen apart. `push` has a row for each event that notifies somebody, `unread` their
//! sum; a receipt moves the place up to which a thread is read and counts anew what is above. Sending an event says that the
//! sender has read up to it (server-server API, "Receipts").
//!
//! Rows of `push` that are read stay for a while, so that `/notifications` can tell of them. History that was fetched later
//! notifies nobody.
//!
//! Invariant: a row of `unread` is there while something in its thread is unread. Where there is none, all of `push` is read.

mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use ruma::events::{StateEventType, TimelineEventType, room::member::RoomMemberEventContent};

pub use self::told::{Told, told};
use super::{Room, threads};
use crate::{
    event::Pdu,
    store::{Header, Result, RoomKey, Standing, Stored, ThreadKey, UserKey, View, WriteTx},
    types::limits,
    users::push::{self, Heard, Listener, Notice, Setting},
};

/// It stands out.
const HIGHLIGHT: u8 = 2;
/// It makes a sound.
const SOUND: u8 = 4;

/// Notifications that are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub notifications: u64,
    /// Those that stand out.
    pub highlights: u64,
}

/// An event that notified somebody who has not read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its place on the timeline.
    pub pos: u64,
    /// Its thread.
    pub thread: ThreadKey,
    /// Whether it stands out.
    pub highlight: bool,
}

/// What a user has not read in a room, its threads included.
///
/// # Errors
/// When the database fails.
pub fn counts(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Counts> {
    let mut sum = Counts::default();
    for counts in by_thread(view, user, room)?.into_values() {
        sum.notifications += counts.notifications;
        sum.highlights += counts.highlights;
    }
    Ok(sum)
}

/// What a user has not read in each thread of a room that has anything unread.
///
/// # Errors
/// When the database fails.
pub fn by_thread(view: &dyn View, user: UserKey, room: RoomKey) -> Result<BTreeMap<ThreadKey, Counts>> {
    let mut threads = BTreeMap::new();
    for (thread, row) in rows(view, user, room)? {
        let counts = Counts { notifications: row.notifications.into(), highlights: row.highlights.into() };
        threads.insert(thread, counts);
    }
    Ok(threads)
}

/// The events that a user has not read in a room, in the order of the timeline: for a client that counts anew what stands
/// out once it has decrypted them.
///
/// # Errors
/// When the database fails.
pub fn positions(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Vec<Unread>> {
    let mut unread = Vec::new();
    for (thread, row) in rows(view, user, room)? {
        let key = |pos| (user.0, room.0, thread.0, pos);
        for row in view.push()?.between(Bound::Excluded(key(row.read)), Bound::Included(key(u64::MAX)))? {
            let (key, bits) = row?;
            unread.push(Unread { pos: key.value().3, thread, highlight: bits.value() & HIGHLIGHT != 0 });
        }
    }
    unread.sort_by_key(|unread| unread.pos);
    Ok(unread)
}

/// How an event at a place of a room notifies a user; `None` when it does not, or when they have read it.
///
/// # Errors
/// When the database fails.
pub fn at(view: &dyn View, user: UserKey, room: RoomKey, pos: u64) -> Result<Option<Unread>> {
    // In all threads: what the event belongs to may have become known only after it was counted.
    for (thread, _) in rows(view, user, room)?.into_iter().filter(|(_, row)| pos > row.read) {
        if let Some(bits) = view.push()?.row((user.0, room.0, thread.0, pos))? {
            return Ok(Some(Unread { pos, thread, highlight: bits.value() & HIGHLIGHT != 0 }));
        }
    }
    Ok(None)
}

/// A row of `unread`.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    notifications: u32,
    highlights: u32,
    /// The place up to which the user has read.
    read: u64,
}

impl Row {
    fn find(view: &dyn View, user: UserKey, room: RoomKey, thread: ThreadKey) -> Result<Option<Self>> {
        Ok(view.unread()?.row((user.0, room.0, thread.0))?.map(|row| Self::from(row.value())))
    }

    fn put(self, tx: &mut WriteTx<'_>, user: UserKey, room: RoomKey, thread: ThreadKey) -> Result<()> {
        let key = (user.0, room.0, thread.0);
        if self.notifications == 0 {
            tx.write().unread.remove(key)?;
        } else {
            tx.write().unread.insert(key, (self.notifications, self.highlights, self.read))?;
        }
        Ok(())
    }
}

impl From<(u32, u32, u64)> for Row {
    fn from((notifications, highlights, read): (u32, u32, u64)) -> Self {
        Self { notifications, highlights, read }
    }
}

fn rows(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Vec<(ThreadKey, Row)>> {
    let (from, to) = ((user.0, room.0, 0), (user.0, room.0, u32::MAX));
    let mut threads = Vec::new();
    for row in view.unread()?.between(Bound::Included(from), Bound::Included(to))? {
        let (key, value) = row?;
        threads.push((ThreadKey(key.value().2), Row::from(value.value())));
    }
    Ok(threads)
}

/// Asks the local members' push rules about an event that just got its place.
pub(super) fn note(tx: &mut WriteTx<'_>, room: &Room, header: &Header, pdu: &Pdu) -> Result<()> {
    let members = local_members(tx, room)?;
    let mut asked = Asked { room, pdu, heard: None, levels: None, thread: None };
    for user in members.iter() {
        if *user == header.sender {
            sent(tx, room.key, *user, header, pdu)?;
            continue;
        }
        let listener = push::listener(tx, *user)?;
        if let Some(notice) = asked.ask(tx, *user, &listener)? {
            let thread = asked.thread(tx)?;
            add(tx, *user, room.key, thread, header.pos, notice)?;
        }
    }
    Ok(())
}

/// An event and what its listeners' rules may ask about, each read when it is first asked for.
struct Asked<'a> {
    room: &'a Room,
    pdu: &'a Pdu,
    heard: Option<Heard>,
    levels: Option<ruma::push::PushConditionPowerLevelsCtx>,
    thread: Option<ThreadKey>,
}

impl Asked<'_> {
    fn ask(&mut self, view: &dyn View, user: UserKey, listener: &Listener) -> Result<Option<Notice>> {
        let heard = self.heard.get_or_insert_with(|| Heard::of(self.pdu));
        let mut setting =
            Setting { room: self.room.id.clone(), members: self.room.record.joined, name: None, levels: None };
        if listener.asks_name() {
            setting.name = name_of(view, self.room, user)?;
        }
        if listener.asks_levels(heard) {
            if self.levels.is_none() {
                self.levels = Some(self.room.power_levels(view)?.into());
            }
            setting.levels.clone_from(&self.levels);
        }
        Ok(listener.judge(heard, setting))
    }

    fn thread(&mut self, tx: &mut WriteTx<'_>) -> Result<ThreadKey> {
        if let Some(thread) = self.thread {
            return Ok(thread);
        }
        let thread = threads::key_of(tx, self.pdu)?;
        self.thread = Some(thread);
        Ok(thread)
    }
}

/// What a user is called in a room.
fn name_of(view: &dyn View, room: &Room, user: UserKey) -> Result<Option<String>> {
    let member = room.current_event(view, &StateEventType::RoomMember, user.id(view)?.as_str())?;
    let content = member.and_then(|member| member.pdu.content_as::<RoomMemberEventContent>().ok());
    Ok(content.and_then(|content| content.displayname))
}

/// Who speaks in a room has read it up to there. A state event may be sent without a look at the room, as by a new name.
fn sent(tx: &mut WriteTx<'_>, room: RoomKey, user: UserKey, header: &Header, pdu: &Pdu) -> Result<()> {
    if pdu.is_state() || pdu.kind == TimelineEventType::RoomRedaction {
        return Ok(());
    }
    match threads::known_key_of(tx, pdu)? {
        Some(thread) => read(tx, user, room, thread, header.pos),
        None => Ok(()),
    }
}

fn add(tx: &mut WriteTx<'_>, user: UserKey, room: RoomKey, thread: ThreadKey, pos: u64, notice: Notice) -> Result<()> {
    let bits = if notice.highlight { HIGHLIGHT } else { 0 } | if notice.sound { SOUND } else { 0 };
    tx.write().push.insert((user.0, room.0, thread.0, pos), bits)?;
    let all_read = Row { read: pos.saturating_sub(1), ..Row::default() };
    let mut row = Row::find(tx, user, room, thread)?.unwrap_or(all_read);
    row.notifications = row.notifications.saturating_add(1);
    row.highlights = row.highlights.saturating_add(notice.highlight.into());
    row.put(tx, user, room, thread)
}

/// A user has read a thread, or the whole room, up to a place.
pub(super) fn read(tx: &mut WriteTx<'_>, user: UserKey, room: RoomKey, thread: ThreadKey, pos: u64) -> Result<()> {
    let threads = match thread {
        ThreadKey::WHOLE => rows(tx, user, room)?,
        thread => Row::find(tx, user, room, thread)?.map(|row| (thread, row)).into_iter().collect(),
    };
    for (thread, row) in threads {
        if pos > row.read {
            read_thread(tx, user, room, thread, pos)?;
        }
    }
    Ok(())
}

fn read_thread(tx: &mut WriteTx<'_>, user: UserKey, room: RoomKey, thread: ThreadKey, pos: u64) -> Result<()> {
    let key = |pos| (user.0, room.0, thread.0, pos);
    let mut row = Row { read: pos, ..Row::default() };
    for above in tx.push()?.between(Bound::Excluded(key(pos)), Bound::Included(key(u64::MAX)))? {
        row.notifications = row.notifications.saturating_add(1);
        row.highlights = row.highlights.saturating_add((above?.1.value() & HIGHLIGHT != 0).into());
    }
    row.put(tx, user, room, thread)?;
    let mut below = tx.push()?.between(Bound::Included(key(0)), Bound::Included(key(pos)))?.rev();
    let oldest_kept = below.nth(limits::NOTIFICATIONS_READ_MAX - 1).transpose()?.map(|row| row.0.value().3);
    drop(below);
    if let Some(oldest_kept) = oldest_kept {
        tx.write().push.remove_in(key(0)..key(oldest_kept))?;
    }
    Ok(())
}

/// An event is about to lose its content: it notifies nobody any more.
pub(super) fn forget(tx: &mut WriteTx<'_>, room: &Room, target: &Stored) -> Result<()> {
    if target.header.pos == 0 {
        return Ok(());
    }
    let thread = threads::known_key_of(tx, &target.pdu)?;
    for user in local_members(tx, room)?.iter() {
        let rows: BTreeMap<_, _> = rows(tx, *user, room.key)?.into_iter().collect();
        // In all threads: what the event belongs to may have become known only after it was counted.
        let threads: BTreeSet<ThreadKey> = rows.keys().copied().chain(thread).collect();
        for thread in threads {
            let key = (user.0, room.key.0, thread.0, target.header.pos);
            let bits = tx.write().push.remove(key)?.map(|row| row.value());
            let row = rows.get(&thread).copied().filter(|row| target.header.pos > row.read);
            let (Some(bits), Some(mut row)) = (bits, row) else { continue };
            row.notifications = row.notifications.saturating_sub(1);
            row.highlights = row.highlights.saturating_sub((bits & HIGHLIGHT != 0).into());
            row.put(tx, *user, room.key, thread)?;
        }
    }
    Ok(())
}

/// The local members of rooms, as the engine keeps them.
#[derive(Default)]
struct LocalMembers(BTreeMap<RoomKey, Arc<Vec<UserKey>>>);

fn local_members(tx: &mut WriteTx<'_>, room: &Room) -> Result<Arc<Vec<UserKey>>> {
    if let Some(kept) = tx.kept::<LocalMembers>().0.get(&room.key) {
        return Ok(kept.clone());
    }
    let mut members = Vec::new();
    for row in tx.account()?.between(Bound::Unbounded, Bound::Unbounded)? {
        let user = row?.0.value();
        let standing = tx.rmem()?.row((room.key.0, user))?.and_then(|row| Standing::from_byte(row.value().0));
        if standing == Some(Standing::Join) {
            members.push(UserKey(user));
        }
    }
    let members = Arc::new(members);
    let kept = &mut tx.kept::<LocalMembers>().0;
    // All at once rather than one by one: what is in use comes back with the next event.
    if kept.len() >= limits::LISTENERS_KEPT_MAX {
        kept.clear();
    }
    kept.insert(room.key, members.clone());
    Ok(members)
}

/// Follows a change of a local user's membership. Who is not in a room has nothing to read there.
pub(super) fn member_changed(tx: &mut WriteTx<'_>, room: RoomKey, user: UserKey, joined: bool) -> Result<()> {
    tx.kept::<LocalMembers>().0.remove(&room);
    if !joined {
        let tables = tx.write();
        let (from, to) = ((user.0, room.0, 0), (user.0, room.0, u32::MAX));
        tables.unread.remove_in(from..=to)?;
        tables.push.remove_in((user.0, room.0, 0, 0)..=(user.0, room.0, u32::MAX, u64::MAX))?;
    }
    Ok(())
}

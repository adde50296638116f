//! Receipts: how far somebody has read. Client-server API, "Receipts" and "Read and unread markers".
//!
//! For each user, thread and kind there is one place, and it moves forward only. Public receipts are queued for every server
//! in the room, in a slot where the newest replaces what waits; private ones and fully read markers never leave the phone.
//! What other servers tell is believed of their own users who are in the room (`heard`).

mod heard;

use std::ops::Bound;

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId, events::receipt::ReceiptThread,
};
use serde_json::json;
use sha2::{Digest, Sha256};

pub(super) use self::heard::arrived;
pub(crate) use self::heard::{HeardReceipts, hear};
use super::{Room, threads, unread, visibility::UserSight};
use crate::{
    home::Home,
    outbox,
    store::{Esn, LogKind, LogRow, Result, RoomKey, StoreError, Stored, ThreadKey, UserKey, View, WriteTx},
    types::{LocalServer, Millis, limits},
    users::account_data::{self, AccountDataError, FULLY_READ},
};

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReceiptKind {
    /// `m.read`: everybody may know.
    Read,
    /// `m.read.private`: nobody else may.
    Private,
    /// `m.fully_read`: the marker between what was read and what may have been. No receipt, but account data of the room.
    FullyRead,
}

impl ReceiptKind {
    /// The byte of the key; `FullyRead` has no rows.
    fn byte(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Private => 2,
            Self::FullyRead => 3,
        }
    }

    /// Its name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "m.read",
            Self::Private => "m.read.private",
            Self::FullyRead => FULLY_READ,
        }
    }
}

/// A receipt.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Whose.
    pub user: UserKey,
    /// `Read` or `Private`.
    pub kind: ReceiptKind,
    /// Of which thread, or of the whole room.
    pub thread: ReceiptThread,
    /// The event that was read last.
    pub esn: Esn,
    /// Its place on the timeline.
    pub pos: u64,
    /// When, by the user's own server.
    pub ts: Millis,
    /// When, as a place of the log.
    pub n: u64,
}

/// Why a receipt could not be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The user is not in the room.
    #[error("you are not in {0}")]
    NotIn(OwnedRoomId),
    /// The event is not on the room's timeline as the user sees it.
    #[error("there is no event {0} in the room that you may see")]
    NoEvent(OwnedEventId),
    /// The thread is none, or not the event's, or the kind of receipt has none.
    #[error("{0}")]
    BadThread(String),
    /// The marker could not be kept.
    #[error(transparent)]
    Marker(AccountDataError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sets a receipt of a local user. One that is behind what they have read already changes nothing.
///
/// # Errors
/// See [`ReceiptError`].
pub async fn set(
    home: &Home,
    user: &UserId,
    room: &RoomId,
    event: &EventId,
    kind: ReceiptKind,
    thread: ReceiptThread,
) -> Result<(), ReceiptError> {
    set_all(home, user, room, vec![(event.to_owned(), kind, thread)]).await
}

/// Sets several receipts of a local user in one room: all of them or, if one is wrong, none.
///
/// # Errors
/// See [`ReceiptError`].
pub async fn set_all(
    home: &Home,
    user: &UserId,
    room: &RoomId,
    receipts: Vec<(OwnedEventId, ReceiptKind, ReceiptThread)>,
) -> Result<(), ReceiptError> {
    let (local, now, user, room) = (home.local.clone(), home.now(), user.to_owned(), room.to_owned());
    home.store
        .write(move |tx| {
            let reader = Reader::enter(tx, &user, &room)?;
            let checked = receipts.iter().map(|(event, kind, thread)| reader.check(tx, event, *kind, thread));
            for receipt in checked.collect::<Result<Vec<_>, _>>()? {
                reader.set(tx, &local, now, &receipt)?;
            }
            Ok(())
        })
        .await
}

/// A local user in a room.
struct Reader {
    user: OwnedUserId,
    key: UserKey,
    room: Room,
}

/// A receipt that may be set.
struct Checked {
    event: Stored,
    kind: ReceiptKind,
    thread: ReceiptThread,
}

impl Reader {
    fn enter(view: &dyn View, user: &UserId, room: &RoomId) -> Result<Self, ReceiptError> {
        let not_in = || ReceiptError::NotIn(room.to_owned());
        let room = Room::find(view, room)?.ok_or_else(not_in)?;
        let key = UserKey::find(view, user)?.ok_or_else(not_in)?;
        if !room.is_joined(view, user)? {
            return Err(not_in());
        }
        Ok(Self { user: user.to_owned(), key, room })
    }

    fn check(
        &self,
        view: &dyn View,
        event: &EventId,
        kind: ReceiptKind,
        thread: &ReceiptThread,
    ) -> Result<Checked, ReceiptError> {
        let not_there = || ReceiptError::NoEvent(event.to_owned());
        let stored = Stored::by_id(view, event)?.ok_or_else(not_there)?;
        if !UserSight::new(view, self.room.key, &self.user)?.sees(&stored)? {
            return Err(not_there());
        }
        let bad = |why: String| Err(ReceiptError::BadThread(why));
        match thread {
            ReceiptThread::Unthreaded => {}
            _ if kind == ReceiptKind::FullyRead => return bad("a fully read marker has no thread".into()),
            ReceiptThread::Main => {
                if let Some(root) = threads::root_of(view, &stored.pdu)? {
                    return bad(format!("{event} belongs to the thread of {root}, not to the main timeline"));
                }
            }
            ReceiptThread::Thread(root) => {
                if !threads::holds(view, root, &stored.pdu)? {
                    return bad(format!("{event} does not belong to the thread of {root}"));
                }
            }
            _ => return bad("a thread is `main` or the id of an event".into()),
        }
        Ok(Checked { event: stored, kind, thread: thread.clone() })
    }

    fn set(
        &self,
        tx: &mut WriteTx<'_>,
        local: &LocalServer,
        now: Millis,
        receipt: &Checked,
    ) -> Result<(), ReceiptError> {
        let Checked { event, kind, thread } = receipt;
        if *kind == ReceiptKind::FullyRead {
            return self.mark(tx, event);
        }
        let key = intern(tx, thread)?;
        if !advance(tx, self.room.key, self.key, (key, *kind), event, now)? {
            return Ok(());
        }
        unread::read(tx, self.key, self.room.key, key, event.header.pos)?;
        // By sending an event its sender says that they have read up to it, so nobody needs to be told.
        if *kind == ReceiptKind::Read && event.header.sender != self.key {
            self.tell(tx, local, now, receipt)?;
        }
        Ok(())
    }

    /// Moves the fully read marker, forward only.
    fn mark(&self, tx: &mut WriteTx<'_>, event: &Stored) -> Result<(), ReceiptError> {
        let old = account_data::get(tx, self.key, Some(self.room.key), FULLY_READ)?;
        let old = old.and_then(|content| serde_json::from_str::<serde_json::Value>(content.get()).ok());
        let old = old.and_then(|content| EventId::parse(content.get("event_id")?.as_str()?).ok());
        let old = old.map(|id| Stored::by_id(tx, &id)).transpose()?.flatten();
        if old.is_some_and(|old| old.header.pos >= event.header.pos) {
            return Ok(());
        }
        let content = json!({ "event_id": event.pdu.event_id }).to_string();
        match account_data::put(tx, self.key, Some(self.room.key), FULLY_READ, &content) {
            Ok(_) => Ok(()),
            Err(AccountDataError::Store(error)) => Err(error.into()),
            Err(error) => Err(ReceiptError::Marker(error)),
        }
    }

    /// Queues a public receipt for the other servers in the room. Server-server API, "Receipts".
    fn tell(&self, tx: &mut WriteTx<'_>, local: &LocalServer, now: Millis, receipt: &Checked) -> Result<()> {
        let thread = receipt.thread.as_str();
        let mut data = json!({ "ts": now.0 });
        if let (Some(thread), Some(data)) = (thread, data.as_object_mut()) {
            data.insert("thread_id".into(), json!(thread));
        }
        let receipts = json!({ self.user.as_str(): { "event_ids": [receipt.event.pdu.event_id], "data": data } });
        let content = json!({ self.room.id.as_str(): { "m.read": receipts } });
        let edu = json!({ "edu_type": "m.receipt", "content": content }).to_string();
        let slot = slot(&self.room.id, &self.user, thread);
        for server in self.room.servers(tx)? {
            if server.name(tx)? != local.name {
                outbox::post(tx, server, Some(slot), &edu)?;
            }
        }
        Ok(())
    }
}

/// Where only the newest of a user's receipts in a room and thread waits for a server.
fn slot(room: &RoomId, user: &UserId, thread: Option<&str>) -> [u8; 16] {
    let digest = Sha256::new().chain_update("m.receipt\0").chain_update(room).chain_update([0]).chain_update(user);
    let digest = digest.chain_update([0]).chain_update(thread.unwrap_or_default()).finalize();
    digest.first_chunk::<16>().copied().unwrap_or_default()
}

fn intern(tx: &mut WriteTx<'_>, thread: &ReceiptThread) -> Result<ThreadKey> {
    match thread {
        ReceiptThread::Main => Ok(ThreadKey::MAIN),
        ReceiptThread::Thread(root) => ThreadKey::intern(tx, root),
        _ => Ok(ThreadKey::WHOLE),
    }
}

/// Moves a receipt. Answers whether it moved, which it does only forward.
fn advance(
    tx: &mut WriteTx<'_>,
    room: RoomKey,
    user: UserKey,
    (thread, kind): (ThreadKey, ReceiptKind),
    event: &Stored,
    ts: Millis,
) -> Result<bool> {
    let key = (room.0, user.0, thread.0, kind.byte());
    let before = tx.rcpt()?.row(key)?.map(|row| row.value().1);
    match before {
        Some(pos) if pos >= event.header.pos => return Ok(false),
        Some(_) => {}
        None => make_room(tx, room, user, thread)?,
    }
    let n = tx.log(&LogRow { kind: LogKind::Receipt, room: room.0, user: user.0, esn: event.esn })?;
    tx.write().rcpt.insert(key, (event.esn, event.header.pos, ts.0, n))?;
    Ok(true)
}

/// Forgets the receipt of the thread that was read longest ago, if a user has too many for another one.
fn make_room(tx: &mut WriteTx<'_>, room: RoomKey, user: UserKey, thread: ThreadKey) -> Result<()> {
    if matches!(thread, ThreadKey::MAIN | ThreadKey::WHOLE) {
        return Ok(());
    }
    let (mut count, mut oldest) = (0, None);
    for row in rows(tx, room, Some(user))? {
        let (key, (_, _, _, n)) = row?;
        if !matches!(ThreadKey(key.2), ThreadKey::MAIN | ThreadKey::WHOLE) {
            count += 1;
            oldest = oldest.min(Some((n, key))).or(Some((n, key)));
        }
    }
    if count >= limits::RECEIPT_THREADS_MAX
        && let Some((_, key)) = oldest
    {
        tx.write().rcpt.remove(key)?;
    }
    Ok(())
}

type Row = ((u32, u32, u32, u8), (u64, u64, u64, u64));

/// The rows of a room, or of one user in it.
fn rows(view: &dyn View, room: RoomKey, user: Option<UserKey>) -> Result<impl Iterator<Item = Result<Row>> + '_> {
    let (first, last) = user.map_or((0, u32::MAX), |user| (user.0, user.0));
    let (from, to) = ((room.0, first, 0, 0), (room.0, last, u32::MAX, u8::MAX));
    let rows = view.rcpt()?.between(Bound::Included(from), Bound::Included(to))?;
    Ok(rows.map(|row| {
        let (key, value) = row?;
        Ok((key.value(), value.value()))
    }))
}

fn receipts(view: &dyn View, room: RoomKey, user: Option<UserKey>) -> Result<Vec<Receipt>> {
    let mut receipts = Vec::new();
    for row in rows(view, room, user)? {
        let ((_, user, thread, kind), (esn, pos, ts, n)) = row?;
        let thread = match ThreadKey(thread) {
            ThreadKey::WHOLE => ReceiptThread::Unthreaded,
            ThreadKey::MAIN => ReceiptThread::Main,
            thread => match thread.root(view)? {
                Some(root) => ReceiptThread::Thread(root),
                None => continue,
            },
        };
        let kind = if kind == ReceiptKind::Read.byte() { ReceiptKind::Read } else { ReceiptKind::Private };
        receipts.push(Receipt { user: UserKey(user), kind, thread, esn, pos, ts: Millis(ts), n });
    }
    Ok(receipts)
}

/// All receipts of a room, private ones too: whoever shows them to somebody leaves the others' private ones out.
///
/// # Errors
/// When the database fails.
pub fn of_room(view: &dyn View, room: RoomKey) -> Result<Vec<Receipt>> {
    receipts(view, room, None)
}

/// The receipts of one user in a room.
///
/// # Errors
/// When the database fails.
pub fn of_user(view: &dyn View, room: RoomKey, user: UserKey) -> Result<Vec<Receipt>> {
    receipts(view, room, Some(user))
}

/// The place up to which a user has read a room's main timeline, by the receipt that is furthest.
///
/// # Errors
/// When the database fails.
pub fn read_up_to(view: &dyn View, room: RoomKey, user: UserKey) -> Result<Option<u64>> {
    let receipts = of_user(view, room, user)?.into_iter();
    let of_main = receipts.filter(|receipt| matches!(receipt.thread, ReceiptThread::Unthreaded | ReceiptThread::Main));
    Ok(of_main.map(|receipt| receipt.pos).max())
}

/// Whether a user of another server may be heard of in a room: they are in it.
fn is_heard(view: &dyn View, room: &Room, user: &UserId, origin: &ServerName) -> Result<bool> {
    Ok(user.server_name() == origin && room.record.joined_local > 0 && room.is_joined(view, user)?)
}

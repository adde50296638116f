//! Receipts that another server tells of. Server-server API, "Receipts".
//!
//! A receipt often comes before its event: EDUs are taken first, and events may arrive by another way. Then it waits, a few
//! for each user and room, until the event gets its place.

use std::{collections::BTreeMap, ops::Bound};

use ruma::{EventId, OwnedEventId, RoomId, ServerName, UserId, events::receipt::ReceiptThread};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ReceiptKind, advance, intern, is_heard};
use crate::{
    home::Home,
    rooms::{Room, threads},
    store::{Record, Result, RoomKey, Stored, UserKey, View, WaitingReceipt, WaitingReceipts, WriteTx, id_prefix},
    types::{Millis, limits},
};

/// The content of an `m.receipt` EDU: for each room and type of receipt, what is said of each user. Only `m.read` is ours to
/// hear.
pub(crate) type HeardReceipts = BTreeMap<String, BTreeMap<String, BTreeMap<String, Box<RawValue>>>>;

#[derive(Deserialize)]
struct Said {
    event_ids: Vec<OwnedEventId>,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    ts: Option<u64>,
    thread_id: Option<String>,
}

/// Takes what a server says of its users' receipts. What is not its to say, or makes no sense, is passed over.
///
/// # Errors
/// When the database fails.
pub(crate) async fn hear(home: &Home, origin: &ServerName, said: HeardReceipts) -> Result<()> {
    let (origin, now) = (origin.to_owned(), home.now());
    home.store
        .write(move |tx| {
            let mut left = limits::RECEIPTS_IN_EDU_MAX;
            for (room, kinds) in &said {
                let Ok(room) = <&RoomId>::try_from(room.as_str()) else { continue };
                let Some(room) = Room::find(tx, room)? else { continue };
                for (user, receipt) in kinds.get("m.read").into_iter().flatten() {
                    if left == 0 {
                        return Ok(());
                    }
                    left -= 1;
                    hear_one(tx, &room, &origin, user, receipt, now)?;
                }
            }
            Ok(())
        })
        .await
}

fn hear_one(
    tx: &mut WriteTx<'_>,
    room: &Room,
    origin: &ServerName,
    user: &str,
    receipt: &RawValue,
    now: Millis,
) -> Result<()> {
    let (Ok(user), Ok(Said { event_ids, data })) = (<&UserId>::try_from(user), serde_json::from_str(receipt.get()))
    else {
        return Ok(());
    };
    let [event] = event_ids.as_slice() else { return Ok(()) };
    if !is_heard(tx, room, user, origin)? {
        return Ok(());
    }
    let Some(user) = UserKey::find(tx, user)? else { return Ok(()) };
    // Nobody has read anything in the future; another clock may be ahead of ours.
    let ts = data.ts.unwrap_or(now.0).min(now.0);
    match Stored::by_id(tx, event)? {
        Some(stored) if stored.header.room != room.key => Ok(()),
        Some(stored) if stored.header.pos != 0 => apply(tx, room.key, user, &stored, data.thread_id.as_deref(), ts),
        _ => {
            let waiting = WaitingReceipt { event_id: event.to_string(), thread: data.thread_id, ts };
            wait(tx, room.key, user, waiting)
        }
    }
}

fn apply(
    tx: &mut WriteTx<'_>,
    room: RoomKey,
    user: UserKey,
    event: &Stored,
    thread: Option<&str>,
    ts: u64,
) -> Result<()> {
    let Ok(thread) = ReceiptThread::try_from(thread) else { return Ok(()) };
    let is_fit = match &thread {
        ReceiptThread::Unthreaded | ReceiptThread::Main => true,
        ReceiptThread::Thread(root) => is_thread(tx, room, root, event)?,
        _ => false,
    };
    if is_fit {
        let thread = intern(tx, &thread)?;
        advance(tx, room, user, (thread, ReceiptKind::Read), event, Millis(ts))?;
    }
    Ok(())
}

/// The other server may know better how an event came into its thread, so any root that is here will do. One that is not
/// here must be the event's.
fn is_thread(view: &dyn View, room: RoomKey, root: &EventId, event: &Stored) -> Result<bool> {
    let header = Stored::find(view, root)?.map(|esn| Stored::header(view, esn)).transpose()?.flatten();
    match header {
        Some(header) => Ok(header.room == room),
        None => threads::holds(view, root, &event.pdu),
    }
}

/// Keeps a receipt until its event comes. A newer one for the same thread replaces it.
fn wait(tx: &mut WriteTx<'_>, room: RoomKey, user: UserKey, receipt: WaitingReceipt) -> Result<()> {
    // An id that is no hash is that of no event that could come.
    let has_hash = <&EventId>::try_from(receipt.event_id.as_str()).is_ok_and(|id| id_prefix(id).is_some());
    if !has_hash || receipt.thread.as_ref().is_some_and(|thread| thread.len() > limits::ID_BYTES_MAX) {
        return Ok(());
    }
    let before = waiting(tx, room, user)?;
    let mut after = before.clone();
    after.0.retain(|other| other.thread != receipt.thread);
    if after.0.len() >= limits::RECEIPTS_WAITING_MAX {
        after.0.remove(0);
    }
    after.0.push(receipt);
    replace(tx, room, user, &before, &after)
}

fn waiting(view: &dyn View, room: RoomKey, user: UserKey) -> Result<WaitingReceipts> {
    let row = view.rcpt_wait()?.row((room.0, user.0))?;
    Ok(row.map(|row| WaitingReceipts::decode(row.value())).transpose()?.unwrap_or_default())
}

fn prefixes(receipts: &WaitingReceipts) -> impl Iterator<Item = [u8; 16]> + '_ {
    receipts.0.iter().filter_map(|receipt| id_prefix(<&EventId>::try_from(receipt.event_id.as_str()).ok()?))
}

fn replace(
    tx: &mut WriteTx<'_>,
    room: RoomKey,
    user: UserKey,
    before: &WaitingReceipts,
    after: &WaitingReceipts,
) -> Result<()> {
    let tables = tx.write();
    for prefix in prefixes(before) {
        tables.rcpt_due.remove((room.0, &prefix, user.0))?;
    }
    for prefix in prefixes(after) {
        tables.rcpt_due.insert((room.0, &prefix, user.0), ())?;
    }
    if after.0.is_empty() {
        tables.rcpt_wait.remove((room.0, user.0))?;
    } else {
        let bytes = after.encode()?;
        tables.rcpt_wait.insert((room.0, user.0), bytes.as_slice())?;
    }
    Ok(())
}

/// An event got its place: receipts that waited for it are set.
pub(in crate::rooms) fn arrived(tx: &mut WriteTx<'_>, room: RoomKey, event: &EventId) -> Result<()> {
    let Some(prefix) = id_prefix(event) else { return Ok(()) };
    let (from, to) = ((room.0, &prefix, 0), (room.0, &prefix, u32::MAX));
    let mut users = Vec::new();
    for row in tx.rcpt_due()?.between(Bound::Included(from), Bound::Included(to))? {
        users.push(UserKey(row?.0.value().2));
    }
    for user in users {
        let before = waiting(tx, room, user)?;
        let (due, rest): (Vec<_>, Vec<_>) = before.0.iter().cloned().partition(|receipt| receipt.event_id == *event);
        replace(tx, room, user, &before, &WaitingReceipts(rest))?;
        for receipt in due {
            if let Some(stored) = Stored::by_id(tx, event)? {
                apply(tx, room, user, &stored, receipt.thread.as_deref(), receipt.ts)?;
            }
        }
    }
    Ok(())
}

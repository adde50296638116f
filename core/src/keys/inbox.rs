//! The inboxes of local devices: to-device messages, in order, until the device says that it has them.
//!
//! A message's key is its place in the log. A device that asks for what came after a place has all up to there, so those rows
//! go ([`acknowledge`]); what was not shown to it yet lies behind, whatever else it has seen.
//!
//! Invariants: a message is in the store before whoever sent it hears of success, and stays until it is acknowledged. What
//! waits is counted for each server of origin, for each device and for all of a user's, so a server that floods inboxes loses
//! its own messages alone.

use std::ops::Bound;

use ruma::{events::AnyToDeviceEvent, serde::Raw};
use serde_json::value::RawValue;

use super::Actor;
use crate::{
    home::Home,
    store::{InboxRecord, Record, Result, StoreError, UserKey, View, WriteTx},
    types::{
        SyncToken,
        limits::{
            INBOX_BYTES_MAX, INBOX_DEVICES_FULL_MAX, INBOX_MESSAGES_MAX, TO_DEVICE_SYNC_BYTES_MAX, TO_DEVICE_SYNC_MAX,
        },
    },
};

/// Stands for all devices of a user where a device is counted. No device is named so.
const ALL_DEVICES: &str = "";

/// Messages of an inbox.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The messages, in order.
    pub(crate) messages: Vec<Raw<AnyToDeviceEvent>>,
    /// Up to here nothing is missing.
    pub(crate) reached: SyncToken,
}

/// The messages for a device after `since`, up to `last`, as many as one answer may hold.
///
/// # Errors
/// When the database fails.
pub(crate) fn batch(view: &dyn View, actor: &Actor, since: SyncToken, last: SyncToken) -> Result<Batch> {
    let mut batch = Batch { messages: Vec::new(), reached: last };
    let (user, device) = (actor.user_key.0, actor.device.as_bytes());
    let (from, to) = (Bound::Excluded((user, device, since.0)), Bound::Included((user, device, last.0)));
    if since >= last {
        return Ok(batch);
    }
    let (mut bytes, mut shown) = (0, since);
    for row in view.inbox()?.between(from, to)? {
        let (key, value) = row?;
        let record = InboxRecord::decode(value.value())?;
        bytes += record.json.len();
        let full = batch.messages.len() >= TO_DEVICE_SYNC_MAX || bytes > TO_DEVICE_SYNC_BYTES_MAX;
        if full && !batch.messages.is_empty() {
            batch.reached = shown;
            break;
        }
        let json = RawValue::from_string(record.json);
        let json = json.map_err(|error| StoreError::Corrupt(format!("a to-device message: {error}")))?;
        batch.messages.push(Raw::from_json(json));
        shown = SyncToken(key.value().2);
    }
    Ok(batch)
}

/// Takes the messages up to a place away: the device has them.
///
/// # Errors
/// When the database fails.
pub async fn acknowledge(home: &Home, actor: &Actor, upto: SyncToken) -> Result<()> {
    let (user, device) = (actor.user_key, actor.device.clone());
    let none = {
        let view = home.store.snapshot()?;
        view.inbox()?.between(first(user, device.as_str()), upto_place(user, device.as_str(), upto))?.next().is_none()
    };
    if none {
        return Ok(());
    }
    // Nothing waits for this commit: if it is lost, the rows lie before the place that the device asks from, and go next time.
    home.store.write_soon(move |tx| remove(tx, user, device.as_str(), upto)).await
}

/// Puts a message into an inbox, at a place of the log that the caller takes right after. Answers false when the server's
/// share of the inbox is used up and the message is lost.
///
/// # Errors
/// When the database fails.
pub(super) fn put(tx: &mut WriteTx<'_>, user: UserKey, device: &str, n: u64, origin: u32, json: &str) -> Result<bool> {
    let size = json.len() as u64;
    for (owner, times) in [(device, 1), (ALL_DEVICES, INBOX_DEVICES_FULL_MAX)] {
        let (count, bytes) = used(tx, user, owner, origin)?;
        if count >= INBOX_MESSAGES_MAX * times || bytes + size > INBOX_BYTES_MAX * times {
            // Not louder: whoever floods an inbox must not fill the log instead.
            tracing::debug!(user = user.0, owner, origin, count, bytes, "an inbox is full; a message is lost");
            return Ok(false);
        }
    }
    let record = InboxRecord { origin, json: json.to_owned() }.encode()?;
    tx.write().inbox.insert((user.0, device.as_bytes(), n), record.as_slice())?;
    for owner in [device, ALL_DEVICES] {
        let (count, bytes) = used(tx, user, owner, origin)?;
        tx.write().inbox_use.insert((user.0, owner.as_bytes(), origin), (count + 1, bytes + size))?;
    }
    Ok(true)
}

/// Takes the whole inbox of a device away.
///
/// # Errors
/// When the database fails.
pub(super) fn forget(tx: &mut WriteTx<'_>, user: UserKey, device: &str) -> Result<()> {
    remove(tx, user, device, SyncToken(u64::MAX))
}

fn remove(tx: &mut WriteTx<'_>, user: UserKey, device: &str, upto: SyncToken) -> Result<()> {
    let mut gone = Vec::new();
    for row in tx.inbox()?.between(first(user, device), upto_place(user, device, upto))? {
        let (key, value) = row?;
        let record = InboxRecord::decode(value.value())?;
        gone.push((key.value().2, record.origin, record.json.len() as u64));
    }
    for (n, origin, size) in gone {
        tx.write().inbox.remove((user.0, device.as_bytes(), n))?;
        for owner in [device, ALL_DEVICES] {
            let (count, bytes) = used(tx, user, owner, origin)?;
            let row = (user.0, owner.as_bytes(), origin);
            if count <= 1 {
                tx.write().inbox_use.remove(row)?;
            } else {
                tx.write().inbox_use.insert(row, (count - 1, bytes.saturating_sub(size)))?;
            }
        }
    }
    Ok(())
}

/// How many messages of a server wait for a device, or for all devices of a user, and how many bytes.
fn used(view: &dyn View, user: UserKey, device: &str, origin: u32) -> Result<(u64, u64)> {
    Ok(view.inbox_use()?.row((user.0, device.as_bytes(), origin))?.map_or((0, 0), |row| row.value()))
}

fn first(user: UserKey, device: &str) -> Bound<(u32, &[u8], u64)> {
    Bound::Included((user.0, device.as_bytes(), 0))
}

fn upto_place(user: UserKey, device: &str, upto: SyncToken) -> Bound<(u32, &[u8], u64)> {
    Bound::Included((user.0, device.as_bytes(), upto.0))
}

//! The keys of local devices, as they are shown to others.

use std::{collections::BTreeMap, ops::Bound};

use super::{cross_signing, inbox, lists, prekeys};
use crate::store::{DeviceRecord, Record, Result, StoreError, UserKey, View, WriteTx};

/// The keys of a device, JSON.
///
/// # Errors
/// When the database fails.
pub(super) fn keys_of(view: &dyn View, user: UserKey, device: &str) -> Result<Option<String>> {
    view.dkey()?.row((user.0, device.as_bytes()))?.map(|row| text(row.value())).transpose()
}

/// The devices of a user that have keys.
///
/// # Errors
/// When the database fails.
pub(super) fn with_keys(view: &dyn View, user: UserKey) -> Result<BTreeMap<String, String>> {
    let mut devices = BTreeMap::new();
    let (from, to) = of_user(user);
    for row in view.dkey()?.between(from, to)? {
        let (key, value) = row?;
        devices.insert(text(key.value().1)?, text(value.value())?);
    }
    Ok(devices)
}

/// The devices of a user, those without keys too.
///
/// # Errors
/// When the database fails.
pub(super) fn all(view: &dyn View, user: UserKey) -> Result<Vec<String>> {
    let (from, to) = of_user(user);
    view.dev()?.between(from, to)?.map(|row| text(row?.0.value().1)).collect()
}

/// The record of a device.
///
/// # Errors
/// When the database fails.
pub(super) fn record(view: &dyn View, user: UserKey, device: &str) -> Result<Option<DeviceRecord>> {
    view.dev()?.row((user.0, device.as_bytes()))?.map(|row| DeviceRecord::decode(row.value())).transpose()
}

/// The name that a user gave a device.
///
/// # Errors
/// When the database fails.
pub(super) fn display_name(view: &dyn View, user: UserKey, device: &str) -> Result<Option<String>> {
    Ok(record(view, user, device)?.and_then(|record| record.display_name))
}

/// Sets the keys of a device.
///
/// # Errors
/// When the database fails.
pub(super) fn put(tx: &mut WriteTx<'_>, user: UserKey, device: &str, json: &str) -> Result<()> {
    tx.write().dkey.insert((user.0, device.as_bytes()), json.as_bytes())?;
    Ok(())
}

/// A device has another name: whoever keeps its user's list is told, if the device is on it.
///
/// # Errors
/// When the database fails.
pub(crate) fn device_renamed(tx: &mut WriteTx<'_>, user: UserKey, device: &str) -> Result<()> {
    if tx.dkey()?.row((user.0, device.as_bytes()))?.is_none() {
        return Ok(());
    }
    lists::device_changed(tx, user, device)
}

/// A device is no more: its keys and its inbox go, and whoever keeps its user's list is told.
///
/// # Errors
/// When the database fails.
pub(crate) fn forget_device(tx: &mut WriteTx<'_>, user: UserKey, device: &str) -> Result<()> {
    inbox::forget(tx, user, device)?;
    prekeys::forget(tx, user, device)?;
    if tx.write().dkey.remove((user.0, device.as_bytes()))?.is_none() {
        return Ok(());
    }
    cross_signing::forget_signatures_of(tx, user, device)?;
    lists::device_changed(tx, user, device)
}

/// A user is no more: all that is left once their devices are gone goes too.
///
/// # Errors
/// When the database fails.
pub(crate) fn forget_user(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    super::backup::forget(tx, user)?;
    cross_signing::forget(tx, user)
}

/// A bound of rows in a table whose key is user and device.
type DeviceBound = Bound<(u32, &'static [u8])>;

/// A user's rows in a table whose key is user and device.
pub(super) fn of_user(user: UserKey) -> (DeviceBound, DeviceBound) {
    (Bound::Included((user.0, &[])), Bound::Excluded((user.0.saturating_add(1), &[])))
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::Corrupt("a key or a device id is no text".into()))
}

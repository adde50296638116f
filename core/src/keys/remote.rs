//! Device lists of other servers' users: what those servers told, checked, and kept while a room is shared.
//!
//! A list is kept once a client here asked for it, so nobody fills the disk with lists that nobody wants. It is right as long
//! as its server tells us of each change; from the first change that was missed on it is *stale*.
//!
//! Invariant: a list that is not stale is the newest that its server announced to us.

use std::{collections::BTreeMap, ops::Bound};

use ruma::{
    DeviceId, OwnedDeviceId, ServerName, UserId,
    encryption::{CrossSigningKey, DeviceKeys, KeyUsage},
    serde::Raw,
};

use super::{
    KeysError,
    devices::of_user,
    lists,
    signed::{self, Checked, cross_signing_id, cross_signing_key, is_signed},
};
use crate::{
    store::{Record, RemoteListRecord, Result, ServerKey, StoreError, UserKey, View, WriteTx},
    types::limits::{DEVICES_MAX, ID_BYTES_MAX, PROFILE_FIELD_BYTES_MAX},
};

/// The keys of a user, each as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UserKeys {
    /// Devices, with the name that the user gave them in `unsigned`.
    pub(super) devices: BTreeMap<OwnedDeviceId, String>,
    /// The master key.
    pub(super) master: Option<String>,
    /// The self-signing key.
    pub(super) self_signing: Option<String>,
}

impl UserKeys {
    /// Takes a device that a server told of. One that fails its check is left out, and so is one too many.
    pub(super) fn add_device(&mut self, user: &UserId, device: &DeviceId, keys: &Raw<DeviceKeys>, name: Option<&str>) {
        if self.devices.len() >= DEVICES_MAX {
            return tracing::debug!(%user, "a user has more devices than are kept");
        }
        match device_of(user, device, keys, name) {
            Ok(json) => {
                self.devices.insert(device.to_owned(), json);
            }
            Err(error) => tracing::debug!(%user, %error, "a device of another server's user is left out"),
        }
    }

    /// Takes the cross-signing keys that a server told of, as far as they hold together.
    pub(super) fn set_identity(
        &mut self,
        user: &UserId,
        master: Option<&Raw<CrossSigningKey>>,
        self_signing: Option<&Raw<CrossSigningKey>>,
    ) {
        match identity_of(user, master, self_signing) {
            Ok((master, self_signing)) => (self.master, self.self_signing) = (master, self_signing),
            Err(error) => tracing::debug!(%user, %error, "cross-signing keys of another server's user are left out"),
        }
    }
}

/// A device as it is kept, if it passes.
pub(super) fn device_of(
    user: &UserId,
    device: &DeviceId,
    keys: &Raw<DeviceKeys>,
    name: Option<&str>,
) -> Result<String, KeysError> {
    if device.as_str().is_empty() || device.as_str().len() > ID_BYTES_MAX {
        return Err(KeysError::Invalid("a device id has 1 to 255 bytes".into()));
    }
    let checked = signed::device_keys(keys.json().get(), user, device)?;
    with_name(checked.object, name)
}

/// Puts the name of a device beside its keys.
pub(super) fn with_name(mut object: ruma::CanonicalJsonObject, name: Option<&str>) -> Result<String, KeysError> {
    if let Some(name) = name.filter(|name| name.len() <= PROFILE_FIELD_BYTES_MAX) {
        let unsigned = [("device_display_name".to_owned(), name.to_owned().into())];
        let unsigned = ruma::CanonicalJsonObject::from(unsigned);
        object.insert("unsigned".into(), ruma::CanonicalJsonValue::Object(unsigned));
    }
    signed::text_of(&object)
}

type Identity = (Option<String>, Option<String>);

/// Cross-signing keys as they are kept: the master key, and the self-signing key that it signed.
pub(super) fn identity_of(
    user: &UserId,
    master: Option<&Raw<CrossSigningKey>>,
    self_signing: Option<&Raw<CrossSigningKey>>,
) -> Result<Identity, KeysError> {
    let check = |key: Option<&Raw<CrossSigningKey>>, usage| {
        key.map(|key| cross_signing_key(key.json().get(), user, &usage)).transpose()
    };
    let (master, own) = (check(master, KeyUsage::Master)?, check(self_signing, KeyUsage::SelfSigning)?);
    let Some(master) = master else {
        return if own.is_none() { Ok((None, None)) } else { Err(KeysError::Missing("there is no master key".into())) };
    };
    let by_master = |key: &Checked| is_signed(&key.object, user, &cross_signing_id(&master.public), &master.public);
    if own.as_ref().is_some_and(|key| !by_master(key)) {
        return Err(KeysError::Signature("the self-signing key is not signed by the master key".into()));
    }
    Ok((Some(master.json()?), own.map(|key| key.json()).transpose()?))
}

/// How far a user's list is known; `None` if nobody here wanted it yet.
///
/// # Errors
/// When the database fails.
pub(super) fn record(view: &dyn View, user: UserKey) -> Result<Option<RemoteListRecord>> {
    view.rdl()?.row(user.0)?.map(|row| RemoteListRecord::decode(row.value())).transpose()
}

/// A user's keys as they were last told. Nothing at all for a list that never came.
///
/// # Errors
/// When the database fails.
pub(super) fn keys_of(view: &dyn View, user: UserKey, record: &RemoteListRecord) -> Result<UserKeys> {
    let mut keys =
        UserKeys { master: record.master.clone(), self_signing: record.self_signing.clone(), ..UserKeys::default() };
    let (from, to) = of_user(user);
    for row in view.rdev()?.between(from, to)? {
        let (key, value) = row?;
        keys.devices.insert(text(key.value().1)?.into(), text(value.value())?);
    }
    Ok(keys)
}

/// Whether a list is known to miss a change.
///
/// # Errors
/// When the database fails.
pub(super) fn is_stale(view: &dyn View, user: UserKey, server: &ServerName) -> Result<bool> {
    let Some(server) = ServerKey::find(view, server)? else { return Ok(true) };
    Ok(view.rdl_stale()?.row((server.0, user.0))?.is_some())
}

/// Begins to keep a user's list, which is stale until it comes. Answers how many announcements of
/// it came so far.
///
/// # Errors
/// When the database fails.
pub(super) fn begin(tx: &mut WriteTx<'_>, user: UserKey, server: &ServerName) -> Result<u64> {
    if let Some(record) = record(tx, user)? {
        return Ok(record.heard);
    }
    put(tx, user, &RemoteListRecord::default())?;
    let server = ServerKey::intern(tx, server)?;
    tx.write().rdl_stale.insert((server.0, user.0), ())?;
    Ok(0)
}

/// Marks a list as stale, if there is one. Answers whether that is news.
///
/// # Errors
/// When the database fails.
pub(super) fn mark_stale(tx: &mut WriteTx<'_>, user: UserKey, server: &ServerName) -> Result<bool> {
    if tx.rdl()?.row(user.0)?.is_none() {
        return Ok(false);
    }
    let server = ServerKey::intern(tx, server)?;
    Ok(tx.write().rdl_stale.insert((server.0, user.0), ())?.is_none())
}

/// Keeps a list that came. It is fresh unless something was announced since it was asked for, when `heard` announcements had
/// come: the list may be older than that.
///
/// # Errors
/// When the database fails.
pub(super) fn keep(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    server: &ServerName,
    keys: &UserKeys,
    stream: Option<u64>,
    heard: u64,
) -> Result<()> {
    let Some(mut record) = record(tx, user)? else { return Ok(()) };
    let old = keys_of(tx, user, &record)?;
    if old != *keys {
        for gone in old.devices.keys().filter(|device| !keys.devices.contains_key(*device)) {
            tx.write().rdev.remove((user.0, gone.as_bytes()))?;
        }
        for (device, json) in &keys.devices {
            tx.write().rdev.insert((user.0, device.as_bytes()), json.as_bytes())?;
        }
        record.master.clone_from(&keys.master);
        record.self_signing.clone_from(&keys.self_signing);
        lists::log_change(tx, user)?;
    }
    record.stream = stream;
    put(tx, user, &record)?;
    if record.heard == heard {
        let server = ServerKey::intern(tx, server)?;
        tx.write().rdl_stale.remove((server.0, user.0))?;
    }
    Ok(())
}

/// Sets how far a user's list is known.
///
/// # Errors
/// When the database fails.
pub(super) fn put(tx: &mut WriteTx<'_>, user: UserKey, record: &RemoteListRecord) -> Result<()> {
    let bytes = record.encode()?;
    tx.write().rdl.insert(user.0, bytes.as_slice())?;
    Ok(())
}

/// Sets or removes one device of a list. Answers whether anything changed.
///
/// # Errors
/// When the database fails.
pub(super) fn set_device(tx: &mut WriteTx<'_>, user: UserKey, device: &DeviceId, json: Option<&str>) -> Result<bool> {
    let key = (user.0, device.as_bytes());
    Ok(match json {
        Some(json) => {
            let before = tx.write().rdev.insert(key, json.as_bytes())?;
            before.is_none_or(|before| before.value() != json.as_bytes())
        }
        None => tx.write().rdev.remove(key)?.is_some(),
    })
}

/// The keys of one device of a list, JSON.
///
/// # Errors
/// When the database fails.
pub(super) fn device_keys_of(view: &dyn View, user: UserKey, device: &DeviceId) -> Result<Option<String>> {
    view.rdev()?.row((user.0, device.as_bytes()))?.map(|row| text(row.value())).transpose()
}

/// How many devices a list has.
///
/// # Errors
/// When the database fails.
pub(super) fn device_count(view: &dyn View, user: UserKey) -> Result<usize> {
    let rows =
        view.rdev()?.between(Bound::Included((user.0, &[])), Bound::Excluded((user.0.saturating_add(1), &[])))?;
    Ok(rows.count())
}

/// The servers of users whose lists are stale.
///
/// # Errors
/// When the database fails.
pub(super) fn servers_of_stale(view: &dyn View) -> Result<Vec<ServerKey>> {
    let mut servers = Vec::new();
    let mut from = Bound::Unbounded;
    // One seek for each server, however many of its lists are stale.
    while let Some(row) = view.rdl_stale()?.between(from, Bound::Unbounded)?.next() {
        let server = row?.0.value().0;
        servers.push(ServerKey(server));
        from = Bound::Excluded((server, u32::MAX));
    }
    Ok(servers)
}

/// The next user of a server after one of them whose list is stale.
///
/// # Errors
/// When the database fails.
pub(super) fn next_stale(view: &dyn View, server: ServerKey, after: UserKey) -> Result<Option<UserKey>> {
    let (from, to) = (Bound::Excluded((server.0, after.0)), Bound::Included((server.0, u32::MAX)));
    let row = view.rdl_stale()?.between(from, to)?.next().transpose()?;
    Ok(row.map(|row| UserKey(row.0.value().1)))
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::Corrupt("a remote device is no text".into()))
}

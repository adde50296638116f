//! Sessions and devices: an access token, and the device that it speaks for.
//!
//! A token is kept as its SHA-256 only, so that a stolen database opens no session. It carries 190 random bits, so a plain
//! hash without salt is enough, and finding it is one lookup whose timing says nothing of use. Deliberately absent: refresh
//! tokens, which guard tokens that travel networks; ours travel the loopback interface.
//!
//! Invariant: a device has at most one token, and a token row has a device row.

use std::ops::Bound;

use sha2::{Digest, Sha256};

use crate::{
    home::Home,
    keys,
    store::{DeviceRecord, Record, Result, StoreError, TokenRecord, UserKey, View, WriteTx, txns},
    types::{Millis, limits},
};

/// Characters of an access token: 190 bits.
const TOKEN_CHARS: usize = 32;
/// Characters of a device id that we choose: 59 bits.
const DEVICE_CHARS: usize = 10;

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub user: UserKey,
    /// On which device.
    pub device: String,
}

/// A session that is about to open. Made outside of the transaction, because a job may run twice and must then do the same.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The device: a known one is logged in anew.
    pub device: String,
    /// The name of a new device. A known one keeps its own.
    pub display_name: Option<String>,
    /// What the client gets. Only its hash is kept.
    pub token: String,
    /// When.
    pub now: Millis,
}

impl NewSession {
    /// A session with a new token, on the named device or on a new one.
    pub fn new(home: &Home, device: Option<String>, display_name: Option<String>) -> Self {
        let random = &home.ports.random;
        let device = device.unwrap_or_else(|| random.token(DEVICE_CHARS).to_ascii_uppercase());
        Self { device, display_name, token: random.token(TOKEN_CHARS), now: home.now() }
    }
}

/// Why a session could not open.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The account has as many devices as it may.
    #[error("the account has {} devices, which is the limit; log one of them out", limits::DEVICES_MAX)]
    TooManyDevices,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The session of a token, if there is one.
///
/// # Errors
/// When the database fails.
pub fn of_token(view: &dyn View, token: &str) -> Result<Option<Session>> {
    let Some(row) = view.token()?.row(&hash(token))? else { return Ok(None) };
    let TokenRecord { user, device } = TokenRecord::decode(row.value())?;
    Ok(Some(Session { user, device }))
}

/// The devices of a user, by id.
///
/// # Errors
/// When the database fails.
pub fn devices(view: &dyn View, user: UserKey) -> Result<Vec<(String, DeviceRecord)>> {
    let from = Bound::Included((user.0, [].as_slice()));
    let to = Bound::Excluded((user.0.saturating_add(1), [].as_slice()));
    let mut devices = Vec::new();
    for row in view.dev()?.between(from, to)? {
        let (key, value) = row?;
        let id = String::from_utf8_lossy(key.value().1).into_owned();
        devices.push((id, DeviceRecord::decode(value.value())?));
    }
    Ok(devices)
}

/// One device of a user.
///
/// # Errors
/// When the database fails.
pub fn device(view: &dyn View, user: UserKey, device: &str) -> Result<Option<DeviceRecord>> {
    let Some(row) = view.dev()?.row((user.0, device.as_bytes()))? else { return Ok(None) };
    DeviceRecord::decode(row.value()).map(Some)
}

/// Opens a session. The token that the device had before is worth nothing from here on.
///
/// # Errors
/// See [`OpenError`].
pub fn open(tx: &mut WriteTx<'_>, user: UserKey, new: &NewSession) -> Result<(), OpenError> {
    let known = device(tx, user, &new.device)?;
    if known.is_none() && devices(tx, user)?.len() >= limits::DEVICES_MAX {
        return Err(OpenError::TooManyDevices);
    }
    let hash = hash(&new.token);
    let record = match known {
        Some(known) => {
            if let Some(old) = &known.token {
                tx.write().token.remove(old).map_err(StoreError::from)?;
            }
            DeviceRecord { token: Some(hash), ..known }
        }
        None => DeviceRecord { display_name: new.display_name.clone(), token: Some(hash), created: new.now.0 },
    };
    put(tx, user, &new.device, &record)?;
    let token = TokenRecord { user, device: new.device.clone() }.encode()?;
    tx.write().token.insert(&hash, token.as_slice()).map_err(StoreError::from)?;
    Ok(())
}

/// Adds a device that no token speaks for: the on-device client needs none. Nothing happens to one that is there already.
///
/// # Errors
/// See [`OpenError`].
pub(crate) fn add_device(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    id: &str,
    display_name: Option<&str>,
    now: Millis,
) -> Result<(), OpenError> {
    if device(tx, user, id)?.is_some() {
        return Ok(());
    }
    if devices(tx, user)?.len() >= limits::DEVICES_MAX {
        return Err(OpenError::TooManyDevices);
    }
    let record = DeviceRecord { display_name: display_name.map(str::to_owned), token: None, created: now.0 };
    Ok(put(tx, user, id, &record)?)
}

/// Gives a device another name. Answers false for a device that is not there.
///
/// # Errors
/// When the database fails.
pub fn rename(tx: &mut WriteTx<'_>, user: UserKey, id: &str, display_name: Option<&str>) -> Result<bool> {
    let Some(known) = device(tx, user, id)? else { return Ok(false) };
    let display_name = display_name.map(str::to_owned);
    if known.display_name != display_name {
        put(tx, user, id, &DeviceRecord { display_name, ..known })?;
        keys::device_renamed(tx, user, id)?;
    }
    Ok(true)
}

/// Logs a device out and forgets it, with its token, its keys and messages, and its memory of transaction ids. Nothing happens
/// to one that is not there.
///
/// # Errors
/// When the database fails.
pub fn close(tx: &mut WriteTx<'_>, user: UserKey, id: &str) -> Result<()> {
    let Some(known) = device(tx, user, id)? else { return Ok(()) };
    let tables = tx.write();
    if let Some(token) = &known.token {
        tables.token.remove(token)?;
    }
    tables.dev.remove((user.0, id.as_bytes()))?;
    txns::forget_device(tx, user, id)?;
    keys::forget_device(tx, user, id)
}

/// Logs all devices of a user out, but for one if it is named.
///
/// # Errors
/// When the database fails.
pub fn close_all(tx: &mut WriteTx<'_>, user: UserKey, but: Option<&str>) -> Result<()> {
    for (id, _) in devices(tx, user)? {
        if but != Some(id.as_str()) {
            close(tx, user, &id)?;
        }
    }
    Ok(())
}

fn put(tx: &mut WriteTx<'_>, user: UserKey, id: &str, device: &DeviceRecord) -> Result<()> {
    let bytes = device.encode()?;
    tx.write().dev.insert((user.0, id.as_bytes()), bytes.as_slice())?;
    Ok(())
}

/// What the database keeps of a token.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

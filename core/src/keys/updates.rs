//! What other servers announce of their users' keys: `m.device_list_update` and `m.signing_key_update`.
//!
//! An update that continues what is known is taken as it is; one that does not says that another was missed, and the list is
//! stale until it is fetched. Only lists that somebody here asked for are followed at all. Server-server API, "Device
//! Management" and "End-to-End Encryption".

use ruma::{
    ServerName,
    api::federation::transactions::edu::{DeviceListUpdateContent, SigningKeyUpdateContent},
    encryption::CrossSigningKey,
    serde::Raw,
};

use super::{lists, remote};
use crate::{
    home::Home,
    store::{RemoteListRecord, Result, UserKey, WriteTx},
    types::limits::DEVICES_MAX,
};

/// Takes an update of a device. One of another server's user than the sender's is refused.
///
/// # Errors
/// When the store fails.
pub async fn device_list_update(home: &Home, origin: &ServerName, content: DeviceListUpdateContent) -> Result<()> {
    if !is_of(origin, content.user_id.server_name(), "m.device_list_update") || !is_followed(home, &content.user_id)? {
        return Ok(());
    }
    let name = content.device_display_name.as_deref();
    let device = content.keys.as_ref().filter(|_| content.deleted != Some(true));
    let device = device.map(|keys| remote::device_of(&content.user_id, &content.device_id, keys, name)).transpose();
    let device = device.inspect_err(|error| tracing::debug!(%origin, %error, "a device list update does not hold"));
    let device = device.map_err(drop);
    home.store.write(move |tx| take_device(tx, &content, device.clone())).await
}

fn take_device(
    tx: &mut WriteTx<'_>,
    content: &DeviceListUpdateContent,
    device: Result<Option<String>, ()>,
) -> Result<()> {
    let Some(user) = UserKey::find(tx, &content.user_id)? else { return Ok(()) };
    let Some(mut record) = remote::record(tx, user)? else { return Ok(()) };
    let server = content.user_id.server_name();
    let stream = u64::from(content.stream_id);
    if record.stream == Some(stream) {
        return Ok(());
    }
    let continues = content.prev_id.iter().any(|prev| record.stream == Some(u64::from(*prev)));
    record.heard += 1;
    let fits = device.as_ref().is_ok_and(Option::is_none) || remote::device_count(tx, user)? < DEVICES_MAX;
    let (Ok(device), true) = (device, continues && fits && !remote::is_stale(tx, user, server)?) else {
        return miss(tx, user, server, &record);
    };
    record.stream = Some(stream);
    if remote::set_device(tx, user, &content.device_id, device.as_deref())? {
        lists::log_change(tx, user)?;
    }
    remote::put(tx, user, &record)
}

/// Takes an update of a user's cross-signing keys. One of another server's user than the sender's is refused.
///
/// # Errors
/// When the store fails.
pub async fn signing_key_update(home: &Home, origin: &ServerName, content: SigningKeyUpdateContent) -> Result<()> {
    if !is_of(origin, content.user_id.server_name(), "m.signing_key_update") || !is_followed(home, &content.user_id)? {
        return Ok(());
    }
    home.store.write(move |tx| take_identity(tx, &content)).await
}

fn take_identity(tx: &mut WriteTx<'_>, content: &SigningKeyUpdateContent) -> Result<()> {
    let Some(user) = UserKey::find(tx, &content.user_id)? else { return Ok(()) };
    let Some(mut record) = remote::record(tx, user)? else { return Ok(()) };
    record.heard += 1;
    // The master key may be left out when only the other one changed.
    let known = record.master.clone().map(lists::raw::<CrossSigningKey>).transpose()?;
    let master: Option<&Raw<CrossSigningKey>> = content.master_key.as_ref().or(known.as_ref());
    match remote::identity_of(&content.user_id, master, content.self_signing_key.as_ref()) {
        Ok((master @ Some(_), self_signing)) if content.self_signing_key.is_some() => {
            let changed = (&record.master, &record.self_signing) != (&master, &self_signing);
            (record.master, record.self_signing) = (master, self_signing);
            remote::put(tx, user, &record)?;
            if changed {
                lists::log_change(tx, user)?;
            }
            Ok(())
        }
        // Half of the keys, none, or such as do not hold together: the server itself must say how they stand.
        _ => miss(tx, user, content.user_id.server_name(), &record),
    }
}

/// Writes down that a list is out of date. Whoever has it is told, and will ask.
fn miss(tx: &mut WriteTx<'_>, user: UserKey, server: &ServerName, record: &RemoteListRecord) -> Result<()> {
    remote::put(tx, user, record)?;
    if remote::mark_stale(tx, user, server)? {
        lists::log_change(tx, user)?;
    }
    Ok(())
}

/// A server speaks for its own users alone.
fn is_of(origin: &ServerName, server: &ServerName, kind: &str) -> bool {
    if origin != server {
        tracing::warn!(%origin, of = %server, kind, "an update of another server's user is refused");
    }
    origin == server
}

fn is_followed(home: &Home, user: &ruma::UserId) -> Result<bool> {
    let view = home.store.snapshot()?;
    let Some(user) = UserKey::find(&view, user)? else { return Ok(false) };
    Ok(remote::record(&view, user)?.is_some())
}

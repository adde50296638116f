//! `POST /keys/query`: the keys of users, here and elsewhere.
//!
//! Local users' keys come out of the store. Others' come out of the cache while it is fresh, and from their servers otherwise,
//! all of them at once. A server that cannot be asked is named in `failures`, and what it last told stands in for it.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use ruma::{
    OwnedDeviceId, OwnedServerName, OwnedUserId, ServerName, UInt, UserId,
    api::{
        client::keys::get_keys::v3::{Request, Response},
        federation::{device::get_devices::v1 as get_devices, keys::get_keys::v1 as get_keys},
    },
    encryption::{CrossSigningKey, DeviceKeys},
    serde::Raw,
};
use serde_json::json;
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    Actor, KeysError, cross_signing, devices, lists,
    remote::{self, UserKeys},
    resync::{self, Fetched, Wanted},
    signatures,
};
use crate::{
    home::Home,
    outbox::FederationError,
    store::{AccountRecord, Record, Result, RoomKey, UserKey, View},
    types::limits::{
        FEDERATION_REQUEST_WAIT, KEYS_ANSWER_BYTES_MAX, KEYS_FAR_WAIT, KEYS_SERVERS_AT_ONCE_MAX, KEYS_WAIT_DEFAULT,
    },
};

/// Answers which keys users have, as the asking user may see them.
///
/// # Errors
/// When the store fails.
pub async fn query(home: &Home, actor: &Actor, request: Request) -> Result<Response, KeysError> {
    let users: Vec<&UserId> = request.device_keys.keys().map(|user| -> &UserId { user }).collect();
    let Gathered { mut found, failures } = gather(home, actor, &users, request.timeout).await?;
    let view = home.store.snapshot()?;
    let mut response = Response::new();
    response.failures = failures;
    for (user, wanted) in &request.device_keys {
        let Some(keys) = found.remove(user) else { continue };
        if let Some(master) = keys.master {
            let mut master = cross_signing::own(&master)?;
            signatures::add_own(&view, actor, user, &mut master)?;
            response.master_keys.insert(user.clone(), lists::raw(super::signed::text_of(&master)?)?);
        }
        if let Some(key) = keys.self_signing {
            response.self_signing_keys.insert(user.clone(), lists::raw(key)?);
        }
        let devices = chosen(keys.devices, wanted)?;
        response.device_keys.insert(user.clone(), devices);
    }
    if request.device_keys.contains_key(&actor.user)
        && let Some(key) = cross_signing::find(&view, actor.user_key)?.user_signing
    {
        response.user_signing_keys.insert(actor.user.clone(), lists::raw(key)?);
    }
    Ok(response)
}

/// The keys of local users, for another server.
///
/// # Errors
/// [`KeysError::TooMuch`] when the answer would be larger than anyone reads.
pub fn query_for_server(home: &Home, request: get_keys::Request) -> Result<get_keys::Response, KeysError> {
    let view = home.store.snapshot()?;
    let mut response = get_keys::Response::default();
    let mut bytes = 0;
    for (user, wanted) in request.device_keys {
        let Some(keys) = local_keys(home, &view, &user)? else { continue };
        bytes += keys.devices.values().chain(&keys.master).chain(&keys.self_signing).map(String::len).sum::<usize>();
        if bytes > KEYS_ANSWER_BYTES_MAX {
            return Err(KeysError::TooMuch("the keys of so many users fit no answer; ask for fewer".into()));
        }
        if let Some(key) = keys.master {
            response.master_keys.insert(user.clone(), lists::raw(key)?);
        }
        if let Some(key) = keys.self_signing {
            response.self_signing_keys.insert(user.clone(), lists::raw(key)?);
        }
        response.device_keys.insert(user, chosen(keys.devices, &wanted)?);
    }
    Ok(response)
}

/// The devices of a local user with the version of the list, for another server; `None` for nobody of ours.
///
/// # Errors
/// When the store fails.
pub fn devices_for_server(home: &Home, user: &UserId) -> Result<Option<get_devices::Response>, KeysError> {
    let view = home.store.snapshot()?;
    let Some(key) = local_user(home, &view, user)? else { return Ok(None) };
    let stream = UInt::new_saturating(lists::stream_of(&view, key)?);
    let mut response = get_devices::Response::new(user.to_owned(), stream);
    for (device, json) in devices::with_keys(&view, key)? {
        let name = devices::display_name(&view, key, &device)?;
        let mut shown = get_devices::UserDevice::new(device.into(), lists::raw(json)?);
        shown.device_display_name = name;
        response.devices.push(shown);
    }
    let identity = cross_signing::find(&view, key)?;
    response.master_key = identity.master.map(lists::raw::<CrossSigningKey>).transpose()?;
    response.self_signing_key = identity.self_signing.map(lists::raw::<CrossSigningKey>).transpose()?;
    Ok(Some(response))
}

/// The master keys of users, as they are known here or their servers tell, JSON.
///
/// # Errors
/// When the store fails.
pub(super) async fn master_keys(
    home: &Home,
    actor: &Actor,
    users: Vec<&OwnedUserId>,
) -> Result<BTreeMap<OwnedUserId, String>, KeysError> {
    let mut known = BTreeMap::new();
    let mut unknown: Vec<&UserId> = Vec::new();
    {
        let view = home.store.snapshot()?;
        for user in users {
            match signatures::known_master(&view, user, home.is_local(user.server_name()))? {
                Some(master) => drop(known.insert(user.clone(), master)),
                None => unknown.push(user),
            }
        }
    }
    let gathered = gather(home, actor, &unknown, None).await?;
    known.extend(gathered.found.into_iter().filter_map(|(user, keys)| Some((user, keys.master?))));
    Ok(known)
}

/// Until when a client that gives itself some time waits for other servers.
pub(super) fn deadline(timeout: Option<Duration>) -> Instant {
    Instant::now() + timeout.unwrap_or(KEYS_WAIT_DEFAULT).min(FEDERATION_REQUEST_WAIT)
}

/// What stands for a server that did not answer.
pub(super) fn failure(error: &FederationError) -> serde_json::Value {
    json!({ "status": 503, "message": error.to_string() })
}

struct Gathered {
    found: BTreeMap<OwnedUserId, UserKeys>,
    failures: BTreeMap<String, serde_json::Value>,
}

/// What is to be asked of a server, and how long that may take.
struct Question {
    server: OwnedServerName,
    users: Vec<Wanted>,
    deadline: Instant,
}

async fn gather(
    home: &Home,
    actor: &Actor,
    users: &[&UserId],
    timeout: Option<Duration>,
) -> Result<Gathered, KeysError> {
    let mut found = BTreeMap::new();
    let mut questions: BTreeMap<OwnedServerName, Question> = BTreeMap::new();
    {
        let view = home.store.snapshot()?;
        let rooms = lists::joined_rooms(&view, actor.user_key)?;
        let deadline = deadline(timeout);
        for user in users {
            if home.is_local(user.server_name()) {
                found.extend(local_keys(home, &view, user)?.map(|keys| ((*user).to_owned(), keys)));
                continue;
            }
            let server = user.server_name().to_owned();
            let fresh = || Question { server: server.clone(), users: Vec::new(), deadline };
            match wanted(&view, &rooms, user)? {
                Known::Fresh(keys) => drop(found.insert((*user).to_owned(), keys)),
                Known::Stale(keys, wanted) => {
                    found.insert((*user).to_owned(), keys);
                    questions.entry(server.clone()).or_insert_with(fresh).users.push(wanted);
                }
                Known::Nothing(wanted) => questions.entry(server.clone()).or_insert_with(fresh).users.push(wanted),
            }
        }
    }
    for question in questions.values_mut() {
        let all_known = question.users.iter().all(|wanted| found.contains_key(&wanted.user));
        if all_known && !home.is_near(&question.server) {
            question.deadline = question.deadline.min(Instant::now() + KEYS_FAR_WAIT);
        }
    }
    let mut failures = BTreeMap::new();
    let asked = stream::iter(questions.into_values()).map(|question| ask(home, question));
    let mut asked = asked.buffer_unordered(KEYS_SERVERS_AT_ONCE_MAX);
    while let Some((server, answer)) = asked.next().await {
        let answer = answer?;
        found.extend(answer.found);
        failures.extend(answer.error.map(|error| (server.to_string(), failure(&error))));
    }
    Ok(Gathered { found, failures })
}

/// What is known of another server's user.
enum Known {
    Fresh(UserKeys),
    Stale(UserKeys, Wanted),
    Nothing(Wanted),
}

/// What is known of a user, by somebody who is in these rooms.
fn wanted(view: &dyn View, rooms: &[RoomKey], user: &UserId) -> Result<Known> {
    let stranger = || Wanted { user: user.to_owned(), kept: None };
    let Some(key) = UserKey::find(view, user)? else { return Ok(Known::Nothing(stranger())) };
    // Without a shared room nobody tells us of changes, so nothing that was kept is worth anything.
    if !lists::is_in_one(view, rooms, key)? {
        return Ok(Known::Nothing(stranger()));
    }
    let wanted = Wanted { user: user.to_owned(), kept: Some(key) };
    let Some(record) = remote::record(view, key)? else { return Ok(Known::Nothing(wanted)) };
    let keys = remote::keys_of(view, key, &record)?;
    Ok(if !remote::is_stale(view, key, user.server_name())? {
        Known::Fresh(keys)
    } else if keys == UserKeys::default() {
        Known::Nothing(wanted)
    } else {
        Known::Stale(keys, wanted)
    })
}

async fn ask(home: &Home, question: Question) -> (OwnedServerName, Result<Fetched>) {
    let Question { server, users, deadline } = question;
    let answer = timeout_at(deadline, resync::fetch(home, &server, users)).await;
    let answer = answer.unwrap_or_else(|_| Ok(Fetched { error: Some(late(&server)), ..Fetched::default() }));
    (server, answer)
}

/// What a server is said to have done that did not answer in time.
pub(super) fn late(server: &ServerName) -> FederationError {
    FederationError::NoAnswer(format!("{server} did not answer in time"))
}

fn local_user(home: &Home, view: &dyn View, user: &UserId) -> Result<Option<UserKey>> {
    if !home.is_local(user.server_name()) {
        return Ok(None);
    }
    let Some(key) = UserKey::find(view, user)? else { return Ok(None) };
    let account = view.account()?.row(key.0)?.map(|row| AccountRecord::decode(row.value())).transpose()?;
    Ok(account.filter(|account| !account.deactivated).map(|_| key))
}

/// The keys of a local user, as everybody may see them.
fn local_keys(home: &Home, view: &dyn View, user: &UserId) -> Result<Option<UserKeys>, KeysError> {
    let Some(key) = local_user(home, view, user)? else { return Ok(None) };
    let identity = cross_signing::find(view, key)?;
    let mut keys = UserKeys { master: identity.master, self_signing: identity.self_signing, ..UserKeys::default() };
    for (device, json) in devices::with_keys(view, key)? {
        let name = devices::display_name(view, key, &device)?;
        keys.devices.insert(device.into(), remote::with_name(cross_signing::own(&json)?, name.as_deref())?);
    }
    Ok(Some(keys))
}

/// The devices that were asked for, all if none is named.
fn chosen(
    devices: BTreeMap<OwnedDeviceId, String>,
    wanted: &[OwnedDeviceId],
) -> Result<BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>> {
    let is_wanted = |device: &OwnedDeviceId| wanted.is_empty() || wanted.contains(device);
    let devices = devices.into_iter().filter(|(device, _)| is_wanted(device));
    devices.map(|(device, json)| Ok((device, lists::raw(json)?))).collect()
}

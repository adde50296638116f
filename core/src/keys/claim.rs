//! `POST /keys/claim`: one-time keys to begin sessions with.
//!
//! A claim commits before it answers, so that no key is given twice, whatever crashes. A server that claims a device's keys in
//! a loop gets the fallback key after a while, which can be given any number of times: others must still find one-time keys.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use ruma::{
    CanonicalJsonObject, DeviceId, OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId,
    ServerName,
    api::{
        client::keys::claim_keys::v3::{Request, Response},
        federation::keys::claim_keys::v1::{OneTimeKeyClaims, OneTimeKeys, Request as ServerRequest, Response as Told},
    },
    encryption::OneTimeKey,
    serde::Raw,
};
use tokio::time::{Duration, timeout_at};

use super::{
    Actor, KeysError, cross_signing, lists, prekeys,
    query::{deadline, failure, late},
    remote, signed,
};
use crate::{
    home::Home,
    outbox::{FederationError, request_soon},
    store::{Result, ServerKey, UserKey, View, WriteTx},
    types::{
        Millis,
        limits::{CLAIM_DEVICES_MAX, CLAIMS_PER_HOUR_MAX, KEYS_SERVERS_AT_ONCE_MAX, ONE_TIME_KEY_BYTES_MAX},
    },
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Claims keys for a local device, here and elsewhere.
///
/// # Errors
/// [`KeysError::TooMuch`] for too many devices, and the store's.
pub async fn claim(home: &Home, _actor: &Actor, request: Request) -> Result<Response, KeysError> {
    must_be_few(&request.one_time_keys)?;
    let mut local = OneTimeKeyClaims::new();
    let mut remote: BTreeMap<OwnedServerName, OneTimeKeyClaims> = BTreeMap::new();
    for (user, devices) in request.one_time_keys {
        if home.is_local(user.server_name()) {
            local.insert(user, devices);
        } else {
            remote.entry(user.server_name().to_owned()).or_default().insert(user, devices);
        }
    }
    let deadline = deadline(request.timeout);
    let mut response = Response::new(claim_here(home, local, None).await?);
    let asked = stream::iter(remote).map(async |(server, claims)| {
        let answer = timeout_at(deadline, claim_there(home, &server, claims)).await;
        (answer.unwrap_or_else(|_| Err(late(&server))), server)
    });
    let mut asked = std::pin::pin!(asked.buffer_unordered(KEYS_SERVERS_AT_ONCE_MAX));
    while let Some((answer, server)) = asked.next().await {
        match answer {
            Ok(keys) => response.one_time_keys.extend(keys),
            Err(error) => drop(response.failures.insert(server.to_string(), failure(&error))),
        }
    }
    Ok(response)
}

/// Claims keys of local devices for another server.
///
/// # Errors
/// [`KeysError::TooMuch`] for too many devices, and the store's.
pub async fn claim_for_server(home: &Home, origin: &ServerName, request: ServerRequest) -> Result<Told, KeysError> {
    must_be_few(&request.one_time_keys)?;
    let mut claims = request.one_time_keys;
    claims.retain(|user, _| home.is_local(user.server_name()));
    Ok(Told::new(claim_here(home, claims, Some(origin)).await?))
}

fn must_be_few(claims: &OneTimeKeyClaims) -> Result<(), KeysError> {
    if claims.values().map(BTreeMap::len).sum::<usize>() > CLAIM_DEVICES_MAX {
        return Err(KeysError::TooMuch(format!("a claim names at most {CLAIM_DEVICES_MAX} devices")));
    }
    Ok(())
}

async fn claim_here(home: &Home, claims: OneTimeKeyClaims, origin: Option<&ServerName>) -> Result<OneTimeKeys> {
    if claims.is_empty() {
        return Ok(OneTimeKeys::new());
    }
    let (now, origin) = (home.now(), origin.map(ToOwned::to_owned));
    home.store.write(move |tx| take_all(tx, &claims, origin.as_deref(), now)).await
}

fn take_all(
    tx: &mut WriteTx<'_>,
    claims: &OneTimeKeyClaims,
    origin: Option<&ServerName>,
    now: Millis,
) -> Result<OneTimeKeys> {
    // All servers that no room has brought here count as one: a new name costs nothing.
    let origin = match origin {
        Some(origin) => Some(ServerKey::find(tx, origin)?.map_or(0, |server| server.0)),
        None => None,
    };
    let mut taken = OneTimeKeys::new();
    for (user, devices) in claims {
        let Some(key) = UserKey::find(tx, user)? else { continue };
        for (device, algorithm) in devices {
            let Some((id, json)) = take_one(tx, key, device, algorithm, origin, now)? else { continue };
            let Ok(id) = OwnedOneTimeKeyId::try_from(id) else { continue };
            let keys = BTreeMap::from([(id, lists::raw(json)?)]);
            taken.entry(user.clone()).or_default().insert(device.clone(), keys);
        }
    }
    Ok(taken)
}

fn take_one(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    device: &DeviceId,
    algorithm: &OneTimeKeyAlgorithm,
    origin: Option<u32>,
    now: Millis,
) -> Result<Option<(String, String)>> {
    let (device, algorithm) = (device.as_str(), algorithm.as_str());
    // Who asks for what is not there must not leave a trace: the names would be theirs to choose.
    if tx.prekey()?.row((user.0, device.as_bytes()))?.is_none() {
        return Ok(None);
    }
    if may_take(tx, user, device, origin, now)?
        && let Some(key) = prekeys::take(tx, user, device, algorithm)?
    {
        return Ok(Some(key));
    }
    prekeys::use_fallback(tx, user, device, algorithm)
}

/// Whether a server may have another one-time key of a device in this hour; counts it if so.
fn may_take(tx: &mut WriteTx<'_>, user: UserKey, device: &str, origin: Option<u32>, now: Millis) -> Result<bool> {
    let Some(origin) = origin else { return Ok(true) };
    let key = (user.0, device.as_bytes(), origin);
    let hour = u64::try_from(HOUR.as_millis()).unwrap_or(u64::MAX);
    let (since, count) = tx.otk_claims()?.row(key)?.map_or((now.0, 0), |row| row.value());
    // A clock that was set back begins a new hour too.
    let is_over = now.0.checked_sub(since).is_none_or(|passed| passed >= hour);
    let (since, count) = if is_over { (now.0, 0) } else { (since, count) };
    if count > CLAIMS_PER_HOUR_MAX {
        return Ok(false);
    }
    tx.write().otk_claims.insert(key, (since, count + 1))?;
    if count == CLAIMS_PER_HOUR_MAX {
        // Once an hour, not once a claim.
        tracing::warn!(
            user = user.0,
            device,
            origin,
            "a server claims one device's keys in a loop; it gets no more this hour"
        );
    }
    Ok(count < CLAIMS_PER_HOUR_MAX)
}

/// Claims keys of another server's devices.
async fn claim_there(
    home: &Home,
    server: &ServerName,
    claims: OneTimeKeyClaims,
) -> Result<OneTimeKeys, FederationError> {
    let answer = request_soon(home, server, ServerRequest::new(claims.clone())).await?;
    let view = home.store.snapshot().map_err(|error| FederationError::NoAnswer(error.to_string()))?;
    let mut keys = OneTimeKeys::new();
    for (user, devices) in answer.one_time_keys {
        let Some(asked) = claims.get(&user) else { continue };
        for (device, given) in devices {
            let Some(algorithm) = asked.get(&device) else { continue };
            let fits = |(id, key): &(OwnedOneTimeKeyId, Raw<OneTimeKey>)| {
                id.algorithm() == *algorithm && holds(&view, &user, &device, id, key)
            };
            if let Some((id, key)) = given.into_iter().find(fits) {
                keys.entry(user.clone()).or_default().insert(device, BTreeMap::from([(id, key)]));
            }
        }
    }
    Ok(keys)
}

/// Whether a key of another server's device passes: signed by the device, as far as the device is known here. Clients check
/// that again.
fn holds(
    view: &dyn View,
    user: &OwnedUserId,
    device: &OwnedDeviceId,
    id: &OwnedOneTimeKeyId,
    key: &Raw<OneTimeKey>,
) -> bool {
    let known = || -> Result<Option<CanonicalJsonObject>> {
        let Some(user) = UserKey::find(view, user)? else { return Ok(None) };
        remote::device_keys_of(view, user, device)?.map(|json| cross_signing::own(&json)).transpose()
    };
    let public = known().ok().flatten().and_then(|keys| signed::public_of(&keys));
    let checked = public.map(|public| signed::one_time_key(id, key.json().get(), user, device, &public));
    match checked {
        Some(Ok(_)) => true,
        Some(Err(error)) => {
            tracing::debug!(%user, %device, %error, "a one-time key of another server's device is left out");
            false
        }
        None => key.json().get().len() <= ONE_TIME_KEY_BYTES_MAX,
    }
}

//! `POST /keys/signatures/upload`: a user signs their own devices and master key, and other users' master keys.
//!
//! Signatures on one's own keys are for everybody and become part of them. Those on other users' keys say whom the signer has
//! met: they are kept apart, and only the signer sees them. Client-server API, "Key and signature security".

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, DeviceId, OwnedUserId, UserId,
    api::client::keys::upload_signatures::v3::{Failure, Request, Response},
    encryption::KeyUsage,
};
use serde_json::json;

use super::{
    Actor, KeysError, cross_signing, devices, lists, query, remote,
    signed::{self, cross_signing_id, cross_signing_key, device_key_id, is_same, is_signed},
};
use crate::{
    home::Home,
    store::{Record, Result, StoreError, UserKey, UserSignatureRecord, View, WriteTx},
    types::limits::DEVICE_KEYS_BYTES_MAX,
};

/// Takes signatures of the caller. Each that cannot be taken is named in the answer, and holds no other up.
///
/// # Errors
/// When the store fails.
pub async fn upload_signatures(home: &Home, actor: &Actor, request: Request) -> Result<Response, KeysError> {
    let mut failures: BTreeMap<OwnedUserId, BTreeMap<String, Failure>> = BTreeMap::new();
    let mut signed = Vec::new();
    for (user, keys) in &request.signed_keys {
        for (name, json) in keys {
            match signed::parse(json.get(), DEVICE_KEYS_BYTES_MAX) {
                Ok(object) => signed.push((user.clone(), name.to_owned(), object)),
                Err(error) => note(&mut failures, user, name, &error)?,
            }
        }
    }
    // A master key that is not known here was told to the client by its server a moment ago, and may be asked for again.
    let strangers: Vec<&OwnedUserId> =
        signed.iter().map(|(user, ..)| user).filter(|user| **user != actor.user).collect();
    let masters = query::master_keys(home, actor, strangers).await?;
    let actor = actor.clone();
    let refused = home.store.write(move |tx| keep_all(tx, &actor, &signed, &masters)).await?;
    for (user, name, error) in refused {
        note(&mut failures, &user, &name, &error)?;
    }
    let mut response = Response::new();
    response.failures = failures;
    Ok(response)
}

type Refused = Vec<(OwnedUserId, String, KeysError)>;

fn keep_all(
    tx: &mut WriteTx<'_>,
    actor: &Actor,
    signed: &[(OwnedUserId, String, CanonicalJsonObject)],
    masters: &BTreeMap<OwnedUserId, String>,
) -> Result<Refused, KeysError> {
    let mut refused = Refused::new();
    let mut seen_by_all = false;
    for (user, name, object) in signed {
        let kept = if *user != actor.user {
            keep_on_other(tx, actor, user, name, object, masters.get(user))
        } else if devices::keys_of(tx, actor.user_key, name)?.is_some() {
            keep_on_device(tx, actor, name, object)
        } else {
            keep_on_master(tx, actor, name, object).inspect(|changed| seen_by_all |= changed).map(drop)
        };
        match kept {
            Ok(()) => {}
            Err(KeysError::Store(error)) => return Err(error.into()),
            Err(error) => refused.push((user.clone(), name.clone(), error)),
        }
    }
    if seen_by_all {
        lists::identity_changed(tx, actor.user_key)?;
    }
    Ok(refused)
}

/// The self-signing key vouches for a device.
fn keep_on_device(
    tx: &mut WriteTx<'_>,
    actor: &Actor,
    device: &str,
    object: &CanonicalJsonObject,
) -> Result<(), KeysError> {
    let json = devices::keys_of(tx, actor.user_key, device)?.unwrap_or_default();
    let mut kept = cross_signing::own(&json)?;
    must_be_same(object, &kept)?;
    let key = cross_signing::find(tx, actor.user_key)?.self_signing;
    let key = key.ok_or_else(|| KeysError::Signature("there is no self-signing key that could have signed".into()))?;
    let key = cross_signing_key(&key, &actor.user, &KeyUsage::SelfSigning)?;
    let id = cross_signing_id(&key.public);
    if !is_signed(object, &actor.user, &id, &key.public) {
        return Err(KeysError::Signature(format!("{device} is not signed by the self-signing key")));
    }
    if copy(object, &mut kept, &actor.user, &id) {
        devices::put(tx, actor.user_key, device, &signed::kept_text(&kept)?)?;
        lists::device_changed(tx, actor.user_key, device)?;
    }
    Ok(())
}

/// Devices vouch for the master key of their user. Answers whether anything is new.
fn keep_on_master(
    tx: &mut WriteTx<'_>,
    actor: &Actor,
    name: &str,
    object: &CanonicalJsonObject,
) -> Result<bool, KeysError> {
    let mut record = cross_signing::find(tx, actor.user_key)?;
    let mut kept = record.master.as_deref().map(cross_signing::own).transpose()?.unwrap_or_default();
    if signed::public_of(&kept).as_deref() != Some(name) {
        return Err(KeysError::NotFound(format!("{name} is neither a device of yours nor your master key")));
    }
    must_be_same(object, &kept)?;
    let (mut valid, mut changed) = (false, false);
    for (id, _) in signed::signatures_of(object, &actor.user) {
        let Some(device) = id.strip_prefix("ed25519:") else { continue };
        let Some(keys) = devices::keys_of(tx, actor.user_key, device)? else { continue };
        let keys = signed::device_keys(&keys, &actor.user, <&DeviceId>::from(device))?;
        if id == device_key_id(<&DeviceId>::from(device)) && is_signed(object, &actor.user, id, &keys.public) {
            valid = true;
            changed |= copy(object, &mut kept, &actor.user, id);
        }
    }
    if !valid {
        return Err(KeysError::Signature("the master key is not signed by a device of yours".into()));
    }
    if changed {
        record.master = Some(signed::kept_text(&kept)?);
        cross_signing::put(tx, actor.user_key, &record)?;
    }
    Ok(changed)
}

/// The user-signing key vouches for another user's master key.
fn keep_on_other(
    tx: &mut WriteTx<'_>,
    actor: &Actor,
    user: &UserId,
    name: &str,
    object: &CanonicalJsonObject,
    asked: Option<&String>,
) -> Result<(), KeysError> {
    let unknown = || KeysError::NotFound(format!("{name} is not the master key of {user}"));
    let master = asked.and_then(|json| cross_signing_key(json, user, &KeyUsage::Master).ok());
    let master = master.filter(|master| master.public == name).ok_or_else(unknown)?;
    must_be_same(object, &master.object)?;
    let key = cross_signing::find(tx, actor.user_key)?.user_signing;
    let key = key.ok_or_else(|| KeysError::Signature("there is no user-signing key that could have signed".into()))?;
    let key = cross_signing_key(&key, &actor.user, &KeyUsage::UserSigning)?;
    let key_id = cross_signing_id(&key.public);
    let signature = signed::signature(object, &actor.user, &key_id).map(str::to_owned);
    let signature = signature.filter(|_| is_signed(object, &actor.user, &key_id, &key.public));
    let signature =
        signature.ok_or_else(|| KeysError::Signature(format!("{name} is not signed by your user-signing key")))?;
    let target = UserKey::intern(tx, user)?;
    let bytes = UserSignatureRecord { master: master.public, key_id, signature }.encode()?;
    let before = tx.write().xsig.insert((actor.user_key.0, target.0), bytes.as_slice()).map_err(StoreError::from)?;
    let is_new = before.is_none_or(|before| before.value() != bytes.as_slice());
    if is_new {
        // The signer's other devices see the other user as verified once they ask for that user's keys again.
        lists::log_change(tx, target)?;
    }
    Ok(())
}

/// Adds the signature of a user's user-signing key to another user's master key, for the signer to see.
///
/// # Errors
/// When the database fails.
pub(super) fn add_own(view: &dyn View, actor: &Actor, target: &UserId, master: &mut CanonicalJsonObject) -> Result<()> {
    let Some(target) = UserKey::find(view, target)? else { return Ok(()) };
    let Some(row) = view.xsig()?.row((actor.user_key.0, target.0))? else { return Ok(()) };
    let record = UserSignatureRecord::decode(row.value())?;
    if signed::public_of(master).as_deref() == Some(record.master.as_str()) {
        signed::add_signature(master, &actor.user, &record.key_id, &record.signature);
    }
    Ok(())
}

/// The master key of a user as it is known here, JSON.
///
/// # Errors
/// When the database fails.
pub(super) fn known_master(view: &dyn View, user: &UserId, is_local: bool) -> Result<Option<String>> {
    let Some(key) = UserKey::find(view, user)? else { return Ok(None) };
    if is_local {
        return Ok(cross_signing::find(view, key)?.master);
    }
    Ok(remote::record(view, key)?.and_then(|record| record.master))
}

fn copy(from: &CanonicalJsonObject, to: &mut CanonicalJsonObject, user: &UserId, id: &str) -> bool {
    let Some(signature) = signed::signature(from, user, id) else { return false };
    if signed::signature(to, user, id) == Some(signature) {
        return false;
    }
    signed::add_signature(to, user, id, signature);
    true
}

fn must_be_same(object: &CanonicalJsonObject, kept: &CanonicalJsonObject) -> Result<(), KeysError> {
    if is_same(object, kept) {
        Ok(())
    } else {
        Err(KeysError::Invalid("the key is not the one that is known here".into()))
    }
}

fn note(
    failures: &mut BTreeMap<OwnedUserId, BTreeMap<String, Failure>>,
    user: &UserId,
    name: &str,
    error: &KeysError,
) -> Result<(), KeysError> {
    // Part of an answer that is no error as a whole, so its codes are spelled here and not in the API.
    let code = match error {
        KeysError::Signature(_) => "M_INVALID_SIGNATURE",
        KeysError::NotFound(_) => "M_NOT_FOUND",
        KeysError::TooMuch(_) => "M_TOO_LARGE",
        KeysError::Malformed(_) => "M_BAD_JSON",
        _ => "M_INVALID_PARAM",
    };
    // ruma's type has no other constructor.
    let failure = serde_json::from_value(json!({ "errcode": code, "error": error.to_string() }));
    let failure = failure.map_err(|error| KeysError::Malformed(error.to_string()))?;
    failures.entry(user.to_owned()).or_default().insert(name.to_owned(), failure);
    Ok(())
}

//! `POST /keys/upload`: a device publishes its keys, and the one-time keys that others begin sessions with.
//!
//! Everything must be signed by the device. A device that comes with another identity than before (its client lost the old
//! one) starts anew: what the old identity signed is of no use to anybody.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    CanonicalJsonObject, OwnedOneTimeKeyId,
    api::client::keys::upload_keys::v3::{Request, Response},
    encryption::{KeyUsage, OneTimeKey},
    serde::Raw,
};

use super::{
    Actor, KeysError, cross_signing, devices, lists, prekeys,
    signed::{self, Checked, cross_signing_id, device_key_id},
};
use crate::{
    home::Home,
    store::{Result, WriteTx},
    types::limits::{FALLBACK_KEYS_MAX, ONE_TIME_KEYS_MAX},
};

/// Takes the keys of the caller's device.
///
/// # Errors
/// [`KeysError::Invalid`] for keys of another user or device, and for another one-time key under a known id;
/// [`KeysError::Signature`], [`KeysError::TooMuch`], and for what is malformed.
pub async fn upload(home: &Home, actor: &Actor, request: Request) -> Result<Response, KeysError> {
    let new = NewKeys::check(home, actor, &request)?;
    let actor = actor.clone();
    home.store.write(move |tx| new.keep(tx, &actor)).await
}

/// Keys whose signatures hold.
#[derive(Clone, Debug)]
struct NewKeys {
    device: Option<Checked>,
    /// The signing key that all of it was checked with; `None` when there is nothing but an empty request.
    public: Option<String>,
    one_time: Vec<(OwnedOneTimeKeyId, String)>,
    fallback: Vec<(OwnedOneTimeKeyId, String)>,
}

impl NewKeys {
    fn check(home: &Home, actor: &Actor, request: &Request) -> Result<Self, KeysError> {
        if request.one_time_keys.len() > ONE_TIME_KEYS_MAX || request.fallback_keys.len() > FALLBACK_KEYS_MAX {
            return Err(KeysError::TooMuch("more one-time or fallback keys than are kept".into()));
        }
        let algorithms: BTreeSet<_> = request.fallback_keys.keys().map(|id| id.algorithm()).collect();
        if algorithms.len() < request.fallback_keys.len() {
            return Err(KeysError::Invalid("there is one fallback key for an algorithm".into()));
        }
        let device = request.device_keys.as_ref();
        let device = device.map(|keys| signed::device_keys(keys.json().get(), &actor.user, &actor.device));
        let device = device.transpose()?;
        let public = match &device {
            Some(device) => Some(device.public.clone()),
            None => stored(&home.store.snapshot()?, actor)?.and_then(|old| signed::public_of(&old)),
        };
        let check = |keys: &BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>| {
            let check = |(id, key): (&OwnedOneTimeKeyId, &Raw<OneTimeKey>)| {
                let public = public.as_deref();
                let public = public.ok_or_else(|| KeysError::Missing("upload the device's own keys first".into()))?;
                let json = signed::one_time_key(id, key.json().get(), &actor.user, &actor.device, public)?;
                Ok((id.clone(), json))
            };
            keys.iter().map(check).collect::<Result<Vec<_>, KeysError>>()
        };
        let (one_time, fallback) = (check(&request.one_time_keys)?, check(&request.fallback_keys)?);
        Ok(Self { device, public, one_time, fallback })
    }

    fn keep(&self, tx: &mut WriteTx<'_>, actor: &Actor) -> Result<Response, KeysError> {
        let (user, device) = (actor.user_key, actor.device.as_str());
        if devices::record(tx, user, device)?.is_none() {
            return Err(KeysError::Forbidden("this device was logged out".into()));
        }
        let old = stored(tx, actor)?;
        let old_public = old.as_ref().and_then(signed::public_of);
        if self.device.is_none() && self.public != old_public {
            return Err(KeysError::Signature("the device has other keys by now; upload them all anew".into()));
        }
        let new = self.device.as_ref().map(|new| merged(tx, actor, new, old.as_ref())).transpose()?;
        let new = new.filter(|new| Some(new) != old.as_ref());
        let new = new.map(|new| signed::kept_text(&new)).transpose()?;
        if self.device.is_some() && old_public.is_some() && self.public != old_public {
            prekeys::forget(tx, user, device)?;
        }
        prekeys::add(tx, user, device, &self.one_time)?;
        prekeys::set_fallback(tx, user, device, &self.fallback)?;
        if let Some(new) = new {
            devices::put(tx, user, device, &new)?;
            lists::device_changed(tx, user, device)?;
        }
        Ok(Response::new(prekeys::one_time_keys(tx, actor)?))
    }
}

fn stored(view: &dyn crate::store::View, actor: &Actor) -> Result<Option<CanonicalJsonObject>> {
    devices::keys_of(view, actor.user_key, actor.device.as_str())?.map(|json| cross_signing::own(&json)).transpose()
}

/// The new keys as they are kept: with the signatures of the device and of its user's self-signing key, also such as came
/// before.
fn merged(
    tx: &WriteTx<'_>,
    actor: &Actor,
    new: &Checked,
    old: Option<&CanonicalJsonObject>,
) -> Result<CanonicalJsonObject, KeysError> {
    let keys = cross_signing::find(tx, actor.user_key)?;
    for json in [&keys.master, &keys.self_signing, &keys.user_signing].into_iter().flatten() {
        if signed::public_of(&cross_signing::own(json)?).as_deref() == Some(actor.device.as_str()) {
            return Err(KeysError::Forbidden("the device is named as one of the user's cross-signing keys is".into()));
        }
    }
    let own = device_key_id(&actor.device);
    let mut object = new.object.clone();
    let self_signing =
        keys.self_signing.map(|json| signed::cross_signing_key(&json, &actor.user, &KeyUsage::SelfSigning));
    let vouched = self_signing.transpose()?.map(|key| (cross_signing_id(&key.public), key.public));
    if let (Some(old), Some((id, _))) = (old.filter(|old| signed::is_same(old, &new.object)), &vouched)
        && let Some(signature) = signed::signature(old, &actor.user, id)
    {
        signed::add_signature(&mut object, &actor.user, id, signature);
    }
    let with_all = object.clone();
    signed::retain_signatures(&mut object, &actor.user, |id| {
        let by_user =
            |(known, public): &(String, String)| id == known && signed::is_signed(&with_all, &actor.user, id, public);
        id == own || vouched.as_ref().is_some_and(by_user)
    });
    Ok(object)
}

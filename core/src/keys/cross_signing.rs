//! `POST /keys/device_signing/upload`: the three keys by which a user vouches for devices and for other users.
//!
//! The master key stands for the user; the other two must be signed by it. Client-server API, "Cross-signing".
//!
//! Invariant: no self-signing or user-signing key is kept that the kept master key did not sign.

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, DeviceId, UserId,
    api::client::keys::upload_signing_keys::v3::Request,
    encryption::{CrossSigningKey, KeyUsage},
    serde::Raw,
};

use super::{
    Actor, KeysError, devices, lists,
    signed::{self, Checked, cross_signing_id, cross_signing_key, is_same, is_signed},
};
use crate::{
    home::Home,
    store::{CrossSigningRecord, Record, Result, StoreError, UserKey, View, WriteTx},
    types::limits::DEVICE_KEYS_BYTES_MAX,
};

/// Sets cross-signing keys of the caller. Who may change them is the API's to ask: see [`needs_auth`].
///
/// # Errors
/// [`KeysError::Missing`] without a master key, [`KeysError::Signature`], [`KeysError::Forbidden`] for a key that is named as a
/// device is; and for what is malformed.
pub async fn upload_signing_keys(home: &Home, actor: &Actor, request: Request) -> Result<(), KeysError> {
    let new = NewKeys::check(&actor.user, &request)?;
    let (user, user_key) = (actor.user.clone(), actor.user_key);
    home.store.write(move |tx| new.keep(tx, &user, user_key)).await
}

/// Whether a user must prove who they are before these keys are taken: not for the first ones, nor for what is there already,
/// so that a retry after a lost answer passes.
///
/// # Errors
/// When the keys are malformed, and the store's.
pub fn needs_auth(view: &dyn View, actor: &Actor, request: &Request) -> Result<bool, KeysError> {
    let new = NewKeys::check(&actor.user, request)?;
    let old = find(view, actor.user_key)?;
    Ok(old.master.is_some() && !new.is_known(&old)?)
}

/// Keys that are well formed. Whether the master key signed the others is known once it is known which one it is.
#[derive(Clone, Debug)]
struct NewKeys {
    master: Option<Checked>,
    self_signing: Option<Checked>,
    user_signing: Option<Checked>,
}

impl NewKeys {
    fn check(user: &UserId, request: &Request) -> Result<Self, KeysError> {
        let check = |key: &Option<Raw<CrossSigningKey>>, usage| {
            key.as_ref().map(|key| cross_signing_key(key.json().get(), user, &usage)).transpose()
        };
        Ok(Self {
            master: check(&request.master_key, KeyUsage::Master)?,
            self_signing: check(&request.self_signing_key, KeyUsage::SelfSigning)?,
            user_signing: check(&request.user_signing_key, KeyUsage::UserSigning)?,
        })
    }

    fn is_known(&self, old: &CrossSigningRecord) -> Result<bool, KeysError> {
        let pairs = [
            (&self.master, &old.master),
            (&self.self_signing, &old.self_signing),
            (&self.user_signing, &old.user_signing),
        ];
        for (new, old) in pairs {
            let Some(new) = new else { continue };
            let old = old.as_ref().map(|old| signed::parse(old, DEVICE_KEYS_BYTES_MAX)).transpose()?;
            if !old.is_some_and(|old| is_same(&new.object, &old)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keep(&self, tx: &mut WriteTx<'_>, user: &UserId, user_key: UserKey) -> Result<(), KeysError> {
        let old = find(tx, user_key)?;
        if self.is_known(&old)? {
            return if old.master.is_some() { Ok(()) } else { Err(missing_master()) };
        }
        let new = self.merged(tx, user, user_key, &old)?;
        put(tx, user_key, &new)?;
        forget_old_signatures(tx, user, user_key, &old, &new)?;
        Ok(lists::identity_changed(tx, user_key)?)
    }

    /// The new keys over the old ones.
    fn merged(
        &self,
        view: &dyn View,
        user: &UserId,
        user_key: UserKey,
        old: &CrossSigningRecord,
    ) -> Result<CrossSigningRecord, KeysError> {
        let device_ids = devices::all(view, user_key)?;
        for key in [&self.master, &self.self_signing, &self.user_signing].into_iter().flatten() {
            if device_ids.contains(&key.public) {
                return Err(KeysError::Forbidden(
                    "a cross-signing key is named as one of the user's devices is".into(),
                ));
            }
        }
        let old_master =
            old.master.as_ref().map(|json| cross_signing_key(json, user, &KeyUsage::Master)).transpose()?;
        let master = match (&self.master, &old_master) {
            // What others signed of the same key stays.
            (Some(new), Some(old)) if is_same(&new.object, &old.object) => old,
            (Some(new), _) => new,
            (None, Some(old)) => old,
            (None, None) => return Err(missing_master()),
        };
        let mut master = master.clone();
        keep_valid_signatures(view, user, user_key, &mut master)?;
        let master_id = cross_signing_id(&master.public);
        let by_master = |key: &Checked| is_signed(&key.object, user, &master_id, &master.public);
        let choose = |new: &Option<Checked>, old: &Option<String>, usage: KeyUsage| match new {
            Some(new) if by_master(new) => only_signed_by(new, user, &master_id).map(Some),
            Some(_) => Err(KeysError::Signature(format!("the {usage} key is not signed by the master key"))),
            None => {
                let old = old.as_ref().map(|json| cross_signing_key(json, user, &usage)).transpose()?;
                old.filter(by_master).map(|old| old.json()).transpose()
            }
        };
        Ok(CrossSigningRecord {
            self_signing: choose(&self.self_signing, &old.self_signing, KeyUsage::SelfSigning)?,
            user_signing: choose(&self.user_signing, &old.user_signing, KeyUsage::UserSigning)?,
            master: Some(master.json()?),
        })
    }
}

/// The cross-signing keys of a local user.
///
/// # Errors
/// When the database fails.
pub(super) fn find(view: &dyn View, user: UserKey) -> Result<CrossSigningRecord> {
    let row = view.xsk()?.row(user.0)?;
    Ok(row.map(|row| CrossSigningRecord::decode(row.value())).transpose()?.unwrap_or_default())
}

/// Sets the cross-signing keys of a local user.
///
/// # Errors
/// When the database fails.
pub(super) fn put(tx: &mut WriteTx<'_>, user: UserKey, record: &CrossSigningRecord) -> Result<()> {
    let bytes = record.encode()?;
    tx.write().xsk.insert(user.0, bytes.as_slice())?;
    Ok(())
}

/// Takes the cross-signing keys of a user away, and their signatures on others.
///
/// # Errors
/// When the database fails.
pub(super) fn forget(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    tx.write().xsig.remove_in((user.0, 0)..=(user.0, u32::MAX))?;
    if tx.write().xsk.remove(user.0)?.is_some() {
        lists::identity_changed(tx, user)?;
    }
    Ok(())
}

/// Takes the signature of a device that is no more off its user's master key.
///
/// # Errors
/// When the database fails.
pub(super) fn forget_signatures_of(tx: &mut WriteTx<'_>, user: UserKey, device: &str) -> Result<()> {
    let mut record = find(tx, user)?;
    let Some(master) = &record.master else { return Ok(()) };
    let user_id = user.id(tx)?;
    let gone = signed::device_key_id(<&DeviceId>::from(device));
    let mut object = own(master)?;
    if signed::signature(&object, &user_id, &gone).is_none() {
        return Ok(());
    }
    signed::retain_signatures(&mut object, &user_id, |id| id != gone);
    record.master = Some(signed::text_of(&object).map_err(damaged)?);
    put(tx, user, &record)
}

/// JSON of our own store.
///
/// # Errors
/// When the row is damaged.
pub(super) fn own(json: &str) -> Result<CanonicalJsonObject> {
    signed::parse(json, usize::MAX).map_err(damaged)
}

/// A row of ours that fails a check which it passed when it was written.
pub(super) fn damaged(error: KeysError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

fn missing_master() -> KeysError {
    KeysError::Missing("there is no master key, neither here nor in the request".into())
}

/// Leaves those signatures of a master key that its own devices made, or itself: nothing else is for everybody's eyes.
fn keep_valid_signatures(
    view: &dyn View,
    user: &UserId,
    user_key: UserKey,
    master: &mut Checked,
) -> Result<(), KeysError> {
    let mut keys = BTreeMap::from([(cross_signing_id(&master.public), master.public.clone())]);
    for (device, json) in devices::with_keys(view, user_key)? {
        if let Some(public) = signed::public_of(&own(&json)?) {
            keys.insert(signed::device_key_id(<&DeviceId>::from(device.as_str())), public);
        }
    }
    let object = master.object.clone();
    signed::retain_signatures(&mut master.object, user, |id| {
        keys.get(id).is_some_and(|public| is_signed(&object, user, id, public))
    });
    Ok(())
}

fn only_signed_by(key: &Checked, user: &UserId, wanted: &str) -> Result<String, KeysError> {
    let mut key = key.clone();
    signed::retain_signatures(&mut key.object, user, |id| id == wanted);
    key.json()
}

/// What replaced keys have signed is worth nothing any more.
fn forget_old_signatures(
    tx: &mut WriteTx<'_>,
    user: &UserId,
    user_key: UserKey,
    old: &CrossSigningRecord,
    new: &CrossSigningRecord,
) -> Result<(), KeysError> {
    let public = |json: &Option<String>| -> Result<Option<String>> {
        Ok(json.as_deref().map(own).transpose()?.and_then(|key| signed::public_of(&key)))
    };
    if public(&old.user_signing)? != public(&new.user_signing)? {
        let signed_by_user = (user_key.0, 0)..=(user_key.0, u32::MAX);
        tx.write().xsig.remove_in(signed_by_user).map_err(StoreError::from)?;
    }
    let (was, is) = (public(&old.self_signing)?, public(&new.self_signing)?);
    let Some(gone) = was.filter(|was| Some(was) != is.as_ref()).map(|was| cross_signing_id(&was)) else {
        return Ok(());
    };
    for (device, json) in devices::with_keys(tx, user_key)? {
        let mut object = own(&json)?;
        if signed::signature(&object, user, &gone).is_some() {
            signed::retain_signatures(&mut object, user, |id| id != gone);
            devices::put(tx, user_key, &device, &signed::text_of(&object)?)?;
        }
    }
    Ok(())
}

//! Signed JSON of devices and users, pure: is it whose it says, and do the signatures hold?
//!
//! The same checks serve what a local client uploads and what another server tells of its users. What passes is canonical
//! JSON without `unsigned`, and of its signatures only those of the user's own keys are left: who else signed somebody's key
//! is nobody's business but the signer's. Appendices, "Signing JSON".

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, DeviceId, OneTimeKeyAlgorithm, OneTimeKeyId, SigningKeyAlgorithm, UserId,
    encryption::KeyUsage,
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};

use super::KeysError;
use crate::types::limits::{DEVICE_KEYS_BYTES_MAX, ID_BYTES_MAX, ONE_TIME_KEY_BYTES_MAX};

/// Base64 as Matrix writes it, without padding. Some implementations pad all the same, and some leave bits behind.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A signed object that passed its check.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    /// The object.
    pub(super) object: CanonicalJsonObject,
    /// Its own ed25519 key, base64.
    pub(super) public: String,
}

impl Checked {
    /// The object as text.
    pub(super) fn json(&self) -> Result<String, KeysError> {
        text_of(&self.object)
    }
}

/// The keys of a device: of this user and this device, and signed by it.
pub(super) fn device_keys(json: &str, user: &UserId, device: &DeviceId) -> Result<Checked, KeysError> {
    let mut object = parse(json, DEVICE_KEYS_BYTES_MAX)?;
    object.remove("unsigned");
    is_text(&object, "user_id", user.as_str())?;
    is_text(&object, "device_id", device.as_str())?;
    let algorithms = object.get("algorithms").and_then(CanonicalJsonValue::as_array);
    if !algorithms.is_some_and(|algorithms| algorithms.iter().all(CanonicalJsonValue::is_string)) {
        return Err(KeysError::Malformed("`algorithms` is a list of names".into()));
    }
    let of_device = |name: &str| name.split_once(':').is_some_and(|(_, of)| of == device.as_str());
    let keys = object.get("keys").and_then(CanonicalJsonValue::as_object);
    let keys = keys.filter(|keys| keys.iter().all(|(name, key)| of_device(name) && key.is_string()));
    let keys = keys.ok_or_else(|| KeysError::Malformed("`keys` holds keys of the device and no others".into()))?;
    let id = device_key_id(device);
    let public = keys.get(&id).and_then(CanonicalJsonValue::as_str);
    let public = public.ok_or_else(|| KeysError::Malformed(format!("`keys` lacks {id}")))?.to_owned();
    if !is_signed(&object, user, &id, &public) {
        return Err(KeysError::Signature(format!("the keys of {device} are not signed by that device")));
    }
    keep_own_signatures(&mut object, user);
    Ok(Checked { object, public })
}

/// A cross-signing key: of this user, and for this use.
pub(super) fn cross_signing_key(json: &str, user: &UserId, usage: &KeyUsage) -> Result<Checked, KeysError> {
    let mut object = parse(json, DEVICE_KEYS_BYTES_MAX)?;
    object.remove("unsigned");
    is_text(&object, "user_id", user.as_str())?;
    let usages = object.get("usage").and_then(CanonicalJsonValue::as_array).unwrap_or_default();
    if !usages.iter().any(|named| named.as_str() == Some(usage.as_str())) {
        return Err(KeysError::Invalid(format!("`usage` of the {usage} key does not say so")));
    }
    let keys = object.get("keys").and_then(CanonicalJsonValue::as_object);
    let only = keys.filter(|keys| keys.len() == 1).and_then(|keys| keys.iter().next());
    let only = only.and_then(|(name, key)| Some((name.strip_prefix("ed25519:")?, key.as_str()?)));
    let public = only.filter(|(name, key)| name == key && decode(key).is_some_and(|bytes| bytes.len() == 32));
    let public = public.map(|(_, key)| key.to_owned());
    let public = public.ok_or_else(|| KeysError::Invalid("`keys` holds one ed25519 key, under its own name".into()))?;
    keep_own_signatures(&mut object, user);
    Ok(Checked { object, public })
}

/// A one-time or fallback key of a device. Those of algorithms that are not known here are taken as they are: who asks for
/// one knows what to do with it.
pub(super) fn one_time_key(
    id: &OneTimeKeyId,
    json: &str,
    user: &UserId,
    device: &DeviceId,
    public: &str,
) -> Result<String, KeysError> {
    if id.as_str().len() > ID_BYTES_MAX {
        return Err(KeysError::Invalid("the id of a one-time key is too long".into()));
    }
    let value = parse_value(json, ONE_TIME_KEY_BYTES_MAX)?;
    if id.algorithm() == OneTimeKeyAlgorithm::SignedCurve25519 {
        let key = value.as_object().and_then(|object| object.get("key")?.as_str());
        if key.and_then(decode).is_none_or(|bytes| bytes.len() != 32) {
            return Err(KeysError::Malformed(format!("{id} holds no key")));
        }
        let is_signed = |object| is_signed(object, user, &device_key_id(device), public);
        if !value.as_object().is_some_and(is_signed) {
            return Err(KeysError::Signature(format!("{id} is not signed by {device}")));
        }
    } else if !value.is_string() && !value.is_object() {
        return Err(KeysError::Malformed(format!("{id} holds no key")));
    }
    text_of(&value)
}

/// The id of a device's signing key.
pub(super) fn device_key_id(device: &DeviceId) -> String {
    format!("ed25519:{device}")
}

/// The id of a cross-signing key.
pub(super) fn cross_signing_id(public: &str) -> String {
    format!("ed25519:{public}")
}

/// The ed25519 key that an object of ours holds, whether of a device or for cross-signing.
pub(super) fn public_of(object: &CanonicalJsonObject) -> Option<String> {
    let keys = object.get("keys")?.as_object()?;
    keys.iter().find(|(name, _)| name.starts_with("ed25519:")).and_then(|(_, key)| key.as_str()).map(str::to_owned)
}

/// Whether a signature of a user's key is there and holds.
pub(super) fn is_signed(object: &CanonicalJsonObject, user: &UserId, key_id: &str, public: &str) -> bool {
    let signature = signature(object, user, key_id).and_then(decode);
    let (Some(signature), Some(public)) = (signature, decode(public)) else { return false };
    let Ok(text) = to_canonical_json_string_for_signing(object) else { return false };
    verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, &public, &signature, text.as_bytes()).is_ok()
}

/// A signature as it stands there.
pub(super) fn signature<'a>(object: &'a CanonicalJsonObject, user: &UserId, key_id: &str) -> Option<&'a str> {
    object.get("signatures")?.as_object()?.get(user.as_str())?.as_object()?.get(key_id)?.as_str()
}

/// The signatures of a user, by the ids of their keys.
pub(super) fn signatures_of<'a>(
    object: &'a CanonicalJsonObject,
    user: &UserId,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let all = object.get("signatures").and_then(CanonicalJsonValue::as_object);
    let own = all.and_then(|all| all.get(user.as_str())).and_then(CanonicalJsonValue::as_object);
    own.into_iter().flatten().filter_map(|(id, signature)| Some((id.as_str(), signature.as_str()?)))
}

/// Puts a signature there.
pub(super) fn add_signature(object: &mut CanonicalJsonObject, user: &UserId, key_id: &str, signature: &str) {
    let empty = || CanonicalJsonValue::Object(CanonicalJsonObject::new());
    let all = object.entry("signatures".into()).or_insert_with(empty);
    if let CanonicalJsonValue::Object(all) = all
        && let CanonicalJsonValue::Object(own) = all.entry(user.to_string()).or_insert_with(empty)
    {
        own.insert(key_id.to_owned(), CanonicalJsonValue::String(signature.to_owned()));
    }
}

/// Leaves the signatures of a user's keys that are wanted still.
pub(super) fn retain_signatures(object: &mut CanonicalJsonObject, user: &UserId, wanted: impl Fn(&str) -> bool) {
    let own = object.get_mut("signatures").and_then(CanonicalJsonValue::as_object_mut);
    if let Some(CanonicalJsonValue::Object(own)) = own.and_then(|all| all.get_mut(user.as_str())) {
        own.retain(|id, _| wanted(id));
    }
}

/// Whether two objects are the same but for what others add to them.
pub(super) fn is_same(one: &CanonicalJsonObject, other: &CanonicalJsonObject) -> bool {
    let bare = |object: &CanonicalJsonObject| {
        let mut object = object.clone();
        object.remove("signatures");
        object.remove("unsigned");
        object
    };
    bare(one) == bare(other)
}

/// An object out of the store, or from outside with a bound.
pub(super) fn parse(json: &str, bytes_max: usize) -> Result<CanonicalJsonObject, KeysError> {
    match parse_value(json, bytes_max)? {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(KeysError::Malformed("a JSON object is wanted here".into())),
    }
}

fn parse_value(json: &str, bytes_max: usize) -> Result<CanonicalJsonValue, KeysError> {
    if json.len() > bytes_max {
        return Err(KeysError::TooMuch(format!("a key has {} bytes; at most {bytes_max} are taken", json.len())));
    }
    serde_json::from_str(json).map_err(|error| KeysError::Malformed(format!("not canonical JSON: {error}")))
}

/// A key as it is kept, with the signatures that it gained.
pub(super) fn kept_text(object: &CanonicalJsonObject) -> Result<String, KeysError> {
    let text = text_of(object)?;
    if text.len() > DEVICE_KEYS_BYTES_MAX {
        return Err(KeysError::TooMuch(format!("with its signatures a key has {DEVICE_KEYS_BYTES_MAX} bytes at most")));
    }
    Ok(text)
}

/// Canonical JSON: the maps are sorted.
pub(super) fn text_of(value: &impl serde::Serialize) -> Result<String, KeysError> {
    serde_json::to_string(value).map_err(|error| KeysError::Malformed(error.to_string()))
}

fn keep_own_signatures(object: &mut CanonicalJsonObject, user: &UserId) {
    let Some(CanonicalJsonValue::Object(all)) = object.get_mut("signatures") else {
        object.remove("signatures");
        return;
    };
    all.retain(|signer, own| signer == user.as_str() && own.is_object());
}

fn is_text(object: &CanonicalJsonObject, field: &str, wanted: &str) -> Result<(), KeysError> {
    match object.get(field).and_then(CanonicalJsonValue::as_str) {
        Some(found) if found == wanted => Ok(()),
        Some(_) => Err(KeysError::Invalid(format!("`{field}` of a key is not {wanted}"))),
        None => Err(KeysError::Malformed(format!("a key lacks `{field}`"))),
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

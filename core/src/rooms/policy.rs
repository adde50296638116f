//! Check 7: a room may name a policy server, without whose signature events are hidden.
//!
//! Client-server API, "Policy servers": the state event `m.room.policy` with an empty key names the server in `via` and its
//! key in `public_keys`. A room whose policy event is malformed, or whose policy server has no joined member, has none.

use std::collections::BTreeMap;

use ruma::{
    OwnedServerName, SigningKeyAlgorithm,
    events::StateEventType,
    serde::Base64,
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};
use serde::Deserialize;

use super::read::Room;
use crate::{
    event::{self, Pdu},
    store::{Result, View},
};

const KIND: &str = "m.room.policy";
/// The signing key's id is fixed. Client-server API, "Policy servers".
const KEY_ID: &str = "ed25519:policy_server";

#[derive(Deserialize)]
struct Content {
    via: OwnedServerName,
    public_keys: BTreeMap<String, Base64>,
}

/// The policy server that the current state names, with its key.
fn server(view: &dyn View, room: &Room) -> Result<Option<(OwnedServerName, Base64)>> {
    let Some(event) = room.current_event(view, &StateEventType::from(KIND), "")? else { return Ok(None) };
    let Ok(mut content) = event.pdu.content_as::<Content>() else { return Ok(None) };
    let Some(key) = content.public_keys.remove("ed25519") else { return Ok(None) };
    Ok(room.has_server(view, &content.via)?.then_some((content.via, key)))
}

/// Whether the event needs a policy server's signature and lacks it.
pub(super) fn check(view: &dyn View, room: &Room, pdu: &Pdu) -> Result<Result<(), String>> {
    let Some((via, key)) = server(view, room)? else { return Ok(Ok(())) };
    if pdu.is_state_of(&KIND.into(), "") {
        return Ok(Ok(()));
    }
    Ok(signed(room, pdu, &via, &key).map_err(|why| format!("the policy server {via} has not signed it: {why}")))
}

fn signed(room: &Room, pdu: &Pdu, via: &ruma::ServerName, key: &Base64) -> Result<(), String> {
    let object = pdu.object().map_err(|error| error.to_string())?;
    let signature = object
        .get("signatures")
        .and_then(|signatures| signatures.as_object()?.get(via.as_str())?.as_object()?.get(KEY_ID)?.as_str())
        .ok_or("no signature")?;
    let signature = Base64::<ruma::serde::base64::Standard>::parse(signature).map_err(|error| error.to_string())?;
    let object = event::redacted(object.clone(), &room.rules).map_err(|error| error.to_string())?;
    let text = to_canonical_json_string_for_signing(&object).map_err(|error| error.to_string())?;
    verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, key.as_bytes(), signature.as_bytes(), text.as_bytes())
        .map_err(|error| error.to_string())
}

//! The first three checks on a PDU that someone else made: format, signatures, content hash.
//!
//! The other four need state and stand in `rooms`. Keys are read out of server names; a signature of a server whose name
//! is not a key cannot be checked here, and so is not accepted.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomId, RoomVersionId, ServerName,
    room_version_rules::RoomVersionRules,
    signatures::{Verified, required_server_signatures_to_verify_event, verify_event},
};
use serde_json::value::RawValue;

use super::{
    pdu::{Pdu, PduError},
    rules_of,
};
use crate::types::{LocalServer, limits, public_keys};

/// Why a PDU is dropped, without being stored. Server-server API, "Checks performed on receipt of a PDU", 1 and 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// Not JSON, too large, or not of the room version's format.
    #[error("malformed event: {0}")]
    Malformed(String),
    /// A signature is missing or wrong.
    #[error("bad signature: {0}")]
    Signature(String),
    /// It belongs to another room.
    #[error("the event is of another room, not of {0}")]
    OtherRoom(ruma::OwnedRoomId),
    /// The room version does not work here.
    #[error("room version {0} is not supported")]
    Version(RoomVersionId),
}

impl From<PduError> for Unverified {
    fn from(error: PduError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Checks format and signatures of a PDU of `room`, and redacts it if its content hash is wrong.
///
/// # Errors
/// When the PDU must be dropped.
pub fn verify(local: &LocalServer, raw: &RawValue, room: &RoomId, version: &RoomVersionId) -> Result<Pdu, Unverified> {
    let rules = rules_of(version).ok_or_else(|| Unverified::Version(version.clone()))?;
    let object = parse(raw, &rules)?;
    let required = required_server_signatures_to_verify_event(&object, &rules.signatures)
        .map_err(|error| Unverified::Malformed(error.to_string()))?;
    let keys = public_keys(local, required.iter().map(|server| -> &ServerName { server }));
    let verified = verify_event(&keys, &object, &rules).map_err(|error| Unverified::Signature(error.to_string()))?;
    let object = match verified {
        Verified::All => object,
        Verified::Signatures => redacted(object, &rules)?,
    };
    let pdu = Pdu::from_object(object, &rules)?;
    if pdu.room_id != room {
        return Err(Unverified::OtherRoom(room.to_owned()));
    }
    Ok(pdu)
}

/// Strips an event to what its room version keeps on redaction. The event id does not change by this.
///
/// # Errors
/// When the object lacks what every event has.
pub fn redacted(object: CanonicalJsonObject, rules: &RoomVersionRules) -> Result<CanonicalJsonObject, Unverified> {
    ruma::canonical_json::redact(object, &rules.redaction, None)
        .map_err(|error| Unverified::Malformed(error.to_string()))
}

fn parse(raw: &RawValue, rules: &RoomVersionRules) -> Result<CanonicalJsonObject, Unverified> {
    // `unsigned` may be large and is no part of the event: the limit is checked again without it.
    if raw.get().len() > 2 * limits::PDU_BYTES_MAX {
        return Err(Unverified::Malformed(format!("{} bytes", raw.get().len())));
    }
    // Floats and integers beyond 2^53 fail here: canonical JSON knows neither.
    let value: CanonicalJsonValue =
        serde_json::from_str(raw.get()).map_err(|error| Unverified::Malformed(error.to_string()))?;
    let CanonicalJsonValue::Object(mut object) = value else {
        return Err(Unverified::Malformed("an event is a JSON object".into()));
    };
    object.remove("unsigned");
    ruma::state_res::check_pdu_format(&object, &rules.event_format).map_err(Unverified::Malformed)?;
    Ok(object)
}

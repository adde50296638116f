//! An event of our own before it is signed.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, OwnedUserId, UInt, events::TimelineEventType,
    room_version_rules::RoomVersionRules,
};

use super::pdu::{Pdu, PduError};
use crate::types::{LocalServer, Millis, limits};

/// What a new event says, before hash and signature.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The room, or `None` for the create event of a version 12 room.
    pub room_id: Option<OwnedRoomId>,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// `type`.
    pub kind: TimelineEventType,
    /// Present on state events.
    pub state_key: Option<String>,
    /// `content`.
    pub content: CanonicalJsonObject,
    /// The target of a redaction: put into `content` or beside it, as the room version says.
    pub redacts: Option<OwnedEventId>,
    /// The heads.
    pub prev_events: Vec<OwnedEventId>,
    /// The state that allows it.
    pub auth_events: Vec<OwnedEventId>,
    /// One more than the deepest head.
    pub depth: u64,
    /// Our clock.
    pub origin_server_ts: Millis,
}

/// Why an event could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Larger than the format allows.
    #[error("the event would be {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit: 65,536 for the event, 255 for `type` and `state_key`.
        limit: usize,
    },
    /// The content breaks the rules of the room version.
    #[error("the event is malformed: {0}")]
    Malformed(String),
}

impl From<PduError> for BuildError {
    fn from(error: PduError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl Draft {
    /// The event without hash and signature, as `make_join` hands it out.
    pub fn to_object(&self, rules: &RoomVersionRules) -> CanonicalJsonObject {
        let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
        let ids = |ids: &[OwnedEventId]| CanonicalJsonValue::Array(ids.iter().map(|id| text(id.as_str())).collect());
        let number = |number: u64| CanonicalJsonValue::Integer(UInt::new_saturating(number).into());
        let mut content = self.content.clone();
        let mut object = CanonicalJsonObject::new();
        if let Some(redacts) = &self.redacts {
            let place = if rules.redaction.content_field_redacts { &mut content } else { &mut object };
            place.insert("redacts".into(), text(redacts.as_str()));
        }
        if let Some(room_id) = &self.room_id {
            object.insert("room_id".into(), text(room_id.as_str()));
        }
        if let Some(state_key) = &self.state_key {
            object.insert("state_key".into(), text(state_key));
        }
        object.insert("auth_events".into(), ids(&self.auth_events));
        object.insert("content".into(), CanonicalJsonValue::Object(content));
        object.insert("depth".into(), number(self.depth));
        object.insert("origin_server_ts".into(), number(self.origin_server_ts.0));
        object.insert("prev_events".into(), ids(&self.prev_events));
        object.insert("sender".into(), text(self.sender.as_str()));
        object.insert("type".into(), text(&self.kind.to_string()));
        object
    }

    /// Hashes and signs the event in the name of `local`.
    ///
    /// # Errors
    /// When it is too large or malformed for the room version.
    pub fn sign(&self, local: &LocalServer, rules: &RoomVersionRules) -> Result<Pdu, BuildError> {
        sign_object(self.to_object(rules), local, rules)
    }
}

/// Hashes and signs an event that another server drafted for us (`make_join`).
pub(crate) fn sign_object(
    mut object: CanonicalJsonObject,
    local: &LocalServer,
    rules: &RoomVersionRules,
) -> Result<Pdu, BuildError> {
    object.remove("unsigned");
    // First, because ruma would refuse to hash it with an error that does not say why.
    check_size(&object)?;
    ruma::signatures::hash_and_sign_event(local.name.as_str(), local, &mut object, &rules.redaction)
        .map_err(|error| BuildError::Malformed(error.to_string()))?;
    for field in ["type", "state_key", "sender", "room_id"] {
        let bytes = object.get(field).and_then(|value| value.as_str()).map_or(0, str::len);
        if bytes > limits::ID_BYTES_MAX {
            return Err(BuildError::TooLarge { bytes, limit: limits::ID_BYTES_MAX });
        }
    }
    check_size(&object)?;
    ruma::state_res::check_pdu_format(&object, &rules.event_format).map_err(BuildError::Malformed)?;
    Ok(Pdu::from_object(object, rules)?)
}

/// ruma takes one byte less than the specification does, so an event of exactly the limit is too large too.
fn check_size(object: &CanonicalJsonObject) -> Result<(), BuildError> {
    let bytes = serde_json::to_string(object).map_or(usize::MAX, |json| json.len());
    if bytes >= limits::PDU_BYTES_MAX {
        return Err(BuildError::TooLarge { bytes, limit: limits::PDU_BYTES_MAX });
    }
    Ok(())
}

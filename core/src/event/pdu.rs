//! The PDU as this crate passes it around: parsed once, with its canonical JSON beside it.

use ruma::{
    CanonicalJsonObject, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UInt,
    UserId, events::TimelineEventType, room_version_rules::RoomVersionRules, serde::Raw,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::types::Millis;

/// One persistent event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pdu {
    /// The reference hash, `$...`.
    pub event_id: OwnedEventId,
    /// The room. For the create event of a version 12 room, whose JSON names none, it is derived from the event id.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// `type`.
    pub kind: TimelineEventType,
    /// Present on state events.
    pub state_key: Option<String>,
    /// `content`, canonical.
    pub content: Box<RawValue>,
    /// The heads that the sender saw.
    pub prev_events: Vec<OwnedEventId>,
    /// The state that allows it.
    pub auth_events: Vec<OwnedEventId>,
    /// What a redaction redacts, wherever the room version puts it.
    pub redacts: Option<OwnedEventId>,
    /// Distance from the create event, as claimed by the sender: at most 2^53 - 1, and no proof of anything.
    pub depth: u64,
    /// The sender's clock. No proof of anything either.
    pub origin_server_ts: Millis,
    /// Whether it failed authorisation here. State resolution asks.
    pub rejected: bool,
    json: Box<RawValue>,
    names_room: bool,
}

/// The JSON is no PDU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PduError {
    /// A field is missing or of the wrong type.
    #[error("not a PDU: {0}")]
    Json(#[from] serde_json::Error),
    /// An identifier does not parse, or the event cannot be hashed.
    #[error("not a PDU: {0}")]
    Malformed(String),
}

/// The fields that we read, borrowed from the text.
#[derive(Deserialize)]
struct Wire<'a> {
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: TimelineEventType,
    state_key: Option<String>,
    #[serde(borrow)]
    content: &'a RawValue,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    // Raw, because outside redactions anything may stand here, and no other server drops the event for it.
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
    depth: UInt,
    origin_server_ts: UInt,
}

#[derive(Deserialize)]
struct RedactsContent {
    redacts: Option<OwnedEventId>,
}

impl Pdu {
    /// A PDU from canonical JSON whose event id is known, as the store keeps it.
    ///
    /// # Errors
    /// When a field is missing, of the wrong type, or no identifier.
    pub fn from_stored(event_id: OwnedEventId, json: Box<RawValue>) -> Result<Self, PduError> {
        let wire: Wire<'_> = serde_json::from_str(json.get())?;
        let names_room = wire.room_id.is_some();
        let room_id = match wire.room_id {
            Some(room_id) => room_id,
            None if wire.kind == TimelineEventType::RoomCreate => room_id_of_create(&event_id)?,
            None => return Err(PduError::Malformed("`room_id` is missing".into())),
        };
        // The version that is made here looks into the content, so that goes first where an event has both.
        let beside = || serde_json::from_str(wire.redacts?.get()).ok();
        let redacts = match wire.kind {
            TimelineEventType::RoomRedaction => redacts_in(wire.content).or_else(beside),
            _ => None,
        };
        Ok(Self {
            event_id,
            room_id,
            sender: wire.sender,
            kind: wire.kind,
            state_key: wire.state_key,
            content: wire.content.to_owned(),
            prev_events: wire.prev_events,
            auth_events: wire.auth_events,
            redacts,
            depth: wire.depth.into(),
            origin_server_ts: Millis(wire.origin_server_ts.into()),
            rejected: false,
            names_room,
            json,
        })
    }

    /// A PDU from a canonical object, with the event id computed. `unsigned` does not survive: it is no part of the event.
    ///
    /// # Errors
    /// As [`Pdu::from_stored`], and when the event cannot be hashed.
    pub fn from_object(mut object: CanonicalJsonObject, rules: &RoomVersionRules) -> Result<Self, PduError> {
        object.remove("unsigned");
        let hash = ruma::signatures::reference_hash(&object, rules).map_err(|e| PduError::Malformed(e.to_string()))?;
        let event_id =
            EventId::new_v2_or_v3(&hash).map_err(|e| PduError::Malformed(format!("event id of {hash}: {e}")))?;
        let json = RawValue::from_string(serde_json::to_string(&object)?)?;
        Self::from_stored(event_id, json)
    }

    /// The event as it travels between servers: canonical JSON, signed, without `event_id` and `unsigned`.
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// The event as a canonical object.
    ///
    /// # Errors
    /// Never for an event that was verified; a damaged store may surprise.
    pub fn object(&self) -> Result<CanonicalJsonObject, serde_json::Error> {
        serde_json::from_str(self.json.get())
    }

    /// Whether it is a state event.
    pub fn is_state(&self) -> bool {
        self.state_key.is_some()
    }

    /// Whether it is a state event of this type and key.
    pub fn is_state_of(&self, kind: &TimelineEventType, state_key: &str) -> bool {
        self.kind == *kind && self.state_key.as_deref() == Some(state_key)
    }

    /// `content.membership` of a member event.
    pub fn membership(&self) -> Option<ruma::events::room::member::MembershipState> {
        #[derive(Deserialize)]
        struct Content {
            membership: ruma::events::room::member::MembershipState,
        }
        (self.kind == TimelineEventType::RoomMember)
            .then(|| serde_json::from_str::<Content>(self.content.get()).ok())
            .flatten()
            .map(|content| content.membership)
    }

    /// `content` as a typed value.
    ///
    /// # Errors
    /// When the content is not of that shape: anyone may send anything.
    pub fn content_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.content.get())
    }

    /// The content for ruma's typed readers.
    pub fn raw_content<T>(&self) -> Raw<T> {
        Raw::from_json(self.content.clone())
    }
}

fn redacts_in(content: &RawValue) -> Option<OwnedEventId> {
    serde_json::from_str::<RedactsContent>(content.get()).ok().and_then(|content| content.redacts)
}

/// Room version 12: the room's id is the create event's, with another sigil.
pub(super) fn room_id_of_create(event_id: &EventId) -> Result<OwnedRoomId, PduError> {
    let hash = event_id.as_str().trim_start_matches('$');
    RoomId::new_v2(hash).map_err(|e| PduError::Malformed(format!("room id of {event_id}: {e}")))
}

impl ruma::state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.names_room.then_some(&*self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.origin_server_ts.0))
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

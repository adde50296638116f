//! What a client sees of an event: the client-server API's format, built over the stored PDU.
//!
//! `unsigned` is ours to fill: age, the transaction id for the sender's own device, the state that an event replaced, and
//! for a redacted event the redaction. Client-server API, "Room event format".

use ruma::OwnedTransactionId;
use serde_json::{Map, Value, json, value::RawValue};

use super::pdu::Pdu;
use crate::types::Millis;

/// What goes around the event for one reader.
#[derive(Clone, Debug, Default)]
pub struct ClientFormat {
    /// Our clock, for `unsigned.age`.
    pub now: Option<Millis>,
    /// The transaction id, if the reader's own device sent the event.
    pub transaction_id: Option<OwnedTransactionId>,
    /// The content of the state event that this one replaced.
    pub prev_content: Option<Box<RawValue>>,
    /// The state event that this one replaced.
    pub replaces_state: Option<ruma::OwnedEventId>,
    /// The redaction in client format, if the event was redacted.
    pub redacted_because: Option<Box<RawValue>>,
    /// The reader's own membership when the event was sent. Client-server API, `unsigned.membership`.
    pub membership: Option<String>,
    /// What there is to tell of the event's children. Client-server API, "Aggregations of child events".
    pub relations: Option<Map<String, Value>>,
    /// Leave `room_id` out, as `/sync` does.
    pub without_room_id: bool,
}

/// The event in client format.
pub fn client_event(pdu: &Pdu, format: &ClientFormat) -> Box<RawValue> {
    let mut event = Map::new();
    event.insert("content".into(), parsed(&pdu.content));
    event.insert("event_id".into(), json!(pdu.event_id));
    event.insert("origin_server_ts".into(), json!(pdu.origin_server_ts.0));
    if !format.without_room_id {
        event.insert("room_id".into(), json!(pdu.room_id));
    }
    event.insert("sender".into(), json!(pdu.sender));
    event.insert("type".into(), json!(pdu.kind));
    if let Some(state_key) = &pdu.state_key {
        event.insert("state_key".into(), json!(state_key));
    }
    if let Some(redacts) = &pdu.redacts {
        // Clients of both ages read it in one place or the other, so both have it. Room version 11.
        event.insert("redacts".into(), json!(redacts));
        if let Some(Value::Object(content)) = event.get_mut("content") {
            content.insert("redacts".into(), json!(redacts));
        }
    }
    let unsigned = unsigned(pdu, format);
    if !unsigned.is_empty() {
        event.insert("unsigned".into(), Value::Object(unsigned));
    }
    raw(&Value::Object(event))
}

/// A state event in client format, with its room.
pub fn client_state_event(pdu: &Pdu) -> Box<RawValue> {
    client_event(pdu, &ClientFormat::default())
}

/// The four fields of stripped state. Client-server API, "Stripped state".
pub fn stripped_state(pdu: &Pdu) -> Box<RawValue> {
    raw(&json!({
        "content": parsed(&pdu.content),
        "sender": pdu.sender,
        "state_key": pdu.state_key.as_deref().unwrap_or_default(),
        "type": pdu.kind,
    }))
}

fn unsigned(pdu: &Pdu, format: &ClientFormat) -> Map<String, Value> {
    let mut unsigned = Map::new();
    if let Some(now) = format.now {
        unsigned.insert("age".into(), json!(now.0.saturating_sub(pdu.origin_server_ts.0)));
    }
    if let Some(transaction_id) = &format.transaction_id {
        unsigned.insert("transaction_id".into(), json!(transaction_id));
    }
    if let Some(content) = &format.prev_content {
        unsigned.insert("prev_content".into(), parsed(content));
    }
    if let Some(replaces) = &format.replaces_state {
        unsigned.insert("replaces_state".into(), json!(replaces));
    }
    if let Some(because) = &format.redacted_because {
        unsigned.insert("redacted_because".into(), parsed(because));
    }
    if let Some(relations) = &format.relations {
        unsigned.insert("m.relations".into(), json!(relations));
    }
    if let Some(membership) = &format.membership {
        unsigned.insert("membership".into(), json!(membership));
    }
    unsigned
}

fn parsed(raw: &RawValue) -> Value {
    // What is raw was parsed once already.
    serde_json::from_str(raw.get()).unwrap_or(Value::Null)
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

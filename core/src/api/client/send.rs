//! `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}` and `PUT .../redact/{eventId}/{txnId}`. Client-server
//! API, "Sending events to a room" and "Redactions".
//!
//! A retry with the same transaction id on the same path answers the same event: that is the room engine's doing.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    CanonicalJsonObject, EventId,
    api::client::{message::send_message_event::v3 as send_message_event, redact::redact_event::v3 as redact_event},
    events::TimelineEventType,
};

use super::steps;
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::{self, ClientTxn, NewEvent, checked},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, send);
    route(router, redact)
}

async fn send(
    State(home): State<Arc<Home>>,
    call: Authed<send_message_event::Request>,
) -> Result<send_message_event::Response, ApiError> {
    let request = call.request;
    let kind = request.event_type.to_string();
    steps::well_typed(&kind)?;
    let kind = TimelineEventType::from(kind);
    // Without a state key these are no events at all, in any room.
    if matches!(kind, TimelineEventType::RoomCreate | TimelineEventType::RoomMember) {
        return Err(ApiError::bad_json(format!("{kind} is a state event: use the membership or state endpoints")));
    }
    let new = NewEvent {
        room: request.room_id,
        sender: call.user,
        kind: kind.clone(),
        state_key: None,
        content: steps::canonical(&request.body)?,
        redacts: None,
        txn: Some(ClientTxn { device: call.device, id: request.txn_id }),
        timestamp: None,
    };
    let sent = match kind {
        TimelineEventType::RoomRedaction => {
            let target = new.content.get("redacts").and_then(|target| EventId::parse(target.as_str()?).ok());
            let target = target.ok_or_else(|| ApiError::bad_json("a redaction needs an event id in `redacts`"))?;
            let mut new = new;
            // Put back where the room version wants it.
            new.content.remove("redacts");
            checked::redact(&home, &target, new).await
        }
        _ => rooms::send(&home, new).await,
    };
    Ok(send_message_event::Response::new(sent.map_err(ApiError::in_room)?))
}

async fn redact(
    State(home): State<Arc<Home>>,
    call: Authed<redact_event::Request>,
) -> Result<redact_event::Response, ApiError> {
    let request = call.request;
    let reason = request.reason.map(|reason| ("reason".to_owned(), reason.into()));
    let new = NewEvent {
        room: request.room_id,
        sender: call.user,
        kind: TimelineEventType::RoomRedaction,
        state_key: None,
        content: reason.into_iter().collect::<CanonicalJsonObject>(),
        redacts: None,
        txn: Some(ClientTxn { device: call.device, id: request.txn_id }),
        timestamp: None,
    };
    let event_id = checked::redact(&home, &request.event_id, new).await.map_err(ApiError::in_room)?;
    Ok(redact_event::Response::new(event_id))
}

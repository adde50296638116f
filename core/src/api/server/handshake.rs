//! What joins, leaves and knocks have in common as the resident server sees them: draft a member event for another
//! server's user, then take it back signed.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedUserId, RoomId, ServerName, UserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde_json::value::RawValue;

use crate::{
    api::ApiError,
    event::{Pdu, verify},
    home::Home,
    rooms::{Applied, ApplyError, Incoming, NewEvent, Past, Room, RoomError, allowed_now, apply, draft},
    store::{StoreError, View},
};

/// The unsigned member event that a user of another server would send now, if the room allows it.
///
/// # Errors
/// `M_FORBIDDEN` when the room does not allow it.
pub(super) fn drafted(
    home: &Home,
    view: &dyn View,
    room: &Room,
    user: &UserId,
    membership: MembershipState,
    authorised_via: Option<OwnedUserId>,
) -> Result<Box<RawValue>, ApiError> {
    let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
    let mut content = CanonicalJsonObject::from([("membership".to_owned(), text(membership.as_str()))]);
    if let Some(voucher) = authorised_via {
        content.insert("join_authorised_via_users_server".into(), text(voucher.as_str()));
    }
    let new = NewEvent {
        room: room.id.clone(),
        sender: user.to_owned(),
        kind: TimelineEventType::RoomMember,
        state_key: Some(user.to_string()),
        content,
        redacts: None,
        txn: None,
        timestamp: None,
    };
    let draft = draft(view, room, home.now(), &new)?;
    // Signed in our name, which is thrown away, only to have an event that the rules can be asked about.
    let asked = draft.sign(&home.local, &room.rules).map_err(RoomError::from)?;
    allowed_now(view, room, &asked)?.map_err(ApiError::forbidden)?;
    let raw = serde_json::value::to_raw_value(&draft.to_object(&room.rules));
    Ok(raw.map_err(|error| StoreError::Corrupt(error.to_string()))?)
}

/// Refuses to draft for users of other servers than the one that asks.
///
/// # Errors
/// `M_FORBIDDEN`.
pub(super) fn must_be_theirs(user: &UserId, origin: &ServerName) -> Result<(), ApiError> {
    if user.server_name() == origin {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("{user} is not a user of {origin}")))
}

/// A signed member event that a server sends in: verified, of the named id, about its own user, of this membership.
///
/// # Errors
/// `M_INVALID_PARAM`, `M_BAD_JSON` and `M_FORBIDDEN`.
pub(super) fn signed(
    home: &Home,
    room: &Room,
    origin: &ServerName,
    event_id: &EventId,
    raw: &RawValue,
    membership: &MembershipState,
) -> Result<Pdu, ApiError> {
    let pdu = verify(&home.local, raw, &room.id, &room.version);
    let pdu = pdu.map_err(|error| ApiError::bad_json(format!("the event does not hold up: {error}")))?;
    if pdu.event_id != event_id {
        return Err(ApiError::invalid_param(format!("the event's id is {}, not {event_id}", pdu.event_id)));
    }
    if pdu.kind != TimelineEventType::RoomMember
        || pdu.state_key.as_deref() != Some(pdu.sender.as_str())
        || pdu.membership().as_ref() != Some(membership)
    {
        return Err(ApiError::invalid_param(format!("the event is not the sender's own `{membership}`")));
    }
    must_be_theirs(&pdu.sender, origin)?;
    Ok(pdu)
}

/// Brings a member event of another server into the room and on to the room's other servers.
///
/// # Errors
/// `M_FORBIDDEN` when the room's rules refuse it.
pub(super) async fn take_in(home: &Home, room: &RoomId, pdu: Pdu) -> Result<(), ApiError> {
    let (local, incoming) = (home.local.clone(), Incoming { pdu, past: Past::Prevs, relay: true });
    let applied = home.store.write(move |tx| apply(tx, &local, &incoming)).await;
    match applied {
        Ok(Applied::Accepted { .. } | Applied::Known) => Ok(()),
        Ok(Applied::Rejected { why, .. } | Applied::SoftFailed { why, .. }) => Err(ApiError::forbidden(why)),
        Err(ApplyError::Store(error)) => Err(error.into()),
        Err(ApplyError::NoRoom(_)) => Err(ApiError::not_found(format!("this server is not in {room}"))),
        // We drafted it on events that we have.
        Err(ApplyError::Need { .. }) => {
            Err(ApiError::invalid_param("the event is built on events that this server does not have"))
        }
    }
}

//! Inviting a user of another server. Server-server API, "Inviting to a room".
//!
//! The invited server signs the invite before it becomes part of the room, so an invite needs that server within reach.

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomId, RoomVersionId, UserId,
    api::federation::membership::{RawStrippedState, create_invite::v2 as send_invite},
    events::{StateEventType, TimelineEventType},
};
use serde_json::value::RawValue;

use super::template::refusal;
use crate::{
    event::{Pdu, stripped_state, verify},
    home::Home,
    outbox::request_soon,
    rooms::{Applied, Incoming, NewEvent, Past, Room, RoomError, STRIPPED, allowed_now, apply, draft},
    store::{Result, View},
    types::limits::STRIPPED_EVENTS_MAX,
};

/// Invites a user of another server: their server signs the invite, then the room gets it.
///
/// # Errors
/// [`RoomError::Forbidden`] when the room or the other server forbids it, [`RoomError::Unreachable`] when that server does
/// not answer.
pub async fn invite(
    home: &Home,
    sender: &UserId,
    target: &UserId,
    room: &RoomId,
    content: CanonicalJsonObject,
) -> Result<OwnedEventId, RoomError> {
    let new = NewEvent::state(room, sender, TimelineEventType::RoomMember, target.as_str(), content);
    let (ours, version, state) = {
        let view = home.store.snapshot()?;
        let found = Room::find(&view, room)?.ok_or_else(|| RoomError::UnknownRoom(room.to_owned()))?;
        let ours = draft(&view, &found, home.now(), &new)?.sign(&home.local, &found.rules)?;
        allowed_now(&view, &found, &ours)?.map_err(RoomError::Forbidden)?;
        let state: Vec<RawStrippedState> =
            shown_state(&view, &found)?.iter().map(|pdu| RawStrippedState::Pdu(pdu.json().to_owned())).collect();
        (ours, found.version, state)
    };
    let server = target.server_name();
    let event_id = ours.event_id.clone();
    let ask =
        send_invite::Request::new(room.to_owned(), event_id.clone(), version.clone(), ours.json().to_owned(), state);
    let answer = request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    let signed = verify(&home.local, &answer.event, room, &version)
        .map_err(|error| RoomError::Remote(format!("{server} returned a bad invite: {error}")))?;
    if signed.event_id != event_id {
        return Err(RoomError::Remote(format!("{server} returned another event than the invite")));
    }
    let (local, incoming) = (home.local.clone(), Incoming { pdu: signed, past: Past::Prevs, relay: true });
    match home.store.write(move |tx| apply(tx, &local, &incoming)).await? {
        Applied::Accepted { .. } | Applied::Known => Ok(event_id),
        Applied::Rejected { why, .. } | Applied::SoftFailed { why, .. } => Err(RoomError::Forbidden(why)),
    }
}

/// The state that is shown to those outside.
pub(crate) fn shown_state(view: &dyn View, room: &Room) -> Result<Vec<Pdu>> {
    let mut state = Vec::new();
    for kind in STRIPPED {
        if let Some(stored) = room.current_event(view, &kind, "")? {
            state.push(stored.pdu);
        }
    }
    Ok(state)
}

/// What another server shows of a room, in the form that clients get. Full events are verified and bad ones left out; older
/// servers send stripped ones, which prove nothing and are shown as they are.
pub(crate) fn shown(
    home: &Home,
    room: &RoomId,
    version: &RoomVersionId,
    state: &[RawStrippedState],
) -> Vec<Box<RawValue>> {
    let mut shown = Vec::new();
    for event in state.iter().take(STRIPPED_EVENTS_MAX) {
        match event {
            RawStrippedState::Pdu(raw) => match verify(&home.local, raw, room, version) {
                Ok(pdu) if pdu.is_state() => shown.push(stripped_state(&pdu)),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, %room, "a shown state event is left out"),
            },
            #[allow(deprecated)]
            RawStrippedState::Stripped(raw) => shown.push(raw.json().to_owned()),
            _ => {}
        }
    }
    shown
}

/// Whether shown state names this room's create event: from room version 12 on it must, since the room's id comes from it.
pub(crate) fn shows_create(home: &Home, room: &RoomId, version: &RoomVersionId, state: &[RawStrippedState]) -> bool {
    state.iter().take(STRIPPED_EVENTS_MAX).any(|event| match event {
        RawStrippedState::Pdu(raw) => verify(&home.local, raw, room, version)
            .is_ok_and(|pdu| pdu.is_state_of(&TimelineEventType::from(StateEventType::RoomCreate.to_string()), "")),
        _ => false,
    })
}

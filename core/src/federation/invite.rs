//! Inviting a user of another server. Server-server API, "Inviting to a room".
//!
//! Within reach, the invited server signs the invite before it becomes part of the room, and may refuse. Out of reach, the
//! invite becomes part of the room at once and waits in the outbox: the rules ask for the inviter's signature alone, and in a
//! mesh the invited may come by next month.

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomId, RoomVersionId, ServerName, UserId,
    api::federation::membership::{RawStrippedState, create_invite::v2 as send_invite},
    events::{StateEventType, TimelineEventType},
};
use serde_json::value::RawValue;

use super::template::refusal;
use crate::{
    event::{Pdu, stripped_state, verify},
    home::Home,
    outbox::{self, request_soon},
    rooms::{Applied, Incoming, NewEvent, Past, Room, RoomError, STRIPPED, allowed_now, apply, draft, send_in},
    store::{InviteLetter, Result, ServerKey, Stored, View, WriteTx},
    types::{LocalServer, Millis, limits::STRIPPED_EVENTS_MAX, public_key_of},
};

/// Invites a user of another server: now, if that server is within reach, and otherwise as soon as it is.
///
/// # Errors
/// [`RoomError::Forbidden`] when the room or the other server forbids it.
pub async fn invite(
    home: &Home,
    sender: &UserId,
    target: &UserId,
    room: &RoomId,
    content: CanonicalJsonObject,
) -> Result<OwnedEventId, RoomError> {
    let server = target.server_name();
    // A DNS name is nobody who may come by: it answers now, or the invite is a mistake to be told of.
    let may_come_by = public_key_of(server).is_ok();
    if !may_come_by || home.is_near(server) {
        match invite_now(home, sender, target, room, content.clone()).await {
            Err(RoomError::Unreachable(why)) if may_come_by => {
                tracing::debug!(why, %server, "an invite will wait");
            }
            outcome => return outcome,
        }
    }
    let new = NewEvent::state(room, sender, TimelineEventType::RoomMember, target.as_str(), content);
    let (local, now, server) = (home.local.clone(), home.now(), server.to_owned());
    home.store.write(move |tx| invite_later(tx, &local, now, &new, &server)).await
}

/// Puts the invite into the room, and a copy into the outbox.
fn invite_later(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    now: Millis,
    new: &NewEvent,
    server: &ServerName,
) -> Result<OwnedEventId, RoomError> {
    let event_id = send_in(tx, local, now, new)?;
    let unknown = || RoomError::UnknownRoom(new.room.clone());
    let room = Room::find(tx, &new.room)?.ok_or_else(unknown)?;
    let sent = Stored::by_id(tx, &event_id)?.ok_or_else(unknown)?;
    let invite = InviteLetter {
        room: room.id.to_string(),
        version: room.version.to_string(),
        event_id: event_id.to_string(),
        event: sent.pdu.json().get().to_owned(),
        state: shown_state(tx, &room, Some(&new.sender))?.iter().map(|pdu| pdu.json().get().to_owned()).collect(),
    };
    let server = ServerKey::intern(tx, server)?;
    outbox::post_invite(tx, server, invite)?;
    Ok(event_id)
}

/// The invited server signs the invite, then the room gets it.
async fn invite_now(
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
        let state: Vec<RawStrippedState> = shown_state(&view, &found, Some(sender))?
            .iter()
            .map(|pdu| RawStrippedState::Pdu(pdu.json().to_owned()))
            .collect();
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

/// The state that is shown to those outside, and the face of who asks them in.
pub(crate) fn shown_state(view: &dyn View, room: &Room, inviter: Option<&UserId>) -> Result<Vec<Pdu>> {
    let mut state = Vec::new();
    for kind in STRIPPED {
        if let Some(stored) = room.current_event(view, &kind, "")? {
            state.push(stored.pdu);
        }
    }
    if let Some(inviter) = inviter {
        let member = room.current_event(view, &StateEventType::RoomMember, inviter.as_str())?;
        state.extend(member.map(|stored| stored.pdu));
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

//! Knocking on a room through a server that is in it. Server-server API, "Knocking upon a room".

use ruma::{
    CanonicalJsonObject, OwnedServerName, RoomId, ServerName, UserId,
    api::federation::membership::{create_knock_event::v1 as send_knock, prepare_knock_event::v1 as make_knock},
    events::room::member::MembershipState,
};

use super::{
    invite::shown,
    template::{Wanted, candidates, more_telling, refusal, sign},
};
use crate::{
    event::ROOM_VERSIONS,
    home::Home,
    outbox::request_soon,
    rooms::{RoomError, keep_outside},
    store::Standing,
};

/// Knocks for a local user through one of the servers in `via`.
///
/// # Errors
/// What the most telling of them answered; [`RoomError::Unreachable`] when none answered.
pub async fn knock(
    home: &Home,
    user: &UserId,
    room: &RoomId,
    via: &[OwnedServerName],
    content: CanonicalJsonObject,
) -> Result<(), RoomError> {
    let wanted = Wanted { room, user, membership: MembershipState::Knock, content: &content };
    let mut failure = None;
    for server in candidates(home, via) {
        match knock_through(home, &server, &wanted).await {
            Ok(()) => return Ok(()),
            Err(RoomError::Store(error)) => return Err(error.into()),
            Err(error) => failure = Some(more_telling(failure, error)),
        }
    }
    Err(failure.unwrap_or_else(|| RoomError::Unreachable(format!("no server that is in {room} is known"))))
}

async fn knock_through(home: &Home, server: &ServerName, wanted: &Wanted<'_>) -> Result<(), RoomError> {
    let mut ask = make_knock::Request::new(wanted.room.to_owned(), wanted.user.to_owned());
    ask.ver = ROOM_VERSIONS.to_vec();
    let draft = request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    let version = draft.room_version;
    let event = sign(home, server, &draft.event, &version, wanted)?;
    let ask = send_knock::Request::new(wanted.room.to_owned(), event.event_id.clone(), event.json().to_owned());
    let answer = request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    let shown = shown(home, wanted.room, &version, &answer.knock_room_state);
    let (room, user) = (wanted.room.to_owned(), wanted.user.to_owned());
    home.store.write(move |tx| keep_outside(tx, &room, &version, &event, &user, &shown, Standing::Knock)).await?;
    Ok(())
}

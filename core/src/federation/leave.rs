//! Leaving a room that this server is not in: declining an invite, taking a knock back. Server-server API, "Leaving Rooms".

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
    api::federation::membership::{create_leave_event::v2 as send_leave, prepare_leave_event::v1 as make_leave},
    events::room::member::MembershipState,
};

use super::{
    sources,
    template::{Wanted, candidates, refusal, sign},
};
use crate::{
    home::Home,
    outbox::request_soon,
    rooms::{RoomError, set_standing},
    store::{InviteRecord, Record, Result, RoomKey, Standing, UserKey, View},
};

/// Declines an invite or takes a knock back. If nobody is in reach the user has left all the same, as far as this server is
/// concerned: nobody can be held in a room.
///
/// # Errors
/// When the store fails.
pub async fn leave(home: &Home, user: &UserId, room: &RoomId, reason: Option<String>) -> Result<(), RoomError> {
    let servers = {
        let view = home.store.snapshot()?;
        let inviter = inviter(&view, user, room)?.map(|inviter| inviter.server_name().to_owned());
        let made_by = room.server_name().map(ToOwned::to_owned);
        let named: Vec<OwnedServerName> = inviter.into_iter().chain(made_by).collect();
        sources::of_room(home, &view, room, &named)?
    };
    let content: CanonicalJsonObject =
        reason.map(|reason| ("reason".to_owned(), CanonicalJsonValue::String(reason))).into_iter().collect();
    let wanted = Wanted { room, user, membership: MembershipState::Leave, content: &content };
    for server in candidates(home, &servers) {
        match leave_through(home, &server, &wanted).await {
            Ok(()) => break,
            Err(error) => tracing::debug!(%error, %server, %room, "a leave through a server failed"),
        }
    }
    let (room, user) = (room.to_owned(), user.to_owned());
    home.store.write(move |tx| set_standing(tx, &room, &user, Standing::Leave)).await?;
    Ok(())
}

async fn leave_through(home: &Home, server: &ServerName, wanted: &Wanted<'_>) -> Result<(), RoomError> {
    let ask = make_leave::Request::new(wanted.room.to_owned(), wanted.user.to_owned());
    let draft = request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    let version = draft.room_version.ok_or_else(|| RoomError::Remote(format!("{server} named no room version")))?;
    let event = sign(home, server, &draft.event, &version, wanted)?;
    let ask = send_leave::Request::new(wanted.room.to_owned(), event.event_id.clone(), event.json().to_owned());
    request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    Ok(())
}

/// Who sent the invite that a user holds.
fn inviter(view: &dyn View, user: &UserId, room: &RoomId) -> Result<Option<OwnedUserId>> {
    #[derive(serde::Deserialize)]
    struct Sender {
        sender: OwnedUserId,
    }
    let (Some(user), Some(room)) = (UserKey::find(view, user)?, RoomKey::find(view, room)?) else { return Ok(None) };
    let Some(row) = view.inv()?.row((user.0, room.0))? else { return Ok(None) };
    let record = InviteRecord::decode(row.value())?;
    Ok(serde_json::from_str::<Sender>(&record.event).ok().map(|event| event.sender))
}

//! Invites that are taken back while their room is known by the invite alone.
//!
//! There is no state to judge by, so what counts is who speaks: the server that invited may take its invite back. A word of
//! another member of the room cannot be checked here, and the invite stays until the room itself answers the join.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, RoomId, RoomVersionId, UserId, events::room::member::MembershipState};
use serde_json::value::RawValue;

use super::receive::Verdicts;
use crate::{
    event::{Pdu, verify},
    home::Home,
    rooms::{membership, set_standing},
    store::{InviteRecord, Record, Result, RoomKey, Standing, UserKey, View},
};

/// Takes what events of a room, which is known by invites alone, say of those invites.
pub(super) async fn take_back(home: &Home, room: &RoomId, raws: &[Box<RawValue>]) -> Result<Verdicts> {
    let mut verdicts = BTreeMap::new();
    for raw in raws {
        let Some((user, pdu)) = taken_back(home, room, raw)? else {
            tracing::debug!(%room, "an event of an unknown room is dropped");
            continue;
        };
        let (room, standing) = (room.to_owned(), pdu.membership().as_ref().and_then(Standing::of));
        let standing = standing.unwrap_or(Standing::Leave);
        home.store.write(move |tx| set_standing(tx, &room, &user, standing)).await?;
        verdicts.insert(pdu.event_id, Ok(()));
    }
    Ok(verdicts)
}

fn taken_back(home: &Home, room: &RoomId, raw: &RawValue) -> Result<Option<(OwnedUserId, Pdu)>> {
    #[derive(serde::Deserialize)]
    struct About {
        state_key: Option<String>,
    }
    let about = serde_json::from_str::<About>(raw.get()).ok().and_then(|about| about.state_key);
    let Some(user) = about.and_then(|key| UserId::parse(key).ok()) else { return Ok(None) };
    let view = home.store.snapshot()?;
    let Some((version, inviter)) = invite(&view, room, &user)? else { return Ok(None) };
    let Ok(pdu) = verify(&home.local, raw, room, &version) else { return Ok(None) };
    let ends = matches!(pdu.membership(), Some(MembershipState::Leave | MembershipState::Ban));
    let is_about = pdu.state_key.as_deref() == Some(user.as_str());
    let is_theirs = pdu.sender.server_name() == inviter.server_name();
    let counts = ends && is_about && is_theirs && !is_before_invite(&view, &pdu)?;
    Ok(counts.then_some((user, pdu)))
}

/// Whether an event about a local user is older than the invite that the user holds. An invite comes directly and may overtake
/// what happened before it, such as a ban and its end; that must not undo it.
pub(super) fn is_before_invite(view: &dyn View, pdu: &Pdu) -> Result<bool> {
    let user = pdu.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok());
    let user = user.map(|user| UserKey::find(view, user)).transpose()?.flatten();
    let (Some(room), Some(user)) = (RoomKey::find(view, &pdu.room_id)?, user) else { return Ok(false) };
    let Some(row) = view.inv()?.row((user.0, room.0))? else { return Ok(false) };
    #[derive(serde::Deserialize)]
    struct Placed {
        depth: u64,
    }
    let invite = InviteRecord::decode(row.value())?;
    Ok(serde_json::from_str::<Placed>(&invite.event).is_ok_and(|invite| pdu.depth <= invite.depth))
}

/// The version of the room that a local user is invited to, and who invited.
fn invite(view: &dyn View, room: &RoomId, user: &UserId) -> Result<Option<(RoomVersionId, OwnedUserId)>> {
    let (Some(room), Some(user)) = (RoomKey::find(view, room)?, UserKey::find(view, user)?) else { return Ok(None) };
    let Some(row) = view.inv()?.row((user.0, room.0))? else { return Ok(None) };
    let version = RoomVersionId::try_from(InviteRecord::decode(row.value())?.version).ok();
    Ok(version.zip(membership::inviter(view, user, room)?))
}

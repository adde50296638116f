//! The summary of a room: how many are in it, and who could give it a name.
//!
//! Client-server API, "Syncing", `RoomSummary`.

use ruma::{UInt, api::client::sync::sync_events::v3::RoomSummary, events::StateEventType};

use crate::{
    rooms::Room,
    store::{Result, Standing, UserKey, View},
};

/// Users that make up the name of a room without one. Client-server API, "Calculating the display name for a room".
const HEROES_MAX: usize = 5;

/// The summary of a room for one of its members.
pub(super) fn of(view: &dyn View, room: &Room, reader: UserKey) -> Result<RoomSummary> {
    let mut summary = RoomSummary::new();
    summary.joined_member_count = Some(UInt::new_saturating(room.record.joined));
    summary.invited_member_count = Some(UInt::new_saturating(room.record.invited));
    if !is_named(view, room)? {
        summary.heroes = heroes(view, room, reader)?.into_iter().map(|hero| hero.id(view)).collect::<Result<_>>()?;
    }
    Ok(summary)
}

fn is_named(view: &dyn View, room: &Room) -> Result<bool> {
    for (kind, field) in [(StateEventType::RoomName, "name"), (StateEventType::RoomCanonicalAlias, "alias")] {
        let Some(event) = room.current_event(view, &kind, "")? else { continue };
        let content = event.pdu.content_as::<serde_json::Map<String, serde_json::Value>>();
        if content
            .is_ok_and(|content| content.get(field).and_then(|value| value.as_str()).is_some_and(|s| !s.is_empty()))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The members other than the reader; those who were, if there are no others any more.
pub(crate) fn heroes(view: &dyn View, room: &Room, reader: UserKey) -> Result<Vec<UserKey>> {
    let mut members = room.members(view)?;
    members.retain(|member| member.user != reader);
    let present = |standing| matches!(standing, Standing::Join | Standing::Invite);
    if members.iter().any(|member| present(member.standing)) {
        members.retain(|member| present(member.standing));
    } else {
        members.retain(|member| matches!(member.standing, Standing::Leave | Standing::Ban));
    }
    // Events are numbered as they came, so the longest-standing members come first.
    members.sort_by_key(|member| member.esn);
    Ok(members.iter().take(HEROES_MAX).map(|member| member.user).collect())
}

//! `GET /_matrix/client/v3/rooms/{roomId}/members`, `GET .../joined_members`. Client-server API, "Getting events for a room".

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    OwnedMxcUri,
    api::client::membership::{
        get_member_events::v3 as get_member_events,
        joined_members::v3::{self as joined_members, RoomMember},
    },
    events::StateEventType,
    serde::Raw,
};
use serde::Deserialize;

use super::room_read::{Opened, reader};
use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::timeline::{self, Point},
    store::{Standing, StateRef, Stored},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(route(router, members), joined)
}

async fn members(
    State(home): State<Arc<Home>>,
    call: Authed<get_member_events::Request>,
) -> Result<get_member_events::Response, ApiError> {
    let request = &call.request;
    let opened = Opened::open(&home, &request.room_id, &call.user)?;
    let reader = reader(&home, &call);
    let mut chunk = Vec::new();
    for stored in member_events(&opened, state_at(&opened, request.at.as_deref())?)? {
        let membership = stored.pdu.membership();
        let wanted = request.membership.is_none() || request.membership == membership;
        let unwanted = request.not_membership.is_some() && request.not_membership == membership;
        if wanted && !unwanted {
            chunk.push(Raw::from_json(reader.show_state(&opened.view, &stored)?));
        }
    }
    Ok(get_member_events::Response::new(chunk))
}

/// The state at a token, as far as the reader may see: never later than what they may read now.
fn state_at(opened: &Opened, at: Option<&str>) -> Result<StateRef, ApiError> {
    let Some(at) = at else { return Ok(opened.access.state) };
    let point = Point::parse(&opened.view, &opened.room, at)?;
    if point.0 >= opened.access.end || point.0 > opened.room.record.last_pos {
        return Ok(opened.access.state);
    }
    let last = timeline::last_below(&opened.view, opened.room.key, point)?;
    Ok(last.map_or_else(StateRef::default, |last| last.after))
}

fn member_events(opened: &Opened, state: StateRef) -> Result<Vec<Stored>, ApiError> {
    let mut members = Vec::new();
    for (ssk, esn) in state.all(&opened.view, opened.room.key)? {
        if ssk.names(&opened.view)?.0 == StateEventType::RoomMember {
            members.push(Stored::must(&opened.view, esn)?);
        }
    }
    Ok(members)
}

/// What others show of themselves in a room. Anything of another type is taken as absent.
#[derive(Deserialize)]
struct Shown {
    displayname: Option<serde_json::Value>,
    avatar_url: Option<serde_json::Value>,
}

async fn joined(
    State(home): State<Arc<Home>>,
    call: Authed<joined_members::Request>,
) -> Result<joined_members::Response, ApiError> {
    let opened = Opened::open(&home, &call.request.room_id, &call.user)?;
    if !opened.access.joined {
        return Err(ApiError::forbidden(format!("you are not in {}", opened.room.id)));
    }
    let mut joined = BTreeMap::new();
    let members = opened.room.members(&opened.view)?.into_iter();
    for member in members.filter(|member| member.standing == Standing::Join) {
        let stored = Stored::must(&opened.view, member.esn)?;
        let mut shown = RoomMember::new();
        if let Ok(content) = stored.pdu.content_as::<Shown>() {
            let text = |value: Option<serde_json::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
            shown.display_name = text(content.displayname);
            shown.avatar_url = text(content.avatar_url).map(OwnedMxcUri::from);
        }
        joined.insert(member.user.id(&opened.view)?, shown);
    }
    Ok(joined_members::Response::new(joined))
}

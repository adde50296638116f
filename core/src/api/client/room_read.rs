//! `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`. Client-server API, "Getting events for a room".
//!
//! Here too: who may read a room at all, which every endpoint that reads one asks first.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{EventId, RoomId, UserId, api::client::room::get_room_event::v3 as get_room_event, serde::Raw};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route},
    },
    home::Home,
    rooms::{
        Room,
        show::Reader,
        timeline::PointError,
        visibility::{Access, UserSight},
    },
    store::{Snapshot, Stored},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, event)
}

async fn event(
    State(home): State<Arc<Home>>,
    call: Authed<get_room_event::Request>,
) -> Result<get_room_event::Response, ApiError> {
    let opened = Opened::open(&home, &call.request.room_id, &call.user);
    // The spec has one answer for "not there" and "not for you".
    let opened = opened.map_err(|error| match error.status {
        StatusCode::FORBIDDEN => {
            ApiError::not_found(format!("there is no event {} that you may see", call.request.event_id))
        }
        _ => error,
    })?;
    let mut sight = opened.sight(&call.user)?;
    let stored = opened.event(&mut sight, &call.request.event_id)?;
    let event = reader(&home, &call).show(&opened.view, &mut sight, &stored)?;
    Ok(get_room_event::Response::new(Raw::from_json(event)))
}

/// How the caller is shown events.
pub(super) fn reader<'a, T>(home: &Home, call: &'a Authed<T>) -> Reader<'a> {
    Reader { user: call.user_key, device: &call.device, now: home.now(), without_room_id: false, bundles: true }
}

/// A room that the caller may read, at one moment.
pub(super) struct Opened {
    pub(super) view: Snapshot,
    pub(super) room: Room,
    pub(super) access: Access,
}

impl Opened {
    /// Opens a room for a reader.
    ///
    /// # Errors
    /// `M_FORBIDDEN` when they are not in the room, were never in it, and the world may not read it. A room that is not known
    /// here gets the same answer, so that nobody learns which rooms are.
    pub(super) fn open(home: &Home, room: &RoomId, user: &UserId) -> Result<Self, ApiError> {
        let view = home.store.snapshot()?;
        let forbidden = || ApiError::forbidden(format!("you are not in {room}"));
        let room = Room::find(&view, room)?.ok_or_else(forbidden)?;
        let access = Access::of(&view, &room, user)?.ok_or_else(forbidden)?;
        Ok(Self { view, room, access })
    }

    pub(super) fn sight(&self, user: &UserId) -> Result<UserSight<'_>, ApiError> {
        Ok(UserSight::new(&self.view, self.room.key, user)?)
    }

    /// An event that the reader may see: on the timeline, or in the state that they may read.
    ///
    /// # Errors
    /// `M_NOT_FOUND`, also when it is there and not for them.
    pub(super) fn event(&self, sight: &mut UserSight<'_>, id: &EventId) -> Result<Stored, ApiError> {
        let stored = Stored::by_id(&self.view, id)?.filter(|stored| stored.header.room == self.room.key);
        let not_found = || ApiError::not_found(format!("there is no event {id} in {} that you may see", self.room.id));
        let stored = stored.ok_or_else(not_found)?;
        if sight.sees(&stored)? || self.is_in_state(&stored)? {
            return Ok(stored);
        }
        Err(not_found())
    }

    /// A state event may be known only from the state, as after joining through another server.
    fn is_in_state(&self, stored: &Stored) -> Result<bool, ApiError> {
        let Some(ssk) = stored.header.ssk else { return Ok(false) };
        Ok(self.access.state.entry(&self.view, self.room.key, ssk)? == Some(stored.esn))
    }
}

impl From<PointError> for ApiError {
    fn from(error: PointError) -> Self {
        match error {
            PointError::Store(error) => error.into(),
            error @ PointError::Malformed(_) => Self::invalid_param(error.to_string()),
        }
    }
}

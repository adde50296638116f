//! Letting another server's user out. Server-server API, "Leaving Rooms (Rejecting Invites)".
//!
//! - `GET /_matrix/federation/v1/make_leave/{roomId}/{userId}`
//! - `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::federation::membership::{create_leave_event::v2 as send_leave, prepare_leave_event::v1 as make_leave},
    events::room::member::MembershipState,
};

use super::{
    door::room_for,
    handshake::{drafted, must_be_theirs, signed, take_in},
};
use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    home::Home,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, prepare_leave_event);
    route(router, create_leave_event)
}

async fn prepare_leave_event(
    State(home): State<Arc<Home>>,
    call: Signed<make_leave::Request>,
) -> Result<make_leave::Response, ApiError> {
    let Signed { request, origin } = call;
    must_be_theirs(&request.user_id, &origin)?;
    let view = home.store.snapshot()?;
    let room = room_for(&view, &request.room_id, &origin)?;
    let event = drafted(&home, &view, &room, &request.user_id, MembershipState::Leave, None)?;
    Ok(make_leave::Response::new(Some(room.version), event))
}

async fn create_leave_event(
    State(home): State<Arc<Home>>,
    call: Signed<send_leave::Request>,
) -> Result<send_leave::Response, ApiError> {
    let Signed { request, origin } = call;
    let pdu = {
        let view = home.store.snapshot()?;
        let room = room_for(&view, &request.room_id, &origin)?;
        signed(&home, &room, &origin, &request.event_id, &request.pdu, &MembershipState::Leave)?
    };
    take_in(&home, &request.room_id, pdu).await?;
    Ok(send_leave::Response::new())
}

//! Taking another server's user's knock. Server-server API, "Knocking upon a room".
//!
//! - `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
//! - `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::federation::membership::{
        RawStrippedState, create_knock_event::v1 as send_knock, prepare_knock_event::v1 as make_knock,
    },
    events::room::member::MembershipState,
};

use super::{
    door::room_for,
    handshake::{drafted, must_be_theirs, signed, take_in},
    join::incompatible,
};
use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    federation::shown_state,
    home::Home,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, prepare_knock_event);
    route(router, create_knock_event)
}

async fn prepare_knock_event(
    State(home): State<Arc<Home>>,
    call: Signed<make_knock::Request>,
) -> Result<make_knock::Response, ApiError> {
    let Signed { request, origin } = call;
    must_be_theirs(&request.user_id, &origin)?;
    let view = home.store.snapshot()?;
    let room = room_for(&view, &request.room_id, &origin)?;
    if !request.ver.contains(&room.version) {
        return Err(incompatible(&room));
    }
    let event = drafted(&home, &view, &room, &request.user_id, MembershipState::Knock, None)?;
    Ok(make_knock::Response::new(room.version, event))
}

async fn create_knock_event(
    State(home): State<Arc<Home>>,
    call: Signed<send_knock::Request>,
) -> Result<send_knock::Response, ApiError> {
    let Signed { request, origin } = call;
    let (pdu, shown) = {
        let view = home.store.snapshot()?;
        let room = room_for(&view, &request.room_id, &origin)?;
        let pdu = signed(&home, &room, &origin, &request.event_id, &request.pdu, &MembershipState::Knock)?;
        (pdu, shown_state(&view, &room, None)?)
    };
    take_in(&home, &request.room_id, pdu).await?;
    let shown = shown.iter().map(|pdu| RawStrippedState::Pdu(pdu.json().to_owned())).collect();
    Ok(send_knock::Response::new(shown))
}

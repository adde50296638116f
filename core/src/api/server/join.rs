//! Letting another server's user in. Server-server API, "Joining Rooms".
//!
//! - `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
//! - `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    OwnedEventId, OwnedUserId, UserId,
    api::{
        error::{ErrorKind, IncompatibleRoomVersionErrorData},
        federation::membership::{
            create_join_event::v2::{self as send_join, RoomState},
            prepare_join_event::v1 as make_join,
        },
    },
    events::room::member::MembershipState,
};

use super::{
    door::room_for,
    event::{auth_chain, raws, state},
    handshake::{drafted, must_be_theirs, signed, take_in},
};
use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    event::Pdu,
    home::Home,
    rooms::{Room, RoomError, membership},
    store::{Standing, StoreError, Stored, View},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, prepare_join_event);
    route(router, create_join_event)
}

async fn prepare_join_event(
    State(home): State<Arc<Home>>,
    call: Signed<make_join::Request>,
) -> Result<make_join::Response, ApiError> {
    let Signed { request, origin } = call;
    must_be_theirs(&request.user_id, &origin)?;
    let view = home.store.snapshot()?;
    let room = room_for(&view, &request.room_id, &origin)?;
    if !request.ver.contains(&room.version) {
        return Err(incompatible(&room));
    }
    let voucher = voucher(&home, &view, &room, &request.user_id)?;
    let event = drafted(&home, &view, &room, &request.user_id, MembershipState::Join, voucher)?;
    let mut response = make_join::Response::new(event);
    response.room_version = Some(room.version);
    Ok(response)
}

/// 400 `M_INCOMPATIBLE_ROOM_VERSION`.
pub(super) fn incompatible(room: &Room) -> ApiError {
    let data = IncompatibleRoomVersionErrorData::new(room.version.clone());
    let message = format!("the room is of version {}, which you do not support", room.version);
    ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::IncompatibleRoomVersion(data), message)
}

/// Who of us vouches for a restricted join, if the room asks for it.
fn voucher(home: &Home, view: &dyn View, room: &Room, user: &UserId) -> Result<Option<OwnedUserId>, ApiError> {
    // Who is invited or in already needs nobody; who is banned is refused by the rules.
    let stands = room.member(view, user)?.map(|member| member.standing);
    if matches!(stands, Some(Standing::Invite | Standing::Join | Standing::Ban)) {
        return Ok(None);
    }
    let Some(allow) = membership::restriction(view, room)? else { return Ok(None) };
    let (met, unknown) = membership::conditions(view, user, &allow)?;
    let unable = |kind, message: String| Err(ApiError::new(StatusCode::BAD_REQUEST, kind, message));
    match (met, unknown) {
        (true, _) => match membership::voucher(view, home.server_name(), room)? {
            Some(voucher) => Ok(Some(voucher)),
            None => unable(ErrorKind::UnableToGrantJoin, "no user of this server may invite to the room".to_owned()),
        },
        (false, true) => {
            unable(ErrorKind::UnableToAuthorizeJoin, format!("this server cannot tell whether {user} may join"))
        }
        (false, false) => Err(ApiError::forbidden(format!("{user} is in none of the rooms that open {}", room.id))),
    }
}

async fn create_join_event(
    State(home): State<Arc<Home>>,
    call: Signed<send_join::Request>,
) -> Result<send_join::Response, ApiError> {
    let Signed { request, origin } = call;
    let (pdu, countersigned) = {
        let view = home.store.snapshot()?;
        let room = room_for(&view, &request.room_id, &origin)?;
        let pdu = signed_join(&home, &room, &origin, &request.event_id, &request.pdu)?;
        match voucher_named(&pdu) {
            Some(voucher) if home.is_local(voucher.server_name()) => {
                check_vouched(&home, &view, &room, &pdu, &voucher)?;
                (countersign(&home, &room, &pdu)?, true)
            }
            _ => (pdu, false),
        }
    };
    let event_id = pdu.event_id.clone();
    let json = pdu.json().to_owned();
    take_in(&home, &request.room_id, pdu).await?;
    let mut answer = room_state(&home, &request.room_id, &event_id)?;
    answer.event = countersigned.then_some(json);
    Ok(send_join::Response::new(answer))
}

/// The join as sent. One that names a voucher of ours lacks our signature still: it is checked as its sender signed it, and
/// again, whole, once we have signed.
fn signed_join(
    home: &Home,
    room: &Room,
    origin: &ruma::ServerName,
    event_id: &ruma::EventId,
    raw: &serde_json::value::RawValue,
) -> Result<Pdu, ApiError> {
    let malformed = |error: String| ApiError::bad_json(format!("the event does not hold up: {error}"));
    let object: ruma::CanonicalJsonObject =
        serde_json::from_str(raw.get()).map_err(|error| malformed(error.to_string()))?;
    let unsigned = Pdu::from_object(object.clone(), &room.rules).map_err(|error| malformed(error.to_string()))?;
    let ours = voucher_named(&unsigned).is_some_and(|voucher| home.is_local(voucher.server_name()));
    if !ours {
        return signed(home, room, origin, event_id, raw, &MembershipState::Join);
    }
    let countersigned = countersign(home, room, &unsigned)?;
    signed(home, room, origin, event_id, countersigned.json(), &MembershipState::Join)
}

fn voucher_named(pdu: &Pdu) -> Option<OwnedUserId> {
    #[derive(serde::Deserialize)]
    struct Content {
        join_authorised_via_users_server: OwnedUserId,
    }
    pdu.content_as::<Content>().ok().map(|content| content.join_authorised_via_users_server)
}

/// Our signature is our word: it is given only if the conditions are met now.
fn check_vouched(home: &Home, view: &dyn View, room: &Room, pdu: &Pdu, named: &UserId) -> Result<(), ApiError> {
    voucher(home, view, room, &pdu.sender)?;
    if room.is_joined(view, named)? {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("{named} is not in {} and cannot vouch for a join", room.id)))
}

fn countersign(home: &Home, room: &Room, pdu: &Pdu) -> Result<Pdu, ApiError> {
    let mut object = pdu.object().map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let name = home.server_name().as_str();
    ruma::signatures::hash_and_sign_event(name, &home.local, &mut object, &room.rules.redaction)
        .map_err(|error| ApiError::bad_json(error.to_string()))?;
    Pdu::from_object(object, &room.rules).map_err(|error| ApiError::bad_json(error.to_string()))
}

/// The state before a join and that state's auth chain.
fn room_state(home: &Home, room: &ruma::RoomId, event: &OwnedEventId) -> Result<RoomState, ApiError> {
    let view = home.store.snapshot()?;
    let room = Room::find(&view, room)?.ok_or_else(|| RoomError::UnknownRoom(room.to_owned()))?;
    let stored = Stored::by_id(&view, event)?.ok_or_else(|| ApiError::not_found("the join did not hold"))?;
    let events = state(&view, &room, stored.header.before)?;
    let mut chain: BTreeMap<OwnedEventId, Pdu> = auth_chain(&view, &events)?;
    chain.extend(auth_chain(&view, [&stored.pdu])?);
    let mut answer = RoomState::new();
    answer.state = raws(&events);
    answer.auth_chain = raws(chain.values());
    answer.servers_in_room = None;
    Ok(answer)
}

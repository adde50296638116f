//! Joining a room through a server that is in it. Server-server API, "Joining Rooms".
//!
//! Invariant: nothing of the answer is believed unchecked: every event's format, signature and hash, that the create event
//! is the room's, that the auth chain is complete, and that the state allows our join.

use ruma::{
    CanonicalJsonObject, OwnedServerName, RoomId, RoomVersionId, ServerName, UserId,
    api::federation::membership::{
        create_join_event::v2::{self as send_join, RoomState},
        prepare_join_event::v1 as make_join,
    },
    events::{TimelineEventType, room::member::MembershipState},
};
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant, sleep};

use super::{
    receive::{Door, ReceiveError, deliver},
    template::{Wanted, candidates, more_telling, refusal, sign},
};
use crate::{
    event::{Pdu, ROOM_VERSIONS, verify},
    home::Home,
    outbox::{self, request_soon, request_state},
    rooms::{Applied, ApplyError, ImportedRoom, Room, RoomError, import, standing},
    store::{RoomKey, Standing, UserKey},
    types::limits::{FEDERATION_REQUEST_WAIT, STATE_EVENTS_MAX},
};

/// How often a join looks whether what it waits for has been acknowledged.
const CAUGHT_UP_POLL: Duration = Duration::from_millis(50);

/// How long a join that is refused although we hold an invite waits before each further try.
const INVITE_PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_600),
];

/// Joins a local user to a room through one of the servers in `via`, those within reach first.
///
/// # Errors
/// What the most telling of them answered; [`RoomError::Unreachable`] when none answered.
pub async fn join(
    home: &Home,
    user: &UserId,
    room: &RoomId,
    via: &[OwnedServerName],
    content: CanonicalJsonObject,
) -> Result<(), RoomError> {
    // From here on events may come for a room that is not here yet.
    let _entering = home.enter(room);
    let wanted = Wanted { room, user, membership: MembershipState::Join, content: &content };
    // Whoever invites has our signature a moment before the invite is in their room. A person, or a program, that accepts at
    // once would be refused.
    for pause in INVITE_PAUSES {
        match join_through_any(home, via, &wanted).await {
            Err(RoomError::Forbidden(_)) if is_invited(home, &wanted)? => sleep(pause).await,
            done => return done,
        }
    }
    join_through_any(home, via, &wanted).await
}

fn is_invited(home: &Home, wanted: &Wanted<'_>) -> Result<bool, RoomError> {
    let view = home.store.snapshot()?;
    let (Some(user), Some(room)) = (UserKey::find(&view, wanted.user)?, RoomKey::find(&view, wanted.room)?) else {
        return Ok(false);
    };
    Ok(standing(&view, user, room)?.is_some_and(|record| record.standing == Standing::Invite))
}

async fn join_through_any(home: &Home, via: &[OwnedServerName], wanted: &Wanted<'_>) -> Result<(), RoomError> {
    let room = wanted.room;
    let mut failure = None;
    for server in candidates(home, via) {
        match join_through(home, &server, wanted).await {
            Ok(()) => return Ok(()),
            Err(RoomError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, %server, %room, "a join through a server failed");
                failure = Some(more_telling(failure, error));
            }
        }
    }
    Err(failure.unwrap_or_else(|| RoomError::Unreachable(format!("no server that is in {room} is known"))))
}

async fn join_through(home: &Home, server: &ServerName, wanted: &Wanted<'_>) -> Result<(), RoomError> {
    caught_up(home, server, wanted.room).await?;
    let mut ask = make_join::Request::new(wanted.room.to_owned(), wanted.user.to_owned());
    ask.ver = ROOM_VERSIONS.to_vec();
    let draft = request_soon(home, server, ask).await.map_err(|error| refusal(&error))?;
    // Servers that name no version speak of room version 1, which does not work here.
    let version = draft.room_version.unwrap_or(RoomVersionId::V1);
    let event = sign(home, server, &draft.event, &version, wanted)?;
    let ask = send_join::Request::new(wanted.room.to_owned(), event.event_id.clone(), event.json().to_owned());
    let answer = request_state(home, server, ask).await.map_err(|error| refusal(&error))?;
    let door = Door { room: wanted.room.to_owned(), version, inside: is_inside(home, wanted.room)? };
    let event = countersigned(home, server, &door, event, answer.room_state.event.as_deref())?;
    if door.inside {
        return join_inside(home, server, &door, wanted.user, event).await;
    }
    let imported = checked(home, server, &door, event, &answer.room_state)?;
    let local = home.local.clone();
    let applied = home.store.write(move |tx| import(tx, &local, &imported)).await;
    match applied {
        Ok(Applied::Accepted { .. } | Applied::Known) => Ok(()),
        Ok(Applied::Rejected { why, .. } | Applied::SoftFailed { why, .. }) => {
            Err(RoomError::Remote(format!("{server} told a state that does not allow the join: {why}")))
        }
        Err(ApplyError::Need { auth, .. }) => {
            Err(RoomError::Remote(format!("{server} left {} auth events out", auth.len())))
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits until a server that is to let us in again has what we sent before, above all that we left: a leave that arrives
/// after the join that followed it competes with it, and may win.
async fn caught_up(home: &Home, server: &ServerName, room: &RoomId) -> Result<(), RoomError> {
    if Room::find(&home.store.snapshot()?, room)?.is_none() {
        return Ok(());
    }
    let deadline = Instant::now() + FEDERATION_REQUEST_WAIT;
    while outbox::pending(&home.store.snapshot()?, server)? > 0 {
        if Instant::now() >= deadline {
            return Err(RoomError::Unreachable(format!("what we sent to {server} before has not reached it yet")));
        }
        sleep(CAUGHT_UP_POLL).await;
    }
    Ok(())
}

fn is_inside(home: &Home, room: &RoomId) -> Result<bool, RoomError> {
    Ok(Room::find(&home.store.snapshot()?, room)?.is_some_and(|room| room.record.joined_local > 0))
}

/// Our join as the room has it: a server that vouches for it added its signature.
fn countersigned(
    home: &Home,
    server: &ServerName,
    door: &Door,
    ours: Pdu,
    theirs: Option<&RawValue>,
) -> Result<Pdu, RoomError> {
    let Some(theirs) = theirs else { return Ok(ours) };
    let theirs = verify(&home.local, theirs, &door.room, &door.version)
        .map_err(|error| RoomError::Remote(format!("{server} returned a bad join event: {error}")))?;
    if theirs.event_id != ours.event_id {
        return Err(RoomError::Remote(format!("{server} returned another event than our join")));
    }
    Ok(theirs)
}

/// A join to a room that others of us are in already, for which another server vouches: one event like any other.
async fn join_inside(
    home: &Home,
    server: &ServerName,
    door: &Door,
    user: &UserId,
    event: Pdu,
) -> Result<(), RoomError> {
    let id = event.event_id.clone();
    let verdicts = deliver(home, server, door, vec![event]).await.map_err(|error| match error {
        ReceiveError::Store(error) => RoomError::Store(error),
        other => RoomError::Unreachable(other.to_string()),
    })?;
    if let Some(Err(why)) = verdicts.get(&id) {
        return Err(RoomError::Forbidden(why.clone()));
    }
    let view = home.store.snapshot()?;
    match Room::find(&view, &door.room)? {
        Some(room) if room.is_joined(&view, user)? => Ok(()),
        _ => Err(RoomError::Forbidden(format!("the join of {user} did not hold"))),
    }
}

/// The room that a server handed over, each event verified.
fn checked(
    home: &Home,
    server: &ServerName,
    door: &Door,
    event: Pdu,
    told: &RoomState,
) -> Result<ImportedRoom, RoomError> {
    let count = told.state.len() + told.auth_chain.len();
    if count > STATE_EVENTS_MAX {
        return Err(RoomError::Remote(format!("the room has {count} state events; the limit is {STATE_EVENTS_MAX}")));
    }
    let state = door.verified(home, server, &told.state);
    let auth_chain = door.verified(home, server, &told.auth_chain);
    let create = state.iter().find(|pdu| pdu.is_state_of(&TimelineEventType::RoomCreate, ""));
    let create = create.ok_or_else(|| RoomError::Remote(format!("{server} told a state without a create event")))?;
    #[derive(serde::Deserialize)]
    struct Create {
        #[serde(default)]
        room_version: Option<RoomVersionId>,
    }
    let named = create.content_as::<Create>().ok().and_then(|content| content.room_version);
    if named.unwrap_or(RoomVersionId::V1) != door.version {
        return Err(RoomError::Remote(format!("{server} named another room version than the create event does")));
    }
    Ok(ImportedRoom { version: door.version.clone(), room: door.room.clone(), state, auth_chain, event })
}

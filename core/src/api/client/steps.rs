//! One user's steps in and out of rooms, here or through another server, whichever it takes. No endpoint: the membership
//! endpoints, `createRoom` and `PUT state` share these.
//!
//! `rooms` says where a step must be done and does it here; `federation` does it elsewhere. They meet in this file because
//! the one must not know the other.

use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, OwnedUserId, RoomId, UserId,
    serde::Raw,
};

use crate::{
    api::ApiError,
    federation,
    home::Home,
    rooms::{
        RoomError,
        membership::{Action, Step, Way, act, way_in, way_out, way_to_knock},
    },
    users::accounts,
};

/// A body that can be signed: no floats, no integers beyond 2^53.
///
/// # Errors
/// `M_BAD_JSON`.
pub(super) fn canonical<T>(raw: &Raw<T>) -> Result<CanonicalJsonObject, ApiError> {
    serde_json::from_str(raw.json().get())
        .map_err(|error| ApiError::bad_json(format!("the content is not canonical JSON: {error}")))
}

/// The room that an id or a name stands for, and the servers to reach it through.
///
/// # Errors
/// [`RoomError::NotFound`] for a name that nobody gave; the network's failures for a name of another server.
pub(crate) async fn resolve(
    home: &Home,
    room: OwnedRoomOrAliasId,
    mut via: Vec<OwnedServerName>,
) -> Result<(OwnedRoomId, Vec<OwnedServerName>), RoomError> {
    match OwnedRoomId::try_from(room) {
        Ok(room) => Ok((room, via)),
        Err(alias) => {
            let (room, servers) = federation::resolve_alias(home, &alias).await?;
            via.extend(servers);
            Ok((room, via))
        }
    }
}

/// Joins a room. Being in it already is success.
///
/// # Errors
/// See [`way_in`] and [`act`], and the network's.
pub(crate) async fn join(
    home: &Home,
    user: &UserId,
    room: &RoomId,
    via: &[OwnedServerName],
    reason: Option<String>,
) -> Result<(), RoomError> {
    let mut step = Step::new(Action::Join, room, user, user, reason);
    let (way, content) = {
        let view = home.store.snapshot()?;
        (way_in(&view, home.server_name(), user, room, via)?, step.member_content(&view)?)
    };
    match way {
        Way::Done => Ok(()),
        Way::Here { authorised_via } => {
            step.authorised_via = authorised_via;
            act(home, step).await.map(drop)
        }
        Way::Through(servers) => federation::join(home, user, room, &servers, content).await,
    }
}

/// Knocks on a room.
///
/// # Errors
/// See [`way_to_knock`] and [`act`], and the network's.
pub(super) async fn knock(
    home: &Home,
    user: &UserId,
    room: &RoomId,
    via: &[OwnedServerName],
    reason: Option<String>,
) -> Result<(), RoomError> {
    let step = Step::new(Action::Knock, room, user, user, reason);
    let (way, content) = {
        let view = home.store.snapshot()?;
        (way_to_knock(&view, home.server_name(), user, room, via)?, step.member_content(&view)?)
    };
    match way {
        Way::Through(servers) => federation::knock(home, user, room, &servers, content).await,
        Way::Here { .. } | Way::Done => act(home, step).await.map(drop),
    }
}

/// Leaves a room, declines an invite, or takes a knock back. Having left already is success.
///
/// # Errors
/// See [`way_out`] and [`act`], and the network's.
pub(crate) async fn leave(home: &Home, user: &UserId, room: &RoomId, reason: Option<String>) -> Result<(), RoomError> {
    let way = way_out(&home.store.snapshot()?, user, room)?;
    match way {
        Way::Done => Ok(()),
        Way::Here { .. } => act(home, Step::new(Action::Leave, room, user, user, reason)).await.map(drop),
        Way::Through(_) => federation::leave(home, user, room, reason).await,
    }
}

/// Invites a user, whose server must countersign if it is not this one.
///
/// # Errors
/// [`RoomError::NotFound`] for a user of this server who does not exist; see [`act`], and the network's.
pub(crate) async fn invite(home: &Home, step: Step) -> Result<OwnedEventId, RoomError> {
    if home.is_local(step.target.server_name()) {
        must_exist(home, &step.target)?;
        return act(home, step).await;
    }
    let content = step.member_content(&home.store.snapshot()?)?;
    federation::invite(home, &step.sender, &step.target, &step.room, content).await
}

/// Invites those of some users who live on other servers to a new room, one after the other, so that each invite builds on
/// the one before.
pub(crate) async fn invite_afar(home: &Home, sender: &UserId, room: &RoomId, users: &[OwnedUserId], is_direct: bool) {
    let mut invited = std::collections::BTreeSet::new();
    for user in users.iter().filter(|user| !home.is_local(user.server_name())) {
        if !invited.insert(user) {
            continue;
        }
        let mut step = Step::new(Action::Invite, room, sender, user, None);
        if is_direct {
            step.content.insert("is_direct".into(), true.into());
        }
        // The room exists: failing the request now would make the client create another one.
        if let Err(error) = invite(home, step).await {
            tracing::warn!(%error, %room, %user, "an invite did not arrive; it can be sent again");
        }
    }
}

/// Refuses a user of this server who has no account: an invite to a mistyped name would wait for ever.
///
/// # Errors
/// [`RoomError::NotFound`].
pub(crate) fn must_exist(home: &Home, user: &UserId) -> Result<(), RoomError> {
    let account = accounts::find_by_id(&home.store.snapshot()?, user)?;
    match account {
        Some((_, account)) if !account.deactivated => Ok(()),
        _ => Err(RoomError::NotFound(format!("there is no user {user} here"))),
    }
}

/// Refuses an event type that no event can have here: NUL separates types from state keys in the store.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub(super) fn well_typed(kind: &str) -> Result<(), ApiError> {
    if kind.is_empty() || kind.contains('\0') {
        return Err(ApiError::invalid_param("an event type is not empty and holds no NUL"));
    }
    Ok(())
}

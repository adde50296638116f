//! The handshake behind join, knock and leave: a server of the room drafts the member event, we check, complete and sign it.
//!
//! A draft is another server's word. What it may choose is where the event hangs in the graph, and who vouches for a
//! restricted join; everything else is ours, whatever the draft says.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, RoomId, RoomVersionId, ServerName, UInt, UserId,
    events::room::member::MembershipState,
};
use serde_json::value::RawValue;

use crate::{
    event::{Pdu, rules_of, sign_object},
    home::Home,
    outbox::FederationError,
    rooms::RoomError,
};

/// Who vouches for a restricted join. Room version 8.
const AUTHORISED_VIA: &str = "join_authorised_via_users_server";

/// What a member event of ours is to say.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) room: &'a RoomId,
    pub(super) user: &'a UserId,
    pub(super) membership: MembershipState,
    pub(super) content: &'a CanonicalJsonObject,
}

/// Completes and signs a draft.
pub(super) fn sign(
    home: &Home,
    from: &ServerName,
    draft: &RawValue,
    version: &RoomVersionId,
    wanted: &Wanted<'_>,
) -> Result<Pdu, RoomError> {
    let rules = rules_of(version).ok_or_else(|| RoomError::UnsupportedVersion(version.clone()))?;
    let bad = |why: &str| RoomError::Remote(format!("{from} drafted what cannot be signed: {why}"));
    let draft: CanonicalJsonObject = serde_json::from_str(draft.get()).map_err(|error| bad(&error.to_string()))?;
    let text = |field: &str| draft.get(field).and_then(CanonicalJsonValue::as_str);
    if text("type") != Some("m.room.member")
        || text("room_id") != Some(wanted.room.as_str())
        || text("sender") != Some(wanted.user.as_str())
        || text("state_key") != Some(wanted.user.as_str())
    {
        return Err(bad("it is not the member event that was asked for"));
    }
    let told = draft.get("content").and_then(CanonicalJsonValue::as_object);
    let membership = told.and_then(|content| content.get("membership")?.as_str());
    if membership != Some(wanted.membership.as_str()) {
        return Err(bad("it is about another membership"));
    }
    let mut content = wanted.content.clone();
    content.insert("membership".into(), CanonicalJsonValue::String(wanted.membership.to_string()));
    content.remove(AUTHORISED_VIA);
    if wanted.membership == MembershipState::Join
        && let Some(voucher) = told.and_then(|content| content.get(AUTHORISED_VIA))
    {
        content.insert(AUTHORISED_VIA.into(), voucher.clone());
    }
    let mut event = CanonicalJsonObject::new();
    for field in ["type", "room_id", "sender", "state_key", "prev_events", "auth_events", "depth"] {
        let value = draft.get(field).ok_or_else(|| bad(&format!("`{field}` is missing")))?;
        event.insert(field.to_owned(), value.clone());
    }
    event.insert("content".into(), CanonicalJsonValue::Object(content));
    let now = UInt::new_saturating(home.now().0);
    event.insert("origin_server_ts".into(), CanonicalJsonValue::Integer(now.into()));
    Ok(sign_object(event, &home.local, &rules)?)
}

/// The servers to try, those within reach first, otherwise in the given order, each once and never ourselves.
pub(super) fn candidates(home: &Home, servers: &[OwnedServerName]) -> Vec<OwnedServerName> {
    let (near, far): (Vec<_>, Vec<_>) = servers.iter().cloned().partition(|server| home.is_near(server));
    let mut candidates = Vec::new();
    for server in near.into_iter().chain(far) {
        if !home.is_local(&server) && !candidates.contains(&server) {
            candidates.push(server);
        }
    }
    candidates
}

/// What a server's failure means for the one who waits.
pub(super) fn refusal(error: &FederationError) -> RoomError {
    use ruma::api::error::ErrorKind as K;
    let words = error.to_string();
    match error.kind() {
        Some(K::Forbidden | K::UnableToAuthorizeJoin | K::UnableToGrantJoin) => RoomError::Forbidden(words),
        Some(K::NotFound) => RoomError::NotFound(words),
        Some(K::IncompatibleRoomVersion(data)) => RoomError::UnsupportedVersion(data.room_version.clone()),
        _ if matches!(error, FederationError::NoAnswer(_)) => RoomError::Unreachable(words),
        _ => RoomError::Remote(words),
    }
}

/// Of two failures the one that says more: a refusal more than silence, an earlier more than a later one.
pub(super) fn more_telling(first: Option<RoomError>, second: RoomError) -> RoomError {
    match first {
        Some(first) if !matches!(first, RoomError::Unreachable(_) | RoomError::NotFound(_)) => first,
        Some(first) if matches!(second, RoomError::Unreachable(_)) => first,
        _ => second,
    }
}

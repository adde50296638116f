//! The authorisation rules: ruma's, behind our types.
//!
//! Checks 4, 5 and 6 of "Checks performed on receipt of a PDU", Server-server API. This file only translates; every rule is
//! in ruma, where it is tested version by version. What to do with a refusal (reject, soft-fail) is the caller's part.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    EventId, OwnedEventId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::{AuthorizationRules, RoomVersionRules},
    state_res,
};
use serde_json::value::RawValue;

use super::StateKey;
use crate::event::Pdu;

/// Why an event is not authorised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The content lacks what the rules must read.
    #[error("the rules cannot be applied to this event: {0}")]
    Malformed(String),
    /// The list of auth events is not what the rules ask for, or the create event itself is wrong.
    #[error("bad auth events: {0}")]
    AuthEvents(String),
    /// An auth event is not known here, so nothing can be said yet.
    #[error("auth event {0} is not known here")]
    Unknown(OwnedEventId),
    /// The state forbids it.
    #[error("not allowed: {0}")]
    NotAllowed(String),
}

/// The places in the state that decide about an event: what its auth events are chosen from.
/// Server-server API, "Auth events selection".
///
/// # Errors
/// When a member event has no state key, or its content cannot be read.
pub fn auth_keys(
    rules: &AuthorizationRules,
    kind: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
) -> Result<Vec<StateKey>, AuthError> {
    state_res::auth_types_for_event(kind, sender, state_key, content, rules).map_err(AuthError::Malformed)
}

/// Check 4: the auth events are known, of the same room, accepted, each place once, and none that was not asked for.
/// For a create event, the rules for create events.
///
/// # Errors
/// [`AuthError::Unknown`] when one must be fetched first; anything else rejects the event.
pub fn check_auth_events(
    rules: &RoomVersionRules,
    pdu: &Pdu,
    fetch: &dyn Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<(), AuthError> {
    if let Some(unknown) = pdu.auth_events.iter().find(|id| fetch(id).is_none()) {
        return Err(AuthError::Unknown(unknown.clone()));
    }
    state_res::check_state_independent_auth_rules(&rules.authorization, pdu, fetch).map_err(AuthError::AuthEvents)
}

/// Checks 5 and 6: the event against a state.
///
/// # Errors
/// When the state forbids it.
pub fn check_against(
    rules: &RoomVersionRules,
    pdu: &Pdu,
    state: &dyn Fn(&StateEventType, &str) -> Option<Arc<Pdu>>,
) -> Result<(), AuthError> {
    state_res::check_state_dependent_auth_rules(&rules.authorization, pdu, state).map_err(AuthError::NotAllowed)
}

/// The second half of check 4: the event against the state that its own auth events form. Call [`check_auth_events`] first,
/// which refuses duplicates and rejected ones.
///
/// # Errors
/// [`AuthError::Unknown`] when an auth event must be fetched first; otherwise the event is rejected.
pub fn check_against_auth_events(
    rules: &RoomVersionRules,
    pdu: &Pdu,
    fetch: &dyn Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<(), AuthError> {
    let mut state: BTreeMap<StateKey, Arc<Pdu>> = BTreeMap::new();
    let listed = pdu.auth_events.iter().cloned();
    for id in listed.chain(implied_create(rules, pdu)) {
        let event = fetch(&id).ok_or(AuthError::Unknown(id))?;
        if let Some(key) = state_key_of(&event) {
            state.insert(key, event);
        }
    }
    check_against(rules, pdu, &|kind, key| state.get(&(kind.clone(), key.to_owned())).cloned())
}

/// The place in the state that an event fills, if it is a state event.
pub(super) fn state_key_of(pdu: &Pdu) -> Option<StateKey> {
    let state_key = pdu.state_key.clone()?;
    Some((pdu.kind.to_string().into(), state_key))
}

/// From room version 12 on no event lists the create event: the room's id says which one it is.
fn implied_create(rules: &RoomVersionRules, pdu: &Pdu) -> Option<OwnedEventId> {
    let implied = rules.authorization.room_create_event_id_as_room_id && pdu.kind != TimelineEventType::RoomCreate;
    implied.then(|| create_of(&pdu.room_id)).flatten()
}

fn create_of(room: &RoomId) -> Option<OwnedEventId> {
    EventId::parse(format!("${}", room.strip_sigil())).ok()
}

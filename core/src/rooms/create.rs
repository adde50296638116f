//! Making a room: all its first events in one job of the engine, so that it is there whole or not at all.
//!
//! Client-server API, "Creation"; the order of the events is the specification's. Users of other servers are not invited
//! here: an invite must be countersigned by their server, so it follows once the room exists.
//!
//! Deliberately absent: encryption by default, which the client decides, and a published room directory.

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId,
    events::{StateEventType, room::member::MembershipState},
    room_version_rules::RoomVersionRules,
};
use serde_json::json;

use super::{
    NewEvent, Room, RoomError, alias,
    content::{member, object, text},
    send_in, start_room,
};
use crate::{
    event::rules_of,
    home::Home,
    store::WriteTx,
    types::{LocalServer, Millis, limits},
};

/// Characters of the random part of a room id, in versions whose ids are random: 107 bits.
const ROOM_ID_CHARS: usize = 18;

/// Rooms that one user can make with the same create event while the clock stands still.
const SAME_MILLISECOND_MAX: u64 = 1_000;

/// A set of first state events. Client-server API, `createRoom`, `preset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Who is invited may join.
    PrivateChat,
    /// As [`Preset::PrivateChat`], and who is invited has the creator's power.
    TrustedPrivateChat,
    /// Anyone may join.
    PublicChat,
}

/// A state event that a new room starts with.
#[derive(Clone, Debug)]
pub struct InitialEvent {
    /// Its type.
    pub kind: StateEventType,
    /// Its state key.
    pub state_key: String,
    /// Its content.
    pub content: CanonicalJsonObject,
}

/// What a new room shall be.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Who makes it: a user of this server.
    pub creator: OwnedUserId,
    /// Its version.
    pub version: RoomVersionId,
    /// Its preset.
    pub preset: Preset,
    /// Further fields of the create event.
    pub creation_content: CanonicalJsonObject,
    /// What replaces fields of the first power levels.
    pub power_override: CanonicalJsonObject,
    /// Further state, in order.
    pub initial_state: Vec<InitialEvent>,
    /// A name for it in this server's directory, which becomes its canonical alias.
    pub alias: Option<OwnedRoomAliasId>,
    /// `m.room.name`.
    pub name: Option<String>,
    /// `m.room.topic`.
    pub topic: Option<String>,
    /// Whom to invite. Only users of this server are invited here; the others count for a trusted preset all the same.
    pub invites: Vec<OwnedUserId>,
    /// Marks the invites as a direct chat.
    pub is_direct: bool,
}

impl NewRoom {
    /// A room of the default version with nothing in it but what the preset gives.
    pub fn new(creator: OwnedUserId, preset: Preset) -> Self {
        Self {
            creator,
            version: crate::event::DEFAULT_ROOM_VERSION,
            preset,
            creation_content: CanonicalJsonObject::new(),
            power_override: CanonicalJsonObject::new(),
            initial_state: Vec::new(),
            alias: None,
            name: None,
            topic: None,
            invites: Vec::new(),
            is_direct: false,
        }
    }
}

/// Makes a room and answers its id.
///
/// # Errors
/// [`RoomError::UnsupportedVersion`]; [`RoomError::InUse`] for the alias; [`RoomError::Invalid`] for what no room can be;
/// [`RoomError::Forbidden`] when the first events forbid a later one. Nothing is left behind then.
pub async fn create(home: &Home, new: NewRoom) -> Result<OwnedRoomId, RoomError> {
    let rules = rules_of(&new.version).ok_or_else(|| RoomError::UnsupportedVersion(new.version.clone()))?;
    check(&new, &rules, &home.local)?;
    let (local, now) = (home.local.clone(), home.now());
    let fresh = RoomId::parse(format!("!{}:{}", home.ports.random.token(ROOM_ID_CHARS), local.name))
        .map_err(|error| RoomError::Invalid(format!("no room id can be made: {error}")))?;
    home.store.write(move |tx| create_in(tx, &local, now, &new, &rules, &fresh)).await
}

/// What can be said without the store.
fn check(new: &NewRoom, rules: &RoomVersionRules, local: &LocalServer) -> Result<(), RoomError> {
    let invalid = |why: String| Err(RoomError::Invalid(why));
    if new.invites.len() > limits::CREATE_INVITES_MAX {
        return invalid(format!("at most {} users can be invited at once", limits::CREATE_INVITES_MAX));
    }
    if new.initial_state.len() > limits::CREATE_STATE_MAX {
        return invalid(format!("at most {} initial state events are taken", limits::CREATE_STATE_MAX));
    }
    if let Some(event) = new.initial_state.iter().find(|event| is_made_here(&event.kind)) {
        return invalid(format!("`initial_state` cannot hold {}: the server makes it", event.kind));
    }
    if new.invites.contains(&new.creator) {
        return invalid(format!("{} makes the room and cannot be invited to it", new.creator));
    }
    let federates = new.creation_content.get("m.federate") != Some(&CanonicalJsonValue::Bool(false));
    if let Some(stranger) = new.invites.iter().find(|user| !federates && *user.server_name() != *local.name) {
        return invalid(format!("{stranger} lives on another server, and the room is not to leave this one"));
    }
    if rules.authorization.explicitly_privilege_room_creators
        && let Some(CanonicalJsonValue::Object(users)) = new.power_override.get("users")
        && let Some(creator) = creators(new, rules).into_iter().find(|creator| users.contains_key(creator))
    {
        return invalid(format!("{creator} is a creator, whose power has no number in room version {}", new.version));
    }
    Ok(())
}

/// State that a request may not bring along, because it has its own parameters.
fn is_made_here(kind: &StateEventType) -> bool {
    matches!(kind, StateEventType::RoomCreate | StateEventType::RoomMember | StateEventType::RoomCanonicalAlias)
}

fn create_in(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    now: Millis,
    new: &NewRoom,
    rules: &RoomVersionRules,
    fresh: &RoomId,
) -> Result<OwnedRoomId, RoomError> {
    // Looked up before the first write: a job that fails after one costs its whole batch a replay.
    if let Some(alias) = &new.alias {
        alias::must_be_free(tx, alias)?;
    }
    let room = start(tx, local, now, new, rules, fresh)?;
    if let Some(name) = &new.alias {
        let key = Room::find(tx, &room)?.ok_or_else(|| RoomError::UnknownRoom(room.clone()))?.key;
        alias::put(tx, name, key, &new.creator)?;
    }
    for event in first_events(tx, new, rules, local)? {
        let kind = event.kind.to_string().into();
        let event = NewEvent::state(&room, &new.creator, kind, &event.state_key, event.content);
        send_in(tx, local, now, &event)?;
    }
    Ok(room)
}

/// The create event. From version 12 on its hash is the room's id, and two rooms that one user makes within a millisecond
/// would be one: the later one is dated a little later.
fn start(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    now: Millis,
    new: &NewRoom,
    rules: &RoomVersionRules,
    fresh: &RoomId,
) -> Result<OwnedRoomId, RoomError> {
    let mut last = RoomError::InUse(fresh.to_string());
    for later in 0..SAME_MILLISECOND_MAX {
        let content = create_content(new, rules);
        match start_room(tx, local, Millis(now.0 + later), &new.version, &new.creator, content, fresh) {
            Err(error @ RoomError::InUse(_)) => last = error,
            started => return started,
        }
    }
    Err(last)
}

/// Everything after the create event, in the specification's order.
fn first_events(
    tx: &WriteTx<'_>,
    new: &NewRoom,
    rules: &RoomVersionRules,
    local: &LocalServer,
) -> Result<Vec<InitialEvent>, RoomError> {
    let nothing = CanonicalJsonObject::new();
    let mut events = vec![
        member_event(&new.creator, member(tx, &new.creator, &MembershipState::Join, &nothing)?),
        state(StateEventType::RoomPowerLevels, power_levels(new, rules)),
    ];
    if let Some(alias) = &new.alias {
        events.push(state(StateEventType::RoomCanonicalAlias, object(json!({ "alias": alias }))));
    }
    let given: BTreeSet<_> =
        new.initial_state.iter().filter(|event| event.state_key.is_empty()).map(|event| event.kind.clone()).collect();
    // What the request sets itself would be overwritten at once, so the preset's event is left out.
    events.extend(preset_state(new.preset).into_iter().filter(|event| !given.contains(&event.kind)));
    events.extend(new.initial_state.iter().cloned());
    if let Some(name) = &new.name {
        events.push(state(StateEventType::RoomName, object(json!({ "name": name }))));
    }
    if let Some(topic) = &new.topic {
        // The rich form and the plain one. Client-server API, `m.room.topic`.
        let content = json!({ "topic": topic, "m.topic": { "m.text": [{ "body": topic }] } });
        events.push(state(StateEventType::RoomTopic, object(content)));
    }
    let marks = if new.is_direct { object(json!({ "is_direct": true })) } else { nothing };
    let mut invited = BTreeSet::new();
    for user in new.invites.iter().filter(|user| *user.server_name() == *local.name) {
        if invited.insert(user) {
            events.push(member_event(user, member(tx, user, &MembershipState::Invite, &marks)?));
        }
    }
    Ok(events)
}

fn state(kind: StateEventType, content: CanonicalJsonObject) -> InitialEvent {
    InitialEvent { kind, state_key: String::new(), content }
}

fn member_event(user: &OwnedUserId, content: CanonicalJsonObject) -> InitialEvent {
    InitialEvent { kind: StateEventType::RoomMember, state_key: user.to_string(), content }
}

/// Client-server API, `createRoom`, the table of presets.
fn preset_state(preset: Preset) -> [InitialEvent; 3] {
    let (join_rule, guest_access) = match preset {
        Preset::PrivateChat | Preset::TrustedPrivateChat => ("invite", "can_join"),
        Preset::PublicChat => ("public", "forbidden"),
    };
    [
        state(StateEventType::RoomJoinRules, object(json!({ "join_rule": join_rule }))),
        state(StateEventType::RoomHistoryVisibility, object(json!({ "history_visibility": "shared" }))),
        state(StateEventType::RoomGuestAccess, object(json!({ "guest_access": guest_access }))),
    ]
}

/// The creator and those who have a creator's power by the version's rules.
fn creators(new: &NewRoom, rules: &RoomVersionRules) -> BTreeSet<String> {
    let mut creators = BTreeSet::from([new.creator.to_string()]);
    if rules.authorization.additional_room_creators {
        creators.extend(additional_creators(new).into_iter().filter_map(|value| value.as_str().map(str::to_owned)));
    }
    creators
}

/// The request's `additional_creators`, and for a trusted preset who is invited, each once.
fn additional_creators(new: &NewRoom) -> Vec<CanonicalJsonValue> {
    let mut creators = match new.creation_content.get("additional_creators") {
        Some(CanonicalJsonValue::Array(users)) => users.clone(),
        _ => Vec::new(),
    };
    if new.preset == Preset::TrustedPrivateChat {
        creators.extend(new.invites.iter().map(|user| text(user.as_str())));
    }
    let mut seen = BTreeSet::new();
    creators.retain(|creator| creator.as_str().is_none_or(|creator| seen.insert(creator.to_owned())));
    creators
}

fn create_content(new: &NewRoom, rules: &RoomVersionRules) -> CanonicalJsonObject {
    let mut content = new.creation_content.clone();
    content.insert("room_version".into(), text(new.version.as_str()));
    if rules.authorization.use_room_create_sender {
        // From version 11 on the sender says it.
        content.remove("creator");
    } else {
        content.insert("creator".into(), text(new.creator.as_str()));
    }
    let asked = content.get("additional_creators");
    // Something that is no list stays as it is, for the rules of the version to judge.
    let mergeable = asked.is_none_or(|asked| matches!(asked, CanonicalJsonValue::Array(_)));
    if rules.authorization.additional_room_creators && mergeable {
        let creators = additional_creators(new);
        if !creators.is_empty() {
            content.insert("additional_creators".into(), CanonicalJsonValue::Array(creators));
        }
    }
    content
}

/// The first power levels: members talk and invite, moderators keep order, and only the creator changes who may do what.
fn power_levels(new: &NewRoom, rules: &RoomVersionRules) -> CanonicalJsonObject {
    let privileged = rules.authorization.explicitly_privilege_room_creators;
    let mut users = CanonicalJsonObject::new();
    if !privileged {
        users.insert(new.creator.to_string(), CanonicalJsonValue::Integer(100.into()));
        if new.preset == Preset::TrustedPrivateChat {
            users.extend(new.invites.iter().map(|user| (user.to_string(), CanonicalJsonValue::Integer(100.into()))));
        }
    }
    let mut content = object(json!({
        "ban": 50, "kick": 50, "redact": 50, "invite": 0,
        "events_default": 0, "state_default": 50, "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
            // Where creators stand above all numbers, an upgrade is theirs alone. Client-server API, `createRoom`.
            "m.room.tombstone": if privileged { 150 } else { 100 },
        },
        "notifications": { "room": 50 },
    }));
    content.insert("users".into(), CanonicalJsonValue::Object(users));
    content.extend(new.power_override.clone());
    content
}

#[cfg(test)]
mod tests;

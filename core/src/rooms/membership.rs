//! Joining, leaving, inviting, knocking, kicking and banning, as far as this server can decide alone; and forgetting.
//!
//! [`way_in`], [`way_out`] and [`way_to_knock`] say from a snapshot whether a step can be done here or must go through
//! another server; [`act`] does it here. Going through another server is federation's part, and the API's to arrange.
//!
//! Invariant: what decides is the room's own rules, in the engine. A way is a guess about where to go, never a permission.

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
    events::{
        StateEventType, TimelineEventType,
        room::{
            join_rules::{AllowRule, JoinRule, RoomJoinRulesEventContent},
            member::MembershipState,
        },
    },
};

use super::{
    NewEvent, Room, RoomError,
    content::{AUTHORISED_VIA, member, text, with_new_face},
    joined_rooms, send_in, standing,
};
use crate::{
    home::Home,
    store::{
        InviteRecord, LogKind, LogRow, Record, RoomKey, Ssk, Standing, StoreError, Stored, UserKey, View, WriteTx,
    },
    types::{LocalServer, Millis},
};

/// What a member event does, for those who are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Coming in, or changing one's own face while in.
    Join,
    /// Going out, declining an invite, taking a knock back.
    Leave,
    /// Asking somebody in.
    Invite,
    /// Asking to be asked in.
    Knock,
    /// Putting somebody out, or taking an invite back.
    Kick,
    /// Putting somebody out for good.
    Ban,
    /// Lifting a ban.
    Unban,
}

/// One step of one user in or about a room.
#[derive(Clone, Debug)]
pub struct Step {
    /// What.
    pub action: Action,
    /// Where.
    pub room: OwnedRoomId,
    /// Who acts.
    pub sender: OwnedUserId,
    /// Who is concerned.
    pub target: OwnedUserId,
    /// What the member event says besides the membership and the face.
    pub content: CanonicalJsonObject,
    /// Who of this server vouches for a restricted join.
    pub authorised_via: Option<OwnedUserId>,
}

/// Where a step must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// In this server's own copy of the room.
    Here {
        /// Who vouches for a restricted join.
        authorised_via: Option<OwnedUserId>,
    },
    /// Through one of these servers. Empty: through whoever sent the invite or took the knock.
    Through(Vec<OwnedServerName>),
    /// There is nothing to do.
    Done,
}

impl Action {
    /// The membership that the target has afterwards.
    pub fn membership(self) -> MembershipState {
        match self {
            Self::Join => MembershipState::Join,
            Self::Leave | Self::Kick | Self::Unban => MembershipState::Leave,
            Self::Invite => MembershipState::Invite,
            Self::Knock => MembershipState::Knock,
            Self::Ban => MembershipState::Ban,
        }
    }
}

impl Step {
    /// A step with a reason, if there is one.
    pub fn new(action: Action, room: &RoomId, sender: &UserId, target: &UserId, reason: Option<String>) -> Self {
        let content = reason.map(|reason| ("reason".to_owned(), text(reason))).into_iter().collect();
        Self {
            action,
            room: room.to_owned(),
            sender: sender.to_owned(),
            target: target.to_owned(),
            content,
            authorised_via: None,
        }
    }

    /// The whole content of the member event.
    ///
    /// # Errors
    /// When the database fails.
    pub fn member_content(&self, view: &dyn View) -> Result<CanonicalJsonObject, StoreError> {
        let mut content = member(view, &self.target, &self.action.membership(), &self.content)?;
        if let Some(user) = &self.authorised_via {
            content.insert(AUTHORISED_VIA.into(), text(user.as_str()));
        }
        Ok(content)
    }
}

/// Does a step in our own copy of the room.
///
/// # Errors
/// [`RoomError::Forbidden`] when the room's rules forbid it, or the target does not stand as the action needs it.
pub async fn act(home: &Home, step: Step) -> Result<OwnedEventId, RoomError> {
    let (local, now) = (home.local.clone(), home.now());
    home.store.write(move |tx| act_in(tx, &local, now, &step)).await
}

fn act_in(tx: &mut WriteTx<'_>, local: &LocalServer, now: Millis, step: &Step) -> Result<OwnedEventId, RoomError> {
    let room = Room::find(tx, &step.room)?.ok_or_else(|| RoomError::UnknownRoom(step.room.clone()))?;
    let stands = room.member(tx, &step.target)?.map(|member| member.standing);
    // The rules know leaving only: a kick of somebody banned would be an unban, and the other way round.
    let fits = match step.action {
        Action::Kick => matches!(stands, Some(Standing::Join | Standing::Invite | Standing::Knock)),
        Action::Unban => stands == Some(Standing::Ban),
        _ => true,
    };
    if !fits {
        let stands = stands.map_or("not in the room", Standing::as_str);
        return Err(RoomError::Forbidden(format!(
            "{:?} does not fit {}, whose standing is: {stands}",
            step.action, step.target
        )));
    }
    let content = step.member_content(tx)?;
    send_in(tx, local, now, &member_event(&step.room, &step.sender, &step.target, content))
}

fn member_event(room: &RoomId, sender: &UserId, target: &UserId, content: CanonicalJsonObject) -> NewEvent {
    NewEvent::state(room, sender, TimelineEventType::RoomMember, target.as_str(), content)
}

/// How a local user can join a room. `via` are servers that the user believes to be in it.
///
/// # Errors
/// [`RoomError::Forbidden`] when it is plain that they cannot; [`RoomError::NotFound`] when no server is known to ask.
pub fn way_in(
    view: &dyn View,
    local: &ServerName,
    user: &UserId,
    room_id: &RoomId,
    via: &[OwnedServerName],
) -> Result<Way, RoomError> {
    let room = Room::find(view, room_id)?;
    let Some(room) = room.filter(|room| room.record.joined_local > 0) else {
        return Ok(match revivable(view, local, room_id)? {
            true => Way::Here { authorised_via: None },
            false => Way::Through(servers_to_ask(view, local, user, room_id, via)?),
        });
    };
    let here = Ok(Way::Here { authorised_via: None });
    match room.member(view, user)?.map(|member| member.standing) {
        Some(Standing::Join) => return Ok(Way::Done),
        Some(Standing::Invite | Standing::Ban) => return here,
        _ => {}
    }
    if invited_elsewhere(view, user, room.key)? {
        // Their invite reached us before the room's own copy of it did.
        return Ok(Way::Through(servers_to_ask(view, local, user, room_id, via)?));
    }
    match restriction(view, &room)? {
        None => here,
        Some(allow) => restricted_way(view, local, user, &room, &allow, via),
    }
}

/// A room made here that everybody has left can be entered again: nobody else holds it.
fn revivable(view: &dyn View, local: &ServerName, room: &RoomId) -> Result<bool, StoreError> {
    let Some(room) = Room::find(view, room)? else { return Ok(false) };
    let create = room.current_event(view, &StateEventType::RoomCreate, "")?;
    let ours = create.is_some_and(|create| *create.pdu.sender.server_name() == *local);
    Ok(ours && room.servers(view)?.is_empty())
}

fn invited_elsewhere(view: &dyn View, user: &UserId, room: RoomKey) -> Result<bool, StoreError> {
    let Some(user) = UserKey::find(view, user)? else { return Ok(false) };
    Ok(standing(view, user, room)?.is_some_and(|record| record.standing == Standing::Invite))
}

/// The conditions of a restricted room, or `None` for a room with another join rule.
pub(crate) fn restriction(view: &dyn View, room: &Room) -> Result<Option<Vec<AllowRule>>, StoreError> {
    let Some(rules) = room.current_event(view, &StateEventType::RoomJoinRules, "")? else { return Ok(None) };
    Ok(match rules.pdu.content_as::<RoomJoinRulesEventContent>().map(|content| content.join_rule) {
        Ok(JoinRule::Restricted(restricted)) if room.rules.authorization.restricted_join_rule => Some(restricted.allow),
        Ok(JoinRule::KnockRestricted(restricted)) if room.rules.authorization.knock_restricted_join_rule => {
            Some(restricted.allow)
        }
        _ => None,
    })
}

/// Whether a user meets one of the conditions of a restricted room, and whether there is one that cannot be judged here.
pub(crate) fn conditions(view: &dyn View, user: &UserId, allow: &[AllowRule]) -> Result<(bool, bool), StoreError> {
    let (mut met, mut unknown) = (false, false);
    for rule in allow {
        // Conditions of a kind that we do not know are for other servers to judge.
        let AllowRule::RoomMembership(condition) = rule else {
            unknown = true;
            continue;
        };
        match Room::find(view, &condition.room_id)?.filter(|other| other.record.joined_local > 0) {
            Some(other) => met |= other.is_joined(view, user)?,
            None => unknown = true,
        }
    }
    Ok((met, unknown))
}

/// Server-server API, "Restricted rooms": one of us who may invite vouches, or another server's user must.
fn restricted_way(
    view: &dyn View,
    local: &ServerName,
    user: &UserId,
    room: &Room,
    allow: &[AllowRule],
    via: &[OwnedServerName],
) -> Result<Way, RoomError> {
    let (met, unknown) = conditions(view, user, allow)?;
    if met && let Some(voucher) = voucher(view, local, room)? {
        return Ok(Way::Here { authorised_via: Some(voucher) });
    }
    if !met && !unknown {
        return Err(RoomError::Forbidden(format!("{user} is in none of the rooms that open {}", room.id)));
    }
    match servers_to_ask(view, local, user, &room.id, via) {
        Err(RoomError::NotFound(_)) => {
            Err(RoomError::Forbidden(format!("nobody who may invite to {} can vouch for {user}", room.id)))
        }
        servers => Ok(Way::Through(servers?)),
    }
}

/// One of our users in the room who may invite: the first to be known here, so that every try names the same one.
pub(crate) fn voucher(view: &dyn View, local: &ServerName, room: &Room) -> Result<Option<OwnedUserId>, StoreError> {
    let levels = room.power_levels(view)?;
    for member in room.members(view)?.into_iter().filter(|member| member.standing == Standing::Join) {
        let user = member.user.id(view)?;
        if *user.server_name() == *local && levels.user_can_invite(&user) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// The servers that may know a room, likely ones first, without us.
fn servers_to_ask(
    view: &dyn View,
    local: &ServerName,
    user: &UserId,
    room_id: &RoomId,
    via: &[OwnedServerName],
) -> Result<Vec<OwnedServerName>, RoomError> {
    let mut servers = via.to_vec();
    let key = RoomKey::find(view, room_id)?;
    if let (Some(key), Some(user)) = (key, UserKey::find(view, user)?) {
        servers.extend(inviter(view, user, key)?.map(|inviter| inviter.server_name().to_owned()));
    }
    if let Some(room) = Room::find(view, room_id)? {
        for server in room.servers(view)? {
            servers.push(server.name(view)?);
        }
    }
    // Ids before room version 12 name the server that made the room, which may still be in it.
    servers.extend(room_id.server_name().map(ToOwned::to_owned));
    let mut seen = BTreeSet::from([local.to_owned()]);
    servers.retain(|server| seen.insert(server.clone()));
    if servers.is_empty() {
        return Err(RoomError::NotFound(format!("no server that is in {room_id} is known: name one with `via`")));
    }
    Ok(servers)
}

/// Who sent the invite that a user holds to a room that we are not in.
pub(crate) fn inviter(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Option<OwnedUserId>, StoreError> {
    let Some(row) = view.inv()?.row((user.0, room.0))? else { return Ok(None) };
    let record = InviteRecord::decode(row.value())?;
    #[derive(serde::Deserialize)]
    struct Sender {
        sender: OwnedUserId,
    }
    Ok(serde_json::from_str::<Sender>(&record.event).ok().map(|event| event.sender))
}

/// How a local user can leave a room, decline an invite to it, or take a knock back.
///
/// # Errors
/// [`RoomError::Forbidden`] for who has nothing to do with the room.
pub fn way_out(view: &dyn View, user: &UserId, room_id: &RoomId) -> Result<Way, RoomError> {
    let stranger = || RoomError::Forbidden(format!("{user} is not in {room_id}"));
    if let Some(room) = Room::find(view, room_id)?.filter(|room| room.record.joined_local > 0)
        && let Some(member) = room.member(view, user)?
        && matches!(member.standing, Standing::Join | Standing::Invite | Standing::Knock)
    {
        return Ok(Way::Here { authorised_via: None });
    }
    let room = RoomKey::find(view, room_id)?.ok_or_else(stranger)?;
    let user_key = UserKey::find(view, user)?.ok_or_else(stranger)?;
    match standing(view, user_key, room)?.map(|record| record.standing) {
        Some(Standing::Invite | Standing::Knock | Standing::Join) => Ok(Way::Through(Vec::new())),
        Some(Standing::Leave) => Ok(Way::Done),
        Some(Standing::Ban) => Err(RoomError::Forbidden(format!("{user} is banned from {room_id}"))),
        None => Err(stranger()),
    }
}

/// How a local user can knock on a room.
///
/// # Errors
/// [`RoomError::NotFound`] when no server is known to ask.
pub fn way_to_knock(
    view: &dyn View,
    local: &ServerName,
    user: &UserId,
    room_id: &RoomId,
    via: &[OwnedServerName],
) -> Result<Way, RoomError> {
    match Room::find(view, room_id)?.filter(|room| room.record.joined_local > 0) {
        Some(_) => Ok(Way::Here { authorised_via: None }),
        None => Ok(Way::Through(servers_to_ask(view, local, user, room_id, via)?)),
    }
}

/// Removes a room that a local user has left from what they see. Coming back brings it back.
///
/// # Errors
/// [`RoomError::NotFound`] for who never had to do with the room, [`RoomError::Invalid`] for who still has.
pub async fn forget(home: &Home, user: &UserId, room: &RoomId) -> Result<(), RoomError> {
    let (user, room) = (user.to_owned(), room.to_owned());
    home.store
        .write(move |tx| {
            let never = || RoomError::NotFound(format!("{user} has nothing to do with {room}"));
            let room_key = RoomKey::find(tx, &room)?.ok_or_else(never)?;
            let user_key = UserKey::find(tx, &user)?.ok_or_else(never)?;
            let mut record = standing(tx, user_key, room_key)?.ok_or_else(never)?;
            if !matches!(record.standing, Standing::Leave | Standing::Ban) {
                return Err(RoomError::Invalid(format!("{user} must leave {room} before forgetting it")));
            }
            if record.forgotten {
                return Ok(());
            }
            record.forgotten = true;
            record.n = tx.log(&LogRow { kind: LogKind::Standing, room: room_key.0, user: user_key.0, esn: 0 })?;
            let bytes = record.encode()?;
            tx.write().memb.insert((user_key.0, room_key.0), bytes.as_slice()).map_err(StoreError::from)?;
            Ok(())
        })
        .await
}

/// Shows a user's changed profile in the rooms that they are in: a new member event in each where it says something new.
///
/// # Errors
/// When the database fails. A room that refuses keeps the old face, and the log says so: the profile itself is changed.
pub async fn refresh_profile(home: &Home, user: &UserId) -> Result<(), RoomError> {
    let rooms = {
        let view = home.store.snapshot()?;
        match UserKey::find(&view, user)? {
            Some(key) => joined_rooms(&view, key)?,
            None => return Ok(()),
        }
    };
    for room in rooms {
        let (local, now, user) = (home.local.clone(), home.now(), user.to_owned());
        match home.store.write(move |tx| refresh_in(tx, &local, now, &user, room)).await {
            Err(RoomError::Store(error)) => return Err(error.into()),
            Err(error) => tracing::warn!(%error, room = room.0, "a room did not take the new profile"),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn refresh_in(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    now: Millis,
    user: &UserId,
    key: RoomKey,
) -> Result<(), RoomError> {
    let Some(room) = Room::by_key(tx, key)? else { return Ok(()) };
    let Some(ssk) = Ssk::find(tx, &StateEventType::RoomMember, user.as_str())? else { return Ok(()) };
    let Some(esn) = room.record.current().entry(tx, key, ssk)? else { return Ok(()) };
    let member = Stored::must(tx, esn)?.pdu;
    // Left in between: there is nobody to show.
    if member.membership() != Some(MembershipState::Join) {
        return Ok(());
    }
    let old: CanonicalJsonObject =
        member.content_as().map_err(|error| StoreError::Corrupt(format!("{}: {error}", member.event_id)))?;
    let new = with_new_face(tx, user, &old)?;
    if ["displayname", "avatar_url"].iter().all(|field| old.get(*field) == new.get(*field)) {
        return Ok(());
    }
    send_in(tx, local, now, &member_event(&room.id, user, user, new))?;
    Ok(())
}

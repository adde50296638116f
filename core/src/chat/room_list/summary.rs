//! One room's row in the list.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;

use super::{
    last::{self, Last, LastMessage},
    unread::{self, Judged, Unread},
};
use crate::{
    chat::{
        content::{Object, object, string},
        names::{RoomName, avatar_of, name_of, readable, stripped_name},
        reading::Look,
        send::was_ever_encrypted,
        timeline::Reader,
    },
    rooms::{Room, visibility::UserSight},
    store::{InviteRecord, MembRecord, Record, Result, RoomKey, Standing},
};

/// A room in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// Which.
    pub room_id: OwnedRoomId,
    /// How we stand to it.
    pub kind: RoomKind,
    /// What it is called. `to_string` says it in English.
    pub name: RoomName,
    /// Its picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// The last message.
    pub last: Option<LastMessage>,
    /// Messages that we want to be told of and have not read.
    pub unread: u64,
    /// Those of them that stand out.
    pub highlights: u64,
    /// Whether it is a conversation with one person.
    pub direct: bool,
    /// Whether messages in it are encrypted.
    pub encrypted: bool,
    /// How many people are in it.
    pub members: u64,
    /// What the list is ordered by: the greater, the later something was said here, by the time at which it came to this
    /// phone. Means nothing beyond that.
    pub recency: u64,
}

/// How we stand to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomKind {
    /// We are in it.
    Joined,
    /// Somebody asks us in.
    Invited(Invite),
    /// We asked to be let in.
    Knocked,
}

/// Who asks us into a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Who.
    pub by: OwnedUserId,
    /// The name that they give themselves. Anybody may give themselves any name: show the user id beside it.
    pub name: String,
    /// Their picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// What they say about it.
    pub reason: Option<String>,
}

/// A row, and what it takes to keep it true.
pub(super) struct Row {
    pub(super) summary: RoomSummary,
    /// Whether something in it could not be read, and may be once a key comes.
    pub(super) is_shut: bool,
    /// Whether what is unread was not yet asked about in clear.
    pub(super) is_unjudged: bool,
    /// The state that the name was made from.
    seq: u64,
}

impl Row {
    /// Takes the counts of what was asked about. What could not be read is asked about again when a key comes.
    pub(super) fn count(&mut self, unread: Unread) {
        self.summary.unread = unread.notifications;
        self.summary.highlights = unread.highlights;
        self.is_shut |= unread.is_unjudged;
        self.is_unjudged = false;
    }
}

/// The row of a room. `old` is the one that it had.
pub(super) fn row(
    look: &mut Look<'_>,
    key: RoomKey,
    record: &MembRecord,
    direct: &BTreeSet<OwnedRoomId>,
    old: Option<&Row>,
    judged: &Judged,
) -> Result<Option<Row>> {
    if record.standing != Standing::Join {
        return outside(look, key, record);
    }
    let Some(room) = Room::by_key(look.view, key)? else { return Ok(None) };
    let me = look.inner.me.clone();
    let names = look.inner.reads.names(look.view, &room)?;
    let (name, avatar) = match old.filter(|old| old.seq == room.record.seq && old.summary.kind == RoomKind::Joined) {
        Some(old) => (old.summary.name.clone(), old.summary.avatar.clone()),
        None => {
            let name = name_of(look.view, &room, &names, me.user_key)?;
            let avatar = avatar_of(look.view, &room, &names, &name, me.user_key)?;
            (name, avatar)
        }
    };
    let sight = UserSight::new(look.view, key, &me.user)?;
    let last = last::last(&mut Reader { look, room: &room, names: &names, sight })?;
    let is_encrypted = was_ever_encrypted(look.view, key)?;
    let unread = unread::count(look.view, me.user_key, key, judged, is_encrypted)?;
    let (recency, is_shut) = match &last {
        Some(Last { n, is_shut, .. }) => (if *n == 0 { record.n } else { *n }, *is_shut),
        None => (record.n, false),
    };
    let summary = RoomSummary {
        direct: direct.contains(&room.id),
        room_id: room.id.clone(),
        kind: RoomKind::Joined,
        name,
        avatar,
        last: last.map(|last| last.message),
        unread: unread.notifications,
        highlights: unread.highlights,
        encrypted: is_encrypted,
        members: room.record.joined,
        recency,
    };
    Ok(Some(Row { summary, is_shut, is_unjudged: unread.is_unjudged, seq: room.record.seq }))
}

/// A room that we are not in: what its people show of it, and who asks us in.
pub(super) fn outside(look: &Look<'_>, key: RoomKey, record: &MembRecord) -> Result<Option<Row>> {
    let me = &look.inner.me;
    let Some(row) = look.view.inv()?.row((me.user_key.0, key.0))? else { return Ok(None) };
    let invite = InviteRecord::decode(row.value())?;
    let state: Vec<(String, Object)> = invite.state.iter().filter_map(|event| stripped(event)).collect();
    let Some(event) = Member::read(&invite.event) else { return Ok(None) };
    let inviter = inviter(&state_members(&invite.state), &event);
    let content = event.content;
    let is_invite = record.standing == Standing::Invite;
    let name = stripped_name(&state, if is_invite { &inviter.name } else { me.user.as_str() });
    let text = |kind: &str, field: &str| {
        state.iter().find(|(other, _)| other == kind).and_then(|(_, content)| string(content, field)).map(str::to_owned)
    };
    let direct = content.get("is_direct").and_then(serde_json::Value::as_bool).unwrap_or_default();
    let avatar = text("m.room.avatar", "url").or_else(|| inviter.avatar.clone().filter(|_| direct));
    let summary = RoomSummary {
        room_id: key.id(look.view)?,
        kind: if is_invite { RoomKind::Invited(inviter) } else { RoomKind::Knocked },
        name,
        avatar,
        last: None,
        unread: 0,
        highlights: 0,
        direct,
        encrypted: state.iter().any(|(kind, _)| kind == "m.room.encryption"),
        members: 0,
        recency: record.n,
    };
    Ok(Some(Row { summary, is_shut: false, is_unjudged: false, seq: 0 }))
}

/// Our own member event, or another's.
struct Member {
    sender: OwnedUserId,
    state_key: String,
    content: Object,
}

impl Member {
    fn read(json: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Wire<'a> {
            sender: OwnedUserId,
            state_key: String,
            #[serde(borrow)]
            content: &'a RawValue,
        }
        let wire: Wire<'_> = serde_json::from_str(json).ok()?;
        Some(Self { sender: wire.sender, state_key: wire.state_key, content: object(wire.content) })
    }
}

/// A state event's type and content, of those without a state key.
fn stripped(json: &str) -> Option<(String, Object)> {
    let mut event: Object = serde_json::from_str(json).ok()?;
    if string(&event, "state_key") != Some("") {
        return None;
    }
    let kind = string(&event, "type")?.to_owned();
    match event.remove("content")? {
        serde_json::Value::Object(content) => Some((kind, content)),
        _ => None,
    }
}

fn state_members(state: &[String]) -> Vec<Member> {
    let is_member = |json: &&String| {
        serde_json::from_str::<Object>(json).is_ok_and(|event| string(&event, "type") == Some("m.room.member"))
    };
    state.iter().filter(is_member).filter_map(|json| Member::read(json)).collect()
}

/// Who asks us in, with the face that came along, if one did. Nothing of that is signed.
fn inviter(members: &[Member], event: &Member) -> Invite {
    let own = members.iter().find(|member| member.state_key == event.sender.as_str());
    let name = own.and_then(|member| string(&member.content, "displayname")).and_then(readable);
    let avatar = own.and_then(|member| string(&member.content, "avatar_url")).map(str::to_owned);
    let reason = string(&event.content, "reason").map(str::to_owned);
    Invite { name: name.unwrap_or_else(|| event.sender.to_string()), by: event.sender.clone(), avatar, reason }
}

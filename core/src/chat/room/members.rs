//! Who is in a room and what they may do there.

use ruma::{
    OwnedUserId,
    events::{
        MessageLikeEventType, StateEventType,
        room::power_levels::{RoomPowerLevels, UserPowerLevel},
    },
};

use super::Room;
use crate::{
    chat::{
        ChatError,
        names::{RoomName, avatar_of, name_of, state_text},
        send::was_ever_encrypted,
    },
    store::Standing,
};

/// A room in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// What it is called.
    pub name: RoomName,
    /// What it is about.
    pub topic: Option<String>,
    /// Its picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// Its address.
    pub alias: Option<String>,
    /// Its version.
    pub version: String,
    /// Who may come in: `invite`, `public`, `knock`, `restricted`, `knock_restricted` or `private`.
    pub join_rule: String,
    /// Who may read what was said before they came: `shared`, `invited`, `joined` or `world_readable`.
    pub history_visibility: String,
    /// Whether messages in it are encrypted.
    pub encrypted: bool,
    /// How many people are in it.
    pub joined: u64,
    /// How many more were asked in.
    pub invited: u64,
    /// Whether we are in it.
    pub is_member: bool,
    /// What we may do in it.
    pub may: Permissions,
}

/// What somebody may do in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Say something.
    pub send: bool,
    /// React.
    pub react: bool,
    /// Ask others in.
    pub invite: bool,
    /// Put others out, if they have less power.
    pub kick: bool,
    /// Put others out for good, if they have less power.
    pub ban: bool,
    /// Delete what others said.
    pub redact: bool,
    /// Change the room's name.
    pub name: bool,
    /// Change what it is about.
    pub topic: bool,
    /// Change its picture.
    pub avatar: bool,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Who.
    pub user: OwnedUserId,
    /// The name that they are shown by.
    pub name: String,
    /// Their picture, an `mxc:` URI.
    pub avatar: Option<String>,
    /// How they stand to the room.
    pub standing: Standing,
    /// Their power. `None` is without limit, as a creator's is in newer rooms.
    pub power: Option<i64>,
}

impl Room {
    /// The room in detail.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for a room of which only an invite is known.
    pub fn info(&self) -> Result<RoomInfo, ChatError> {
        let view = self.inner.home.store.snapshot()?;
        let room = self.found(&view)?;
        let me = &self.inner.me;
        let names = self.inner.reads.names(&view, &room)?;
        let name = name_of(&view, &room, &names, me.user_key)?;
        let text = |kind, field| state_text(&view, &room, &kind, field);
        let is_member = self.standing(&view)? == Some(Standing::Join);
        let may = if is_member { permissions(&room.power_levels(&view)?, &me.user) } else { Permissions::default() };
        Ok(RoomInfo {
            avatar: avatar_of(&view, &room, &names, &name, me.user_key)?,
            name,
            topic: text(StateEventType::RoomTopic, "topic")?,
            alias: text(StateEventType::RoomCanonicalAlias, "alias")?,
            version: room.version.to_string(),
            join_rule: text(StateEventType::RoomJoinRules, "join_rule")?.unwrap_or_else(|| "invite".into()),
            history_visibility: text(StateEventType::RoomHistoryVisibility, "history_visibility")?
                .unwrap_or_else(|| "shared".into()),
            encrypted: was_ever_encrypted(&view, room.key)?,
            joined: room.record.joined,
            invited: room.record.invited,
            is_member,
            may,
        })
    }

    /// Everybody who is in the room, was asked in, wants in, or was put out for good; the most powerful first, then by name.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for a room of which only an invite is known.
    pub fn members(&self) -> Result<Vec<MemberInfo>, ChatError> {
        let view = self.inner.home.store.snapshot()?;
        let room = self.found(&view)?;
        let names = self.inner.reads.names(&view, &room)?;
        let levels = room.power_levels(&view)?;
        let mut members = Vec::new();
        for member in room.members(&view)?.into_iter().filter(|member| member.standing != Standing::Leave) {
            let shown = names.show(&view, &room, member.user)?;
            let power = match levels.for_user(&shown.user) {
                UserPowerLevel::Int(power) => Some(power.into()),
                _ => None,
            };
            let (name, avatar) = (shown.name, shown.avatar);
            members.push(MemberInfo { user: shown.user, name, avatar, standing: member.standing, power });
        }
        let rank = |member: &MemberInfo| std::cmp::Reverse(member.power.unwrap_or(i64::MAX));
        members.sort_by_cached_key(|member| {
            (member.standing as u8, rank(member), member.name.to_lowercase(), member.user.clone())
        });
        Ok(members)
    }
}

fn permissions(levels: &RoomPowerLevels, user: &ruma::UserId) -> Permissions {
    Permissions {
        send: levels.user_can_send_message(user, MessageLikeEventType::RoomMessage),
        react: levels.user_can_send_message(user, MessageLikeEventType::Reaction),
        invite: levels.user_can_invite(user),
        kick: levels.user_can_kick(user),
        ban: levels.user_can_ban(user),
        redact: levels.user_can_redact_event_of_other(user),
        name: levels.user_can_send_state(user, StateEventType::RoomName),
        topic: levels.user_can_send_state(user, StateEventType::RoomTopic),
        avatar: levels.user_can_send_state(user, StateEventType::RoomAvatar),
    }
}

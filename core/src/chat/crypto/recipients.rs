//! Who may read a message that is sent into a room now, and what the room says about its sessions.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    OwnedUserId, RoomId, UserId,
    events::{
        StateEventType,
        room::{encryption::RoomEncryptionEventContent, history_visibility::HistoryVisibility},
    },
};
use tokio::time::Duration;

use crate::{
    rooms::{Room, visibility::Visibility},
    store::{Result, RoomKey, Standing, UserKey, View},
    types::limits::SESSION_MESSAGES_MAX,
};

/// Messages of one session where the room names no number. Client-server API, `m.room.encryption`.
const MESSAGES_DEFAULT: u64 = 100;
/// How long one session is used where the room does not say.
const PERIOD_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The shortest time that a session is used: a room that asks for less would cost every member a key for each message.
const PERIOD_MIN: Duration = Duration::from_secs(3_600);

/// The readers of a room's next message.
#[derive(Clone, Debug)]
pub(super) struct Recipients {
    /// The room.
    pub(super) room: RoomKey,
    /// The last change of the room's state that this was read from.
    pub(super) seq: u64,
    /// The members, and the invited where those may read what is said before they join.
    pub(super) users: BTreeMap<UserKey, OwnedUserId>,
    /// Those of them who are joined.
    pub(super) joined: BTreeSet<UserKey>,
    /// How much of its past the room shows.
    pub(super) visibility: Visibility,
    /// Messages of one session.
    pub(super) messages_max: u64,
    /// How long one session is used.
    pub(super) period: Duration,
}

impl Recipients {
    /// The readers of a room's next message. `None` for a room that is not here, or is not encrypted.
    pub(super) fn of(view: &dyn View, room: &RoomId) -> Result<Option<Self>> {
        let Some(room) = Room::find(view, room)? else { return Ok(None) };
        Self::of_room(view, &room)
    }

    /// As [`Recipients::of`], for a room that was read already.
    pub(super) fn of_room(view: &dyn View, room: &Room) -> Result<Option<Self>> {
        let Some(encryption) = room.current_event(view, &StateEventType::RoomEncryption, "")? else { return Ok(None) };
        // Encryption that was switched on stays on, whatever its event says by now.
        let content = encryption.pdu.content_as::<RoomEncryptionEventContent>().ok();
        let messages = content.as_ref().and_then(|content| content.rotation_period_msgs).map(u64::from);
        let period = content.as_ref().and_then(|content| content.rotation_period_ms);
        let visibility = Visibility::at(view, room.key, room.record.current())?;
        let mut recipients = Self {
            room: room.key,
            seq: room.record.seq,
            users: BTreeMap::new(),
            joined: BTreeSet::new(),
            visibility,
            messages_max: messages.unwrap_or(MESSAGES_DEFAULT).clamp(1, SESSION_MESSAGES_MAX),
            period: period.map_or(PERIOD_DEFAULT, |ms| Duration::from_millis(ms.into())).max(PERIOD_MIN),
        };
        for member in room.members(view)? {
            let reads = match member.standing {
                Standing::Join => recipients.joined.insert(member.user),
                Standing::Invite => visibility != Visibility::Joined,
                _ => false,
            };
            if reads {
                recipients.users.insert(member.user, member.user.id(view)?);
            }
        }
        Ok(Some(recipients))
    }

    /// The readers' ids.
    pub(super) fn ids(&self) -> Vec<&UserId> {
        self.users.values().map(|user| &**user).collect()
    }

    /// Whether the room shows its past to new members.
    pub(super) fn shares_history(&self) -> bool {
        matches!(self.visibility, Visibility::Shared | Visibility::WorldReadable)
    }

    /// The visibility in the words of the field.
    pub(super) fn history_visibility(&self) -> HistoryVisibility {
        match self.visibility {
            Visibility::WorldReadable => HistoryVisibility::WorldReadable,
            Visibility::Shared => HistoryVisibility::Shared,
            Visibility::Invited => HistoryVisibility::Invited,
            Visibility::Joined => HistoryVisibility::Joined,
        }
    }
}

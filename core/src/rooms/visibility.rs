//! Who may see which event of a room's past: history visibility, for users and for servers.
//!
//! The visibility of an event is that of the state before it, and for an `m.room.history_visibility` event the more
//! generous of before and after. Client-server API, "Room history visibility"; for servers, server-server API,
//! "Backfilling". Both sights remember what they read for each state, because neighbours on a timeline share theirs, so one
//! is made for one request.
//!
//! Invariant: what was rejected, soft-failed or is known only for its place in an auth chain has no place on a timeline, and
//! nobody sees it here. What someone has no wish to see, because they ignore its sender, they do not see either.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    ServerName, UserId,
    events::{StateEventType, room::history_visibility::RoomHistoryVisibilityEventContent},
};

use super::read::{Room, standing};
use crate::{
    store::{Esn, Header, MembRecord, Result, RoomKey, Ssk, Standing, StateRef, StoreError, Stored, UserKey, View},
    users::ignored,
};

/// Steps back through one user's memberships in search of their last join. Someone with more changes than that since has
/// been going in circles of kicks and invites; they lose the sight of old history, and nothing else.
const MEMBERSHIP_STEPS_MAX: usize = 100;

/// How much of a room's history the room shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// To anybody.
    WorldReadable,
    /// To members, from before they joined too. The default, also for what Matrix does not know.
    Shared,
    /// To members, from their invite on.
    Invited,
    /// To members, from their join on.
    Joined,
}

impl Visibility {
    /// The visibility in a state.
    ///
    /// # Errors
    /// When the database fails.
    pub fn at(view: &dyn View, room: RoomKey, state: StateRef) -> Result<Self> {
        use ruma::events::room::history_visibility::HistoryVisibility as H;
        let Some(ssk) = Ssk::find(view, &StateEventType::RoomHistoryVisibility, "")? else { return Ok(Self::Shared) };
        let Some(esn) = state.entry(view, room, ssk)? else { return Ok(Self::Shared) };
        let content = Stored::must(view, esn)?.pdu.content_as::<RoomHistoryVisibilityEventContent>();
        Ok(match content.map(|content| content.history_visibility) {
            Ok(H::WorldReadable) => Self::WorldReadable,
            Ok(H::Invited) => Self::Invited,
            Ok(H::Joined) => Self::Joined,
            _ => Self::Shared,
        })
    }
}

/// The membership that a state event gives. Anything unknown counts as having left.
fn standing_of(view: &dyn View, esn: Esn) -> Result<Standing> {
    let membership = Stored::must(view, esn)?.pdu.membership();
    Ok(membership.as_ref().and_then(Standing::of).unwrap_or(Standing::Leave))
}

fn member_ssk(view: &dyn View, user: &UserId) -> Result<Option<Ssk>> {
    Ssk::find(view, &StateEventType::RoomMember, user.as_str())
}

/// Where a user's last time in a room ended: the state then, and the place of the event that ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The state after the departure.
    pub state: StateRef,
    /// The place of the leave, kick or ban.
    pub pos: u64,
}

impl Departure {
    /// The departure behind a user's leave or ban. A ban of someone who had left does not move the departure on, and whoever
    /// only turned an invite down was never here.
    pub(crate) fn behind(view: &dyn View, room: RoomKey, memb: &MembRecord) -> Result<Option<Self>> {
        let Some((state, pos)) = memb.left_at.filter(|_| memb.esn != 0) else { return Ok(None) };
        Self::before(view, room, memb.esn, Self { state, pos })
    }

    /// As [`Departure::behind`], from any of the user's member events that is no join.
    pub(crate) fn before(view: &dyn View, room: RoomKey, esn: Esn, at: Self) -> Result<Option<Self>> {
        let (mut esn, mut at) = (esn, at);
        for _ in 0..MEMBERSHIP_STEPS_MAX {
            let header = must_header(view, esn)?;
            let Some(ssk) = header.ssk.filter(|_| header.pos != 0) else { return Ok(None) };
            let Some(earlier) = header.before.entry(view, room, ssk)? else { return Ok(None) };
            if standing_of(view, earlier)? == Standing::Join {
                return Ok(Some(at));
            }
            let header = must_header(view, earlier)?;
            at = Self { state: header.after, pos: header.pos };
            esn = earlier;
        }
        Ok(None)
    }
}

fn must_header(view: &dyn View, esn: Esn) -> Result<Header> {
    Stored::header(view, esn)?.ok_or_else(|| StoreError::Corrupt(format!("event {esn} is missing")))
}

/// How a user stands to a room as a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    Gone(Departure),
    Never,
}

impl Presence {
    fn of(view: &dyn View, room: RoomKey, user: Option<UserKey>) -> Result<Self> {
        let memb = user.map(|user| standing(view, user, room)).transpose()?.flatten();
        let Some(memb) = memb else { return Ok(Self::Never) };
        Ok(match memb.standing {
            Standing::Join => Self::Here,
            Standing::Leave | Standing::Ban => Departure::behind(view, room, &memb)?.map_or(Self::Never, Self::Gone),
            Standing::Invite | Standing::Knock => Self::Never,
        })
    }
}

/// What a local user may read of a room as a whole: its state, and its timeline up to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The state that they may read.
    pub state: StateRef,
    /// The timeline ends before this place for them.
    pub end: u64,
    /// Whether they are in the room.
    pub joined: bool,
}

impl Access {
    /// What a user may read now: all of it while joined, or while the world may; what was there when they left, after that,
    /// until they forget the room. `None`: nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub fn of(view: &dyn View, room: &Room, user: &UserId) -> Result<Option<Self>> {
        let now = Self { state: room.record.current(), end: u64::MAX, joined: false };
        let user = UserKey::find(view, user)?;
        let standing = user.map(|user| standing(view, user, room.key)).transpose()?.flatten();
        let forgotten = standing.is_some_and(|standing| standing.forgotten);
        match Presence::of(view, room.key, user)? {
            Presence::Here => Ok(Some(Self { joined: true, ..now })),
            _ if Visibility::at(view, room.key, now.state)? == Visibility::WorldReadable => Ok(Some(now)),
            Presence::Gone(_) if forgotten => Ok(None),
            Presence::Gone(Departure { state, pos }) => Ok(Some(Self { state, end: pos + 1, joined: false })),
            Presence::Never => Ok(None),
        }
    }
}

/// What one local user sees of one room's history.
pub struct UserSight<'v> {
    view: &'v dyn View,
    room: RoomKey,
    visibility_key: Option<Ssk>,
    member_key: Option<Ssk>,
    presence: Presence,
    ignored: BTreeSet<UserKey>,
    whole: Option<bool>,
    known: BTreeMap<StateRef, (Visibility, Option<Standing>)>,
}

impl std::fmt::Debug for UserSight<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserSight").field("room", &self.room).finish_non_exhaustive()
    }
}

impl<'v> UserSight<'v> {
    /// The sight of a user.
    ///
    /// # Errors
    /// When the database fails.
    pub fn new(view: &'v dyn View, room: RoomKey, user: &UserId) -> Result<Self> {
        let key = UserKey::find(view, user)?;
        let mut ignored = key.map(|key| ignored::known(view, key)).transpose()?.unwrap_or_default();
        // Nobody can lose sight of themselves.
        ignored.retain(|ignored| Some(*ignored) != key);
        Ok(Self {
            view,
            room,
            visibility_key: Ssk::find(view, &StateEventType::RoomHistoryVisibility, "")?,
            member_key: member_ssk(view, user)?,
            presence: Presence::of(view, room, key)?,
            ignored,
            whole: None,
            known: BTreeMap::new(),
        })
    }

    /// Whether the user may see an event, and wants to: of someone whom they ignore they see only state.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sees(&mut self, stored: &Stored) -> Result<bool> {
        Ok(!(stored.header.ssk.is_none() && self.ignores(stored.header.sender)) && self.may_see(stored)?)
    }

    /// Whether the user ignores someone. Client-server API, "Ignoring Users".
    pub fn ignores(&self, sender: UserKey) -> bool {
        self.ignored.contains(&sender)
    }

    /// Whether the room is shared with the user as it is now: then nearly all of its history is theirs to see, which is
    /// enough to count by.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) fn sees_whole_room(&mut self) -> Result<bool> {
        if let Some(whole) = self.whole {
            return Ok(whole);
        }
        let room = Room::by_key(self.view, self.room)?.filter(|_| self.presence == Presence::Here);
        let visibility = room.map(|room| Visibility::at(self.view, self.room, room.record.current())).transpose()?;
        let whole = matches!(visibility, Some(Visibility::Shared | Visibility::WorldReadable));
        self.whole = Some(whole);
        Ok(whole)
    }

    /// Whether the user may see an event, whoever sent it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn may_see(&mut self, stored: &Stored) -> Result<bool> {
        let header = &stored.header;
        if header.pos == 0 || header.room != self.room {
            return Ok(false);
        }
        let (visibility, member) = self.at(header.before)?;
        if self.allows(visibility, member, header.pos) {
            return Ok(true);
        }
        // A change of the visibility, or of the user's own membership, counts with what it makes of the room as well.
        if header.ssk.is_none() || (header.ssk != self.visibility_key && header.ssk != self.member_key) {
            return Ok(false);
        }
        let (visibility_after, member_after) = self.at(header.after)?;
        Ok(self.allows(visibility_after, member, header.pos) || self.allows(visibility, member_after, header.pos))
    }

    /// The user's membership at an event, with what the event itself made of it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn membership(&mut self, stored: &Stored) -> Result<Standing> {
        Ok(self.at(stored.header.after)?.1.unwrap_or(Standing::Leave))
    }

    fn allows(&self, visibility: Visibility, member: Option<Standing>, pos: u64) -> bool {
        let joined_later = match self.presence {
            Presence::Here => true,
            Presence::Gone(departure) => pos <= departure.pos,
            Presence::Never => false,
        };
        match visibility {
            Visibility::WorldReadable => true,
            _ if member == Some(Standing::Join) => true,
            Visibility::Shared => joined_later,
            Visibility::Invited => member == Some(Standing::Invite),
            Visibility::Joined => false,
        }
    }

    fn at(&mut self, state: StateRef) -> Result<(Visibility, Option<Standing>)> {
        if let Some(known) = self.known.get(&state) {
            return Ok(*known);
        }
        let visibility = Visibility::at(self.view, self.room, state)?;
        let member = match self.member_key {
            Some(ssk) => state.entry(self.view, self.room, ssk)?,
            None => None,
        };
        let member = member.map(|esn| standing_of(self.view, esn)).transpose()?;
        self.known.insert(state, (visibility, member));
        Ok((visibility, member))
    }
}

/// What another server may have of one room's history.
pub struct ServerSight<'v> {
    view: &'v dyn View,
    room: RoomKey,
    visibility_key: Option<Ssk>,
    in_room: bool,
    /// The member keys of the server's users, current and past.
    members: Vec<Ssk>,
    known: BTreeMap<StateRef, (Visibility, Option<Standing>)>,
}

impl std::fmt::Debug for ServerSight<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSight").field("room", &self.room).finish_non_exhaustive()
    }
}

impl<'v> ServerSight<'v> {
    /// The sight of a server. O(members).
    ///
    /// # Errors
    /// When the database fails.
    pub fn new(view: &'v dyn View, room: &Room, server: &ServerName) -> Result<Self> {
        let mut members = Vec::new();
        for member in room.members(view)? {
            let user = member.user.id(view)?;
            if *user.server_name() == *server {
                members.extend(member_ssk(view, &user)?);
            }
        }
        Ok(Self {
            view,
            room: room.key,
            visibility_key: Ssk::find(view, &StateEventType::RoomHistoryVisibility, "")?,
            in_room: room.has_server(view, server)?,
            members,
            known: BTreeMap::new(),
        })
    }

    /// Whether the server may have an event's content.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sees(&mut self, stored: &Stored) -> Result<bool> {
        let header = &stored.header;
        if header.pos == 0 || header.room != self.room {
            return Ok(false);
        }
        let before = self.at(header.before)?;
        if self.allows(before) {
            return Ok(true);
        }
        let tells = header.ssk.is_some_and(|ssk| Some(ssk) == self.visibility_key || self.members.contains(&ssk));
        if !tells {
            return Ok(false);
        }
        let after = self.at(header.after)?;
        Ok(self.allows((after.0, before.1)) || self.allows((before.0, after.1)))
    }

    fn allows(&self, (visibility, member): (Visibility, Option<Standing>)) -> bool {
        match visibility {
            Visibility::WorldReadable => true,
            _ if member == Some(Standing::Join) => true,
            Visibility::Shared => self.in_room,
            Visibility::Invited => member == Some(Standing::Invite),
            Visibility::Joined => false,
        }
    }

    /// The visibility, and the closest that any of the server's users stands to the room.
    fn at(&mut self, state: StateRef) -> Result<(Visibility, Option<Standing>)> {
        if let Some(known) = self.known.get(&state) {
            return Ok(*known);
        }
        let visibility = Visibility::at(self.view, self.room, state)?;
        let mut closest = None;
        for ssk in &self.members {
            let Some(esn) = state.entry(self.view, self.room, *ssk)? else { continue };
            match standing_of(self.view, esn)? {
                Standing::Join => {
                    closest = Some(Standing::Join);
                    break;
                }
                Standing::Invite => closest = Some(Standing::Invite),
                _ => {}
            }
        }
        self.known.insert(state, (visibility, closest));
        Ok((visibility, closest))
    }
}

/// Whether a server may have one event's content. For several events, make a [`ServerSight`].
///
/// # Errors
/// When the database fails.
pub fn visible_to_server(view: &dyn View, room: &Room, stored: &Stored, server: &ServerName) -> Result<bool> {
    ServerSight::new(view, room, server)?.sees(stored)
}

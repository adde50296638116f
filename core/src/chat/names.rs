//! The names that people are shown by in a room, so that nobody can pass for somebody else.
//!
//! Client-server API, "Calculating the display name for a user": a name that two members share is shown with the user id.
//! Beyond that, a name that only invisible characters tell from another one counts as the same, and a name that looks like a
//! user id is never shown alone.
//!
//! The table of a room's names is made once, and follows the room's state by what changed, never by reading all members
//! again.

mod room_name;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde_json::value::RawValue;

pub use self::room_name::RoomName;
pub(crate) use self::room_name::{avatar_of, name_of, stripped_name};
use super::content::{Object, object, string};
use crate::{
    rooms::Room,
    store::{Esn, Result, Ssk, Standing, Stored, UserKey, View},
    types::limits::SHOWN_NAME_CHARS_MAX,
};

/// Member events that are looked at for the last name of somebody who left. Leaving seldom says a name; what it replaced does.
const PAST_FACES_MAX: usize = 10;

/// What one member event says of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    /// Whose.
    pub(crate) user: OwnedUserId,
    /// The name that they gave themselves.
    pub(crate) name: Option<String>,
    /// Their picture, an `mxc:` URI.
    pub(crate) avatar: Option<String>,
    /// Whether they are in the room.
    pub(crate) joined: bool,
}

/// Somebody as they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Who.
    pub(crate) user: OwnedUserId,
    /// By which name.
    pub(crate) name: String,
    /// With which picture, an `mxc:` URI.
    pub(crate) avatar: Option<String>,
}

/// The names in one room as of one state of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    seq: u64,
    /// Who is joined or invited.
    people: BTreeMap<UserKey, Arc<Face>>,
    /// How many of them go by a name.
    uses: HashMap<String, u32>,
}

impl Face {
    fn of(user: OwnedUserId, content: &RawValue) -> Self {
        let content = object(content);
        let name = string(&content, "displayname").and_then(readable);
        let avatar = string(&content, "avatar_url").map(str::to_owned);
        Self { user, name, avatar, joined: string(&content, "membership") == Some("join") }
    }
}

impl Names {
    /// The names of a room now. O(members).
    pub(crate) fn of(view: &dyn View, room: &Room) -> Result<Self> {
        let mut names = Self { seq: room.record.seq, ..Self::default() };
        for member in room.members(view)? {
            if matches!(member.standing, Standing::Join | Standing::Invite) {
                names.put(member.user, face(view, member.user, member.esn)?);
            }
        }
        Ok(names)
    }

    /// The names of a room now, from those of an earlier state of it. O(changes).
    pub(crate) fn moved_on(&self, view: &dyn View, room: &Room) -> Result<Self> {
        let changes = room.record.seq.saturating_sub(self.seq);
        if self.seq > room.record.seq || changes > self.people.len() as u64 {
            return Self::of(view, room);
        }
        let mut names = Self { seq: room.record.seq, ..self.clone() };
        let (from, to) = ((room.key.0, self.seq), (room.key.0, room.record.seq));
        let mut changed = BTreeSet::new();
        for row in view.st_log()?.between(Bound::Excluded(from), Bound::Included(to))? {
            changed.insert(Ssk(row?.1.value().0));
        }
        for ssk in changed {
            let (kind, key) = ssk.names(view)?;
            if kind == StateEventType::RoomMember
                && let Ok(user) = OwnedUserId::try_from(key)
            {
                names.follow(view, room, &user)?;
            }
        }
        Ok(names)
    }

    /// Whether these are the names of a room as it is now.
    pub(crate) fn are_of(&self, room: &Room) -> bool {
        self.seq == room.record.seq
    }

    /// How many people there are.
    pub(crate) fn len(&self) -> usize {
        self.people.len()
    }

    /// Who is in the room.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (UserKey, &UserId)> {
        self.people.iter().filter(|(_, face)| face.joined).map(|(key, face)| (*key, &*face.user))
    }

    /// The name that somebody in the room gave themselves.
    pub(crate) fn own_name(&self, user: UserKey) -> Option<&str> {
        self.people.get(&user)?.name.as_deref()
    }

    /// Somebody as they are to be shown, whether or not they are still here.
    pub(crate) fn show(&self, view: &dyn View, room: &Room, user: UserKey) -> Result<Shown> {
        if let Some(face) = self.people.get(&user) {
            return Ok(self.shown(face, 1));
        }
        match past_face(view, room, user)? {
            Some(face) => Ok(self.shown(&face, 0)),
            None => {
                let user = user.id(view)?;
                Ok(Shown { name: user.to_string(), user, avatar: None })
            }
        }
    }

    /// `own_uses` is how often the face itself is among those that are counted.
    fn shown(&self, face: &Face, own_uses: u32) -> Shown {
        let name = match &face.name {
            None => face.user.to_string(),
            Some(name) if self.uses_of(name) > own_uses || looks_like_an_id(name) => format!("{name} ({})", face.user),
            Some(name) => name.clone(),
        };
        Shown { user: face.user.clone(), name, avatar: face.avatar.clone() }
    }

    fn uses_of(&self, name: &str) -> u32 {
        self.uses.get(&folded(name)).copied().unwrap_or_default()
    }

    fn put(&mut self, user: UserKey, face: Face) {
        self.take(user);
        if let Some(name) = &face.name {
            *self.uses.entry(folded(name)).or_default() += 1;
        }
        self.people.insert(user, Arc::new(face));
    }

    fn take(&mut self, user: UserKey) {
        let Some(face) = self.people.remove(&user) else { return };
        let Some(name) = face.name.as_deref().map(folded) else { return };
        if let Some(uses) = self.uses.get_mut(&name) {
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&name);
            }
        }
    }

    fn follow(&mut self, view: &dyn View, room: &Room, user: &UserId) -> Result<()> {
        let Some(member) = room.member(view, user)? else {
            if let Some(key) = UserKey::find(view, user)? {
                self.take(key);
            }
            return Ok(());
        };
        match member.standing {
            Standing::Join | Standing::Invite => self.put(member.user, face(view, member.user, member.esn)?),
            _ => self.take(member.user),
        }
        Ok(())
    }
}

fn face(view: &dyn View, user: UserKey, esn: Esn) -> Result<Face> {
    Ok(Face::of(user.id(view)?, &Stored::must(view, esn)?.pdu.content))
}

/// The last face of somebody who is not in the room any more.
fn past_face(view: &dyn View, room: &Room, user: UserKey) -> Result<Option<Face>> {
    let Some(row) = view.rmem()?.row((room.key.0, user.0))? else { return Ok(None) };
    let mut esn = row.value().1;
    for _ in 0..PAST_FACES_MAX {
        let stored = Stored::must(view, esn)?;
        let face = Face::of(user.id(view)?, &stored.pdu.content);
        let Some(ssk) = stored.header.ssk.filter(|_| face.name.is_none()) else { return Ok(Some(face)) };
        match stored.header.before.entry(view, room.key, ssk)?.filter(|earlier| *earlier != esn) {
            Some(earlier) => esn = earlier,
            None => return Ok(Some(face)),
        }
    }
    Ok(None)
}

/// A name as far as it can be shown: one line, not longer than anybody reads. `None` when nothing is left of it.
pub(crate) fn readable(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !c.is_control()).take(SHOWN_NAME_CHARS_MAX).collect();
    let name = name.trim();
    (!folded(name).is_empty()).then(|| name.to_owned())
}

/// A name without what nobody sees.
fn folded(name: &str) -> String {
    name.chars().filter(|c| !is_invisible(*c)).collect::<String>().trim().to_owned()
}

/// Characters that take no place, or turn the direction of what follows.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn looks_like_an_id(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, rest)| rest.contains(':'))
}

/// A field of a state event's content.
pub(crate) fn state_text(view: &dyn View, room: &Room, kind: &StateEventType, field: &str) -> Result<Option<String>> {
    let Some(event) = room.current_event(view, kind, "")? else { return Ok(None) };
    let content: Object = object(&event.pdu.content);
    Ok(string(&content, field).map(str::to_owned))
}

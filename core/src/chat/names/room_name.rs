//! What a room is called. Client-server API, "Calculating the display name for a room".
//!
//! A name that is made of people is handed out in its parts, so that a UI can say "and 3 others" in its own language.

use std::fmt;

use ruma::{RoomAliasId, events::StateEventType};

use super::{Names, readable, state_text};
use crate::{
    chat::content::{Object, string},
    rooms::Room,
    store::{Result, UserKey, View},
    sync::heroes,
};

/// The name of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomName {
    /// Its people gave it this name.
    Given(String),
    /// It has no name but an address.
    Alias(String),
    /// It is called by the people in it.
    People {
        /// Some of them.
        names: Vec<String>,
        /// How many more there are.
        others: u64,
    },
    /// Nobody else is in it.
    Empty {
        /// Who was.
        were: Vec<String>,
    },
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(name) | Self::Alias(name) => f.write_str(name),
            Self::People { names, others } => write_people(f, names, *others),
            Self::Empty { were } if were.is_empty() => f.write_str("Empty room"),
            Self::Empty { were } => {
                f.write_str("Empty room (was ")?;
                write_people(f, were, 0)?;
                f.write_str(")")
            }
        }
    }
}

fn write_people(f: &mut fmt::Formatter<'_>, names: &[String], others: u64) -> fmt::Result {
    let others = match others {
        0 => None,
        1 => Some("1 other".to_owned()),
        more => Some(format!("{more} others")),
    };
    let parts: Vec<&str> = names.iter().map(String::as_str).chain(others.as_deref()).collect();
    match parts.split_last() {
        None => Ok(()),
        Some((last, [])) => f.write_str(last),
        Some((last, rest)) => write!(f, "{} and {last}", rest.join(", ")),
    }
}

/// The name of a room that we are in.
pub(crate) fn name_of(view: &dyn View, room: &Room, names: &Names, me: UserKey) -> Result<RoomName> {
    let given = state_text(view, room, &StateEventType::RoomName, "name")?;
    let alias = state_text(view, room, &StateEventType::RoomCanonicalAlias, "alias")?;
    if let Some(name) = said(given.as_deref(), alias.as_deref()) {
        return Ok(name);
    }
    let mut people = Vec::new();
    for hero in heroes(view, room, me)? {
        people.push(names.show(view, room, hero)?.name);
    }
    let all = room.record.joined + room.record.invited;
    if all <= 1 {
        return Ok(RoomName::Empty { were: people });
    }
    let others = (all - 1).saturating_sub(people.len() as u64);
    Ok(RoomName::People { names: people, others })
}

/// The name of a room of which we have only a few events without signatures, and the name of who asks us in.
pub(crate) fn stripped_name(state: &[(String, Object)], inviter: &str) -> RoomName {
    let text = |kind: &str, field: &str| {
        state.iter().find(|(other, _)| other == kind).and_then(|(_, content)| string(content, field))
    };
    said(text("m.room.name", "name"), text("m.room.canonical_alias", "alias"))
        .unwrap_or_else(|| RoomName::People { names: vec![inviter.to_owned()], others: 0 })
}

fn said(name: Option<&str>, alias: Option<&str>) -> Option<RoomName> {
    if let Some(name) = name.and_then(readable) {
        return Some(RoomName::Given(name));
    }
    alias.and_then(|alias| RoomAliasId::parse(alias).ok()).map(|alias| RoomName::Alias(alias.to_string()))
}

/// The picture of a room: its own, or in a room that is called by one person that person's.
pub(crate) fn avatar_of(
    view: &dyn View,
    room: &Room,
    names: &Names,
    name: &RoomName,
    me: UserKey,
) -> Result<Option<String>> {
    let own = state_text(view, room, &StateEventType::RoomAvatar, "url")?;
    if own.is_some() {
        return Ok(own);
    }
    match name {
        RoomName::People { names: people, others: 0 } if people.len() == 1 => {
            let hero = heroes(view, room, me)?.into_iter().next();
            Ok(hero.map(|hero| names.show(view, room, hero)).transpose()?.and_then(|shown| shown.avatar))
        }
        _ => Ok(None),
    }
}

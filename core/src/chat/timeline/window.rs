//! Which events of a room a timeline shows: from its end down to a floor, and how far the floor goes down.
//!
//! The floor stays where it is while new events come, so that nothing moves under a reader; only when a window has grown far
//! beyond what was asked for does its floor come up. What lies below it is never read.
//!
//! What is judged here is what can be judged without decrypting. An event that turns out to be no message once it is in clear
//! is left out later.

use std::ops::Bound;

use ruma::{OwnedEventId, events::TimelineEventType};

use crate::{
    rooms::{
        Room,
        relations::{self, Relation},
        visibility::UserSight,
    },
    store::{Esn, Result, Stored, View, id_prefix},
    types::limits::{TIMELINE_HELD_MAX, TIMELINE_LIVE, TIMELINE_SCAN_MAX, TIMELINE_SLACK},
};

/// Which messages of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    /// Those that belong to no thread.
    Main,
    /// Those of one thread, and the message that it started from.
    Thread(OwnedEventId),
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The lowest place, once it is known.
    pub(super) floor: Option<u64>,
    /// How many events were asked for in all.
    pub(super) wanted: usize,
}

/// The events in a window.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Newest first.
    pub(super) events: Vec<Stored>,
    /// The lowest place that was looked at.
    pub(super) floor: Option<u64>,
    /// Whether nothing that is known here lies below.
    pub(super) is_bottom: bool,
}

/// A room's messages for one reader.
pub(super) struct Scan<'a, 'v> {
    pub(super) view: &'v dyn View,
    pub(super) room: &'a Room,
    pub(super) sight: &'a mut UserSight<'v>,
    pub(super) focus: &'a Focus,
}

impl Window {
    /// Somebody who went back reads there, so their window is left alone as long as that can be afforded.
    fn held_max(self) -> usize {
        let is_live = self.wanted == TIMELINE_LIVE;
        if is_live { TIMELINE_LIVE + TIMELINE_SLACK } else { self.wanted.max(TIMELINE_HELD_MAX) + TIMELINE_SLACK }
    }

    /// The events of the window, and the window as it is from now on.
    pub(super) fn read(self, scan: &mut Scan<'_, '_>) -> Result<(Rows, Self)> {
        let mut rows = match self.floor {
            Some(floor) => scan.rows(u64::MAX, floor, usize::MAX)?,
            None => scan.rows(u64::MAX, 0, self.wanted)?,
        };
        if rows.events.len() > self.held_max() {
            rows.events.truncate(self.wanted);
            rows.floor = rows.events.last().map(|stored| stored.header.pos);
            rows.is_bottom = false;
        }
        let floor = rows.floor.or(self.floor);
        Ok((rows, Self { floor, ..self }))
    }
}

impl Scan<'_, '_> {
    /// The messages below a place, down to another or until there are as many as wanted.
    pub(super) fn rows(&mut self, below: u64, floor: u64, wanted: usize) -> Result<Rows> {
        match self.focus.clone() {
            Focus::Main => self.main_rows(below, floor, wanted),
            Focus::Thread(root) => self.thread_rows(&root, below, floor, wanted),
        }
    }

    fn main_rows(&mut self, below: u64, floor: u64, wanted: usize) -> Result<Rows> {
        let mut rows = Rows { is_bottom: true, ..Rows::default() };
        let key = |pos| (self.room.key.0, pos);
        let range = self.view.tl()?.between(Bound::Included(key(floor.min(below))), Bound::Excluded(key(below)))?;
        for (scanned, row) in range.rev().enumerate() {
            if rows.events.len() >= wanted || (scanned >= TIMELINE_SCAN_MAX && wanted != usize::MAX) {
                rows.is_bottom = false;
                return Ok(rows);
            }
            let (key, esn) = row?;
            rows.floor = Some(key.value().1);
            let stored = Stored::must(self.view, esn.value())?;
            if self.is_message(&stored)? && !self.is_threaded(&stored)? {
                rows.events.push(stored);
            }
        }
        rows.is_bottom = self.nothing_below(rows.floor.unwrap_or(floor))?;
        Ok(rows)
    }

    fn nothing_below(&self, pos: u64) -> Result<bool> {
        let key = |pos| (self.room.key.0, pos);
        Ok(self.view.tl()?.between(Bound::Included(key(0)), Bound::Excluded(key(pos)))?.next().is_none())
    }

    fn thread_rows(&mut self, root: &OwnedEventId, below: u64, floor: u64, wanted: usize) -> Result<Rows> {
        let mut rows = Rows::default();
        let Some(prefix) = id_prefix(root) else { return Ok(rows) };
        let range = (floor.min(below), below);
        let children = relations::children_between(self.view, self.room.key, &prefix, relations::Kind::Thread, range)?;
        for child in children.rev() {
            if rows.events.len() >= wanted {
                return Ok(rows);
            }
            let child = child?;
            rows.floor = Some(child.pos);
            let stored = Stored::must(self.view, child.esn)?;
            if self.is_message(&stored)? {
                rows.events.push(stored);
            }
        }
        let start = rows.floor.unwrap_or(below);
        let mut under =
            relations::children_between(self.view, self.room.key, &prefix, relations::Kind::Thread, (0, start))?;
        rows.is_bottom = under.next().is_none();
        if rows.is_bottom
            && let Some(root) = Stored::by_id(self.view, root)?
            && root.header.pos < below
            && self.is_message(&root)?
        {
            rows.floor = Some(root.header.pos.min(rows.floor.unwrap_or(u64::MAX)));
            rows.events.push(root);
        }
        Ok(rows)
    }

    /// Whether an event is shown as itself: not one that only changes or points to another.
    pub(super) fn is_message(&mut self, stored: &Stored) -> Result<bool> {
        if !self.sight.sees(stored)? || is_silent(&stored.pdu.kind) {
            return Ok(false);
        }
        let relation = Relation::of(&stored.pdu);
        let is_about = |kind: &str| relation.as_ref().is_some_and(|relation| relation.rel_type == kind);
        Ok(stored.pdu.is_state() || !["m.replace", "m.annotation", "m.reference"].into_iter().any(is_about))
    }

    /// Whether an event is shown in a thread instead. Not so if the thread's root is not here, for who would find it there?
    fn is_threaded(&self, stored: &Stored) -> Result<bool> {
        match Relation::of(&stored.pdu) {
            Some(relation) if relation.rel_type == "m.thread" && !stored.pdu.is_state() => {
                self.is_here(Stored::find(self.view, &relation.parent)?)
            }
            _ => Ok(false),
        }
    }

    fn is_here(&self, esn: Option<Esn>) -> Result<bool> {
        let header = esn.map(|esn| Stored::header(self.view, esn)).transpose()?.flatten();
        Ok(header.is_some_and(|header| header.pos != 0 && header.room == self.room.key))
    }
}

/// Types that are never shown as themselves: what acts on other events, and what programs say to one another.
pub(crate) fn is_silent(kind: &TimelineEventType) -> bool {
    matches!(kind, TimelineEventType::RoomRedaction | TimelineEventType::Reaction) || is_machine_talk(&kind.to_string())
}

/// What programs say to one another: verification and the setting up of calls.
pub(crate) fn is_machine_talk(kind: &str) -> bool {
    kind.starts_with("m.key.verification.")
        || (kind.starts_with("m.call.") && kind != "m.call.invite")
        || matches!(
            kind,
            "m.poll.response" | "m.poll.end" | "org.matrix.msc3381.poll.response" | "org.matrix.msc3381.poll.end"
        )
}

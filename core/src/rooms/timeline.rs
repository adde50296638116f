//! Reading a room's timeline in pages, both ways, and the tokens that say where a page begins.
//!
//! A token is a place between two events: `t` and the position of the event above it. History that comes later lies below
//! an event that is there already, so a token stays true. A sync token is taken as well, and means the place that the
//! timeline had reached then.
//!
//! A page never leaps over a gap: it ends there and says so, and the caller may fill the gap and read on.

use std::{fmt, ops::Bound, str::FromStr};

use ruma::{OwnedEventId, api::Direction};

use super::{Gap, Room};
use crate::{
    store::{Esn, GapRecord, Header, Record, Result, RoomKey, StoreError, Stored, View},
    types::SyncToken,
};

/// Events that one page looks at. A filter that takes next to nothing then costs many requests instead of one long one.
pub const PAGE_SCAN_MAX: usize = 5_000;

/// A place between two events of a timeline: right before the event at this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point(pub u64);

impl Point {
    /// After everything.
    pub const END: Self = Self(u64::MAX);

    /// Right after the event at a position.
    pub fn after(pos: u64) -> Self {
        Self(pos.saturating_add(1))
    }

    /// The place of a token of either kind.
    ///
    /// # Errors
    /// [`PointError::Malformed`] when no server of this kind made it.
    pub fn parse(view: &dyn View, room: &Room, token: &str) -> Result<Self, PointError> {
        if let Ok(token) = token.parse::<SyncToken>() {
            return Ok(Reached::at(view, room, token)?.point);
        }
        token.parse()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl FromStr for Point {
    type Err = PointError;

    fn from_str(text: &str) -> Result<Self, PointError> {
        let digits = text.strip_prefix('t').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let pos = digits.and_then(|digits| digits.parse().ok());
        pos.map(Self).ok_or_else(|| PointError::Malformed(text.chars().take(64).collect()))
    }
}

/// Why a token gives no place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PointError {
    /// It is none of ours.
    #[error("`{0}` is no token of this server's timelines")]
    Malformed(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a timeline had reached at a place of the log.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Everything below had come by then.
    pub point: Point,
    /// The last event that had, if there was one.
    pub last: Option<Header>,
}

impl Reached {
    /// Looks for it from the end, in steps that double: most tokens are young.
    ///
    /// # Errors
    /// When the database fails.
    pub fn at(view: &dyn View, room: &Room, token: SyncToken) -> Result<Self> {
        // Invariant: `above` came after the token (or is the end), and all events from there on did.
        let mut above = Point::after(room.record.last_pos);
        let mut step = 1;
        // Down, until an event had come already.
        let mut below = loop {
            let to = above.0.saturating_sub(step);
            match live_at_or_below(view, room.key, to)? {
                None => break None,
                Some(header) if header.n <= token.0 => break Some(header),
                Some(header) => above = Point(header.pos),
            }
            step = step.saturating_mul(2);
        };
        // Then halve what lies between.
        loop {
            let floor = below.as_ref().map_or(0, |header| header.pos);
            if above.0 <= floor + 1 {
                break;
            }
            let middle = floor + (above.0 - floor) / 2;
            match live_at_or_below(view, room.key, middle)?.filter(|header| header.pos > floor) {
                Some(header) if header.n <= token.0 => below = Some(header),
                Some(header) => above = Point(header.pos),
                // Nothing live in the lower half: look at the upper one.
                None => match live_above(view, room.key, middle, above.0)? {
                    Some(header) if header.n <= token.0 => below = Some(header),
                    Some(header) => above = Point(header.pos),
                    None => break,
                },
            }
        }
        Ok(Self { point: Point(above.0), last: below })
    }
}

/// The last event at or below a place that came live. History has no place in the log.
fn live_at_or_below(view: &dyn View, room: RoomKey, pos: u64) -> Result<Option<Header>> {
    for row in view.tl()?.between(Bound::Included((room.0, 0)), Bound::Included((room.0, pos)))?.rev() {
        let header = must_header(view, row?.1.value())?;
        if header.n != 0 {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// The first live event above a place and below another.
fn live_above(view: &dyn View, room: RoomKey, pos: u64, end: u64) -> Result<Option<Header>> {
    for row in view.tl()?.between(Bound::Excluded((room.0, pos)), Bound::Excluded((room.0, end)))? {
        let header = must_header(view, row?.1.value())?;
        if header.n != 0 {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

fn must_header(view: &dyn View, esn: Esn) -> Result<Header> {
    Stored::header(view, esn)?.ok_or_else(|| StoreError::Corrupt(format!("event {esn} is missing")))
}

/// Which part of a timeline.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where to begin.
    pub from: Point,
    /// Where to end at the latest: the lower end when reading backwards, the upper one when reading forwards.
    pub to: Point,
    /// How many events at most.
    pub limit: usize,
}

/// A part of a timeline.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events that the caller keeps, in the order of reading.
    pub events: Vec<Stored>,
    /// Where the next page begins.
    pub end: Point,
    /// What stopped the page before its limit and its end.
    pub gap: Option<Gap>,
    /// Whether the timeline goes on beyond `end`, as far as is known here.
    pub more: bool,
}

/// Reads a page. `keep` says which events count.
///
/// # Errors
/// When the database fails.
pub fn page(
    view: &dyn View,
    room: RoomKey,
    direction: Direction,
    span: Span,
    keep: &mut dyn FnMut(&Stored) -> Result<bool>,
) -> Result<Page> {
    match direction {
        Direction::Backward => backward(view, room, span, keep),
        Direction::Forward => forward(view, room, span, keep),
    }
}

fn backward(view: &dyn View, room: RoomKey, span: Span, keep: &mut dyn FnMut(&Stored) -> Result<bool>) -> Result<Page> {
    let mut page = Page { events: Vec::new(), end: span.from, gap: None, more: false };
    let rows = view.tl()?.between(Bound::Included((room.0, span.to.0)), Bound::Excluded((room.0, span.from.0)))?;
    // The first gap at or below where we stand: no event below it may follow.
    let next_gap = gap_at_or_below(view, room, span.from.0)?;
    for (scanned, row) in rows.rev().enumerate() {
        let (key, esn) = row?;
        let pos = key.value().1;
        if next_gap.as_ref().is_some_and(|gap| pos < gap.pos) {
            page.gap = next_gap;
            page.more = true;
            return Ok(page);
        }
        if page.events.len() >= span.limit || scanned >= PAGE_SCAN_MAX {
            page.more = true;
            return Ok(page);
        }
        let stored = Stored::must(view, esn.value())?;
        if keep(&stored)? {
            page.events.push(stored);
        }
        page.end = Point(pos);
    }
    // The gap below the last known event: it matters unless the caller's own end lies above it.
    if let Some(gap) = next_gap.filter(|gap| gap.pos >= span.to.0 && gap.pos == page.end.0) {
        page.more = true;
        page.gap = Some(gap);
    }
    Ok(page)
}

fn forward(view: &dyn View, room: RoomKey, span: Span, keep: &mut dyn FnMut(&Stored) -> Result<bool>) -> Result<Page> {
    let mut page = Page { events: Vec::new(), end: span.from, gap: None, more: false };
    let rows = view.tl()?.between(Bound::Included((room.0, span.from.0)), Bound::Excluded((room.0, span.to.0)))?;
    for (scanned, row) in rows.enumerate() {
        let (key, esn) = row?;
        let pos = key.value().1;
        if page.events.len() >= span.limit || scanned >= PAGE_SCAN_MAX {
            page.more = true;
            return Ok(page);
        }
        // Standing right at a gap we are above it already.
        if pos > span.from.0
            && let Some(gap) = gap_at_or_below(view, room, pos)?.filter(|gap| gap.pos == pos)
        {
            page.end = Point(pos);
            page.gap = Some(gap);
            page.more = true;
            return Ok(page);
        }
        let stored = Stored::must(view, esn.value())?;
        if keep(&stored)? {
            page.events.push(stored);
        }
        page.end = Point::after(pos);
    }
    Ok(page)
}

/// The newest gap at or below a place.
pub(crate) fn gap_at_or_below(view: &dyn View, room: RoomKey, pos: u64) -> Result<Option<Gap>> {
    let mut rows = view.gap()?.between(Bound::Included((room.0, 0)), Bound::Included((room.0, pos)))?;
    let Some(row) = rows.next_back() else { return Ok(None) };
    let (key, value) = row?;
    let missing = GapRecord::decode(value.value())?.missing.into_iter();
    let missing = missing.filter_map(|id| OwnedEventId::try_from(id).ok()).collect();
    Ok(Some(Gap { pos: key.value().1, missing }))
}

/// The event at a place of the timeline or the first above it.
///
/// # Errors
/// When the database fails.
pub fn first_at_or_above(view: &dyn View, room: RoomKey, point: Point) -> Result<Option<Header>> {
    let mut rows = view.tl()?.between(Bound::Included((room.0, point.0)), Bound::Included((room.0, u64::MAX)))?;
    rows.next().map(|row| must_header(view, row?.1.value())).transpose()
}

/// The last event below a place of the timeline.
///
/// # Errors
/// When the database fails.
pub fn last_below(view: &dyn View, room: RoomKey, point: Point) -> Result<Option<Header>> {
    let mut rows = view.tl()?.between(Bound::Included((room.0, 0)), Bound::Excluded((room.0, point.0)))?;
    rows.next_back().map(|row| must_header(view, row?.1.value())).transpose()
}

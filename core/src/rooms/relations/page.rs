//! Pages of an event's children, direct and, if asked for, of theirs. Client-server API, "Relationships API".

use std::{collections::BTreeSet, iter::Peekable};

use ruma::{EventId, api::Direction, events::TimelineEventType};

use super::{Child, Kind, Prefix, Relation, children_between};
use crate::{
    rooms::{
        Room,
        timeline::{PAGE_SCAN_MAX, Point, Span},
        visibility::UserSight,
    },
    store::{Result, RoomKey, Stored, View, id_prefix},
    types::limits,
};

/// Which children.
#[derive(Clone, Debug)]
pub struct RelationQuery<'a> {
    /// Whose.
    pub parent: &'a EventId,
    /// Of one type of relation only.
    pub rel_type: Option<&'a str>,
    /// Of one type of event only.
    pub kind: Option<&'a TimelineEventType>,
    /// The children of children too.
    pub recurse: bool,
    /// Whether the oldest come first.
    pub direction: Direction,
    /// Where the page begins, where it ends at the latest, and how many it holds at most.
    pub span: Span,
}

/// A page of children.
#[derive(Clone, Debug)]
pub struct RelationPage {
    /// The children, in the order of reading.
    pub events: Vec<Stored>,
    /// Where the next page begins, if there is one.
    pub next: Option<Point>,
}

/// Reads a page of what the reader may see. `sight` is the reader's.
///
/// # Errors
/// When the database fails.
pub fn page(
    view: &dyn View,
    room: &Room,
    sight: &mut UserSight<'_>,
    query: &RelationQuery<'_>,
) -> Result<RelationPage> {
    let mut page = RelationPage { events: Vec::new(), next: None };
    let Some(parent) = id_prefix(query.parent) else { return Ok(page) };
    let (low, high) = match query.direction {
        Direction::Forward => (query.span.from.0, query.span.to.0),
        Direction::Backward => (query.span.to.0, query.span.from.0),
    };
    let mut rows: Rows<'_> = if query.recurse {
        let mut found = descendants(view, room.key, parent)?;
        found.retain(|child| (low..high).contains(&child.pos));
        vec![ordered(found.into_iter().map(Ok), query.direction)]
    } else {
        let kinds = query.rel_type.map_or(Kind::ALL.to_vec(), |wanted| vec![Kind::of(wanted)]);
        let rows = kinds
            .into_iter()
            .map(|kind| Ok(ordered(children_between(view, room.key, &parent, kind, (low, high))?, query.direction)));
        rows.collect::<Result<_>>()?
    };
    let mut scanned = 0;
    let mut end = query.span.from;
    while let Some(child) = next(&mut rows, query.direction)? {
        if page.events.len() >= query.span.limit || scanned >= PAGE_SCAN_MAX {
            page.next = Some(end);
            break;
        }
        scanned += 1;
        end = if query.direction == Direction::Forward { Point::after(child.pos) } else { Point(child.pos) };
        let stored = Stored::must(view, child.esn)?;
        if is_wanted(query, &stored) && sight.sees(&stored)? {
            page.events.push(stored);
        }
    }
    Ok(page)
}

fn is_wanted(query: &RelationQuery<'_>, stored: &Stored) -> bool {
    let relation = Relation::of(&stored.pdu);
    let of_type = |wanted: &str| relation.as_ref().is_some_and(|relation| relation.rel_type == wanted);
    query.kind.is_none_or(|kind| stored.pdu.kind == *kind) && query.rel_type.is_none_or(of_type)
}

type Row<'v> = Peekable<Box<dyn Iterator<Item = Result<Child>> + 'v>>;
type Rows<'v> = Vec<Row<'v>>;

fn ordered<'v>(rows: impl DoubleEndedIterator<Item = Result<Child>> + 'v, direction: Direction) -> Row<'v> {
    let rows: Box<dyn Iterator<Item = Result<Child>> + 'v> = match direction {
        Direction::Forward => Box::new(rows),
        Direction::Backward => Box::new(rows.rev()),
    };
    rows.peekable()
}

/// The next child of all rows, which are in order each.
fn next(rows: &mut Rows<'_>, direction: Direction) -> Result<Option<Child>> {
    let mut best: Option<(usize, u64)> = None;
    for (index, row) in rows.iter_mut().enumerate() {
        let pos = match row.peek() {
            None => continue,
            Some(Ok(child)) => child.pos,
            Some(Err(error)) => return Err(error.clone()),
        };
        let is_next = |(_, other): (usize, u64)| match direction {
            Direction::Forward => pos < other,
            Direction::Backward => pos > other,
        };
        if best.is_none_or(is_next) {
            best = Some((index, pos));
        }
    }
    best.and_then(|(index, _)| rows.get_mut(index)?.next()).transpose()
}

/// The children and theirs, as many levels as are asked of us, in the order of the timeline.
fn descendants(view: &dyn View, room: RoomKey, parent: Prefix) -> Result<Vec<Child>> {
    let mut found: Vec<Child> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut level = vec![parent];
    for depth in 0..limits::RELATION_LEVELS_MAX {
        let mut below = Vec::new();
        for parent in level {
            for kind in Kind::ALL {
                for child in children_between(view, room, &parent, kind, (0, u64::MAX))? {
                    let child = child?;
                    if found.len() < PAGE_SCAN_MAX && seen.insert(child.esn) {
                        found.push(child);
                        below.push(child.esn);
                    }
                }
            }
        }
        level = Vec::new();
        if depth + 1 < limits::RELATION_LEVELS_MAX {
            for esn in below {
                let id = Stored::header(view, esn)?.map(|header| header.event_id()).transpose()?;
                level.extend(id.and_then(|id| id_prefix(&id)));
            }
        }
    }
    found.sort_by_key(|child| child.pos);
    Ok(found)
}

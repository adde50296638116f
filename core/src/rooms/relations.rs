//! Relations between events: edits, reactions, threads, references. Client-server API, "Forming relationships between
//! events".
//!
//! A child names its parent in the clear part of its content, also when it is encrypted, so the index is made of what every
//! server can read. It goes by the parent's id: a child that comes before its parent is found by it later. Each row has a
//! place on the timeline, so children come in its order, and pages of them have the timeline's own tokens.
//!
//! Invariants: an event is in the index while it is on the timeline, has a well-formed `m.relates_to` with a `rel_type`, and
//! is not redacted. Whether a relation keeps the rules of its type (an edit by somebody else) is for the reader to judge.
//! Deliberately absent: replies, which have no `rel_type`.

mod bundle;
mod page;

use std::ops::Bound;

use ruma::{EventId, OwnedEventId};
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use self::bundle::aggregations;
pub use self::page::{RelationPage, RelationQuery, page};
use super::{Room, error::RoomError, threads};
use crate::{
    event::Pdu,
    store::{Esn, Header, Result, RoomKey, Stored, UserKey, View, WriteTx, id_prefix},
    types::limits,
};

/// What an event says of its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `rel_type`.
    pub rel_type: String,
    /// The parent.
    pub parent: OwnedEventId,
    /// `key`, of annotations.
    pub key: Option<String>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: &'a RawValue,
}

#[derive(Deserialize)]
struct RelatesTo<'a> {
    rel_type: String,
    event_id: OwnedEventId,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
}

impl Relation {
    /// The relation of an event, if it has a well-formed one.
    pub fn of(pdu: &Pdu) -> Option<Self> {
        Self::of_content(&pdu.content)
    }

    /// The relation that a content says, if it is well-formed.
    pub(crate) fn of_content(content: &RawValue) -> Option<Self> {
        let content = content.get();
        // Canonical JSON escapes nothing here, and most events have none: a search is cheaper than a parser.
        if !content.contains("\"m.relates_to\"") {
            return None;
        }
        let content: Content<'_> = serde_json::from_str(content).ok()?;
        let relates_to: RelatesTo<'_> = serde_json::from_str(content.relates_to.get()).ok()?;
        let RelatesTo { rel_type, event_id: parent, key } = relates_to;
        let key = key.and_then(|key| serde_json::from_str(key.get()).ok());
        let is_fit = !rel_type.is_empty() && rel_type.len() <= limits::ID_BYTES_MAX;
        is_fit.then_some(Self { rel_type, parent, key })
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::of(&self.rel_type)
    }
}

/// The types of relation that are looked for by their type. The byte of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// `m.replace`.
    Replace = 1,
    /// `m.annotation`.
    Annotation = 2,
    /// `m.thread`.
    Thread = 3,
    /// `m.reference`.
    Reference = 4,
    /// All others.
    Other = 5,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Replace, Self::Annotation, Self::Thread, Self::Reference, Self::Other];

    fn of(rel_type: &str) -> Self {
        match rel_type {
            "m.replace" => Self::Replace,
            "m.annotation" => Self::Annotation,
            "m.thread" => Self::Thread,
            "m.reference" => Self::Reference,
            _ => Self::Other,
        }
    }
}

/// A row of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    pub(crate) pos: u64,
    pub(crate) esn: Esn,
    pub(crate) sender: UserKey,
    pub(crate) ts: u64,
}

/// The first bytes of the hash in an event's id, by which its children are found.
pub(crate) type Prefix = [u8; 16];

/// The children of one kind between two places, the upper one excluded.
pub(crate) fn children_between<'v>(
    view: &'v dyn View,
    room: RoomKey,
    parent: &Prefix,
    kind: Kind,
    (from, to): (u64, u64),
) -> Result<impl DoubleEndedIterator<Item = Result<Child>> + 'v> {
    let key = |pos| (room.0, parent, kind as u8, pos);
    // A range that ends before it begins holds nothing, and redb does not want to hear of it.
    let rows = view.rel()?.between(Bound::Included(key(from.min(to))), Bound::Excluded(key(to)))?;
    Ok(rows.map(|row| {
        let (key, value) = row?;
        let (esn, sender, ts) = value.value();
        Ok(Child { pos: key.value().3, esn, sender: UserKey(sender), ts })
    }))
}

/// All children of one kind.
pub(crate) fn children_of<'v>(
    view: &'v dyn View,
    room: RoomKey,
    parent: &Prefix,
    kind: Kind,
) -> Result<impl DoubleEndedIterator<Item = Result<Child>> + 'v> {
    children_between(view, room, parent, kind, (0, u64::MAX))
}

/// The children of an event in the order of the timeline, each with the type of its relation: all, or those of one type.
/// What was redacted is no child any more. Who may see which of them is not asked here.
///
/// # Errors
/// When the database fails.
pub fn children(view: &dyn View, parent: Esn, rel_type: Option<&str>) -> Result<Vec<(String, Esn)>> {
    let Some(header) = Stored::header(view, parent)? else { return Ok(Vec::new()) };
    let Some(prefix) = id_prefix(&header.event_id()?) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for kind in Kind::ALL {
        if rel_type.is_some_and(|wanted| Kind::of(wanted) != kind) {
            continue;
        }
        for child in children_of(view, header.room, &prefix, kind)? {
            let child = child?;
            let relation = Relation::of(&Stored::must(view, child.esn)?.pdu);
            let kept = relation.filter(|relation| rel_type.is_none_or(|wanted| wanted == relation.rel_type));
            found.extend(kept.map(|relation| (child.pos, relation.rel_type, child.esn)));
        }
    }
    found.sort_by_key(|(pos, _, _)| *pos);
    Ok(found.into_iter().map(|(_, rel_type, esn)| (rel_type, esn)).collect())
}

/// Follows an event that got its place on the timeline.
pub(super) fn note(tx: &mut WriteTx<'_>, room: RoomKey, esn: Esn, header: &Header, pdu: &Pdu) -> Result<()> {
    let Some(relation) = Relation::of(pdu) else { return Ok(()) };
    let Some(prefix) = id_prefix(&relation.parent) else { return Ok(()) };
    let kind = relation.kind();
    if kind == Kind::Thread {
        threads::grew(tx, room, &prefix, header.pos)?;
    }
    let row = (esn, header.sender.0, pdu.origin_server_ts.0);
    tx.write().rel.insert((room.0, &prefix, kind as u8, header.pos), row)?;
    Ok(())
}

/// Breaks the relation of an event that is about to lose its content.
pub(super) fn forget(tx: &mut WriteTx<'_>, target: &Stored) -> Result<()> {
    let Some(relation) = Relation::of(&target.pdu).filter(|_| target.header.pos != 0) else { return Ok(()) };
    let Some(prefix) = id_prefix(&relation.parent) else { return Ok(()) };
    let (room, pos, kind) = (target.header.room, target.header.pos, relation.kind());
    tx.write().rel.remove((room.0, &prefix, kind as u8, pos))?;
    if kind == Kind::Thread {
        threads::shrank(tx, room, &prefix, pos)?;
    }
    Ok(())
}

/// Whether the relation of a new event of our own may be: not the same reaction twice, and no thread from within a relation.
/// Client-server API, "Avoiding duplicate annotations" and "Validation of `m.thread` relationships".
pub(super) fn check_new(view: &dyn View, room: &Room, pdu: &Pdu) -> Result<(), RoomError> {
    let Some(relation) = Relation::of(pdu).filter(|_| !pdu.is_state()) else { return Ok(()) };
    match relation.kind() {
        Kind::Thread => {
            let root = Stored::by_id(view, &relation.parent)?.filter(|root| root.header.room == room.key);
            if root.is_some_and(|root| Relation::of(&root.pdu).is_some()) {
                let why = "a thread cannot start from an event that relates to another";
                return Err(RoomError::BadRelation(why.into()));
            }
            Ok(())
        }
        Kind::Annotation if is_repeated(view, room, pdu, &relation)? => {
            Err(RoomError::DuplicateAnnotation(relation.parent))
        }
        _ => Ok(()),
    }
}

fn is_repeated(view: &dyn View, room: &Room, pdu: &Pdu, relation: &Relation) -> Result<bool> {
    let Some(sender) = UserKey::find(view, &pdu.sender)? else { return Ok(false) };
    let Some(prefix) = id_prefix(&relation.parent) else { return Ok(false) };
    for child in children_of(view, room.key, &prefix, Kind::Annotation)?.rev().take(limits::AGGREGATED_CHILDREN_MAX) {
        let child = child?;
        if child.sender != sender {
            continue;
        }
        let sent = Stored::must(view, child.esn)?.pdu;
        if sent.kind == pdu.kind && Relation::of(&sent).as_ref() == Some(relation) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an event has children at all.
fn has_children(view: &dyn View, room: RoomKey, id: &EventId) -> Result<Option<Prefix>> {
    let Some(prefix) = id_prefix(id) else { return Ok(None) };
    let (from, to) = ((room.0, &prefix, 0, 0), (room.0, &prefix, u8::MAX, u64::MAX));
    let any = view.rel()?.between(Bound::Included(from), Bound::Included(to))?.next().transpose()?.is_some();
    Ok(any.then_some(prefix))
}

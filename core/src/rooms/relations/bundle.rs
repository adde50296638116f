//! Bundled aggregations: what a client is told of an event's children beside the event. Client-server API, "Aggregations of
//! child events".
//!
//! Edits give the newest that counts, threads their last event and how many there are, references their ids. Annotations are
//! left to the client, as the specification says. Children that the reader may not see, or whose sender they ignore, do not
//! count.

use serde_json::{Map, Value, json, value::RawValue};

use super::{Child, Kind, Prefix, Relation, children_of, has_children};
use crate::{
    rooms::{
        show::{Depth, Reader},
        visibility::UserSight,
    },
    store::{Result, Stored, View},
    types::limits,
};

/// The aggregations of an event for one reader; `None` if there are none.
pub(in crate::rooms) fn aggregations(
    reader: &Reader<'_>,
    view: &dyn View,
    sight: &mut UserSight<'_>,
    stored: &Stored,
) -> Result<Option<Map<String, Value>>> {
    // Client-server API: state events do not currently receive bundled aggregations.
    if stored.header.ssk.is_some() {
        return Ok(None);
    }
    let Some(prefix) = has_children(view, stored.header.room, &stored.pdu.event_id)? else { return Ok(None) };
    let own = Relation::of(&stored.pdu);
    let mut bundle = Map::new();
    if own.as_ref().is_none_or(|own| own.kind() != Kind::Replace)
        && let Some(edit) = edit(view, sight, stored, &prefix)?
    {
        bundle.insert("m.replace".into(), value(&reader.show_at(Depth::Bare, view, sight, &edit)?));
    }
    // No thread starts from within a relation, which also keeps this from going round in circles.
    if own.is_none()
        && let Some(thread) = thread(reader, view, sight, stored, &prefix)?
    {
        bundle.insert("m.thread".into(), thread);
    }
    let references = references(view, sight, stored, &prefix)?;
    if !references.is_empty() {
        bundle.insert("m.reference".into(), json!({ "chunk": references }));
    }
    Ok((!bundle.is_empty()).then_some(bundle))
}

/// The edit that counts. Client-server API, "Event replacements".
fn edit(view: &dyn View, sight: &mut UserSight<'_>, stored: &Stored, prefix: &Prefix) -> Result<Option<Stored>> {
    if stored.header.flags.redacted {
        return Ok(None);
    }
    let mut edits: Vec<Child> = Vec::new();
    let rows = children_of(view, stored.header.room, prefix, Kind::Replace)?;
    for child in rows.rev().take(limits::AGGREGATED_CHILDREN_MAX) {
        edits.extend(Some(child?).filter(|child| child.sender == stored.header.sender));
    }
    edits.sort_by_key(|child| std::cmp::Reverse(child.ts));
    let mut best: Option<Stored> = None;
    for child in edits.into_iter().take(limits::EDITS_TRIED_MAX) {
        if best.as_ref().is_some_and(|best| best.pdu.origin_server_ts.0 > child.ts) {
            break;
        }
        let edit = Stored::must(view, child.esn)?;
        let is_newer = best.as_ref().is_none_or(|best| edit.pdu.event_id > best.pdu.event_id);
        if is_newer && is_valid_edit(&edit, stored) && sight.sees(&edit)? {
            best = Some(edit);
        }
    }
    Ok(best)
}

fn is_valid_edit(edit: &Stored, of: &Stored) -> bool {
    let is_encrypted = edit.pdu.kind.to_string() == "m.room.encrypted";
    let content = edit.pdu.content_as::<Map<String, Value>>();
    let has_content = content.is_ok_and(|content| content.get("m.new_content").is_some_and(Value::is_object));
    edit.pdu.kind == of.pdu.kind && edit.header.ssk.is_none() && (is_encrypted || has_content)
}

fn thread(
    reader: &Reader<'_>,
    view: &dyn View,
    sight: &mut UserSight<'_>,
    root: &Stored,
    prefix: &Prefix,
) -> Result<Option<Value>> {
    let all_visible = sight.sees_whole_room()?;
    let (mut latest, mut count, mut participated) = (None, 0_u64, root.header.sender == reader.user);
    let rows = children_of(view, root.header.room, prefix, Kind::Thread)?;
    for child in rows.rev().take(limits::AGGREGATED_CHILDREN_MAX) {
        let child = child?;
        participated |= child.sender == reader.user;
        if sight.ignores(child.sender) {
            continue;
        }
        if latest.is_none() || !all_visible {
            let stored = Stored::must(view, child.esn)?;
            if !sight.sees(&stored)? {
                continue;
            }
            latest = latest.or(Some(stored));
        }
        count += 1;
    }
    let Some(latest) = latest else { return Ok(None) };
    let latest = value(&reader.show_at(Depth::Bundled, view, sight, &latest)?);
    Ok(Some(json!({ "latest_event": latest, "count": count, "current_user_participated": participated })))
}

fn references(view: &dyn View, sight: &mut UserSight<'_>, stored: &Stored, prefix: &Prefix) -> Result<Vec<Value>> {
    let mut chunk = Vec::new();
    for child in children_of(view, stored.header.room, prefix, Kind::Reference)?.take(limits::REFERENCES_SHOWN_MAX) {
        let child = Stored::must(view, child?.esn)?;
        if sight.sees(&child)? {
            chunk.push(json!({ "event_id": child.pdu.event_id }));
        }
    }
    Ok(chunk)
}

fn value(raw: &RawValue) -> Value {
    // What is raw was written here.
    serde_json::from_str(raw.get()).unwrap_or_default()
}

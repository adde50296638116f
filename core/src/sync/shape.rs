//! The shape of events that a client asked for: `event_format` and `event_fields`. Client-server API, "Filtering".

use ruma::api::client::filter::{EventFormat, FilterDefinition};
use serde_json::{Map, Value, value::RawValue};

use crate::store::Stored;

/// How events are handed out.
#[derive(Debug)]
pub(super) struct Shape {
    /// As servers send them to one another.
    is_federation: bool,
    /// The paths of the fields to keep; `None` for all.
    fields: Option<Vec<Vec<String>>>,
}

impl Shape {
    pub(super) fn of(filter: &FilterDefinition) -> Self {
        let fields = filter.event_fields.as_ref().map(|fields| fields.iter().map(|field| path(field)).collect());
        Self { is_federation: filter.event_format == EventFormat::Federation, fields }
    }

    /// An event, given as clients usually get it.
    pub(super) fn cut(&self, stored: &Stored, event: Box<RawValue>) -> Box<RawValue> {
        let event = if self.is_federation { stored.pdu.json().to_owned() } else { event };
        let Some(fields) = &self.fields else { return event };
        // What is raw was written here.
        let whole: Value = serde_json::from_str(event.get()).unwrap_or_default();
        let mut kept = Map::new();
        for field in fields {
            copy(&whole, field, &mut kept);
        }
        serde_json::value::to_raw_value(&kept).unwrap_or(event)
    }
}

/// The names on a dot-separated path. Appendices, "Dot-separated property paths".
fn path(field: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut letters = field.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = letters.next_if(|next| letter == '\\' && matches!(next, '.' | '\\'));
        if letter == '.' {
            names.push(String::new());
        } else if let Some(name) = names.last_mut() {
            name.push(escaped.unwrap_or(letter));
        }
    }
    names
}

fn copy(from: &Value, path: &[String], to: &mut Map<String, Value>) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(value) = from.get(name) else { return };
    if rest.is_empty() {
        to.insert(name.clone(), value.clone());
    } else if value.is_object() {
        let inner = to.entry(name).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(inner) = inner {
            copy(value, rest, inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_split_at_dots_that_are_not_escaped() {
        for (field, names) in [
            ("type", vec!["type"]),
            ("content.body", vec!["content", "body"]),
            (r"content.m\.relates_to.key", vec!["content", "m.relates_to", "key"]),
            (r"content.m\\foo", vec!["content", r"m\foo"]),
            (r"a\x.b", vec![r"a\x", "b"]),
            ("", vec![""]),
        ] {
            assert_eq!(path(field), names, "{field}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_kept() {
        let event = json!({ "type": "t", "content": { "body": "b", "m.x": { "y": 1, "z": 2 } }, "sender": "s" });
        let kept = |fields: &[&str]| {
            let mut kept = Map::new();
            for field in fields {
                copy(&event, &path(field), &mut kept);
            }
            Value::Object(kept)
        };
        assert_eq!(kept(&["type", r"content.m\.x.y"]), json!({ "type": "t", "content": { "m.x": { "y": 1 } } }));
        assert_eq!(kept(&["content.body", "content"]), json!({ "content": event["content"] }));
        assert_eq!(kept(&["content", "content.body"]), json!({ "content": event["content"] }));
        assert_eq!(kept(&["sender.x", "none", "content.none.x"]), json!({ "content": {} }));
    }
}

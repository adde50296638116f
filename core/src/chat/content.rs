//! Contents of events as anybody may have written them: fields of the right type are read, all else is as if absent.

use serde_json::{Map, Value, value::RawValue};

/// A content.
pub(crate) type Object = Map<String, Value>;

/// A content, empty if it is no object.
pub(crate) fn object(content: &RawValue) -> Object {
    serde_json::from_str(content.get()).unwrap_or_default()
}

/// A text in a content.
pub(crate) fn string<'a>(content: &'a Object, field: &str) -> Option<&'a str> {
    content.get(field)?.as_str()
}

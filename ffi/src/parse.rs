//! Texts that an app hands in, as Matrix identifiers, each with a sentence that says what is wrong with it.

use hearth_core::types::{OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, OwnedUserId};

use crate::error::NodeError;

/// Characters of a wrong text that are shown in the sentence about it.
const SHOWN_CHARS_MAX: usize = 80;

fn parsed<T>(text: &str, what: &str) -> Result<T, NodeError>
where
    T: for<'a> TryFrom<&'a str>,
{
    T::try_from(text).map_err(|_| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        NodeError::invalid(format!("`{shown}` is no {what}"))
    })
}

pub(crate) fn user_id(text: &str) -> Result<OwnedUserId, NodeError> {
    parsed(text, "user id, which looks like @ana:server")
}

pub(crate) fn user_ids(texts: &[String]) -> Result<Vec<OwnedUserId>, NodeError> {
    texts.iter().map(|text| user_id(text)).collect()
}

pub(crate) fn room_id(text: &str) -> Result<OwnedRoomId, NodeError> {
    parsed(text, "room id, which begins with !")
}

pub(crate) fn alias_or_room(text: &str) -> Result<OwnedRoomOrAliasId, NodeError> {
    parsed(text, "room id or address, which begins with ! or #")
}

pub(crate) fn event_id(text: &str) -> Result<OwnedEventId, NodeError> {
    parsed(text, "event id, which begins with $")
}

pub(crate) fn servers(texts: &[String]) -> Result<Vec<OwnedServerName>, NodeError> {
    texts.iter().map(|text| parsed(text, "server name")).collect()
}

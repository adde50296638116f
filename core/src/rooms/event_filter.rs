//! Which events a client asked for: a `RoomEventFilter` made ready for many events.
//!
//! Client-server API, "Filtering". Wildcards stand for any run of characters in types. Deliberately absent: lazy loading,
//! which is about the state beside a timeline, and is asked for with [`EventFilter::lazy_members`].

use ruma::{
    RoomId,
    api::client::filter::{LazyLoadOptions, RoomEventFilter, UrlFilter},
};

use crate::{event::Pdu, types::limits};

/// A filter over the events of rooms.
#[derive(Clone, Copy, Debug)]
pub struct EventFilter<'a>(pub &'a RoomEventFilter);

impl EventFilter<'_> {
    /// Whether the filter takes events of a room at all.
    pub fn takes_room(&self, room: &RoomId) -> bool {
        let listed = self.0.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|id| id == room));
        listed && !self.0.not_rooms.iter().any(|id| id == room)
    }

    /// Whether the filter takes events of a type.
    pub fn takes_type(&self, kind: &str) -> bool {
        takes_type(self.0.types.as_deref(), &self.0.not_types, kind)
    }

    /// Whether the filter takes what nobody sent (receipts, account data) of a type in a room. Such events have no sender, so
    /// a list of senders takes none of them.
    pub fn takes_unsent(&self, room: &RoomId, kind: &str) -> bool {
        self.0.senders.is_none() && self.takes_room(room) && self.takes_type(kind)
    }

    /// Whether the filter takes an event.
    pub fn takes(&self, pdu: &Pdu) -> bool {
        let sender = &pdu.sender;
        let listed = self.0.senders.as_ref().is_none_or(|senders| senders.contains(sender));
        listed
            && !self.0.not_senders.contains(sender)
            && self.takes_type(&pdu.kind.to_string())
            && self.takes_room(&pdu.room_id)
            && self.takes_content(pdu)
    }

    fn takes_content(&self, pdu: &Pdu) -> bool {
        let Some(wanted) = self.0.url_filter else { return true };
        let content = pdu.content_as::<serde_json::Map<String, serde_json::Value>>();
        let has_url = content.is_ok_and(|content| content.get("url").is_some_and(serde_json::Value::is_string));
        has_url == (wanted == UrlFilter::EventsWithUrl)
    }

    /// Whether member events come only for those who speak.
    pub fn lazy_members(&self) -> bool {
        self.0.lazy_load_options != LazyLoadOptions::Disabled
    }

    /// How many events a page may hold.
    pub fn limit(&self, default: usize) -> usize {
        let limit = self.0.limit.map_or(default, |limit| usize::try_from(u64::from(limit)).unwrap_or(usize::MAX));
        limit.min(limits::PAGE_EVENTS_MAX)
    }
}

/// Whether lists of wanted and unwanted types take a type.
pub fn takes_type(types: Option<&[String]>, not_types: &[String], kind: &str) -> bool {
    let listed = types.is_none_or(|types| types.iter().any(|pattern| matches(pattern, kind)));
    listed && !not_types.iter().any(|pattern| matches(pattern, kind))
}

/// Whether a pattern with `*` matches the whole text. Linear in the text for each star, so no pattern blows up.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        // The earliest place leaves the most for what follows.
        let Some((_, after)) = text.split_once(piece) else { return false };
        text = after;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, text, expected) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("m.room.*", "m.room.member", true),
            ("m.room.*", "m.reaction", false),
            ("*", "anything", true),
            ("*", "", true),
            ("m.*.message", "m.room.message", true),
            ("m.*.message", "m.room.member", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}

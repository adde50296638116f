//! Contents of messages that a person writes. Client-server API, "`m.room.message`", "Rich replies", "Threading", "Event
//! replacements", "Event annotations and reactions", "User and room mentions".

use std::collections::BTreeSet;

use ruma::{EventId, OwnedEventId, OwnedUserId};
use serde_json::{Value, json, value::RawValue};

use super::{ChatError, content::Object, timeline::TextStyle};
use crate::types::limits::MESSAGE_BYTES_MAX;

/// A text to be sent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TextMessage {
    /// In plain words.
    pub body: String,
    /// In HTML.
    pub formatted: Option<String>,
    /// How it is meant.
    pub style: TextStyle,
    /// Whom it is to reach in particular.
    pub mentions: Mentions,
    /// What it answers.
    pub reply_to: Option<OwnedEventId>,
}

/// Whom a message is to reach in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// These people.
    pub users: BTreeSet<OwnedUserId>,
    /// Everybody in the room.
    pub room: bool,
}

impl TextMessage {
    /// A plain text.
    pub fn plain(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

impl std::fmt::Debug for TextMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What somebody wrote stays out of logs.
        f.debug_struct("TextMessage").field("style", &self.style).finish_non_exhaustive()
    }
}

/// Where in a thread a message goes.
#[derive(Clone, Debug)]
pub(crate) struct ThreadPlace {
    /// The thread's root.
    pub(crate) root: OwnedEventId,
    /// The last message in it, for clients that know no threads.
    pub(crate) latest: OwnedEventId,
}

impl Mentions {
    fn content(&self) -> Value {
        let mut mentions = Object::new();
        if !self.users.is_empty() {
            mentions.insert("user_ids".into(), json!(self.users));
        }
        if self.room {
            mentions.insert("room".into(), json!(true));
        }
        Value::Object(mentions)
    }

    /// The mentions in somebody's content.
    pub(crate) fn of(content: &Object) -> Self {
        let mentions = content.get("m.mentions").and_then(Value::as_object);
        let users = mentions.and_then(|mentions| mentions.get("user_ids")).and_then(Value::as_array);
        let users = users.into_iter().flatten().filter_map(|user| OwnedUserId::try_from(user.as_str()?).ok()).collect();
        let room = mentions.and_then(|mentions| mentions.get("room")).and_then(Value::as_bool).unwrap_or_default();
        Self { users, room }
    }

    /// Those that are not among earlier ones: who was reached already is not called twice.
    fn beyond(&self, earlier: &Self) -> Self {
        Self { users: self.users.difference(&earlier.users).cloned().collect(), room: self.room && !earlier.room }
    }
}

/// The content of a text.
pub(crate) fn text(message: &TextMessage, thread: Option<&ThreadPlace>) -> Result<Box<RawValue>, ChatError> {
    let mut content = words(message);
    let relates_to = relates_to(message.reply_to.as_deref(), thread);
    if !relates_to.is_empty() {
        content.insert("m.relates_to".into(), Value::Object(relates_to));
    }
    raw(&Value::Object(content))
}

/// The content of an edit. `before` is what the message said last.
pub(crate) fn edit(target: &EventId, message: &TextMessage, before: &Object) -> Result<Box<RawValue>, ChatError> {
    let new = words(message);
    let mut content = new.clone();
    let star = |text: &str| format!("* {text}");
    content.insert("body".into(), json!(star(&message.body)));
    if let Some(formatted) = &message.formatted {
        content.insert("formatted_body".into(), json!(star(formatted)));
    }
    content.insert("m.mentions".into(), message.mentions.beyond(&Mentions::of(before)).content());
    content.insert("m.new_content".into(), Value::Object(new));
    content.insert("m.relates_to".into(), json!({ "rel_type": "m.replace", "event_id": target }));
    raw(&Value::Object(content))
}

/// The content of a reaction.
pub(crate) fn reaction(target: &EventId, key: &str) -> Result<Box<RawValue>, ChatError> {
    raw(&json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": target, "key": key } }))
}

/// `m.relates_to` of a message in a thread, or that answers another one; empty for what does neither.
pub(crate) fn relates_to(reply_to: Option<&EventId>, thread: Option<&ThreadPlace>) -> Object {
    let mut relates_to = Object::new();
    if let Some(ThreadPlace { root, latest }) = thread {
        relates_to.insert("rel_type".into(), json!("m.thread"));
        relates_to.insert("event_id".into(), json!(root));
        relates_to.insert("is_falling_back".into(), json!(reply_to.is_none()));
        relates_to.insert("m.in_reply_to".into(), json!({ "event_id": reply_to.unwrap_or(latest) }));
    } else if let Some(reply_to) = reply_to {
        relates_to.insert("m.in_reply_to".into(), json!({ "event_id": reply_to }));
    }
    relates_to
}

fn words(message: &TextMessage) -> Object {
    let msgtype = match message.style {
        TextStyle::Text => "m.text",
        TextStyle::Notice => "m.notice",
        TextStyle::Emote => "m.emote",
    };
    let mut content = Object::new();
    content.insert("msgtype".into(), json!(msgtype));
    content.insert("body".into(), json!(message.body));
    if let Some(formatted) = &message.formatted {
        content.insert("format".into(), json!("org.matrix.custom.html"));
        content.insert("formatted_body".into(), json!(formatted));
    }
    content.insert("m.mentions".into(), message.mentions.content());
    content
}

fn raw(content: &Value) -> Result<Box<RawValue>, ChatError> {
    let content = serde_json::value::to_raw_value(content)
        .map_err(|error| ChatError::Invalid(format!("this cannot be sent: {error}")))?;
    check_size(&content)?;
    Ok(content)
}

/// Refuses what cannot fit into an event, encrypted or not, before it is queued.
///
/// # Errors
/// [`ChatError::TooLarge`].
pub(crate) fn check_size(content: &RawValue) -> Result<(), ChatError> {
    let bytes = content.get().len();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(ChatError::TooLarge(format!("the message has {bytes} bytes; the limit is {MESSAGE_BYTES_MAX}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ruma::{event_id, user_id};

    use super::*;

    fn value(content: &RawValue) -> Value {
        serde_json::from_str(content.get()).unwrap()
    }

    #[test]
    fn replies_and_threads_say_what_they_relate_to() {
        let plain = TextMessage::plain("hello");
        assert_eq!(
            value(&text(&plain, None).unwrap()),
            json!({ "msgtype": "m.text", "body": "hello", "m.mentions": {} })
        );
        let reply = TextMessage { reply_to: Some(event_id!("$a").to_owned()), ..plain.clone() };
        assert_eq!(
            value(&text(&reply, None).unwrap())["m.relates_to"],
            json!({ "m.in_reply_to": { "event_id": "$a" } })
        );
        let place = ThreadPlace { root: event_id!("$root").to_owned(), latest: event_id!("$last").to_owned() };
        assert_eq!(
            value(&text(&plain, Some(&place)).unwrap())["m.relates_to"],
            json!({
                "rel_type": "m.thread", "event_id": "$root", "is_falling_back": true,
                "m.in_reply_to": { "event_id": "$last" },
            })
        );
        assert_eq!(
            value(&text(&reply, Some(&place)).unwrap())["m.relates_to"],
            json!({
                "rel_type": "m.thread", "event_id": "$root", "is_falling_back": false,
                "m.in_reply_to": { "event_id": "$a" },
            })
        );
    }

    #[test]
    fn an_edit_calls_only_whom_the_original_did_not() {
        let (alice, bob) = (user_id!("@alice:a").to_owned(), user_id!("@bob:b").to_owned());
        let before = json!({ "body": "hi alice", "m.mentions": { "user_ids": [alice] } });
        let mentions = Mentions { users: BTreeSet::from([alice.clone(), bob.clone()]), room: false };
        let message = TextMessage { mentions, formatted: Some("<b>hi</b>".into()), ..TextMessage::plain("hi both") };
        let edit = value(&edit(event_id!("$a"), &message, before.as_object().unwrap()).unwrap());
        assert_eq!(edit["m.mentions"], json!({ "user_ids": [bob] }));
        assert_eq!(edit["m.new_content"]["m.mentions"], json!({ "user_ids": [alice, bob] }));
        assert_eq!(edit["body"], "* hi both");
        assert_eq!(edit["formatted_body"], "* <b>hi</b>");
        assert_eq!(edit["m.new_content"]["body"], "hi both");
        assert_eq!(edit["m.relates_to"], json!({ "rel_type": "m.replace", "event_id": "$a" }));
        assert!(edit["m.new_content"].get("m.relates_to").is_none());
    }

    #[test]
    fn what_fits_no_event_is_refused_at_once() {
        let long = TextMessage::plain("x".repeat(MESSAGE_BYTES_MAX));
        assert!(matches!(text(&long, None), Err(ChatError::TooLarge(_))));
    }
}

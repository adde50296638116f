//! What a message says, from its content in clear. What is malformed is shown as far as it can be, or as unsupported.

use ruma::{OwnedEventId, OwnedUserId, events::StateEventType};
use serde_json::{Value, value::RawValue};

use super::{
    item::{ItemContent, MembershipChange, TextStyle},
    window::is_machine_talk,
};
use crate::{
    chat::{
        attachment::Attachment,
        content::{Object, object, string},
        names::{Names, readable},
        reading::{Look, Opened},
    },
    rooms::Room,
    store::{Result, Standing, Stored, UserKey},
};

/// The type of message that asks for a verification in a room.
const VERIFICATION_REQUEST: &str = "m.key.verification.request";

/// What a message says; `None` for what is not shown as itself. `is_reply` takes off the quotation that older clients put
/// before their answer.
pub(crate) fn message(opened: &Opened, is_reply: bool) -> Option<ItemContent> {
    spoken(&opened.kind, &opened.content, is_reply)
}

/// As [`message`], from a type and a content.
pub(crate) fn spoken(kind: &str, content: &RawValue, is_reply: bool) -> Option<ItemContent> {
    if is_machine_talk(kind) || kind == "m.reaction" {
        return None;
    }
    let content = object(content);
    let body = string(&content, "body");
    let unsupported =
        |kind: &str| ItemContent::Unsupported { kind: kind.to_owned(), fallback: body.map(str::to_owned) };
    if !matches!(kind, "m.room.message" | "m.sticker") {
        return Some(unsupported(kind));
    }
    let msgtype = string(&content, "msgtype").unwrap_or_default();
    let style = match msgtype {
        "m.text" => TextStyle::Text,
        "m.notice" => TextStyle::Notice,
        "m.emote" => TextStyle::Emote,
        VERIFICATION_REQUEST => return None,
        _ => {
            let fallback = unsupported(if msgtype.is_empty() { kind } else { msgtype });
            let media = Attachment::from_content(kind, &Value::Object(content.clone()));
            return Some(media.map_or(fallback, ItemContent::Media));
        }
    };
    let Some(body) = body else { return Some(unsupported(msgtype)) };
    let body = if is_reply { without_quotation(body) } else { body.to_owned() };
    Some(ItemContent::Text { body, formatted: formatted(&content, is_reply), style })
}

fn formatted(content: &Object, is_reply: bool) -> Option<String> {
    let html =
        string(content, "formatted_body").filter(|_| string(content, "format") == Some("org.matrix.custom.html"))?;
    let rest = html.strip_prefix("<mx-reply>").filter(|_| is_reply).and_then(|rest| rest.split_once("</mx-reply>"));
    Some(rest.map_or(html, |(_, rest)| rest).to_owned())
}

/// Client-server API, "Rich replies": lines that begin with `> `, and the empty one behind them.
fn without_quotation(body: &str) -> String {
    let mut rest = body;
    while rest.starts_with("> ") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    let is_cut = rest.len() != body.len();
    rest.strip_prefix('\n').filter(|_| is_cut).unwrap_or(rest).to_owned()
}

/// What an edit says instead of the original; `None` if it is no edit.
pub(crate) fn replacement(content: &RawValue) -> Option<Box<RawValue>> {
    #[derive(serde::Deserialize)]
    struct Edit {
        #[serde(rename = "m.new_content")]
        new_content: Box<RawValue>,
    }
    let new = serde_json::from_str::<Edit>(content.get()).ok()?.new_content;
    new.get().starts_with('{').then_some(new)
}

/// What an event answers.
pub(crate) fn reply_to(content: &RawValue) -> Option<OwnedEventId> {
    #[derive(serde::Deserialize)]
    struct Content<'a> {
        #[serde(borrow, rename = "m.relates_to")]
        relates_to: &'a RawValue,
    }
    let content: Content<'_> = serde_json::from_str(content.get()).ok()?;
    answered(content.relates_to)
}

/// What is answered by an event with this `m.relates_to`.
pub(crate) fn answered(relates_to: &RawValue) -> Option<OwnedEventId> {
    #[derive(serde::Deserialize)]
    struct RelatesTo {
        rel_type: Option<String>,
        #[serde(default)]
        is_falling_back: bool,
        #[serde(rename = "m.in_reply_to")]
        in_reply_to: InReplyTo,
    }
    #[derive(serde::Deserialize)]
    struct InReplyTo {
        event_id: OwnedEventId,
    }
    let relates_to: RelatesTo = serde_json::from_str(relates_to.get()).ok()?;
    // In a thread the reply may only be there for clients that know no threads.
    let is_fallback = relates_to.is_falling_back && relates_to.rel_type.as_deref() == Some("m.thread");
    (!is_fallback).then_some(relates_to.in_reply_to.event_id)
}

/// What a state event says; `None` if it says nothing new.
pub(crate) fn state(look: &Look<'_>, room: &Room, names: &Names, stored: &Stored) -> Result<Option<ItemContent>> {
    let content = object(&stored.pdu.content);
    let kind = stored.pdu.kind.to_string();
    let state_key = stored.pdu.state_key.clone().unwrap_or_default();
    if kind == "m.room.member" {
        let Ok(user) = OwnedUserId::try_from(state_key) else { return Ok(None) };
        return membership(look, room, names, stored, user, &content);
    }
    let field = match StateEventType::from(kind.as_str()) {
        StateEventType::RoomName => "name",
        StateEventType::RoomTopic => "topic",
        StateEventType::RoomAvatar => "url",
        StateEventType::RoomCanonicalAlias => "alias",
        StateEventType::RoomJoinRules => "join_rule",
        StateEventType::RoomHistoryVisibility => "history_visibility",
        StateEventType::RoomGuestAccess => "guest_access",
        StateEventType::RoomEncryption => "algorithm",
        StateEventType::RoomTombstone => "body",
        StateEventType::RoomCreate => "room_version",
        _ => return Ok(Some(ItemContent::State { kind, state_key, text: None })),
    };
    let text = string(&content, field).map(str::to_owned);
    Ok(Some(ItemContent::State { kind, state_key, text }))
}

fn membership(
    look: &Look<'_>,
    room: &Room,
    names: &Names,
    stored: &Stored,
    user: OwnedUserId,
    content: &Object,
) -> Result<Option<ItemContent>> {
    let Some(key) = UserKey::find(look.view, &user)? else { return Ok(None) };
    let before = member_before(look, stored)?;
    let old = before.as_ref().map(|before| object(&before.pdu.content)).unwrap_or_default();
    let change = change(stored, before.as_ref(), &old, content, user == stored.pdu.sender);
    if change == MembershipChange::Other {
        return Ok(None);
    }
    let name = names.show(look.view, room, key)?.name;
    let reason = string(content, "reason").map(str::to_owned);
    Ok(Some(ItemContent::Membership { user, name, change, reason }))
}

/// The member event that one took the place of. The state before history is not known; but what allowed the event names it.
fn member_before(look: &Look<'_>, stored: &Stored) -> Result<Option<Stored>> {
    if !stored.header.flags.history {
        let Some(ssk) = stored.header.ssk else { return Ok(None) };
        let before = stored.header.before.entry(look.view, stored.header.room, ssk)?;
        return before.map(|esn| Stored::must(look.view, esn)).transpose();
    }
    for id in &stored.pdu.auth_events {
        if let Some(event) = Stored::by_id(look.view, id)?
            && event.pdu.kind == stored.pdu.kind
            && event.pdu.state_key == stored.pdu.state_key
        {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

fn standing(stored: &Stored) -> Standing {
    stored.pdu.membership().as_ref().and_then(Standing::of).unwrap_or(Standing::Leave)
}

fn change(
    stored: &Stored,
    before: Option<&Stored>,
    old: &Object,
    new: &Object,
    by_themselves: bool,
) -> MembershipChange {
    use MembershipChange as C;
    use Standing::{Ban, Invite, Join, Knock, Leave};
    let text = |content: &Object, field: &str| string(content, field).and_then(readable);
    match (before.map_or(Leave, standing), standing(stored)) {
        (Join, Join) if text(old, "displayname") != text(new, "displayname") => {
            C::NameChanged { from: text(old, "displayname"), to: text(new, "displayname") }
        }
        (Join, Join) if text(old, "avatar_url") != text(new, "avatar_url") => C::AvatarChanged,
        (Join, Join) | (Leave, Leave) | (Ban, Ban) | (Invite, Invite) | (Knock, Knock) => C::Other,
        (_, Join) => C::Joined,
        (_, Invite) => C::Invited,
        (_, Ban) => C::Banned,
        (_, Knock) => C::Knocked,
        (Invite, Leave) if by_themselves => C::InviteDeclined,
        (Invite, Leave) => C::InviteWithdrawn,
        (Knock, Leave) if by_themselves => C::KnockWithdrawn,
        (Knock, Leave) => C::KnockDenied,
        (Ban, Leave) => C::Unbanned,
        (Join, Leave) if by_themselves => C::Left,
        (Join, Leave) => C::Kicked,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;

    fn said(content: Value, is_reply: bool) -> Option<ItemContent> {
        spoken("m.room.message", &to_raw_value(&content).unwrap(), is_reply)
    }

    fn text(body: &str, formatted: Option<&str>) -> Option<ItemContent> {
        Some(ItemContent::Text { body: body.into(), formatted: formatted.map(str::to_owned), style: TextStyle::Text })
    }

    #[test]
    fn the_quotation_of_older_clients_goes_from_answers_only() {
        let body = "> <@bob:b> one\n> two\n\nyes";
        let html = "<mx-reply><blockquote>one</blockquote></mx-reply><b>yes</b>";
        let content = json!({
            "msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html,
        });
        assert_eq!(said(content.clone(), true), text("yes", Some("<b>yes</b>")));
        assert_eq!(said(content, false), text(body, Some(html)));
        assert_eq!(said(json!({ "msgtype": "m.text", "body": "\nno" }), true), text("\nno", None));
        assert_eq!(said(json!({ "msgtype": "m.text", "body": "> all" }), true), text("", None));
    }

    #[test]
    fn what_is_malformed_or_unknown_says_what_it_can() {
        let unsupported = |kind: &str, fallback: Option<&str>| {
            Some(ItemContent::Unsupported { kind: kind.into(), fallback: fallback.map(str::to_owned) })
        };
        assert_eq!(said(json!({ "msgtype": "m.text", "body": 5 }), false), unsupported("m.text", None));
        assert_eq!(
            said(json!({ "msgtype": "m.location", "body": "here" }), false),
            unsupported("m.location", Some("here"))
        );
        assert_eq!(
            said(json!({ "msgtype": "m.image", "body": "no place" }), false),
            unsupported("m.image", Some("no place"))
        );
        assert_eq!(said(json!([]), false), unsupported("m.room.message", None));
        assert_eq!(said(json!({ "msgtype": "m.key.verification.request", "body": "verify" }), false), None);
        let formatted_only = json!({ "msgtype": "m.text", "body": "b", "formatted_body": "<b>b</b>" });
        assert_eq!(said(formatted_only, false), text("b", None), "a format that nobody names is none");
    }

    #[test]
    fn an_edit_has_new_content() {
        let raw = |value: Value| to_raw_value(&value).unwrap();
        assert!(replacement(&raw(json!({ "body": "* b" }))).is_none());
        assert!(replacement(&raw(json!({ "m.new_content": "b" }))).is_none());
        let new = replacement(&raw(json!({ "m.new_content": { "body": "b" } }))).unwrap();
        assert_eq!(new.get(), r#"{"body":"b"}"#);
    }
}

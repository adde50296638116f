//! Asking a user's push rules about an event.
//!
//! The rules are parsed once and kept with the engine until they change. What they look at is cut down first, because ruma's
//! matching costs stack and memory in ways that a hostile event could exhaust: of a long text rules see the beginning, and
//! fields under long names not at all (see the limits).
//!
//! Invariant: a rule that cannot be asked, whatever the reason, notifies of nothing. It never keeps an event out of a room.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::FutureExt;
use ruma::{
    OwnedRoomId, OwnedUserId, UInt,
    events::AnyTimelineEvent,
    push::{
        AnyPushRuleRef, FlattenedJson, FlattenedJsonValue, PushCondition, PushConditionPowerLevelsCtx,
        PushConditionRoomCtx, Ruleset,
    },
    serde::Raw,
};
use serde_json::{Map, Value, json, value::RawValue};

use super::{PUSH_RULES, account_data, rules};
use crate::{
    event::Pdu,
    store::{Result, UserKey, View, WriteTx},
    types::limits,
    users::{account_data::IGNORED_USER_LIST, ignored},
};

/// How an event notifies a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// It is to stand out.
    pub highlight: bool,
    /// It makes a sound.
    pub sound: bool,
}

/// Someone whose rules are asked.
#[derive(Debug)]
pub struct Listener {
    user: OwnedUserId,
    rules: Ruleset,
    ignored: BTreeSet<OwnedUserId>,
    /// When the rules and the ignored users were changed last.
    of: (u64, u64),
    asks_name: bool,
    asks_levels: bool,
}

/// An event as rules look at it.
#[derive(Debug)]
pub struct Heard {
    json: FlattenedJson,
    sender: OwnedUserId,
    mentions_room: bool,
}

/// The room around the event. What a listener does not ask about may be left out.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which.
    pub room: OwnedRoomId,
    /// Joined members.
    pub members: u64,
    /// The listener's name in it.
    pub name: Option<String>,
    /// Its power levels.
    pub levels: Option<PushConditionPowerLevelsCtx>,
}

/// Who was asked before.
#[derive(Default)]
struct Kept(BTreeMap<UserKey, Arc<Listener>>);

/// A listener, read anew if their rules changed.
///
/// # Errors
/// When the database fails.
pub fn listener(tx: &mut WriteTx<'_>, user: UserKey) -> Result<Arc<Listener>> {
    let of = changed_at(tx, user)?;
    if let Some(kept) = tx.kept::<Kept>().0.get(&user)
        && kept.of == of
    {
        return Ok(kept.clone());
    }
    let listener = Arc::new(Listener::read(tx, user, of)?);
    let kept = &mut tx.kept::<Kept>().0;
    // All at once rather than one by one: who is in use comes back with the next event.
    if kept.len() >= limits::LISTENERS_KEPT_MAX {
        kept.clear();
    }
    kept.insert(user, listener.clone());
    Ok(listener)
}

fn changed_at(view: &dyn View, user: UserKey) -> Result<(u64, u64)> {
    let changed = |kind| account_data::changed_at(view, user, None, kind);
    Ok((changed(PUSH_RULES)?, changed(IGNORED_USER_LIST)?))
}

impl Listener {
    /// A listener who is asked once or twice, out of any view.
    ///
    /// # Errors
    /// When the database fails.
    pub fn of(view: &dyn View, user: UserKey) -> Result<Self> {
        Self::read(view, user, changed_at(view, user)?)
    }

    fn read(view: &dyn View, user: UserKey, of: (u64, u64)) -> Result<Self> {
        let rules = rules(view, user)?;
        let (mut asks_name, mut asks_levels) = (false, false);
        for rule in rules.iter() {
            let (AnyPushRuleRef::Override(conditional) | AnyPushRuleRef::Underride(conditional)) = rule else {
                continue;
            };
            for condition in &conditional.conditions {
                asks_name |= condition.kind() == "contains_display_name";
                asks_levels |=
                    !conditional.default && matches!(condition, PushCondition::SenderNotificationPermission(_));
            }
        }
        Ok(Self { user: user.id(view)?, rules, ignored: ignored::of(view, user)?, of, asks_name, asks_levels })
    }

    /// Whether the rules may ask for the listener's name in the room.
    pub fn asks_name(&self) -> bool {
        self.asks_name
    }

    /// Whether the rules may ask for the room's power levels.
    pub fn asks_levels(&self, event: &Heard) -> bool {
        // The server's own rule asks only after an event that means everybody.
        self.asks_levels || event.mentions_room
    }

    /// Whether and how an event notifies the listener.
    pub fn judge(&self, event: &Heard, setting: Setting) -> Option<Notice> {
        if event.sender == self.user || self.ignored.contains(&event.sender) {
            return None;
        }
        let asked = catch_unwind(AssertUnwindSafe(|| self.matching(event, setting)));
        let rule = asked.unwrap_or_else(|_| {
            tracing::error!(user = %self.user, "a push rule could not be asked");
            None
        })?;
        let notice = Notice { highlight: rule.triggers_highlight(), sound: rule.triggers_sound().is_some() };
        rule.triggers_notification().then_some(notice)
    }

    fn matching(&self, event: &Heard, setting: Setting) -> Option<AnyPushRuleRef<'_>> {
        let name = setting.name.filter(|name| name.len() <= limits::PUSH_PATTERN_BYTES_MAX);
        let members = UInt::new_saturating(setting.members);
        let mut context = PushConditionRoomCtx::new(setting.room, members, self.user.clone(), name.unwrap_or_default());
        context.power_levels = setting.levels;
        // Nothing in a rule waits for anything, so each answers at once.
        let applies =
            |rule: &AnyPushRuleRef<'_>| rule.applies(&event.json, &context).now_or_never().unwrap_or_default();
        self.rules.iter().filter(|rule| rule.enabled()).find(applies)
    }
}

impl Heard {
    /// An event, cut down to what rules may look at.
    pub fn of(pdu: &Pdu) -> Self {
        Self::in_clear(pdu, &pdu.kind.to_string(), &pdu.content)
    }

    /// As [`Heard::of`], with the type and the content that an encrypted event has in clear.
    pub fn in_clear(pdu: &Pdu, kind: &str, content: &RawValue) -> Self {
        let mut event = Map::new();
        let is_long = content.get().len() > limits::PUSH_TEXT_BYTES_MAX;
        let mut content = serde_json::from_str::<Value>(content.get()).unwrap_or_default();
        if is_long {
            cut(&mut content, "content".len());
        }
        event.insert("content".into(), content);
        event.insert("event_id".into(), json!(pdu.event_id));
        event.insert("room_id".into(), json!(pdu.room_id));
        event.insert("sender".into(), json!(pdu.sender));
        event.insert("type".into(), json!(kind));
        if let Some(key) = &pdu.state_key {
            event.insert("state_key".into(), json!(key));
        }
        let event = serde_json::value::to_raw_value(&event).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let json = FlattenedJson::from_raw(&Raw::<AnyTimelineEvent>::from_json(event));
        let mentions_room = json.get(r"content.m\.mentions.room").and_then(FlattenedJsonValue::as_bool) == Some(true);
        Self { json, sender: pdu.sender.clone(), mentions_room }
    }
}

/// Cuts long texts off, and takes away what lies too deep or under too long a name.
fn cut(value: &mut Value, path_bytes: usize) {
    match value {
        Value::String(text) => {
            let end = text.floor_char_boundary(limits::PUSH_TEXT_BYTES_MAX);
            text.truncate(end);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| cut(item, path_bytes)),
        Value::Object(fields) => {
            fields.retain(|name, _| path_bytes + name.len() < limits::PUSH_PATH_BYTES_MAX);
            fields.iter_mut().for_each(|(name, field)| cut(field, path_bytes + name.len() + 1));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hostile_is_cut_and_the_rest_stays() {
        let long = "b".repeat(limits::PUSH_TEXT_BYTES_MAX) + "é";
        let mut value = json!({ "body": long, "a": { "b".repeat(600): 1, "c": [long, 2] }, "n": null });
        cut(&mut value, 7);
        assert_eq!(value["body"].as_str().unwrap().len(), limits::PUSH_TEXT_BYTES_MAX);
        assert_eq!(value["a"].as_object().unwrap().len(), 1);
        assert_eq!(value["a"]["c"][0].as_str().unwrap().len(), limits::PUSH_TEXT_BYTES_MAX);
        assert_eq!((&value["a"]["c"][1], &value["n"]), (&json!(2), &Value::Null));
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!({ "ten-bytes-": deep });
        }
        cut(&mut deep, 0);
        let mut levels = 0;
        while let Some(inner) = deep.get("ten-bytes-") {
            (deep, levels) = (inner.clone(), levels + 1);
        }
        assert_eq!(levels, 46);
    }
}

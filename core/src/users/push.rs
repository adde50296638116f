//! Push rules: which events a user wants to be notified of, and how. Client-server API, "Push Rules".
//!
//! They are kept as the account data `m.push_rules`. The server's own rules are not: they are put in when the rules are
//! read, with what the user changed about them, so that a newer Hearth brings its own. The rules and their conditions are
//! ruma's; what is here bounds them, keeps them, and asks them (`judge`).
//!
//! Deliberately absent: pushers. A phone is its own homeserver and needs no gateway to wake it.

mod judge;

use ruma::push::{
    Action, AnyPushRule, InsertPushRuleError, NewPushRule, PushCondition, RemovePushRuleError, RuleKind, Ruleset,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::judge::{Heard, Listener, Notice, Setting, listener};
use super::account_data::{self, AccountDataError, PUSH_RULES};
use crate::{
    store::{Result, StoreError, UserKey, View, WriteTx},
    types::limits,
};

/// Why push rules could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// There is no such rule.
    #[error("there is no such push rule")]
    NotFound,
    /// The rule's id is not one that a user can give.
    #[error("{0}")]
    BadRule(String),
    /// The rule's place among the others cannot be found.
    #[error("{0}")]
    BadPlace(String),
    /// The server's own rules stay.
    #[error("the server's own rules cannot be deleted; disable the rule instead")]
    ServerDefault,
    /// There are too many.
    #[error("there are {} push rules of your own, which is the limit", limits::PUSH_RULES_MAX)]
    TooMany,
    /// The rules would be too large.
    #[error(transparent)]
    Content(AccountDataError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize, Serialize)]
struct Content {
    global: Ruleset,
}

/// A user's rules, the server's own among them.
///
/// # Errors
/// When the database fails.
pub fn rules(view: &dyn View, user: UserKey) -> Result<Ruleset> {
    let own = Ruleset::server_default(&user.id(view)?);
    let Some(content) = account_data::get(view, user, None, PUSH_RULES)? else { return Ok(own) };
    let Ok(Content { mut global }) = serde_json::from_str::<Content>(content.get()) else { return Ok(own) };
    global.update_with_server_default(own);
    Ok(global)
}

/// The content of `m.push_rules`, also for a user who never changed a rule.
///
/// # Errors
/// When the database fails.
pub fn content(view: &dyn View, user: UserKey) -> Result<Box<RawValue>> {
    let content = Content { global: rules(view, user)? };
    serde_json::value::to_raw_value(&content).map_err(|error| StoreError::Corrupt(format!("push rules: {error}")))
}

/// Adds a rule, or changes the one of that id. A new one is enabled, and the most important of its kind unless it is placed.
///
/// # Errors
/// See [`PushError`].
pub fn insert(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    rule: NewPushRule,
    after: Option<&str>,
    before: Option<&str>,
) -> Result<(), PushError> {
    let rule = checked(rule)?;
    change(tx, user, |rules| {
        let (kind, id) = (rule.kind(), rule.rule_id().to_owned());
        if [after, before].contains(&Some(&*id)) {
            return Err(PushError::BadPlace("a rule has no place beside itself".into()));
        }
        let enabled = rules.get(kind.clone(), &id).is_none_or(|old| old.enabled());
        if after.is_some() || before.is_some() {
            // A rule that moves is taken out first: ruma would count its old place among the others.
            match rules.remove(kind.clone(), &id) {
                Ok(()) | Err(RemovePushRuleError::NotFound) => {}
                Err(_) => return Err(PushError::BadRule("the server's own rules keep their place".into())),
            }
        }
        rules.insert(rule, after, before).map_err(|error| match error {
            InsertPushRuleError::ServerDefaultRuleId | InsertPushRuleError::InvalidRuleId => {
                PushError::BadRule(error.to_string())
            }
            _ => PushError::BadPlace(error.to_string()),
        })?;
        rules.set_enabled(kind, &id, enabled).map_err(|_| PushError::NotFound)?;
        if rules.iter().filter(|rule| !rule.is_server_default()).count() > limits::PUSH_RULES_MAX {
            return Err(PushError::TooMany);
        }
        Ok(())
    })
}

/// Takes a rule of the user's own away.
///
/// # Errors
/// See [`PushError`].
pub fn remove(tx: &mut WriteTx<'_>, user: UserKey, kind: RuleKind, id: &str) -> Result<(), PushError> {
    change(tx, user, |rules| {
        rules.remove(kind, id).map_err(|error| match error {
            RemovePushRuleError::ServerDefault => PushError::ServerDefault,
            _ => PushError::NotFound,
        })
    })
}

/// Enables or disables a rule.
///
/// # Errors
/// See [`PushError`].
pub fn set_enabled(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    kind: RuleKind,
    id: &str,
    enabled: bool,
) -> Result<(), PushError> {
    change(tx, user, |rules| rules.set_enabled(kind, id, enabled).map_err(|_| PushError::NotFound))
}

/// Changes what a rule does.
///
/// # Errors
/// See [`PushError`].
pub fn set_actions(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    kind: RuleKind,
    id: &str,
    actions: Vec<Action>,
) -> Result<(), PushError> {
    let actions = without_historical(actions);
    check_size(&actions)?;
    change(tx, user, |rules| rules.set_actions(kind, id, actions).map_err(|_| PushError::NotFound))
}

/// One of a user's rules.
///
/// # Errors
/// [`PushError::NotFound`], and the store's.
pub fn rule(view: &dyn View, user: UserKey, kind: RuleKind, id: &str) -> Result<AnyPushRule, PushError> {
    let rules = rules(view, user)?;
    rules.get(kind, id).map(ruma::push::AnyPushRuleRef::to_owned).ok_or(PushError::NotFound)
}

fn change(
    tx: &mut WriteTx<'_>,
    user: UserKey,
    how: impl FnOnce(&mut Ruleset) -> Result<(), PushError>,
) -> Result<(), PushError> {
    let mut global = rules(tx, user)?;
    how(&mut global)?;
    let content = serde_json::to_string(&Content { global })
        .map_err(|error| StoreError::Corrupt(format!("push rules: {error}")))?;
    match account_data::put(tx, user, None, PUSH_RULES, &content) {
        Ok(_) => Ok(()),
        Err(AccountDataError::Store(error)) => Err(error.into()),
        Err(error) => Err(PushError::Content(error)),
    }
}

/// Bounds a rule, and frees it of what older clients write and nobody may heed.
fn checked(mut rule: NewPushRule) -> Result<NewPushRule, PushError> {
    let id = rule.rule_id();
    if id.is_empty() || id.len() > limits::ID_BYTES_MAX {
        return Err(PushError::BadRule(format!("a rule's id has 1 to {} bytes", limits::ID_BYTES_MAX)));
    }
    let (actions, conditions) = match &mut rule {
        NewPushRule::Override(rule) | NewPushRule::Underride(rule) => (&mut rule.actions, rule.conditions.as_slice()),
        NewPushRule::Content(rule) => {
            check_pattern(&rule.pattern)?;
            (&mut rule.actions, [].as_slice())
        }
        NewPushRule::Room(rule) => (&mut rule.actions, [].as_slice()),
        NewPushRule::Sender(rule) => (&mut rule.actions, [].as_slice()),
        _ => return Err(PushError::BadRule("there is no such kind of rule".into())),
    };
    for condition in conditions {
        if let PushCondition::EventMatch(condition) = condition {
            check_pattern(&condition.pattern)?;
        }
    }
    check_size(&conditions)?;
    *actions = without_historical(std::mem::take(actions));
    check_size(actions)?;
    Ok(rule)
}

fn check_pattern(pattern: &str) -> Result<(), PushError> {
    if pattern.len() > limits::PUSH_PATTERN_BYTES_MAX {
        return Err(PushError::BadRule(format!("a pattern has at most {} bytes", limits::PUSH_PATTERN_BYTES_MAX)));
    }
    Ok(())
}

fn check_size(part: &impl Serialize) -> Result<(), PushError> {
    let bytes = serde_json::to_vec(part).map_or(usize::MAX, |json| json.len());
    if bytes > limits::PUSH_RULE_BYTES_MAX {
        return Err(PushError::BadRule(format!("a push rule has at most {} bytes", limits::PUSH_RULE_BYTES_MAX)));
    }
    Ok(())
}

/// Client-server API, "Historical Actions".
fn without_historical(actions: Vec<Action>) -> Vec<Action> {
    let is_historical = |action: &Action| {
        let json = serde_json::to_value(action).unwrap_or_default();
        matches!(json.as_str(), Some("dont_notify" | "coalesce"))
    };
    actions.into_iter().filter(|action| !is_historical(action)).collect()
}

//! Whom a user ignores: `m.ignored_user_list`. Client-server API, "Ignoring Users".
//!
//! A client writes the list as any other account data, so it may hold anything; what is no user id is passed over.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::account_data::{self, IGNORED_USER_LIST};
use crate::{
    store::{Result, UserKey, View},
    types::limits,
};

#[derive(Deserialize)]
struct Content {
    ignored_users: Map<String, Value>,
}

/// The users that a user ignores.
///
/// # Errors
/// When the database fails.
pub fn of(view: &dyn View, user: UserKey) -> Result<BTreeSet<OwnedUserId>> {
    let Some(content) = account_data::get(view, user, None, IGNORED_USER_LIST)? else { return Ok(BTreeSet::new()) };
    let Ok(content) = serde_json::from_str::<Content>(content.get()) else { return Ok(BTreeSet::new()) };
    let users = content.ignored_users.into_iter().filter_map(|(user, _)| UserId::parse(user).ok());
    Ok(users.take(limits::IGNORED_USERS_MAX).collect())
}

/// Those of them that are known here at all.
///
/// # Errors
/// When the database fails.
pub fn known(view: &dyn View, user: UserKey) -> Result<BTreeSet<UserKey>> {
    let mut known = BTreeSet::new();
    for ignored in of(view, user)? {
        known.extend(UserKey::find(view, &ignored)?);
    }
    Ok(known)
}

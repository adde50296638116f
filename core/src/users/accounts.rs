//! Accounts: who lives on this homeserver.
//!
//! An account is never deleted, only deactivated, so that a name never comes to mean another person. A user who is merely
//! mentioned by a room has a number but no account.

use std::ops::Bound;

use ruma::{OwnedUserId, ServerName, UserId};

use crate::{
    home::Home,
    store::{AccountRecord, Record, Result, StoreError, UserKey, View, WriteTx},
    types::{Millis, limits},
};

/// Characters of a localpart that we choose: 62 bits in `[a-z0-9]`.
const RANDOM_LOCALPART_CHARS: usize = 12;

/// Why an account could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The name is taken, now or once.
    #[error("{0} is taken; choose another name")]
    InUse(OwnedUserId),
    /// This homeserver holds as many accounts as it may.
    #[error("this homeserver has {} accounts, which is its limit", limits::ACCOUNTS_MAX)]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The user id that a new account with this name gets, or `None` for a name that the grammar refuses.
///
/// Capitals become small letters, as people type them at the start of a name; beyond that the strict grammar holds.
/// Appendices, "User Identifiers".
pub fn new_user_id(server: &ServerName, username: &str) -> Option<OwnedUserId> {
    let user = UserId::parse(format!("@{}:{server}", username.to_ascii_lowercase())).ok()?;
    // A colon in the name would move the boundary to the server name, and the id would be another server's.
    (user.validate_strict().is_ok() && user.server_name() == server).then_some(user)
}

/// A user id for someone who named none.
pub fn random_user_id(home: &Home) -> OwnedUserId {
    let name = home.ports.random.token(RANDOM_LOCALPART_CHARS);
    // Letters and digits are all of the strict grammar.
    new_user_id(home.server_name(), &name).unwrap_or_else(|| unreachable!("letters and digits make a user id"))
}

/// The account of a user of this server.
///
/// # Errors
/// When the database fails.
pub fn find(view: &dyn View, user: UserKey) -> Result<Option<AccountRecord>> {
    let Some(row) = view.account()?.row(user.0)? else { return Ok(None) };
    AccountRecord::decode(row.value()).map(Some)
}

/// The account of a user id, with its number.
///
/// # Errors
/// When the database fails.
pub fn find_by_id(view: &dyn View, user: &UserId) -> Result<Option<(UserKey, AccountRecord)>> {
    let Some(key) = UserKey::find(view, user)? else { return Ok(None) };
    Ok(find(view, key)?.map(|account| (key, account)))
}

/// Makes an account.
///
/// # Errors
/// See [`CreateError`].
pub fn create(
    tx: &mut WriteTx<'_>,
    user: &UserId,
    password: Option<&str>,
    now: Millis,
) -> Result<UserKey, CreateError> {
    if find_by_id(tx, user)?.is_some() {
        return Err(CreateError::InUse(user.to_owned()));
    }
    if tx.account()?.between(Bound::Unbounded, Bound::Unbounded)?.count() >= limits::ACCOUNTS_MAX {
        return Err(CreateError::Full);
    }
    let key = UserKey::intern(tx, user)?;
    let account = AccountRecord { password: password.map(str::to_owned), created: now.0, deactivated: false };
    put(tx, key, &account)?;
    Ok(key)
}

/// Gives an account another password. Nothing happens to an account that is not there.
///
/// # Errors
/// When the database fails.
pub fn set_password(tx: &mut WriteTx<'_>, user: UserKey, password: &str) -> Result<()> {
    let Some(mut account) = find(tx, user)? else { return Ok(()) };
    account.password = Some(password.to_owned());
    put(tx, user, &account)
}

/// Closes an account for good: its password, sessions, keys, filters, account data and profile go, its name stays taken.
///
/// The user's rooms are not left here; that sends events, which is the rooms' business.
///
/// # Errors
/// When the database fails.
pub fn deactivate(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    let Some(account) = find(tx, user)? else { return Ok(()) };
    put(tx, user, &AccountRecord { password: None, deactivated: true, ..account })?;
    super::sessions::close_all(tx, user, None)?;
    crate::keys::forget_user(tx, user)?;
    super::filters::remove_all(tx, user)?;
    super::account_data::remove_all(tx, user)?;
    super::profiles::remove(tx, user)
}

fn put(tx: &mut WriteTx<'_>, user: UserKey, account: &AccountRecord) -> Result<()> {
    let bytes = account.encode()?;
    tx.write().account.insert(user.0, bytes.as_slice())?;
    Ok(())
}

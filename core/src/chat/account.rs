//! The account and the device that the client speaks for, made in our own homeserver at the first start.
//!
//! The account has no password and the device no token: nobody logs in to it, this client is in the same process. Another
//! client can be given a token for the same account and is another device of it.
//!
//! Invariant: account, device and the note of which device it is are one commit, so every later start finds all or nothing.

use ruma::OwnedUserId;

use super::{Chat, ChatConfig, ChatError};
use crate::{
    home::Home,
    keys::Actor,
    store::{StoreError, UserKey, View, WriteTx},
    types::Millis,
    users::{
        accounts::{self, CreateError},
        profiles::{self, ProfileError},
        sessions::{self, OpenError},
    },
};

/// Characters of the device id: 52 bits.
const DEVICE_CHARS: usize = 10;

/// What the first start makes, drawn outside of the transaction.
#[derive(Clone, Debug)]
struct New {
    user: OwnedUserId,
    device: String,
    display_name: Option<String>,
    device_name: Option<String>,
    now: Millis,
}

/// Finds the account and its device, or makes what is missing of them.
///
/// # Errors
/// [`ChatError::Invalid`] for a name that no account can have, and for an account that was closed; the store's.
pub(super) async fn open(home: &Home, config: &ChatConfig) -> Result<Actor, ChatError> {
    let user = accounts::new_user_id(home.server_name(), &config.localpart);
    let user =
        user.ok_or_else(|| ChatError::Invalid(format!("`{}` cannot be the name of an account", config.localpart)))?;
    let new = New {
        user,
        device: home.ports.random.token(DEVICE_CHARS).to_ascii_uppercase(),
        display_name: config.display_name.clone(),
        device_name: config.device_name.clone(),
        now: home.now(),
    };
    home.store.write(move |tx| open_in(tx, &new)).await
}

impl Chat {
    /// A token with which another client on this phone logs in to the account, once and within a few minutes
    /// (`m.login.token`). It is a device of its own then.
    pub fn login_token(&self) -> String {
        self.inner.home.make_login_token(self.inner.me.user_key)
    }
}

fn open_in(tx: &mut WriteTx<'_>, new: &New) -> Result<Actor, ChatError> {
    let key = match accounts::find_by_id(tx, &new.user)? {
        Some((_, account)) if account.deactivated => {
            return Err(ChatError::Invalid(format!("the account {} was closed for good", new.user)));
        }
        Some((key, _)) => key,
        None => create(tx, new)?,
    };
    let device = match known_device(tx, key)? {
        Some(device) => device,
        None => {
            tx.write().chat_device.insert(key.0, new.device.as_bytes()).map_err(StoreError::from)?;
            new.device.clone()
        }
    };
    // One that was logged out by another client comes back: this client cannot be parted from its device.
    let added = sessions::add_device(tx, key, &device, new.device_name.as_deref(), new.now);
    added.map_err(|error| match error {
        OpenError::Store(error) => error.into(),
        error @ OpenError::TooManyDevices => ChatError::Invalid(error.to_string()),
    })?;
    Ok(Actor { user: new.user.clone(), user_key: key, device: device.into() })
}

fn create(tx: &mut WriteTx<'_>, new: &New) -> Result<UserKey, ChatError> {
    let key = accounts::create(tx, &new.user, None, new.now).map_err(|error| match error {
        CreateError::Store(error) => ChatError::from(error),
        error => ChatError::Invalid(error.to_string()),
    })?;
    if let Some(name) = &new.display_name {
        profiles::set(tx, key, "displayname", Some(name.as_str().into())).map_err(|error| match error {
            ProfileError::Store(error) => ChatError::from(error),
            error => ChatError::Invalid(error.to_string()),
        })?;
    }
    Ok(key)
}

fn known_device(view: &dyn View, user: UserKey) -> Result<Option<String>, StoreError> {
    let Some(row) = view.chat_device()?.row(user.0)? else { return Ok(None) };
    let device = String::from_utf8(row.value().to_vec());
    device.map(Some).map_err(|_| StoreError::Corrupt("the id of the client's device is no text".into()))
}

//! The people whom the person knows: added by a contact URI or a QR code, listed, blocked, removed.
//!
//! A contact is who, under which name, and where their homeserver was last said to be. It lies sealed, one row for each.
//! Blocking is Matrix's own `m.ignored_user_list`, so other clients of the account see and change the same list.
//! Client-server API, "Ignoring Users".

use std::{collections::BTreeSet, ops::Bound};

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Chat, ChatError, Inner};
use crate::{
    store::{Record, StoreError, UserKey, View},
    types::{Millis, limits},
    users::{account_data, ignored},
};

/// What the vault calls the rows.
const TABLE: &str = "contact";

/// Somebody whom the person knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub user: OwnedUserId,
    /// The name that the person gave them.
    pub name: Option<String>,
    /// Where their homeserver may be: multiaddresses, as the contact URI told them.
    pub addresses: Vec<String>,
    /// When they were added.
    pub added: Millis,
    /// Whether the person wants to hear nothing of them.
    pub blocked: bool,
}

#[derive(Serialize, Deserialize)]
struct ContactRecord {
    name: Option<String>,
    addresses: Vec<String>,
    added: u64,
}

impl Record for ContactRecord {}

impl Chat {
    /// Everybody whom the person added or blocked, by user id.
    ///
    /// # Errors
    /// When the database fails, or a row is not ours.
    pub fn contacts(&self) -> Result<Vec<Contact>, ChatError> {
        let (inner, view) = (&self.inner, self.inner.home.store.snapshot()?);
        let mut blocked = ignored::of(&view, inner.me.user_key)?;
        let me = inner.me.user_key.0;
        let mut contacts = Vec::new();
        for row in view.contact()?.between(Bound::Included((me, 0)), Bound::Included((me, u32::MAX)))? {
            let (key, value) = row.map_err(StoreError::from)?;
            let user = UserKey(key.value().1).id(&view)?;
            let ContactRecord { name, addresses, added } = opened(inner, value.value())?;
            let blocked = blocked.remove(&user);
            contacts.push(Contact { user, name, addresses, added: Millis(added), blocked });
        }
        let strangers = blocked.into_iter();
        contacts.extend(strangers.map(|user| Contact {
            user,
            name: None,
            addresses: Vec::new(),
            added: Millis(0),
            blocked: true,
        }));
        contacts.sort_by(|one, other| one.user.cmp(&other.user));
        Ok(contacts)
    }

    /// Adds somebody, or changes what is known of them.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for the person themselves, and for a name that is too long; [`ChatError::TooLarge`] beyond
    /// [`limits::CONTACTS_MAX`] people.
    pub async fn add_contact(
        &self,
        user: &UserId,
        name: Option<String>,
        addresses: Vec<String>,
    ) -> Result<(), ChatError> {
        let inner = &self.inner;
        if *user == *inner.me.user {
            return Err(ChatError::Invalid("this contact is your own".to_owned()));
        }
        if name.as_ref().is_some_and(|name| name.len() > limits::PROFILE_FIELD_BYTES_MAX) {
            return Err(ChatError::Invalid("the name is too long".to_owned()));
        }
        let addresses = addresses.into_iter().filter(|address| address.len() <= limits::ID_BYTES_MAX);
        let addresses = addresses.take(limits::CONTACT_ADDRESSES_MAX).collect();
        let record = ContactRecord { name, addresses, added: inner.home.now().0 };
        let sealed = inner.vault.seal(TABLE, &record.encode()?)?;
        let (me, user) = (inner.me.user_key.0, user.to_owned());
        inner
            .home
            .store
            .write(move |tx| {
                let key = UserKey::intern(tx, &user)?;
                let rows = tx.contact()?.between(Bound::Included((me, 0)), Bound::Included((me, u32::MAX)))?;
                if tx.contact()?.row((me, key.0))?.is_none() && rows.count() >= limits::CONTACTS_MAX {
                    return Err(ChatError::TooLarge(format!("more than {} contacts", limits::CONTACTS_MAX)));
                }
                tx.write().contact.insert((me, key.0), sealed.as_slice()).map_err(StoreError::from)?;
                Ok(())
            })
            .await?;
        inner.changes.ring();
        Ok(())
    }

    /// Forgets somebody. Rooms and messages stay, and so does a block.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for who is no contact.
    pub async fn remove_contact(&self, user: &UserId) -> Result<(), ChatError> {
        let (me, user) = (self.inner.me.user_key.0, user.to_owned());
        let job = move |tx: &mut crate::store::WriteTx<'_>| {
            let Some(key) = UserKey::find(tx, &user)? else { return Ok(false) };
            if tx.contact()?.row((me, key.0))?.is_none() {
                return Ok(false);
            }
            tx.write().contact.remove((me, key.0))?;
            Ok::<_, StoreError>(true)
        };
        if !self.inner.home.store.write(job).await? {
            return Err(ChatError::NotFound("there is no such contact".to_owned()));
        }
        self.inner.changes.ring();
        Ok(())
    }

    /// Blocks somebody, or lifts that: their invites and messages are not shown.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for the person themselves, [`ChatError::TooLarge`] when more are blocked than are kept.
    pub async fn set_blocked(&self, user: &UserId, blocked: bool) -> Result<(), ChatError> {
        let inner = &self.inner;
        if *user == *inner.me.user {
            return Err(ChatError::Invalid("you cannot block yourself".to_owned()));
        }
        let (me, user) = (inner.me.user_key, user.to_owned());
        inner
            .home
            .store
            .write(move |tx| {
                let mut users: BTreeSet<OwnedUserId> = ignored::of(tx, me)?;
                let changed = if blocked { users.insert(user.clone()) } else { users.remove(&user) };
                if !changed {
                    return Ok(());
                }
                if users.len() > limits::IGNORED_USERS_MAX {
                    return Err(ChatError::TooLarge(format!("more than {} blocked", limits::IGNORED_USERS_MAX)));
                }
                let users: serde_json::Map<_, _> = users.iter().map(|user| (user.to_string(), json!({}))).collect();
                let content = json!({ "ignored_users": users }).to_string();
                let set = account_data::set(tx, me, None, account_data::IGNORED_USER_LIST, &content);
                set.map(drop).map_err(|error| ChatError::Invalid(error.to_string()))
            })
            .await?;
        inner.changes.ring();
        Ok(())
    }
}

fn opened(inner: &Inner, sealed: &[u8]) -> Result<ContactRecord, ChatError> {
    Ok(ContactRecord::decode(&inner.vault.open(TABLE, sealed)?)?)
}

//! The face that a person shows: one name and one picture for all of their rooms. Client-server API, "Profiles".

use serde_json::Value;

use super::{Chat, ChatError};
use crate::{
    rooms::membership,
    users::profiles::{self, ProfileError},
};

impl Chat {
    /// Goes by another name in all rooms, or by none.
    ///
    /// # Errors
    /// [`ChatError::TooLarge`]; the store's. A room that does not let us keeps the old name.
    pub async fn set_display_name(&self, name: Option<&str>) -> Result<(), ChatError> {
        self.set_profile("displayname", name.filter(|name| !name.trim().is_empty())).await
    }

    /// Shows another picture in all rooms, an `mxc:` URI, or none.
    ///
    /// # Errors
    /// [`ChatError::TooLarge`]; the store's. A room that does not let us keeps the old picture.
    pub async fn set_avatar(&self, uri: Option<&str>) -> Result<(), ChatError> {
        self.set_profile("avatar_url", uri).await
    }

    async fn set_profile(&self, field: &'static str, value: Option<&str>) -> Result<(), ChatError> {
        let (home, me) = (&self.inner.home, &self.inner.me);
        let (key, value) = (me.user_key, value.map(Value::from));
        home.store.write(move |tx| profiles::set(tx, key, field, value.clone())).await.map_err(
            |error| match error {
                ProfileError::Store(error) => error.into(),
                ProfileError::LongField | ProfileError::LongProfile => ChatError::TooLarge(error.to_string()),
                error => ChatError::Invalid(error.to_string()),
            },
        )?;
        // Also when nothing changed: a change that ended halfway is finished by trying again.
        Ok(membership::refresh_profile(home, &me.user).await?)
    }
}

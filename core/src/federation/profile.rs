//! What other servers' users show of themselves. Server-server API, "Querying for information".

use ruma::{UserId, api::federation::query::get_profile_information::v1::Request};

use super::template::refusal;
use crate::{
    home::Home,
    outbox::request_soon,
    rooms::RoomError,
    store::UserKey,
    users::profiles::{self, Profile, ProfileError},
};

/// The profile of a user of another server, as it is now, or as it was last told if that server does not answer. Who is out
/// of reach is not waited for when something is known.
///
/// # Errors
/// [`RoomError::NotFound`] when there is no such user, [`RoomError::Unreachable`] when the server does not answer and never
/// did.
pub async fn query_profile(home: &Home, user: &UserId) -> Result<Profile, RoomError> {
    let cached = {
        let view = home.store.snapshot()?;
        let key = UserKey::find(&view, user)?;
        key.map(|key| profiles::find(&view, key)).transpose()?.unwrap_or_default()
    };
    if !cached.is_empty() && !home.is_near(user.server_name()) {
        return Ok(cached);
    }
    match request_soon(home, user.server_name(), Request::new(user.to_owned())).await {
        Ok(answer) => {
            let profile: Profile = answer.into_iter().collect();
            keep(home, user, profile.clone()).await?;
            Ok(profile)
        }
        Err(error) if error.is_passing() && !cached.is_empty() => Ok(cached),
        Err(error) => Err(refusal(&error)),
    }
}

async fn keep(home: &Home, user: &UserId, profile: Profile) -> Result<(), RoomError> {
    let user = user.to_owned();
    let kept = home
        .store
        .write_soon(move |tx| {
            // Only people whom a room has brought here: a query about anybody must not fill the disk with names.
            match UserKey::find(tx, &user)? {
                Some(key) => profiles::replace(tx, key, &profile).map(|_| ()),
                None => Ok(()),
            }
        })
        .await;
    match kept {
        Err(ProfileError::Store(error)) => Err(error.into()),
        Err(error) => Err(RoomError::Remote(format!("the profile cannot be kept: {error}"))),
        Ok(()) => Ok(()),
    }
}

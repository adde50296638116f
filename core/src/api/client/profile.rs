//! `GET /_matrix/client/v3/profile/{userId}`, `GET`, `PUT` and `DELETE .../profile/{userId}/{keyName}`. Client-server API,
//! "Profiles".
//!
//! A local profile comes out of the store. Another server's is asked for there, and what it last told us stands in when it
//! is out of reach. A change of name or picture is also said in every room that the user is in.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    UserId,
    api::{
        client::profile::{
            delete_profile_field::v3 as delete_profile_field, get_profile::v3 as get_profile,
            get_profile_field::v3 as get_profile_field, set_profile_field::v3 as set_profile_field,
        },
        federation::query::get_profile_information::v1 as get_profile_information,
    },
    profile::ProfileFieldValue,
};
use serde_json::Value;

use crate::{
    api::{
        ApiError,
        frame::{Authed, Open, route},
    },
    home::Home,
    outbox::request_soon,
    rooms::membership,
    store::{UserKey, View, WriteTx},
    users::{
        accounts,
        profiles::{self, MEMBER_FIELDS, Profile, ProfileError},
    },
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, whole);
    let router = route(router, field);
    let router = route(router, set);
    route(router, delete)
}

async fn whole(
    State(home): State<Arc<Home>>,
    Open { request }: Open<get_profile::Request>,
) -> Result<get_profile::Response, ApiError> {
    Ok(profile_of(&home, &request.user_id).await?.into_iter().collect())
}

async fn field(
    State(home): State<Arc<Home>>,
    Open { request }: Open<get_profile_field::Request>,
) -> Result<get_profile_field::Response, ApiError> {
    let name = request.field.as_str();
    let value = profile_of(&home, &request.user_id).await?.remove(name);
    let value = value.ok_or_else(|| ApiError::not_found(format!("the profile has no `{name}`")))?;
    let value =
        ProfileFieldValue::new(name, value).map_err(|_| ApiError::not_found(format!("`{name}` is not valid")))?;
    Ok(get_profile_field::Response::new(value))
}

async fn set(
    State(home): State<Arc<Home>>,
    call: Authed<set_profile_field::Request>,
) -> Result<set_profile_field::Response, ApiError> {
    let name = call.request.value.field_name().to_string();
    let value = call.request.value.value().into_owned();
    // Clients clear a name or a picture by an empty one.
    let is_cleared = MEMBER_FIELDS.contains(&name.as_str()) && value.as_str() == Some("");
    own(&call.user, &call.request.user_id)?;
    change(&home, &call.user, call.user_key, name, (!is_cleared).then_some(value)).await?;
    Ok(set_profile_field::Response::new())
}

async fn delete(
    State(home): State<Arc<Home>>,
    call: Authed<delete_profile_field::Request>,
) -> Result<delete_profile_field::Response, ApiError> {
    own(&call.user, &call.request.user_id)?;
    change(&home, &call.user, call.user_key, call.request.field.to_string(), None).await?;
    Ok(delete_profile_field::Response::new())
}

async fn change(
    home: &Home,
    user: &UserId,
    user_key: UserKey,
    name: String,
    value: Option<Value>,
) -> Result<(), ApiError> {
    let is_in_members = MEMBER_FIELDS.contains(&name.as_str());
    home.store.write(move |tx| profiles::set(tx, user_key, &name, value.clone())).await?;
    // Also when nothing changed: the retry of a change that ended halfway finishes it.
    if is_in_members {
        membership::refresh_profile(home, user).await?;
    }
    Ok(())
}

/// The profile of a user who exists, as far as it can be known here.
async fn profile_of(home: &Home, user: &UserId) -> Result<Profile, ApiError> {
    if home.is_local(user.server_name()) {
        return local_profile(&home.store.snapshot()?, user);
    }
    let request = get_profile_information::Request::new(user.to_owned());
    match request_soon(home, user.server_name(), request).await {
        Ok(response) => {
            let profile: Profile = response.into_iter().collect();
            keep(home, user, profile.clone()).await?;
            Ok(profile)
        }
        Err(error) => {
            let view = home.store.snapshot()?;
            let kept = UserKey::find(&view, user)?.map(|key| profiles::find(&view, key)).transpose()?;
            match kept.filter(|kept| error.is_passing() && !kept.is_empty()) {
                Some(kept) => Ok(kept),
                None if error.is_passing() => Err(ApiError::bad_gateway(error.to_string())),
                None => Err(ApiError::not_found(format!("there is no such profile: {error}"))),
            }
        }
    }
}

/// Remembers what a server told of its user, if a room has brought that user here. Of others nothing is kept, or whoever
/// asks could fill the disk with names.
async fn keep(home: &Home, user: &UserId, profile: Profile) -> Result<(), ApiError> {
    let user = user.to_owned();
    let job = move |tx: &mut WriteTx<'_>| match UserKey::find(tx, &user)? {
        Some(key) => profiles::replace(tx, key, &profile),
        None => Ok(false),
    };
    home.store.write_soon(job).await?;
    Ok(())
}

/// The profile of an account of this server.
///
/// # Errors
/// `M_NOT_FOUND` for a user who does not live here, or no more.
pub(in crate::api) fn local_profile(view: &dyn View, user: &UserId) -> Result<Profile, ApiError> {
    match accounts::find_by_id(view, user)? {
        Some((key, account)) if !account.deactivated => Ok(profiles::find(view, key)?),
        _ => Err(ApiError::not_found("there is no such user here")),
    }
}

fn own(user: &UserId, named: &UserId) -> Result<(), ApiError> {
    if user == named { Ok(()) } else { Err(ApiError::forbidden("a profile belongs to its user")) }
}

impl From<ProfileError> for ApiError {
    fn from(error: ProfileError) -> Self {
        let message = error.to_string();
        match error {
            ProfileError::BadName(_) => Self::invalid_param(message),
            ProfileError::LongName => Self::with_code(StatusCode::BAD_REQUEST, "M_KEY_TOO_LARGE", message),
            ProfileError::LongField => Self::too_large(message),
            ProfileError::LongProfile => Self::with_code(StatusCode::BAD_REQUEST, "M_PROFILE_TOO_LARGE", message),
            ProfileError::Store(error) => error.into(),
        }
    }
}

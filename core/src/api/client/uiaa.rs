//! User-interactive authentication: prove once more who you are, or that you may register.
//!
//! Client-server API, "User-Interactive Authentication API". Every flow here has one stage, so an attempt either brings that
//! stage or is told of it, and nothing has to be remembered between two requests. That is why the session is a random word
//! which is never looked up: there is no table of sessions that a caller could fill.

use http::StatusCode;
use ruma::{
    OwnedUserId, UserId,
    api::{
        client::uiaa::{AuthData, AuthFlow, AuthType, UiaaInfo, UserIdentifier},
        error::{ErrorKind, StandardErrorBody},
    },
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    api::ApiError,
    home::{Home, Registration},
    store::UserKey,
    users::{
        accounts::{self, new_user_id},
        password::{self, PasswordError},
    },
};

/// Characters of a session's name.
const SESSION_CHARS: usize = 24;

/// Passes when the request carries the stage that registration asks for.
///
/// # Errors
/// 401 with the stage that is wanted; `M_FORBIDDEN` when nobody may register.
pub(super) fn may_register(home: &Home, auth: Option<&AuthData>) -> Result<(), ApiError> {
    match (&home.registration, auth) {
        (Registration::Closed, _) => Err(ApiError::forbidden("this homeserver takes no new accounts")),
        (Registration::Open, Some(AuthData::Dummy(_))) => Ok(()),
        (Registration::Open, auth) => Err(challenge(home, AuthType::Dummy, auth.map(|_| wrong_stage()))),
        (Registration::Token(wanted), Some(AuthData::RegistrationToken(given))) if same(wanted, &given.token) => Ok(()),
        (Registration::Token(_), Some(AuthData::RegistrationToken(_))) => {
            let error = StandardErrorBody::new(ErrorKind::Unauthorized, "the registration token is wrong".to_owned());
            Err(challenge(home, AuthType::RegistrationToken, Some(error)))
        }
        (Registration::Token(_), auth) => {
            Err(challenge(home, AuthType::RegistrationToken, auth.map(|_| wrong_stage())))
        }
    }
}

/// Passes when the request carries the password of the user who sends it.
///
/// # Errors
/// 401 with the password stage.
pub(super) async fn has_password(
    home: &Home,
    user: &UserId,
    user_key: UserKey,
    auth: Option<&AuthData>,
) -> Result<(), ApiError> {
    let given = match auth {
        Some(AuthData::Password(given)) => given,
        other => return Err(challenge(home, AuthType::Password, other.map(|_| wrong_stage()))),
    };
    let stored = accounts::find(&home.store.snapshot()?, user_key)?.and_then(|account| account.password);
    let is_self = named_user(home, &given.identifier).is_some_and(|named| named == *user);
    if password::verify(home, given.password.clone(), stored).await? && is_self {
        return Ok(());
    }
    let error = StandardErrorBody::new(ErrorKind::Forbidden, "the user or the password is wrong".to_owned());
    Err(challenge(home, AuthType::Password, Some(error)))
}

/// The user of this server whom an identifier names, by localpart or user id. `None` for other servers' users, telephone
/// numbers and mail addresses, which nobody has here.
pub(super) fn named_user(home: &Home, identifier: &UserIdentifier) -> Option<OwnedUserId> {
    match identifier {
        UserIdentifier::Matrix(named) => local_user(home, &named.user),
        _ => None,
    }
}

/// The user of this server with this localpart or user id.
pub(super) fn local_user(home: &Home, named: &str) -> Option<OwnedUserId> {
    match UserId::parse(named) {
        Ok(user) => home.is_local(user.server_name()).then_some(user),
        Err(_) => new_user_id(home.server_name(), named),
    }
}

/// Whether two registration tokens are the same. Their hashes are compared, so that the time taken tells nothing of how
/// much of a guess was right.
pub(super) fn same(wanted: &str, given: &str) -> bool {
    Sha256::digest(wanted) == Sha256::digest(given)
}

fn wrong_stage() -> StandardErrorBody {
    StandardErrorBody::new(ErrorKind::Unrecognized, "the authentication stage is none of those offered".to_owned())
}

fn challenge(home: &Home, stage: AuthType, error: Option<StandardErrorBody>) -> ApiError {
    let mut info = UiaaInfo::new(vec![AuthFlow::new(vec![stage])]);
    info.session = Some(home.ports.random.token(SESSION_CHARS));
    // Older clients expect the object to be there.
    info.params = RawValue::from_string("{}".to_owned()).ok();
    info.auth_error = error;
    ApiError::uiaa(info)
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Empty => Self::new(StatusCode::BAD_REQUEST, ErrorKind::WeakPassword, error.to_string()),
            PasswordError::TooLong => Self::invalid_param(error.to_string()),
            PasswordError::Failed(why) => {
                tracing::error!(why, "a password could not be hashed");
                Self::internal("the password could not be hashed; the homeserver's log says why")
            }
        }
    }
}

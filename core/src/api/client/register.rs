//! `POST /_matrix/client/v3/register`, `GET .../register/available`,
//! `GET /_matrix/client/v1/register/m.login.registration_token/validity`. Client-server API, "Account registration".
//!
//! Who may register is the host's choice: anyone who reaches the API, whoever knows the token, or nobody. Guests are
//! refused: on a phone's own homeserver nobody is a guest.

use std::sync::Arc;

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    OwnedUserId, UserId,
    api::{
        client::account::{
            check_registration_token_validity::v1 as check_registration_token_validity,
            get_username_availability::v3 as get_username_availability,
            register::{RegistrationKind, v3 as register},
        },
        error::{ErrorKind, ResourceLimitExceededErrorData},
    },
};

use super::{login::device_of, uiaa};
use crate::{
    api::{
        ApiError,
        frame::{Open, route},
    },
    home::{Home, Registration},
    store::{StoreError, UserKey},
    users::{
        accounts::{self, CreateError},
        password,
        sessions::{self, NewSession, OpenError},
    },
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, post_register);
    let router = route(router, available);
    route(router, token_validity)
}

async fn post_register(
    State(home): State<Arc<Home>>,
    Open { request }: Open<register::Request>,
) -> Result<register::Response, ApiError> {
    match request.kind {
        RegistrationKind::User => {}
        RegistrationKind::Guest => {
            let message = "this homeserver has no guests; make an account";
            return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::GuestAccessForbidden, message));
        }
        _ => return Err(ApiError::invalid_param("`kind` is `user` or `guest`")),
    }
    if request.login_type.is_some() {
        return Err(ApiError::unknown("only people register here, no application services"));
    }
    // A bad name is said before the stages are asked for, so that nobody passes them in vain.
    let user = request.username.as_deref().map(|name| free_user_id(&home, name)).transpose()?;
    let device = device_of(request.device_id, request.initial_device_display_name)?;
    uiaa::may_register(&home, request.auth.as_ref())?;
    let password = request.password.ok_or_else(|| ApiError::missing_param("an account needs a `password`"))?;
    let password = password::hash(&home, password).await?;
    let user = user.unwrap_or_else(|| accounts::random_user_id(&home));
    let session = (!request.inhibit_login).then(|| NewSession::new(&home, device.id, device.display_name));
    create(&home, user.clone(), password, session.clone()).await?;
    let mut response = register::Response::new(user);
    if let Some(session) = session {
        response.device_id = Some(session.device.into());
        response.access_token = Some(session.token);
    }
    Ok(response)
}

async fn create(
    home: &Home,
    user: OwnedUserId,
    password: String,
    session: Option<NewSession>,
) -> Result<UserKey, ApiError> {
    let now = home.now();
    let job = move |tx: &mut crate::store::WriteTx<'_>| -> Result<UserKey, ApiError> {
        let key = accounts::create(tx, &user, Some(&password), now)?;
        if let Some(session) = &session {
            sessions::open(tx, key, session)?;
        }
        Ok(key)
    };
    home.store.write(job).await
}

async fn available(
    State(home): State<Arc<Home>>,
    Open { request }: Open<get_username_availability::Request>,
) -> Result<get_username_availability::Response, ApiError> {
    free_user_id(&home, &request.username)?;
    Ok(get_username_availability::Response::new(true))
}

async fn token_validity(
    State(home): State<Arc<Home>>,
    Open { request }: Open<check_registration_token_validity::Request>,
) -> Result<check_registration_token_validity::Response, ApiError> {
    let valid = match &home.registration {
        Registration::Token(wanted) => uiaa::same(wanted, &request.token),
        _ => return Err(ApiError::forbidden("registration here does not go by token")),
    };
    Ok(check_registration_token_validity::Response::new(valid))
}

/// The user id that a name would get, if it is well formed and free.
fn free_user_id(home: &Home, username: &str) -> Result<OwnedUserId, ApiError> {
    let user = accounts::new_user_id(home.server_name(), username).ok_or_else(|| {
        let message = "a user name is made of a-z, 0-9 and ._=-/+, and with the server's name no longer than 255 bytes";
        ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidUsername, message)
    })?;
    match accounts::find_by_id(&home.store.snapshot()?, &user)? {
        Some(_) => Err(in_use(&user)),
        None => Ok(user),
    }
}

fn in_use(user: &UserId) -> ApiError {
    let message = format!("{} is taken; choose another name", user.localpart());
    ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::UserInUse, message)
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::InUse(user) => in_use(&user),
            CreateError::Full => {
                let data = ResourceLimitExceededErrorData::new(String::new());
                Self::new(StatusCode::FORBIDDEN, ErrorKind::ResourceLimitExceeded(data), error.to_string())
            }
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<OpenError> for ApiError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::TooManyDevices => Self::forbidden(error.to_string()),
            OpenError::Store(error) => StoreError::into(error),
        }
    }
}

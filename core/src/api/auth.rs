//! Who is asking: a client's access token, another server's signature.
//!
//! Deliberately absent: key lookups. A server's key is its name, so a signature is checked offline; a server whose key is
//! not in its name is refused until there is a gateway that knows its keys.

use http::{Extensions, HeaderMap, header};
use ruma::{
    OwnedDeviceId, OwnedServerName, OwnedUserId,
    api::federation::authentication::{XMatrix, XMatrixVerificationError},
    signatures::VerificationError,
};

use super::error::ApiError;
use crate::{home::Home, ports::PeerServer, store::UserKey, types::public_keys, users::sessions};

/// The holder of a valid access token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose.
    pub(crate) user: OwnedUserId,
    /// Whose, interned.
    pub(crate) user_key: UserKey,
    /// On which device.
    pub(crate) device: OwnedDeviceId,
}

/// Who holds the request's access token, or `None` when it carries none.
///
/// # Errors
/// `M_UNKNOWN_TOKEN` for a token that is not valid.
pub(super) fn caller(home: &Home, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let unknown = || ApiError::unknown_token("the access token is not valid; log in again");
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::missing_token("the Authorization header holds no bearer token"));
    }
    let view = home.store.snapshot()?;
    let session = sessions::of_token(&view, token.trim())?.ok_or_else(unknown)?;
    Ok(Some(Caller { user: session.user.id(&view)?, user_key: session.user, device: session.device.into() }))
}

/// A server's `X-Matrix` header that is meant for us and comes from who it says, its signature not checked yet.
pub(super) struct Claim(XMatrix);

/// Reads the `X-Matrix` header and checks all that does not need the body.
///
/// # Errors
/// `M_UNAUTHORIZED` without a header, or with one for another server; `M_FORBIDDEN` when the connection proved to be
/// another server than the header's origin.
pub(super) fn claim(home: &Home, headers: &HeaderMap, extensions: &Extensions) -> Result<Claim, ApiError> {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.ok_or_else(|| ApiError::unauthorized("this endpoint needs an X-Matrix signature"))?;
    let claim = XMatrix::try_from(value);
    let claim = claim.map_err(|error| ApiError::unauthorized(format!("the X-Matrix header is malformed: {error}")))?;
    if claim.destination.as_ref().is_some_and(|destination| !home.is_local(destination)) {
        return Err(ApiError::unauthorized("the request is meant for another server"));
    }
    if home.is_local(&claim.origin) {
        return Err(ApiError::unauthorized("a server does not send federation requests to itself"));
    }
    if extensions.get::<PeerServer>().is_some_and(|PeerServer(peer)| *peer != claim.origin) {
        return Err(ApiError::forbidden("the connection belongs to another server than the request's origin"));
    }
    Ok(Claim(claim))
}

impl Claim {
    /// Checks the signature over the whole request and answers who made it.
    pub(super) fn verify(
        self,
        home: &Home,
        request: &http::Request<bytes::Bytes>,
    ) -> Result<OwnedServerName, ApiError> {
        let Self(claim) = self;
        let keys = public_keys(&home.local, [&*claim.origin]);
        match claim.verify_request(request, home.server_name(), &keys) {
            Ok(()) => Ok(claim.origin),
            Err(XMatrixVerificationError::Signature(VerificationError::Json(_))) => {
                Err(ApiError::not_json("the body is not JSON that can be signed"))
            }
            Err(error) => {
                Err(ApiError::unauthorized(format!("the signature of {} does not hold: {error}", claim.origin)))
            }
        }
    }
}

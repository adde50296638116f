//! What a refusal of the content repository becomes on the wire. One table for both APIs.
//!
//! A server that is out of reach is answered with 504 and `M_NOT_YET_UPLOADED`: of the codes that the specification gives
//! for media it is the one that says "not available yet, try again"; 404 would be remembered as "never".

use std::time::Duration;

use http::StatusCode;
use ruma::api::error::ErrorKind;

use super::ApiError;
use crate::media::MediaError;

impl From<MediaError> for ApiError {
    fn from(error: MediaError) -> Self {
        let message = error.to_string();
        let not_yet = |message| Self::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::NotYetUploaded, message);
        match error {
            MediaError::NotFound => Self::not_found(message),
            MediaError::NotYetUploaded | MediaError::Unreachable(_) => not_yet(message),
            MediaError::TooLarge { .. } | MediaError::ThumbnailTooLarge => Self::too_large(message),
            MediaError::RemoteTooLarge => Self::new(StatusCode::BAD_GATEWAY, ErrorKind::TooLarge, message),
            MediaError::Remote(_) => Self::bad_gateway(message),
            MediaError::NoThumbnail(_) | MediaError::Source(_) => Self::unknown(message),
            MediaError::Full | MediaError::NotYours => Self::forbidden(message),
            MediaError::AlreadyUploaded => Self::new(StatusCode::CONFLICT, ErrorKind::CannotOverwriteMedia, message),
            MediaError::TooManyPending { retry_after_ms } => {
                Self::limit_exceeded(Duration::from_millis(retry_after_ms))
            }
            MediaError::LongName => Self::invalid_param(message),
            MediaError::Disk(why) => {
                tracing::error!(%why, "the media directory failed under a request");
                Self::internal("the homeserver's disk failed; its log says why")
            }
            MediaError::Store(error) => error.into(),
        }
    }
}

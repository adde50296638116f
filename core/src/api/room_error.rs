//! What a room's refusal becomes on the wire.
//!
//! One table for both APIs, so that the same refusal never has two codes by accident. An endpoint whose specification
//! names another code says so itself.

use http::StatusCode;
use ruma::api::error::ErrorKind;

use super::ApiError;
use crate::rooms::RoomError;

impl From<RoomError> for ApiError {
    fn from(error: RoomError) -> Self {
        let message = error.to_string();
        match error {
            RoomError::Store(error) => error.into(),
            RoomError::Forbidden(_) => Self::forbidden(message),
            RoomError::Invalid(_) => Self::bad_json(message),
            RoomError::TooLarge { .. } => Self::too_large(message),
            RoomError::UnsupportedVersion(_) => {
                Self::new(StatusCode::BAD_REQUEST, ErrorKind::UnsupportedRoomVersion, message)
            }
            RoomError::UnknownRoom(_) | RoomError::NotFound(_) => Self::not_found(message),
            RoomError::BadRelation(_) => Self::unknown(message),
            RoomError::DuplicateAnnotation(_) => {
                Self::with_code(StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION", message)
            }
            RoomError::InUse(_) => Self::new(StatusCode::CONFLICT, ErrorKind::Unknown, message),
            RoomError::Remote(_) | RoomError::Unreachable(_) => Self::bad_gateway(message),
        }
    }
}

impl ApiError {
    /// A refusal as a client hears it that acts in a room: one that is not known here is one that the client is not in.
    pub(crate) fn in_room(error: RoomError) -> Self {
        match error {
            RoomError::UnknownRoom(room) => Self::forbidden(format!("you are not in {room}")),
            error => error.into(),
        }
    }
}

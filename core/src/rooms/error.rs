//! What goes wrong in a room, for those who act and for those who deliver.

use ruma::{OwnedEventId, OwnedRoomId, RoomVersionId};

use crate::{event::BuildError, store::StoreError};

/// Why a room action failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This server is not in the room, or does not know it.
    #[error("{0} is not a room of this server")]
    UnknownRoom(OwnedRoomId),
    /// The room's rules, or the sender's standing, forbid it.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The content or an argument is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The event would be larger than the format allows.
    #[error("the event would be {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A room version that does not work here.
    #[error("room version {0} is not supported here")]
    UnsupportedVersion(RoomVersionId),
    /// An event, an alias or the like does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The event relates to another in a way that the rules of relations forbid.
    #[error("{0}")]
    BadRelation(String),
    /// The sender has reacted like this already.
    #[error("you have reacted to {0} like this already")]
    DuplicateAnnotation(OwnedEventId),
    /// A name is taken.
    #[error("{0} is in use already")]
    InUse(String),
    /// Another server refused, or answered nonsense.
    #[error("{0}")]
    Remote(String),
    /// No server that could help is within reach.
    #[error("{0}")]
    Unreachable(String),
}

impl From<BuildError> for RoomError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            BuildError::Malformed(why) => Self::Invalid(why),
        }
    }
}

impl From<ApplyError> for RoomError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => Self::Store(error),
            ApplyError::NoRoom(room) => Self::UnknownRoom(room),
            // Our own events name only parents that we have.
            ApplyError::Need { .. } => Self::Store(StoreError::Corrupt("a parent of our own event is missing".into())),
        }
    }
}

/// Why an event could not be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing is known of the room.
    #[error("{0} is not a room of this server")]
    NoRoom(OwnedRoomId),
    /// Events that it builds on are not here: fetch them and submit again.
    #[error("{} parents and {} auth events are missing", prev.len(), auth.len())]
    Need {
        /// Missing `prev_events`.
        prev: Vec<OwnedEventId>,
        /// Missing `auth_events`.
        auth: Vec<OwnedEventId>,
    },
}

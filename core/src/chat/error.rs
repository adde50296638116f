//! What goes wrong for a UI, in the few kinds that it can act on.

use super::vault::VaultError;
use crate::{
    rooms::{RoomError, receipts::ReceiptError, typing::TypingError},
    store::StoreError,
};

/// Why the client could not do what it was asked. The text is a sentence for a person.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// There is no such room, event, user, file or flow.
    #[error("{0}")]
    NotFound(String),
    /// The room's rules, or the other side, forbid it.
    #[error("{0}")]
    Forbidden(String),
    /// What was given cannot be used as it is.
    #[error("{0}")]
    Invalid(String),
    /// It is larger than it may be.
    #[error("{0}")]
    TooLarge(String),
    /// Encryption failed, or a key is wrong.
    #[error("{0}")]
    Crypto(String),
    /// Another phone is needed for this and is out of reach.
    #[error("{0}")]
    Network(String),
    /// It was called off.
    #[error("it was cancelled")]
    Cancelled,
    /// The client has ended.
    #[error("the client is closed")]
    Closed,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ChatError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Closed,
            other => Self::Store(other),
        }
    }
}

impl From<RoomError> for ChatError {
    fn from(error: RoomError) -> Self {
        let text = error.to_string();
        match error {
            RoomError::Store(error) => error.into(),
            RoomError::UnknownRoom(_) | RoomError::NotFound(_) => Self::NotFound(text),
            RoomError::Forbidden(_) => Self::Forbidden(text),
            RoomError::TooLarge { .. } => Self::TooLarge(text),
            // Another phone's refusal is a sentence of its own.
            RoomError::Remote(_) => Self::Forbidden(text),
            RoomError::Unreachable(_) => Self::Network(text),
            _ => Self::Invalid(text),
        }
    }
}

impl From<ReceiptError> for ChatError {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Store(error) => error.into(),
            ReceiptError::NotIn(_) => Self::Forbidden(error.to_string()),
            ReceiptError::NoEvent(_) => Self::NotFound(error.to_string()),
            error => Self::Invalid(error.to_string()),
        }
    }
}

impl From<TypingError> for ChatError {
    fn from(error: TypingError) -> Self {
        match error {
            TypingError::Store(error) => error.into(),
            error @ TypingError::NotIn(_) => Self::Forbidden(error.to_string()),
        }
    }
}

impl From<VaultError> for ChatError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => error.into(),
            other => Self::Crypto(other.to_string()),
        }
    }
}

//! What goes wrong in encryption, for the rest of the client.

use matrix_sdk_crypto::{MegolmError, OlmError, store::CryptoStoreError};

use crate::{chat::ChatError, keys::KeysError, rooms::RoomError, store::StoreError};

/// Why something could not be encrypted, or keys could not be exchanged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CryptoError {
    /// What is to be encrypted cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It is not here.
    #[error("{0}")]
    NotFound(String),
    /// The encryption machine, or our own homeserver's keys, refused.
    #[error("encryption failed: {0}")]
    Failed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CryptoStoreError> for CryptoError {
    fn from(error: CryptoStoreError) -> Self {
        match error {
            // Our own store's errors come back in a box.
            CryptoStoreError::Backend(error) => match error.downcast::<StoreError>() {
                Ok(error) => Self::Store(*error),
                Err(error) => Self::Failed(error.to_string()),
            },
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<OlmError> for CryptoError {
    fn from(error: OlmError) -> Self {
        match error {
            OlmError::Store(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<MegolmError> for CryptoError {
    fn from(error: MegolmError) -> Self {
        match error {
            MegolmError::Store(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<KeysError> for CryptoError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Store(error) => Self::Store(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<RoomError> for CryptoError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Store(error) => Self::Store(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<CryptoError> for ChatError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Store(error) => error.into(),
            CryptoError::Invalid(why) => Self::Invalid(why),
            CryptoError::NotFound(what) => Self::NotFound(what),
            failed @ CryptoError::Failed(_) => Self::Crypto(failed.to_string()),
        }
    }
}

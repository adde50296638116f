//! What can go wrong, in the few kinds that an app can act on.
//!
//! Each carries one sentence for a person or a log. The field is called `reason` because Kotlin's exceptions have a `message`
//! of their own. A panic inside of Hearth becomes [`NodeError::Internal`] and takes nothing else with it.

use hearth_core::chat::ChatError;
use hearth_p2p::node::{ArchiveError, NodeError as StartError};

/// Why something could not be done.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The node was not started, or has been stopped or wiped. Call `start`.
    #[error("the node is not running: {reason}")]
    NotRunning {
        /// A sentence.
        reason: String,
    },
    /// The node is paused, as an app in the background must be. Call `resume`.
    #[error("the node is paused: {reason}")]
    Paused {
        /// A sentence.
        reason: String,
    },
    /// What was given cannot be used as it is: change it and try again.
    #[error("{reason}")]
    InvalidInput {
        /// A sentence.
        reason: String,
    },
    /// The disk is full, or the database cannot be read or written.
    #[error("{reason}")]
    Storage {
        /// A sentence.
        reason: String,
    },
    /// A key or passphrase is wrong, or something does not decrypt.
    #[error("{reason}")]
    Crypto {
        /// A sentence.
        reason: String,
    },
    /// Another phone is needed for this and is out of reach, or the network cannot be used.
    #[error("{reason}")]
    Network {
        /// A sentence.
        reason: String,
    },
    /// There is no such room, event, person, file or flow.
    #[error("{reason}")]
    NotFound {
        /// A sentence.
        reason: String,
    },
    /// The room's rules, or the other side, forbid it.
    #[error("{reason}")]
    Forbidden {
        /// A sentence.
        reason: String,
    },
    /// Too much at once: wait and try again.
    #[error("{reason}")]
    RateLimited {
        /// A sentence.
        reason: String,
    },
    /// It was called off.
    #[error("{reason}")]
    Cancelled {
        /// A sentence.
        reason: String,
    },
    /// The app's own callback failed.
    #[error("{reason}")]
    Callback {
        /// A sentence.
        reason: String,
    },
    /// A defect of Hearth, contained. The log says more.
    #[error("{reason}")]
    Internal {
        /// A sentence.
        reason: String,
    },
}

impl NodeError {
    pub(crate) fn invalid(reason: impl std::fmt::Display) -> Self {
        Self::InvalidInput { reason: reason.to_string() }
    }

    pub(crate) fn network(reason: impl std::fmt::Display) -> Self {
        Self::Network { reason: reason.to_string() }
    }

    pub(crate) fn storage(reason: impl std::fmt::Display) -> Self {
        Self::Storage { reason: reason.to_string() }
    }

    pub(crate) fn internal(reason: impl std::fmt::Display) -> Self {
        Self::Internal { reason: reason.to_string() }
    }
}

impl From<ChatError> for NodeError {
    fn from(error: ChatError) -> Self {
        let reason = error.to_string();
        match error {
            ChatError::NotFound(_) => Self::NotFound { reason },
            ChatError::Forbidden(_) => Self::Forbidden { reason },
            ChatError::Invalid(_) | ChatError::TooLarge(_) => Self::InvalidInput { reason },
            ChatError::Crypto(_) => Self::Crypto { reason },
            ChatError::Network(_) => Self::Network { reason },
            ChatError::Cancelled => Self::Cancelled { reason },
            ChatError::Closed => Self::NotRunning { reason },
            ChatError::Store(_) => Self::Storage { reason },
            _ => Self::Internal { reason },
        }
    }
}

impl From<ArchiveError> for NodeError {
    fn from(error: ArchiveError) -> Self {
        let reason = error.to_string();
        match error {
            ArchiveError::Io(_) | ArchiveError::Store(_) => Self::Storage { reason },
            ArchiveError::WrongPassphrase | ArchiveError::Truncated | ArchiveError::Damaged(_) => {
                Self::Crypto { reason }
            }
            ArchiveError::Cancelled(_) => Self::Cancelled { reason },
            _ => Self::InvalidInput { reason },
        }
    }
}

impl From<StartError> for NodeError {
    fn from(error: StartError) -> Self {
        let reason = error.to_string();
        match error {
            StartError::Directory { .. } | StartError::Identity(_) | StartError::Store { .. } => {
                Self::Storage { reason }
            }
            StartError::Mesh(_) | StartError::Client { .. } => Self::Network { reason },
            _ => Self::Storage { reason },
        }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for NodeError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Callback { reason: error.reason }
    }
}

//! Why a file cannot be had or kept.

use std::io;

use crate::{
    home::FetchError,
    store::StoreError,
    types::limits::{MEDIA_FILENAME_BYTES_MAX, MEDIA_PENDING_MAX},
};

/// See the module.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// There is no such file.
    #[error("there is no such media")]
    NotFound,
    /// Its upload is awaited.
    #[error("the media has not been uploaded yet")]
    NotYetUploaded,
    /// More bytes than are allowed.
    #[error("the media is larger than {bytes_max} bytes")]
    TooLarge {
        /// How many are.
        bytes_max: u64,
    },
    /// Another server's file is larger than we keep or it sends.
    #[error("the media of the other server is too large")]
    RemoteTooLarge,
    /// The server that has it does not answer now, or broke off.
    #[error("the media is on a server that is out of reach: {0}")]
    Unreachable(String),
    /// The server that has it will not give it, or gave what cannot be used.
    #[error("the media is not to be had from its server: {0}")]
    Remote(String),
    /// Not a picture that can be made smaller.
    #[error("there is no thumbnail of this media: {0}")]
    NoThumbnail(String),
    /// A picture that is too large to be made smaller.
    #[error("the picture is too large to be made smaller")]
    ThumbnailTooLarge,
    /// The user has uploaded as much as they may.
    #[error("you have uploaded as much as this homeserver keeps for one user")]
    Full,
    /// The id was created by somebody else.
    #[error("the media id was created by another user")]
    NotYours,
    /// The id has its content already.
    #[error("the media has been uploaded already")]
    AlreadyUploaded,
    /// Too many ids without content.
    #[error("{MEDIA_PENDING_MAX} media ids wait for their upload already")]
    TooManyPending {
        /// When the first of them expires, in ms from now.
        retry_after_ms: u64,
    },
    /// A name that no file needs.
    #[error("the file's name is longer than {MEDIA_FILENAME_BYTES_MAX} bytes")]
    LongName,
    /// The bytes that were to be stored stopped coming.
    #[error("the upload broke off: {0}")]
    Source(String),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for MediaError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.to_string())
    }
}

impl From<FetchError> for MediaError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::NotFound => Self::NotFound,
            FetchError::NotYetUploaded => Self::NotYetUploaded,
            FetchError::TooLarge => Self::RemoteTooLarge,
            FetchError::Unreachable(why) => Self::Unreachable(why),
            FetchError::Refused(why) => Self::Remote(why),
            FetchError::Disk(why) => Self::Disk(why),
            FetchError::Store(error) => Self::Store(error),
        }
    }
}

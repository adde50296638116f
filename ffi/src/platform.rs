//! What Hearth asks of the phone: its keystore, its log, and how much room is left on the disk.
//!
//! All calls are made from threads of Hearth's own, may block, and may fail: an exception in the app becomes an error here and
//! harms nobody.

use crate::error::NodeError;

/// Why the platform could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
pub enum PlatformError {
    /// The keystore, or whatever was asked, failed.
    #[error("{reason}")]
    Failed {
        /// A sentence.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for PlatformError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

impl From<PlatformError> for NodeError {
    fn from(error: PlatformError) -> Self {
        Self::Callback { reason: error.to_string() }
    }
}

/// Why a listener or a log did not take what it was given. Hearth notes it, and goes on.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
pub enum ListenerError {
    /// It failed.
    #[error("{reason}")]
    Failed {
        /// A sentence.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

/// The phone. On Android a Keystore-backed implementation comes with the library, on Apple platforms a Keychain-backed one.
#[uniffi::export(foreign)]
pub trait Platform: Send + Sync {
    /// The secret of a name, if one was put.
    ///
    /// # Errors
    /// When the keystore cannot be read now, for instance because the phone was not unlocked since it started. Nothing may be
    /// answered in place of an error: a secret that seems absent is made anew.
    fn keystore_get(&self, name: String) -> Result<Option<Vec<u8>>, PlatformError>;

    /// Keeps a secret under a name. It must be on disk when this returns, and must not leave the phone by a backup.
    ///
    /// # Errors
    /// When it could not be kept.
    fn keystore_put(&self, name: String, secret: Vec<u8>) -> Result<(), PlatformError>;

    /// Destroys the secret of a name. Nothing happens to one that is not there.
    ///
    /// # Errors
    /// When it may still be there.
    fn keystore_delete(&self, name: String) -> Result<(), PlatformError>;

    /// Bytes free on the disk that holds the data, if the platform can tell.
    fn free_disk(&self) -> Option<u64>;
}

/// How serious a log record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, uniffi::Enum)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is odd.
    Warn,
    /// Something happened.
    Info,
    /// For the developers of an app.
    Debug,
    /// For the developers of Hearth.
    Trace,
}

/// One line of the log. It never holds a message's body or a key.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LogRecord {
    /// How serious.
    pub level: LogLevel,
    /// Which part of Hearth speaks.
    pub target: String,
    /// What it says, with its fields.
    pub message: String,
}

/// Where log records go: `android.util.Log`, `os.Logger`, a file.
#[uniffi::export(foreign)]
pub trait LogSink: Send + Sync {
    /// Takes one record. Called from one thread of Hearth's own, one record at a time; while it blocks, further records wait,
    /// and are dropped when too many do.
    ///
    /// # Errors
    /// Whatever goes wrong: the record is lost, and no other.
    fn log(&self, record: LogRecord) -> Result<(), ListenerError>;
}

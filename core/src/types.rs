//! The words that every other room uses: limits, the server's key and its name, positions in the log.
//!
//! Matrix identifiers themselves (`UserId`, `RoomId`, ...) are ruma's and are not wrapped again; those that a crate above
//! must make from text are named here, so that it needs no ruma of its own. This module imports nothing else of the crate: it
//! is the ground floor.

mod key;
pub mod limits;
mod position;

pub use key::{KeyNameError, LocalServer, SIGNING_KEY_VERSION, public_key_of, public_keys, server_name_of};
pub use position::{Millis, SyncPlace, SyncToken, SyncTokenError};
pub use ruma::{OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, OwnedUserId};

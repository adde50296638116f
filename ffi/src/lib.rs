//! The surface of Hearth for Kotlin and Swift.
//!
//! uniffi turns what is exported here into a Kotlin and a Swift package: one [`Node`], handles on its rooms, timelines and
//! people, and plain records for all that is shown. Deliberately absent: any ruma, libp2p or tokio type, because what crosses to
//! an app must not change when a library below changes.
//!
//! Invariants: every call may be made from any thread. Nothing blocks but getters and the wipe. A call that needs a running node
//! says so when there is none. A panic becomes [`NodeError::Internal`]; a callback that throws or blocks harms nobody.

mod backup;
mod cancel;
mod client_api;
mod config;
mod error;
mod logs;
mod node;
mod parse;
mod people;
mod platform;
mod records;
mod room;
mod rooms;
mod runtime;
mod timeline;
mod verification;
mod watch;

pub use self::{
    backup::{Backup, Recovered, RecoveryState},
    cancel::CancelToken,
    client_api::{ClientAccess, ClientApi},
    config::{DiscoveryMode, NodeConfig},
    error::NodeError,
    node::{Event, EventKind, FetchSummary, Node, NodeState, NodeStatus, PowerMode, StatusListener},
    people::{
        Announcement, Contact, ContactPreview, Contacts, Identity, Peer, Peers, PeersListener, QrMatrix, qr_matrix,
    },
    platform::{ListenerError, LogLevel, LogRecord, LogSink, Platform, PlatformError},
    records::*,
    room::{Room, TypingListener},
    rooms::{Rooms, RoomsListener},
    timeline::{FileInfo, OutgoingText, ProgressListener, SendHandle, Timeline, TimelineListener},
    verification::{Emoji, PersonTrust, VerificationInfo, VerificationListener, VerificationState, Verifications},
    watch::TaskHandle,
};
use hearth_core::event::{DEFAULT_ROOM_VERSION, ROOM_VERSIONS};

uniffi::setup_scaffolding!();

/// The version of this library.
#[uniffi::export]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// The versions of Matrix rooms that work here, oldest first.
#[uniffi::export]
pub fn room_versions() -> Vec<String> {
    ROOM_VERSIONS.iter().map(ToString::to_string).collect()
}

/// The version of a room that is made when nobody asks for another.
#[uniffi::export]
pub fn default_room_version() -> String {
    DEFAULT_ROOM_VERSION.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_versions_are_spelt_as_matrix_spells_them() {
        assert_eq!(room_versions(), ["6", "7", "8", "9", "10", "11", "12"]);
        assert_eq!(default_room_version(), "12");
    }

    #[test]
    fn the_version_has_three_numbers() {
        assert_eq!(version().split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3);
    }
}

//! PDUs, pure: parse, build, hash, sign, verify, redact, and what a client sees of them.
//!
//! Nothing here reads the store or the network. Canonical JSON, hashes and signatures are ruma's; this module holds the
//! one `Pdu` type that the whole crate speaks, and the rules of rooms of version 6 to 12 around it.
//!
//! Invariant: a `Pdu` that came through [`verify`] or [`Draft::sign`] has an event id that is the reference hash of its
//! JSON. A `Pdu` that came out of our own store was such a one when it went in.

mod client;
mod draft;
mod pdu;
#[cfg(test)]
mod tests;
mod verify;

pub use client::{ClientFormat, client_event, client_state_event, stripped_state};
pub(crate) use draft::sign_object;
pub use draft::{BuildError, Draft};
pub use pdu::{Pdu, PduError};
pub use verify::{Unverified, redacted, verify};

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

/// The version of rooms that are made here when nobody asks for another.
pub const DEFAULT_ROOM_VERSION: RoomVersionId = RoomVersionId::V12;

/// The room versions that work here, the default last.
pub const ROOM_VERSIONS: [RoomVersionId; 7] = [
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// The rules of a room version, or `None` for one that does not work here.
pub fn rules_of(version: &RoomVersionId) -> Option<RoomVersionRules> {
    ROOM_VERSIONS.contains(version).then(|| version.rules()).flatten()
}

//! The room engine: how events become rooms.
//!
//! An event of our own goes through [`send`]; one that another server made goes through [`apply`]. Both end in the same
//! place, which writes the event, its state, its indices, its log row and its outbox row in one transaction.
//!
//! Invariants: one event, one commit. Nothing here waits for the network: what is missing is named ([`ApplyError::Need`])
//! and the caller fetches it. A rejected event is stored, never a head, and changes no state. A soft-failed event is
//! stored, hidden and no head, but counts for those who build on it.

pub mod alias;
mod apply;
mod backfill;
pub mod checked;
mod content;
pub mod create;
mod effects;
mod error;
mod event_filter;
mod fork;
mod gap;
mod graph;
mod import;
mod judge;
mod keep;
pub mod membership;
mod place;
mod policy;
mod read;
pub mod receipts;
mod redact;
pub mod relations;
mod send;
pub mod show;
pub mod threads;
pub mod timeline;
pub mod typing;
pub mod unread;
pub mod visibility;

pub use apply::{Incoming, Past, apply, apply_outliers};
pub use error::{ApplyError, RoomError};
pub use event_filter::{EventFilter, takes_type};
pub use gap::{Gap, gaps};
pub use import::ImportedRoom;
pub use judge::allowed_now;
pub use place::Applied;
pub use read::{Member, Room, joined_rooms, server_set, standing, standings};
pub use send::{ClientTxn, NewEvent, draft, send};

pub(crate) use backfill::apply_backfill;
pub(crate) use effects::STRIPPED;
pub(crate) use import::{import, keep_outside, set_standing};
pub(crate) use send::{send_in, start_room};

#[cfg(test)]
mod tests;

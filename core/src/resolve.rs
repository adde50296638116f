//! Who may do what, and which state wins when histories forked. Pure: it sees events, never the store.
//!
//! The authorisation rules and the resolution algorithm are ruma's, unforked. What stands here is what makes them quick in
//! a large room: an in-memory graph of auth events ([`AuthGraph`]) from which auth differences and subgraphs are read as
//! bitsets, and [`resolve_fork`], which hands ruma the few keys that matter instead of the whole state.
//!
//! Deliberately absent: reading or writing state, and soft failure. Those belong to `rooms`, which calls this.
//!
//! Invariant: [`resolve_fork`] answers what resolution over complete states and complete auth chains would answer. The
//! tests hold it to that on random histories.

mod auth;
mod fork;
mod graph;
#[cfg(test)]
mod tests;

pub use auth::{AuthError, auth_keys, check_against, check_against_auth_events, check_auth_events};
pub use fork::{Conflict, ResolveError, Room, resolve_fork};
pub use graph::{AUTH_EVENTS_MAX, AuthGraph, Bits, Node};

/// An event type and a state key: one place in a room's state.
pub type StateKey = (ruma::events::StateEventType, String);

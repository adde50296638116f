//! Other servers: what comes in from them, what is fetched from them, and joining, inviting, leaving and looking up through
//! them.
//!
//! The flows are functions over [`Home`](crate::home::Home): each asks servers in turn, those within reach first, checks
//! what they answer, and hands the room engine one job. What is *sent* to others goes through the outbox, apart from the
//! questions asked here.
//!
//! Invariants: no lock and no snapshot is held across a question to the network. Nothing that a server answers is believed
//! unchecked, and nothing that it sends sizes our memory.

pub(crate) mod acl;
mod alias;
mod backfill;
mod catch_up;
mod fetch;
pub mod heads;
mod invite;
mod join;
mod knock;
mod leave;

mod profile;
mod receive;
mod rescind;
mod sources;
mod template;

pub use self::{
    alias::resolve_alias, backfill::backfill, invite::invite, join::join, knock::knock, leave::leave,
    profile::query_profile, receive::ReceiveError,
};
pub(crate) use self::{
    invite::{shown, shown_state, shows_create},
    receive::receive,
};

#[cfg(test)]
mod tests;

//! hearth-core: the Matrix homeserver that lives inside the phone, without its sockets.
//!
//! A [`server::Homeserver`] is opened on a store, a key and three ports: a way to send a federation request, a clock, and
//! randomness ([`ports`]). It hands out two routers, one for clients and one for other servers; where they are served is the
//! host's affair. Whoever comes within reach is told to it, and what waited for them goes out.
//!
//! How a message travels: a client's `PUT .../send` arrives at [`api`]; `rooms::send` drafts an event on the current heads,
//! signs it, checks it against the room's state and writes it, with all that follows from it, as one job of the engine
//! ([`store`]); the commit that holds the job answers the client, wakes the syncs ([`sync`]) by the one log, and wakes the
//! [`outbox`], which takes to each server what it has not acknowledged. There it is verified ([`event`]), judged by what it
//! builds on ([`resolve`], [`rooms`]), and written the same way; what is missing is fetched from whoever is near
//! ([`federation`]).
//!
//! Imports run downward only, and a test holds them to it:
//! `server -> chat -> api -> {federation, sync} -> {rooms, media} -> users -> keys -> outbox -> home -> {resolve, store} ->
//! event -> types`.
//!
//! Invariants:
//! - **One event, one commit.** An event, its state, its indices, its log row and its outbox row commit together or not at
//!   all, and an answer that promises durability goes out after the commit.
//! - **No network inside a transaction**, and no lock across a wait. What is missing is named, fetched, and submitted again.
//! - **One writer, one log.** All writes go through the engine; all that a sync could show is a row of one stream.
//! - **Nothing a peer sends sizes our memory.** Every bound stands in [`types::limits`] with its reason.
//! - **Signatures always**, on every event and every federation request, on every network.
//! - **Never give up, never forget.** What a server has not acknowledged stays queued.
//! - **Same seed, same run**, with simulated ports.
//!
//! Deliberately absent: sockets, the wall clock, ambient randomness, and any feature that holds another: features are
//! functions over a view or a transaction.
#![forbid(unsafe_code)]

pub mod api;
pub mod chat;
pub mod event;
pub mod federation;
pub mod home;
pub mod keys;
pub mod media;
pub mod outbox;
pub mod ports;
pub mod resolve;
pub mod rooms;
pub mod server;
pub mod store;
pub mod sync;
pub mod types;
pub mod users;

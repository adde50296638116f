//! The HTTP faces of the homeserver: the client-server API and the server-server API, as axum routers over [`Home`].
//!
//! A router is no socket: the host serves it on loopback, on libp2p streams or behind HTTPS. Requests and responses are
//! ruma's types; `frame` reads and authenticates them, `error` is the one place where Matrix error codes are spelled.
//! Deliberately absent: anything about sockets, connections and timeouts, which the host bounds, and appservices.
//!
//! [`Home`]: crate::home::Home

mod auth;
pub mod client;
mod cors;
mod error;
mod frame;
mod media_error;
mod ranges;
mod room_error;
pub mod server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use error::ApiError;

//! hearth-core: the Matrix homeserver that lives inside the phone, without its sockets.
#![forbid(unsafe_code)]

pub mod api;
pub mod event;
pub mod federation;
pub mod home;
pub mod outbox;
pub mod ports;
pub mod resolve;
pub mod rooms;
pub mod server;
pub mod store;
pub mod sync;
pub mod types;
pub mod users;

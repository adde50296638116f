//! hearth-core: the Matrix homeserver that lives inside the phone, without its sockets.
#![forbid(unsafe_code)]

pub mod api;
pub mod event;
pub mod home;
pub mod ports;
pub mod resolve;
pub mod store;
pub mod sync;
pub mod types;
pub mod users;

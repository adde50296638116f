//! hearth-core: the Matrix homeserver that lives inside the phone, without its sockets.
pub mod event;
pub mod home;
pub mod ports;
pub mod store;
pub mod resolve;
pub mod types;

//! The one test binary of the workspace: everything that needs more than one crate, or looks at the code from outside.
//!
//! One binary, because linking is what takes the time here. Pure unit tests stand beside what they test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod hostile;
mod media;
mod sim;
mod sockets;
mod tidy;

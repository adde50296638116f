//! The proof: what the suites share. The simulator stands in [`sim`].
//!
//! It is a library so that a suite, a bench and a fuzz target can build on the same world. It is test code throughout: what
//! cannot go on panics, and the panic is the finding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

pub mod sim;

//! The proof of `resolve`: reduced inputs against full ones on random histories, the graph against naive walks, and each
//! refusal of the authorisation rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod corners;
mod graph;
mod history;
mod oracle;
mod property;
mod rules;

//! The client as its user lives it: alice, bob and carol with their phones, lists and timelines, over a net that can be cut.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

mod diffs;
mod kills;
mod list;
mod messages;
mod names;
mod past;
mod sending;
mod ways;
mod world;

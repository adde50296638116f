//! The client as its user lives it: alice, bob and carol with their phones, lists and timelines, over a net that can be cut.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

mod blocked;
mod diffs;
mod files;
mod kills;
mod list;
mod messages;
mod names;
mod notices;
mod past;
mod restore;
mod search;
mod sending;
mod trust;
mod ways;
mod world;

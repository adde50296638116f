//! Recovery keys, and the other clients of an account that use them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

mod again;
mod kills;
mod making;
mod other;
mod recovering;
mod upkeep;

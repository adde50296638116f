//! The store's own promises: group commit, abandoned batches, crashes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

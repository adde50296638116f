//! The room engine, held against hand-made histories.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

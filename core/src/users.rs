//! The people of this homeserver: accounts, sessions, profiles, filters.
//!
//! Functions over a view or a write transaction. Which error code a refusal becomes is the API's business.

pub mod sessions;

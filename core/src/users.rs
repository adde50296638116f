//! The people of this homeserver: accounts, sessions, profiles, filters, account data, push rules.
//!
//! Functions over a view or a write transaction. Which error code a refusal becomes is the API's business. Deliberately
//! absent: guests, third-party identifiers and administrators. A phone's homeserver has no use for the first two, and its
//! owner is who holds the phone.

pub mod account_data;
pub mod accounts;
pub mod filters;
pub mod ignored;
pub mod password;
pub mod profiles;
pub mod push;
pub mod sessions;
pub mod tags;

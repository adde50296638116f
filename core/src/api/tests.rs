//! The endpoints that need no room, as a client or another server calls them.

mod accounts;
mod afar;
mod discovery;
mod membership;
mod people;
mod reading;
mod rooms;

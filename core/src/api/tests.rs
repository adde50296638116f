//! The endpoints that need no room, as a client or another server calls them.

mod accounts;
mod afar;
mod conversation;
mod discovery;
mod encryption;
mod media;
mod media_afar;
mod media_thumbnails;
mod membership;
mod people;
mod reading;
mod rooms;

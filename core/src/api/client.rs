//! The client-server API: one file per endpoint group, named as ruma names them.
//!
//! A new group is one `mod` line and one line in [`router`].

mod account;
mod alias;
mod amended;
mod capabilities;
mod config;
mod context;
mod devices;
mod filter;
mod joined_rooms;
mod key_backup;
mod keys;
mod login;
mod logout;
mod media;
mod media_download;
mod members;
mod membership;
mod message;
mod notification;
mod profile;
mod push;
mod receipt;
mod register;
mod relations;
mod room;
mod room_read;
mod send;
mod state;
mod state_read;
pub(crate) mod steps;
mod sync;
mod tag;
mod threads;
mod to_device;
mod typing;
mod uiaa;
mod versions;
mod well_known;

pub(in crate::api) use media_download::{disposition, etag, size, thumbnail_disposition};
pub(in crate::api) use profile::local_profile;

use std::sync::Arc;

use axum::{Router, middleware::from_fn};

use super::{cors, frame};
use crate::home::Home;

/// The whole client-server API of a homeserver.
pub fn router(home: Arc<Home>) -> Router {
    let mut router = Router::new();
    for routes in [
        account::routes,
        alias::routes,
        capabilities::routes,
        config::routes,
        context::routes,
        devices::routes,
        filter::routes,
        joined_rooms::routes,
        key_backup::routes,
        keys::routes,
        login::routes,
        logout::routes,
        media::routes,
        media_download::routes,
        members::routes,
        membership::routes,
        message::routes,
        notification::routes,
        profile::routes,
        push::routes,
        receipt::routes,
        register::routes,
        relations::routes,
        room::routes,
        room_read::routes,
        send::routes,
        state::routes,
        state_read::routes,
        sync::routes,
        tag::routes,
        threads::routes,
        to_device::routes,
        typing::routes,
        versions::routes,
        well_known::routes,
    ] {
        router = routes(router);
    }
    frame::finish(router, home).layer(from_fn(cors::allow_all_origins))
}

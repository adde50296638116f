//! The client-server API: one file per endpoint group, named as ruma names them.
//!
//! A new group is one `mod` line and one line in [`router`].

mod account;
mod alias;
mod capabilities;
mod context;
mod devices;
mod filter;
mod joined_rooms;
mod login;
mod logout;
mod members;
mod membership;
mod message;
mod profile;
mod register;
mod room;
mod room_read;
mod send;
mod state;
mod state_read;
mod steps;
mod sync;
mod uiaa;
mod versions;
mod well_known;

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
        context::routes,
        devices::routes,
        filter::routes,
        joined_rooms::routes,
        login::routes,
        logout::routes,
        members::routes,
        membership::routes,
        message::routes,
        profile::routes,
        register::routes,
        room::routes,
        room_read::routes,
        send::routes,
        state::routes,
        state_read::routes,
        sync::routes,
        versions::routes,
        well_known::routes,
    ] {
        router = routes(router);
    }
    frame::finish(router, home).layer(from_fn(cors::allow_all_origins))
}

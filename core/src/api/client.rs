//! The client-server API: one file per endpoint group, named as ruma names them.
//!
//! A new group is one `mod` line and one line in [`router`].

mod account;
mod alias;
mod capabilities;
mod devices;
mod filter;
mod login;
mod logout;
mod membership;
mod profile;
mod register;
mod room;
mod send;
mod state;
mod steps;
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
        devices::routes,
        filter::routes,
        login::routes,
        logout::routes,
        membership::routes,
        profile::routes,
        register::routes,
        room::routes,
        send::routes,
        state::routes,
        versions::routes,
        well_known::routes,
    ] {
        router = routes(router);
    }
    frame::finish(router, home).layer(from_fn(cors::allow_all_origins))
}

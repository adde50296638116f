//! The server-server API: one file per endpoint group, named as ruma names them.
//!
//! A new group is one `mod` line and one line in [`router`].

mod backfill;
mod directory;
mod door;
mod edu;
mod event;
mod handshake;
mod invite;
mod join;
mod keys;
mod knock;
mod leave;
mod media;
mod query;
mod send;
mod user_devices;
mod user_keys;
mod version;

use std::sync::Arc;

use axum::Router;

use super::frame;
use crate::home::Home;

/// The whole server-server API of a homeserver.
///
/// The host puts a [`PeerServer`](crate::ports::PeerServer) into the extensions of each request, if the connection proved
/// one.
pub fn router(home: Arc<Home>) -> Router {
    let mut router = Router::new();
    for routes in [
        backfill::routes,
        directory::routes,
        event::routes,
        invite::routes,
        join::routes,
        keys::routes,
        knock::routes,
        leave::routes,
        media::routes,
        query::routes,
        send::routes,
        user_devices::routes,
        user_keys::routes,
        version::routes,
    ] {
        router = routes(router);
    }
    frame::finish(router, home)
}

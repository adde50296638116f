//! The server-server API: one file per endpoint group, named as ruma names them.
//!
//! A new group is one `mod` line and one line in [`router`].

mod keys;
mod query;
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
        keys::routes,
        query::routes,
        version::routes,
    ] {
        router = routes(router);
    }
    frame::finish(router, home)
}

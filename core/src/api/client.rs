//! The client-server API: one file per endpoint group, named as ruma names them.
//!
//! A new group is one `mod` line and one line in [`router`].

mod versions;

use std::sync::Arc;

use axum::{Router, middleware::from_fn};

use super::{cors, frame};
use crate::home::Home;

/// The whole client-server API of a homeserver.
pub fn router(home: Arc<Home>) -> Router {
    let mut router = Router::new();
    for routes in [versions::routes] {
        router = routes(router);
    }
    frame::finish(router, home).layer(from_fn(cors::allow_all_origins))
}

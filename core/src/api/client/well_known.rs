//! `GET /.well-known/matrix/client`. Client-server API, "Well-known URIs".
//!
//! A phone's homeserver has no address of its own to announce; the one thing it knows is that who asked over loopback will
//! reach it there again. To everyone else the answer is 404, upon which a client keeps the address that it has. A `Host`
//! that is no loopback address is never repeated: a web page could have made it up.

use std::{net::IpAddr, sync::Arc};

use axum::{Router, extract::State};
use http::{header, uri::Authority};
use ruma::api::client::discovery::discover_homeserver::{self, HomeserverInfo, Response};

use crate::{
    api::{
        ApiError,
        frame::{Anyone, Call, RawCall, route},
    },
    home::Home,
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, get_client)
}

/// A request of which only the address counts that it was sent to.
struct SentTo(Option<Authority>);

impl Call for SentTo {
    type Endpoint = discover_homeserver::Request;
    type Entry = Anyone;

    fn of((): (), raw: RawCall) -> Result<Self, ApiError> {
        let host = raw.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        Ok(Self(host.and_then(|host| host.parse().ok())))
    }
}

async fn get_client(_: State<Arc<Home>>, SentTo(host): SentTo) -> Result<Response, ApiError> {
    match host.filter(is_loopback) {
        Some(host) => Ok(Response::new(HomeserverInfo::new(format!("http://{host}")))),
        None => Err(ApiError::not_found("this homeserver announces no address; use the one that you have")),
    }
}

fn is_loopback(host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    // Userinfo would make a URL that reads like another host.
    !host.as_str().contains('@') && (name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

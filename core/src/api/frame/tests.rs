//! The frame by itself: what it refuses before a handler sees anything, and what it makes of what a handler does.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use ruma::{
    ServerName,
    api::{
        client::session::logout::v3 as logout,
        federation::{authentication::XMatrix, query::get_profile_information::v1 as query_profile},
    },
    serde::Base64,
    signatures::KeyPair,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    api::testing::Phone,
    ports::PeerServer,
    types::{
        LocalServer,
        limits::{CLIENT_BODY_BYTES_MAX, FEDERATION_BODY_BYTES_MAX},
    },
};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[tokio::test]
async fn unknown_paths_and_methods_are_unrecognized() {
    let phone = Phone::new(1);
    phone.call(Method::GET, "/_matrix/client/v3/nothing", None, None).await.is_error(404, "M_UNRECOGNIZED");
    phone.call(Method::GET, "/_matrix/client/unstable/x", None, None).await.is_error(404, "M_UNRECOGNIZED");
    phone.call(Method::DELETE, WHOAMI, None, None).await.is_error(405, "M_UNRECOGNIZED");
    let request = Request::get("/_matrix/federation/v1/nothing").body(Body::empty()).unwrap();
    phone.federate(request).await.is_error(404, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn tokens_come_in_the_header_and_nowhere_else() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    phone.call(Method::GET, WHOAMI, None, None).await.is_error(401, "M_MISSING_TOKEN");
    let in_query = format!("{WHOAMI}?access_token={}", ana.token);
    phone.call(Method::GET, &in_query, None, None).await.is_error(401, "M_MISSING_TOKEN");
    phone.call(Method::GET, WHOAMI, Some("nonsense"), None).await.is_error(401, "M_UNKNOWN_TOKEN");
    let basic = Request::get(WHOAMI).header(header::AUTHORIZATION, "Basic YW5hOmFuYQ==").body(Body::empty()).unwrap();
    phone.send(basic).await.is_error(401, "M_MISSING_TOKEN");
    assert_eq!(phone.call(Method::GET, WHOAMI, Some(&ana.token), None).await.ok()["user_id"], ana.user.as_str());
}

#[tokio::test]
async fn bodies_are_json_of_the_right_shape_and_size() {
    let phone = Phone::new(1);
    let login = |body: Body| Request::post("/_matrix/client/v3/login").body(body).unwrap();
    phone.send(login(Body::from("{\"type\":"))).await.is_error(400, "M_NOT_JSON");
    phone.send(login(Body::from("hello"))).await.is_error(400, "M_NOT_JSON");
    phone.send(login(Body::from("{}"))).await.is_error(400, "M_BAD_JSON");
    phone.send(login(Body::from("[]"))).await.is_error(400, "M_BAD_JSON");
    let deep = format!("{{\"type\":\"m.login.password\",\"deep\":{}", "[".repeat(100_000));
    phone.send(login(Body::from(deep))).await.is_error(400, "M_NOT_JSON");
    let large = "x".repeat(CLIENT_BODY_BYTES_MAX + 1);
    phone.send(login(Body::from(large.clone()))).await.is_error(413, "M_TOO_LARGE");
    // A body that does not say how large it is gets read up to the limit and no further.
    let chunks =
        futures::stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 65_536]))));
    phone.send(login(Body::from_stream(chunks))).await.is_error(413, "M_TOO_LARGE");
    let announced = Request::post("/_matrix/client/v3/login").header(header::CONTENT_LENGTH, large.len());
    phone.send(announced.body(Body::empty()).unwrap()).await.is_error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn a_missing_token_is_said_before_the_body_is_read() {
    let phone = Phone::new(1);
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::post("/_matrix/client/v3/logout").body(never).unwrap();
    phone.send(request).await.is_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn bad_paths_and_queries_are_invalid_params() {
    let phone = Phone::new(1);
    let no_user = "/_matrix/client/v3/profile/nobody";
    phone.call(Method::GET, no_user, None, None).await.is_error(400, "M_INVALID_PARAM");
    let no_utf8 = "/_matrix/client/v3/profile/%ff";
    phone.call(Method::GET, no_utf8, None, None).await.is_error(400, "M_INVALID_PARAM");
    let no_query = "/_matrix/client/v3/register/available";
    phone.call(Method::GET, no_query, None, None).await.is_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn path_arguments_are_decoded_and_old_paths_still_work() {
    let phone = Phone::new(1);
    let ana = phone.person("ana/b").await;
    let encoded = ana.user.as_str().replace('/', "%2F").replace('@', "%40").replace(':', "%3A");
    for version in ["r0", "v3"] {
        let uri = format!("/_matrix/client/{version}/profile/{encoded}/displayname");
        let body = json!({ "displayname": version });
        phone.call(Method::PUT, &uri, Some(&ana.token), Some(body)).await.ok();
        assert_eq!(phone.call(Method::GET, &uri, None, None).await.ok(), json!({ "displayname": version }));
    }
}

#[tokio::test]
async fn a_panic_is_one_requests_end() {
    async fn breaks(_: State<Arc<Home>>, _: Authed<logout::Request>) -> Result<logout::Response, ApiError> {
        panic!("on purpose")
    }
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let router = finish(route(Router::new(), breaks), phone.home.clone());
    for _ in 0..2 {
        let request = Request::post("/_matrix/client/v3/logout")
            .header(header::AUTHORIZATION, format!("Bearer {}", ana.token))
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["errcode"], "M_UNKNOWN");
        assert!(!body["error"].as_str().unwrap().contains("on purpose"));
    }
}

#[tokio::test]
async fn a_closed_store_is_our_fault_and_says_no_more() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    phone.home.store.close().unwrap();
    phone.call(Method::GET, WHOAMI, Some(&ana.token), None).await.is_error(500, "M_UNKNOWN");
}

#[tokio::test]
async fn browsers_may_read_every_answer() {
    let phone = Phone::new(1);
    for (method, uri) in [
        (Method::GET, "/_matrix/client/versions"),
        (Method::GET, "/_matrix/client/v3/nothing"),
        (Method::OPTIONS, WHOAMI),
        (Method::OPTIONS, "/_matrix/client/v3/nothing"),
    ] {
        let answer = phone.call(method.clone(), uri, None, None).await;
        assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{method} {uri}");
        assert!(answer.headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().contains("Authorization"));
        if method == Method::OPTIONS {
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
}

/// A federation request of `from`, signed for `to`.
fn signed(from: &LocalServer, to: &ServerName, uri: &str) -> Request<Body> {
    let request = Request::get(uri).body(Vec::new()).unwrap();
    let object = XMatrix::request_object(&request, &from.name, to).unwrap();
    let signature = from.sign(&serde_json::to_vec(&object).unwrap());
    let header = XMatrix::new(
        from.name.clone(),
        to.to_owned(),
        from.key_id().try_into().unwrap(),
        Base64::new(signature.as_bytes().to_vec()),
    );
    Request::get(uri).header(header::AUTHORIZATION, header.to_string()).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn federation_requests_are_signed_by_who_sends_them_for_who_gets_them() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let us = phone.home.server_name().to_owned();
    let ben = LocalServer::new(&[2; 32]);
    let chi = LocalServer::new(&[3; 32]);
    let uri = format!("/_matrix/federation/v1/query/profile?user_id={}", ana.user.as_str().replace('@', "%40"));
    phone.federate(signed(&ben, &us, &uri)).await.ok();

    let bare = Request::get(&uri).body(Body::empty()).unwrap();
    phone.federate(bare).await.is_error(401, "M_UNAUTHORIZED");
    let garbled = Request::get(&uri).header(header::AUTHORIZATION, "X-Matrix nothing").body(Body::empty()).unwrap();
    phone.federate(garbled).await.is_error(401, "M_UNAUTHORIZED");
    // Signed for another server, and replayed here.
    phone.federate(signed(&ben, &chi.name, &uri)).await.is_error(401, "M_UNAUTHORIZED");
    // Signed for another request.
    let mut other = signed(&ben, &us, &uri);
    *other.uri_mut() = format!("{uri}&field=displayname").parse().unwrap();
    phone.federate(other).await.is_error(401, "M_UNAUTHORIZED");
    // Signed by another key than the origin's name spells.
    let forger = LocalServer::with_name(&[9; 32], ben.name.clone());
    phone.federate(signed(&forger, &us, &uri)).await.is_error(401, "M_UNAUTHORIZED");
    // An origin whose name spells no key.
    let dns = LocalServer::with_name(&[2; 32], "example.org".try_into().unwrap());
    phone.federate(signed(&dns, &us, &uri)).await.is_error(401, "M_UNAUTHORIZED");
    // From ourselves.
    phone.federate(signed(&phone.home.local, &us, &uri)).await.is_error(401, "M_UNAUTHORIZED");
    // Over a connection that proved to be somebody else.
    let mut carried = signed(&ben, &us, &uri);
    carried.extensions_mut().insert(PeerServer(chi.name.clone()));
    phone.federate(carried).await.is_error(403, "M_FORBIDDEN");
    let mut own = signed(&ben, &us, &uri);
    own.extensions_mut().insert(PeerServer(ben.name.clone()));
    phone.federate(own).await.ok();
}

#[tokio::test]
async fn federation_bodies_are_bounded_and_part_of_the_signature() {
    async fn origin(
        _: State<Arc<Home>>,
        call: Signed<query_profile::Request>,
    ) -> Result<query_profile::Response, ApiError> {
        Err(ApiError::forbidden(call.origin.to_string()))
    }
    let mut phone = Phone::new(1);
    let us = phone.home.server_name().to_owned();
    let ben = LocalServer::new(&[2; 32]);
    phone.server = finish(route(Router::new(), origin), phone.home.clone());
    let uri = "/_matrix/federation/v1/query/profile?user_id=%40x%3Ay";
    let with_body = |body: Body| signed(&ben, &us, uri).map(|_| body);
    let known = phone.federate(with_body(Body::empty())).await;
    assert_eq!(known.body["error"], ben.name.as_str());
    phone.federate(with_body(Body::from("{\"a\":1}"))).await.is_error(401, "M_UNAUTHORIZED");
    phone.federate(with_body(Body::from("{\"a\":"))).await.is_error(400, "M_NOT_JSON");
    let large = Body::from("x".repeat(FEDERATION_BODY_BYTES_MAX + 1));
    phone.federate(with_body(large)).await.is_error(413, "M_TOO_LARGE");
}

#[test]
fn variables_are_numbered_so_that_neighbours_agree() {
    assert_eq!(numbered("/a/{room_id}/b/{type}/{key}"), "/a/{p1}/b/{p2}/{p3}");
    assert_eq!(numbered("/a/b/"), "/a/b/");
}

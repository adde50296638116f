//! What a client or a server asks first: versions, capabilities, addresses, keys.

use axum::body::Body;
use http::{Method, Request, header};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, signatures::verify_json};
use serde_json::json;

use crate::{
    api::testing::{NOW, Phone},
    types::public_keys,
};

#[tokio::test]
async fn versions_need_no_token() {
    let phone = Phone::new(1);
    let versions = phone.call(Method::GET, "/_matrix/client/versions", None, None).await.ok();
    let versions = versions["versions"].as_array().unwrap();
    assert_eq!((versions.first(), versions.last()), (Some(&json!("v1.1")), Some(&json!("v1.18"))));
    assert!(versions.iter().all(|version| !version.as_str().unwrap().starts_with('r')));
}

#[tokio::test]
async fn capabilities_name_the_room_versions() {
    let phone = Phone::new(1);
    let uri = "/_matrix/client/v3/capabilities";
    phone.call(Method::GET, uri, None, None).await.is_error(401, "M_MISSING_TOKEN");
    let ana = phone.person("ana").await;
    let body = phone.call(Method::GET, uri, Some(&ana.token), None).await.ok();
    let versions = &body["capabilities"]["m.room_versions"];
    assert_eq!(versions["default"], "12");
    let stable: Vec<_> = versions["available"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(stable, ["10", "11", "12", "6", "7", "8", "9"]);
    assert_eq!(body["capabilities"]["m.3pid_changes"]["enabled"], false);
    assert_eq!(body["capabilities"]["m.profile_fields"]["enabled"], true);
}

#[tokio::test]
async fn an_address_is_announced_to_loopback_only() {
    let phone = Phone::new(1);
    let ask = async |host: Option<&str>| {
        let mut request = Request::get("/.well-known/matrix/client");
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        phone.send(request.body(Body::empty()).unwrap()).await
    };
    for host in ["127.0.0.1:8008", "localhost:8008", "[::1]:8008", "localhost"] {
        let body = ask(Some(host)).await.ok();
        assert_eq!(body, json!({ "m.homeserver": { "base_url": format!("http://{host}") } }));
    }
    for host in ["example.org", "192.168.1.7:8008", "localhost@example.org", "localhost.example.org", "not a host"] {
        ask(Some(host)).await.is_error(404, "M_NOT_FOUND");
    }
    ask(None).await.is_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_server_says_its_version_and_its_keys() {
    let phone = Phone::new(1);
    let ask = async |uri: &str| phone.federate(Request::get(uri).body(Body::empty()).unwrap()).await.ok();
    let version = ask("/_matrix/federation/v1/version").await;
    assert_eq!(version, json!({ "server": { "name": "Hearth", "version": env!("CARGO_PKG_VERSION") } }));

    let keys = ask("/_matrix/key/v2/server").await;
    let us = phone.home.server_name();
    assert_eq!(keys["server_name"], us.as_str());
    assert_eq!(keys["valid_until_ts"], NOW.0 + 7 * 24 * 3_600_000);
    assert_eq!(keys["verify_keys"].as_object().unwrap().len(), 1);
    assert_eq!(keys["old_verify_keys"], json!({}));
    // The key in the answer is the one in the name, and it signed the answer.
    let known = public_keys(&phone.home.local, [us]);
    assert_eq!(keys["verify_keys"]["ed25519:1"]["key"], known[us.as_str()]["ed25519:1"].encode());
    let object: CanonicalJsonObject = match keys.try_into().unwrap() {
        CanonicalJsonValue::Object(object) => object,
        other => panic!("{other:?}"),
    };
    verify_json(&known, &object).unwrap();
    let mut forged = object;
    forged.insert("valid_until_ts".into(), CanonicalJsonValue::Integer(1.into()));
    assert!(verify_json(&known, &forged).is_err());
}

//! Registration, login, logout, devices, and the end of an account.

use http::Method;
use serde_json::{Value, json};

use crate::{
    api::testing::{Answer, Person, Phone, password_of, proof},
    home::Registration,
    store::UserKey,
};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

async fn post(phone: &Phone, uri: &str, body: Value) -> Answer {
    phone.call(Method::POST, uri, None, Some(body)).await
}

async fn log_in(phone: &Phone, user: &str, password: &str) -> Answer {
    let identifier = json!({ "type": "m.id.user", "user": user });
    post(phone, LOGIN, json!({ "type": "m.login.password", "identifier": identifier, "password": password })).await
}

/// Whether a token still opens the door.
async fn is_valid(phone: &Phone, token: &str) -> bool {
    phone.call(Method::GET, WHOAMI, Some(token), None).await.status.is_success()
}

#[tokio::test]
async fn a_login_token_lets_one_client_in_once() {
    let phone = Phone::new(1);
    let alice = phone.person("alice").await;
    let key = UserKey::find(&phone.home.store.snapshot().unwrap(), &alice.user).unwrap().unwrap();
    let token = phone.home.make_login_token(key);
    let login = |token: &str| json!({ "type": "m.login.token", "token": token });
    post(&phone, LOGIN, login("wrong")).await.is_error(403, "M_FORBIDDEN");
    let answer = post(&phone, LOGIN, login(&token)).await.ok();
    assert_eq!(answer["user_id"], alice.user.as_str());
    assert_ne!(answer["device_id"], alice.device.as_str());
    post(&phone, LOGIN, login(&token)).await.is_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn registration_asks_for_a_stage_and_then_opens_a_session() {
    let phone = Phone::new(1);
    let asked = post(&phone, REGISTER, json!({ "username": "ana", "password": "x" })).await;
    assert_eq!(asked.status, 401);
    assert_eq!(asked.body["flows"], json!([{ "stages": ["m.login.dummy"] }]));
    assert!(asked.body.get("errcode").is_none(), "{asked:?}");
    let auth = json!({ "type": "m.login.dummy", "session": asked.body["session"].as_str().unwrap() });
    let body = json!({
        "username": "Ana", "password": "x", "auth": auth, "device_id": "PHONE", "initial_device_display_name": "phone",
    });
    let made = post(&phone, REGISTER, body.clone()).await.ok();
    assert_eq!(made["user_id"], phone.user("ana").as_str());
    assert_eq!(made["device_id"], "PHONE");
    let token = made["access_token"].as_str().unwrap();
    let who = phone.call(Method::GET, WHOAMI, Some(token), None).await.ok();
    assert_eq!(who, json!({ "user_id": phone.user("ana"), "device_id": "PHONE" }));
    post(&phone, REGISTER, body).await.is_error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn registration_refuses_what_cannot_be() {
    let phone = Phone::new(1);
    let auth = json!({ "type": "m.login.dummy" });
    let long = "a".repeat(193);
    for name in ["", "a b", "a:b", "ä", "@ana", long.as_str()] {
        let body = json!({ "username": name, "password": "x", "auth": auth });
        post(&phone, REGISTER, body).await.is_error(400, "M_INVALID_USERNAME");
    }
    post(&phone, REGISTER, json!({ "username": "ana", "auth": auth })).await.is_error(400, "M_MISSING_PARAM");
    let with = |field: &str, value: Value| {
        let mut body = json!({ "username": "ana", "password": "x", "auth": auth });
        body[field] = value;
        body
    };
    post(&phone, REGISTER, with("password", json!(""))).await.is_error(400, "M_WEAK_PASSWORD");
    post(&phone, REGISTER, with("password", json!("x".repeat(1_025)))).await.is_error(400, "M_INVALID_PARAM");
    post(&phone, REGISTER, with("device_id", json!("a\0b"))).await.is_error(400, "M_INVALID_PARAM");
    post(&phone, REGISTER, with("device_id", json!("x".repeat(256)))).await.is_error(400, "M_INVALID_PARAM");
    post(&phone, REGISTER, with("type", json!("m.login.application_service"))).await.is_error(400, "M_UNKNOWN");
    let guest = format!("{REGISTER}?kind=guest");
    post(&phone, &guest, json!({})).await.is_error(403, "M_GUEST_ACCESS_FORBIDDEN");
    let odd = with("auth", json!({ "type": "m.login.recaptcha", "response": "x" }));
    let refused = post(&phone, REGISTER, odd).await;
    refused.is_error(401, "M_UNRECOGNIZED");
    assert_eq!(refused.body["flows"], json!([{ "stages": ["m.login.dummy"] }]));
    // None of these left an account behind.
    post(&phone, REGISTER, with("inhibit_login", json!(true))).await.ok();
}

#[tokio::test]
async fn registration_without_a_name_or_a_login() {
    let phone = Phone::new(1);
    let auth = json!({ "type": "m.login.dummy" });
    let one = post(&phone, REGISTER, json!({ "password": "x", "auth": auth })).await.ok();
    let two = post(&phone, REGISTER, json!({ "password": "x", "auth": auth })).await.ok();
    assert_ne!(one["user_id"], two["user_id"]);
    assert!(is_valid(&phone, one["access_token"].as_str().unwrap()).await);
    let body = json!({ "username": "ben", "password": "x", "auth": auth, "inhibit_login": true });
    let quiet = post(&phone, REGISTER, body).await.ok();
    assert!(quiet["access_token"].is_null() && quiet["device_id"].is_null(), "{quiet}");
    log_in(&phone, "ben", "x").await.ok();
}

#[tokio::test]
async fn registration_may_be_closed_or_go_by_token() {
    let closed = Phone::with_registration(1, Registration::Closed);
    let auth = json!({ "type": "m.login.dummy" });
    post(&closed, REGISTER, json!({ "password": "x", "auth": auth })).await.is_error(403, "M_FORBIDDEN");

    let phone = Phone::with_registration(1, Registration::Token("sesame".into()));
    let body = |auth: Value| json!({ "username": "ana", "password": "x", "auth": auth });
    let token = |token: &str| body(json!({ "type": "m.login.registration_token", "token": token, "session": "s" }));
    let asked = post(&phone, REGISTER, body(auth)).await;
    assert_eq!(asked.body["flows"], json!([{ "stages": ["m.login.registration_token"] }]), "{asked:?}");
    post(&phone, REGISTER, token("wrong")).await.is_error(401, "M_UNAUTHORIZED");
    post(&phone, REGISTER, token("sesame")).await.ok();

    let validity = "/_matrix/client/v1/register/m.login.registration_token/validity";
    for (given, valid) in [("sesame", true), ("wrong", false)] {
        let uri = format!("{validity}?token={given}");
        assert_eq!(phone.call(Method::GET, &uri, None, None).await.ok(), json!({ "valid": valid }));
    }
    let uri = format!("{validity}?token=sesame");
    closed.call(Method::GET, &uri, None, None).await.is_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn names_are_free_taken_or_invalid() {
    let phone = Phone::new(1);
    phone.person("ana").await;
    let ask =
        async |name: &str| phone.call(Method::GET, &format!("{REGISTER}/available?username={name}"), None, None).await;
    assert_eq!(ask("ben").await.ok(), json!({ "available": true }));
    ask("ana").await.is_error(400, "M_USER_IN_USE");
    ask("a%20b").await.is_error(400, "M_INVALID_USERNAME");
}

#[tokio::test]
async fn login_by_localpart_by_user_id_and_the_old_way() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let flows = phone.call(Method::GET, LOGIN, None, None).await.ok();
    assert_eq!(flows, json!({ "flows": [{ "type": "m.login.password" }, { "type": "m.login.token" }] }));
    for name in ["ana", "Ana", ana.user.as_str()] {
        let session = log_in(&phone, name, &password_of("ana")).await.ok();
        assert_eq!(session["user_id"], ana.user.as_str());
        assert!(is_valid(&phone, session["access_token"].as_str().unwrap()).await);
    }
    let old = json!({ "type": "m.login.password", "user": "ana", "password": password_of("ana") });
    post(&phone, LOGIN, old).await.ok();
}

#[tokio::test]
async fn login_refuses_alike_whom_it_knows_and_whom_it_does_not() {
    let phone = Phone::new(1);
    phone.person("ana").await;
    let known = log_in(&phone, "ana", "wrong").await;
    known.is_error(403, "M_FORBIDDEN");
    for name in ["ben", "@ana:example.org", "a b"] {
        let unknown = log_in(&phone, name, &password_of("ana")).await;
        assert_eq!((unknown.status, &unknown.body), (known.status, &known.body), "{name}");
    }
    log_in(&phone, "ana", "").await.is_error(403, "M_FORBIDDEN");
    post(&phone, LOGIN, json!({ "type": "m.login.sso" })).await.is_error(400, "M_UNKNOWN");
    let nobody = json!({ "type": "m.login.password", "password": "x" });
    post(&phone, LOGIN, nobody).await.is_error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn a_login_on_a_known_device_ends_its_old_session() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "ana" },
        "password": password_of("ana"), "device_id": ana.device,
    });
    let again = post(&phone, LOGIN, body).await.ok();
    assert_eq!(again["device_id"], ana.device.as_str());
    assert!(!is_valid(&phone, &ana.token).await);
    assert!(is_valid(&phone, again["access_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn logout_ends_one_session_or_all() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let ben = phone.person("ben").await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let session = log_in(&phone, "ana", &password_of("ana")).await.ok();
        tokens.push(session["access_token"].as_str().unwrap().to_owned());
    }
    phone.call(Method::POST, "/_matrix/client/v3/logout", Some(&ana.token), None).await.ok();
    phone.call(Method::GET, WHOAMI, Some(&ana.token), None).await.is_error(401, "M_UNKNOWN_TOKEN");
    assert!(is_valid(&phone, &tokens[0]).await && is_valid(&phone, &tokens[1]).await);
    phone.call(Method::POST, "/_matrix/client/v3/logout/all", Some(&tokens[0]), None).await.ok();
    assert!(!is_valid(&phone, &tokens[0]).await && !is_valid(&phone, &tokens[1]).await);
    assert!(is_valid(&phone, &ben.token).await);
}

/// The names of a person's devices by id.
async fn devices(phone: &Phone, who: &Person) -> Value {
    let body = phone.call(Method::GET, "/_matrix/client/v3/devices", Some(&who.token), None).await.ok();
    let list = body["devices"].as_array().unwrap().iter();
    list.map(|device| (device["device_id"].as_str().unwrap().to_owned(), device["display_name"].clone())).collect()
}

#[tokio::test]
async fn devices_are_listed_named_and_deleted_with_the_password() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let ben = phone.person("ben").await;
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "ana" },
        "password": password_of("ana"), "device_id": "TABLET", "initial_device_display_name": "tablet",
    });
    let tablet = post(&phone, LOGIN, body).await.ok()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(devices(&phone, &ana).await, json!({ &ana.device: null, "TABLET": "tablet" }));

    let uri = "/_matrix/client/v3/devices/TABLET";
    let name = |name: &str| Some(json!({ "display_name": name }));
    phone.call(Method::PUT, uri, Some(&ana.token), name("slate")).await.ok();
    phone.call(Method::PUT, uri, Some(&ana.token), Some(json!({}))).await.ok();
    let seen = phone.call(Method::GET, uri, Some(&ana.token), None).await.ok();
    assert_eq!((&seen["device_id"], &seen["display_name"]), (&json!("TABLET"), &json!("slate")));
    phone.call(Method::PUT, uri, Some(&ana.token), name(&"x".repeat(1_025))).await.is_error(400, "M_INVALID_PARAM");
    // Another person's device is as unknown as none.
    phone.call(Method::GET, uri, Some(&ben.token), None).await.is_error(404, "M_NOT_FOUND");
    phone.call(Method::PUT, uri, Some(&ben.token), name("mine")).await.is_error(404, "M_NOT_FOUND");
    phone.call(Method::PUT, uri, Some(&ben.token), Some(json!({}))).await.is_error(404, "M_NOT_FOUND");

    let asked = phone.call(Method::DELETE, uri, Some(&ana.token), None).await;
    assert_eq!((asked.status.as_u16(), &asked.body["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    let mut wrong = proof("ana");
    wrong["password"] = json!("wrong");
    phone
        .call(Method::DELETE, uri, Some(&ana.token), Some(json!({ "auth": wrong })))
        .await
        .is_error(401, "M_FORBIDDEN");
    let other = json!({ "auth": proof("ben") });
    phone.call(Method::DELETE, uri, Some(&ana.token), Some(other)).await.is_error(401, "M_FORBIDDEN");
    // Ben's own password deletes none of Ana's devices.
    phone.call(Method::DELETE, uri, Some(&ben.token), Some(json!({ "auth": proof("ben") }))).await.ok();
    assert!(is_valid(&phone, &tablet).await);
    phone.call(Method::DELETE, uri, Some(&ana.token), Some(json!({ "auth": proof("ana") }))).await.ok();
    assert!(!is_valid(&phone, &tablet).await);

    let body = json!({ "devices": [ana.device, "UNKNOWN"], "auth": proof("ana") });
    phone.call(Method::POST, "/_matrix/client/v3/delete_devices", Some(&ana.token), Some(body)).await.ok();
    assert!(!is_valid(&phone, &ana.token).await);
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_may_keep_the_devices() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let uri = "/_matrix/client/v3/account/password";
    let other = log_in(&phone, "ana", &password_of("ana")).await.ok()["access_token"].as_str().unwrap().to_owned();
    let bare = json!({ "new_password": "new" });
    assert_eq!(phone.call(Method::POST, uri, Some(&ana.token), Some(bare.clone())).await.status, 401);
    phone.call(Method::POST, uri, None, Some(bare)).await.is_error(401, "M_MISSING_TOKEN");
    let empty = json!({ "new_password": "", "auth": proof("ana") });
    phone.call(Method::POST, uri, Some(&ana.token), Some(empty)).await.is_error(400, "M_WEAK_PASSWORD");

    let keep = json!({ "new_password": "new", "logout_devices": false, "auth": proof("ana") });
    phone.call(Method::POST, uri, Some(&ana.token), Some(keep)).await.ok();
    assert!(is_valid(&phone, &other).await);
    log_in(&phone, "ana", &password_of("ana")).await.is_error(403, "M_FORBIDDEN");
    log_in(&phone, "ana", "new").await.ok();

    let mut auth = proof("ana");
    auth["password"] = json!("new");
    let end = json!({ "new_password": "newer", "auth": auth });
    phone.call(Method::POST, uri, Some(&ana.token), Some(end)).await.ok();
    assert!(!is_valid(&phone, &other).await);
    assert!(is_valid(&phone, &ana.token).await);
}

#[tokio::test]
async fn a_deactivated_account_is_closed_for_good() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let profile = format!("/_matrix/client/v3/profile/{}", ana.user);
    let name = Some(json!({ "displayname": "Ana" }));
    phone.call(Method::PUT, &format!("{profile}/displayname"), Some(&ana.token), name).await.ok();
    let uri = "/_matrix/client/v3/account/deactivate";
    assert_eq!(phone.call(Method::POST, uri, Some(&ana.token), Some(json!({}))).await.status, 401);
    assert!(is_valid(&phone, &ana.token).await);
    let ended = phone.call(Method::POST, uri, Some(&ana.token), Some(json!({ "auth": proof("ana") }))).await.ok();
    assert_eq!(ended, json!({ "id_server_unbind_result": "no-support" }));
    assert!(!is_valid(&phone, &ana.token).await);
    log_in(&phone, "ana", &password_of("ana")).await.is_error(403, "M_USER_DEACTIVATED");
    phone.call(Method::GET, &profile, None, None).await.is_error(404, "M_NOT_FOUND");
    let again = json!({ "username": "ana", "password": "x", "auth": { "type": "m.login.dummy" } });
    post(&phone, REGISTER, again).await.is_error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn no_secret_lies_in_the_store() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let view = phone.home.store.snapshot().unwrap();
    let (key, account) = crate::users::accounts::find_by_id(&view, &ana.user).unwrap().unwrap();
    let hash = account.password.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let device = crate::users::sessions::device(&view, key, &ana.device).unwrap().unwrap();
    assert_ne!(device.token.unwrap().as_slice(), ana.token.as_bytes());
    // Two people with one password have two hashes.
    let same = json!({ "username": "ben", "password": password_of("ana"), "auth": { "type": "m.login.dummy" } });
    post(&phone, REGISTER, same).await.ok();
    let view = phone.home.store.snapshot().unwrap();
    let (_, ben) = crate::users::accounts::find_by_id(&view, &phone.user("ben")).unwrap().unwrap();
    assert_ne!(ben.password.unwrap(), hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_work_off_the_async_threads_too() {
    let phone = Phone::new(1);
    phone.person("ana").await;
    log_in(&phone, "ana", &password_of("ana")).await.ok();
    log_in(&phone, "ana", "wrong").await.is_error(403, "M_FORBIDDEN");
}

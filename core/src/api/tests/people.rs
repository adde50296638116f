//! Profiles and filters.

use http::Method;
use serde_json::{Value, json};

use crate::{
    api::testing::{Answer, Person, Phone},
    store::UserKey,
    types::limits::{FILTERS_MAX, PROFILE_BYTES_MAX, PROFILE_FIELD_BYTES_MAX},
};

struct Profile<'a> {
    phone: &'a Phone,
    who: &'a Person,
}

impl Profile<'_> {
    async fn read(&self, path: &str) -> Answer {
        let uri = format!("/_matrix/client/v3/profile/{}{path}", self.who.user);
        self.phone.call(Method::GET, &uri, None, None).await
    }

    async fn set(&self, as_whom: &Person, name: &str, body: Value) -> Answer {
        let uri = format!("/_matrix/client/v3/profile/{}/{name}", self.who.user);
        self.phone.call(Method::PUT, &uri, Some(&as_whom.token), Some(body)).await
    }

    async fn delete(&self, as_whom: &Person, name: &str) -> Answer {
        let uri = format!("/_matrix/client/v3/profile/{}/{name}", self.who.user);
        self.phone.call(Method::DELETE, &uri, Some(&as_whom.token), None).await
    }
}

#[tokio::test]
async fn a_profile_is_its_users_own() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    let profile = Profile { phone: &phone, who: &ana };
    assert_eq!(profile.read("").await.ok(), json!({}));
    profile.read("/displayname").await.is_error(404, "M_NOT_FOUND");
    profile.set(&ana, "displayname", json!({ "displayname": "Ana" })).await.ok();
    profile.set(&ana, "avatar_url", json!({ "avatar_url": "mxc://x/y" })).await.ok();
    profile.set(&ana, "org.example.mood", json!({ "org.example.mood": { "is": ["fine"] } })).await.ok();
    let whole = json!({ "displayname": "Ana", "avatar_url": "mxc://x/y", "org.example.mood": { "is": ["fine"] } });
    assert_eq!(profile.read("").await.ok(), whole);
    assert_eq!(profile.read("/org.example.mood").await.ok(), json!({ "org.example.mood": { "is": ["fine"] } }));

    profile.set(&ben, "displayname", json!({ "displayname": "Not Ana" })).await.is_error(403, "M_FORBIDDEN");
    profile.delete(&ben, "displayname").await.is_error(403, "M_FORBIDDEN");
    assert_eq!(profile.read("").await.ok(), whole);

    profile.delete(&ana, "org.example.mood").await.ok();
    profile.set(&ana, "displayname", json!({ "displayname": "" })).await.ok();
    assert_eq!(profile.read("").await.ok(), json!({ "avatar_url": "mxc://x/y" }));
    // To delete what is not there is no error: the retry of a delete must succeed.
    profile.delete(&ana, "org.example.mood").await.ok();
}

#[tokio::test]
async fn profiles_have_limits() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let profile = Profile { phone: &phone, who: &ana };
    profile.set(&ana, "displayname", json!({})).await.is_error(400, "M_BAD_JSON");
    profile.set(&ana, "displayname", json!({ "displayname": 1 })).await.is_error(400, "M_BAD_JSON");
    let long = "x".repeat(PROFILE_FIELD_BYTES_MAX + 1);
    profile.set(&ana, "displayname", json!({ "displayname": long })).await.is_error(413, "M_TOO_LARGE");
    profile.set(&ana, "Mood", json!({ "Mood": 1 })).await.is_error(400, "M_INVALID_PARAM");
    profile.set(&ana, "1", json!({ "1": 1 })).await.is_error(400, "M_INVALID_PARAM");
    let name = "m".repeat(256);
    profile.set(&ana, &name, json!({ &name: 1 })).await.is_error(400, "M_KEY_TOO_LARGE");
    let large = "x".repeat(PROFILE_BYTES_MAX - 20);
    profile.set(&ana, "m.large", json!({ "m.large": large })).await.ok();
    profile.set(&ana, "m.more", json!({ "m.more": "0123456789" })).await.is_error(400, "M_PROFILE_TOO_LARGE");
    profile.read("/m.more").await.is_error(404, "M_NOT_FOUND");
    let nobody = format!("/_matrix/client/v3/profile/{}", phone.user("nobody"));
    phone.call(Method::GET, &nobody, None, None).await.is_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_profile_moves_the_log_when_it_changes_and_only_then() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let profile = Profile { phone: &phone, who: &ana };
    let log = phone.home.store.log_watch();
    let before = *log.borrow();
    profile.set(&ana, "displayname", json!({ "displayname": "Ana" })).await.ok();
    let after = *log.borrow();
    assert_eq!(after, before + 1);
    profile.set(&ana, "displayname", json!({ "displayname": "Ana" })).await.ok();
    assert_eq!(*log.borrow(), after);
}

#[tokio::test]
async fn a_new_name_is_said_in_every_room() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let profile = Profile { phone: &phone, who: &ana };
    profile.set(&ana, "displayname", json!({ "displayname": "Ana" })).await.ok();
    let create = "/_matrix/client/v3/createRoom";
    for _ in 0..2 {
        let room = phone.call(Method::POST, create, Some(&ana.token), Some(json!({}))).await.ok();
        let uri =
            format!("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", room["room_id"].as_str().unwrap(), ana.user);
        let shown = async || phone.call(Method::GET, &uri, Some(&ana.token), None).await.ok()["displayname"].clone();
        let name = shown().await;
        assert!(name == "Ana" || name == "Anna", "{name}");
        for name in ["Ann", "Anna"] {
            profile.set(&ana, "displayname", json!({ "displayname": name })).await.ok();
            assert_eq!(shown().await, name);
        }
    }
}

#[tokio::test]
async fn another_servers_profile_is_asked_for_and_remembered() {
    let (phone, other) = (Phone::new(1), Phone::new(2));
    let ben = other.person("ben").await;
    let profile = Profile { phone: &other, who: &ben };
    profile.set(&ben, "displayname", json!({ "displayname": "Ben" })).await.ok();
    let seen = Profile { phone: &phone, who: &ben };
    // Out of reach, and never heard of.
    seen.read("").await.is_error(502, "M_UNKNOWN");
    phone.meets(&other);
    assert_eq!(seen.read("").await.ok(), json!({ "displayname": "Ben" }));
    assert_eq!(seen.read("/displayname").await.ok(), json!({ "displayname": "Ben" }));
    // Nobody knows Ben here, so nothing of him was kept.
    phone.leaves(&other);
    seen.read("").await.is_error(502, "M_UNKNOWN");
    // A room brings his name, and then what his server says is kept.
    let user = ben.user.clone();
    phone.home.store.write(move |tx| UserKey::intern(tx, &user)).await.unwrap();
    phone.meets(&other);
    assert_eq!(seen.read("").await.ok(), json!({ "displayname": "Ben" }));
    profile.set(&ben, "displayname", json!({ "displayname": "Benno" })).await.ok();
    assert_eq!(seen.read("").await.ok(), json!({ "displayname": "Benno" }));
    phone.leaves(&other);
    assert_eq!(seen.read("").await.ok(), json!({ "displayname": "Benno" }));
    let nobody = format!("/_matrix/client/v3/profile/{}", other.user("nobody"));
    phone.meets(&other);
    phone.call(Method::GET, &nobody, None, None).await.is_error(404, "M_NOT_FOUND");
}

async fn upload(phone: &Phone, who: &Person, filter: Value) -> Answer {
    let uri = format!("/_matrix/client/v3/user/{}/filter", who.user);
    phone.call(Method::POST, &uri, Some(&who.token), Some(filter)).await
}

async fn download(phone: &Phone, owner: &Person, as_whom: &Person, id: &str) -> Answer {
    let uri = format!("/_matrix/client/v3/user/{}/filter/{id}", owner.user);
    phone.call(Method::GET, &uri, Some(&as_whom.token), None).await
}

#[tokio::test]
async fn filters_are_kept_under_a_number() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    let filter = json!({ "room": { "timeline": { "limit": 7 } } });
    let id = upload(&phone, &ana, filter.clone()).await.ok()["filter_id"].as_str().unwrap().to_owned();
    assert_eq!(download(&phone, &ana, &ana, &id).await.ok(), filter);
    assert_eq!(upload(&phone, &ana, filter).await.ok()["filter_id"], id.as_str());
    assert_ne!(upload(&phone, &ana, json!({})).await.ok()["filter_id"], id.as_str());
    download(&phone, &ana, &ben, &id).await.is_error(403, "M_FORBIDDEN");
    download(&phone, &ben, &ben, &id).await.is_error(404, "M_NOT_FOUND");
    download(&phone, &ana, &ana, "nonsense").await.is_error(404, "M_NOT_FOUND");
    upload(&phone, &ana, json!({ "room": 1 })).await.is_error(400, "M_BAD_JSON");
    let foreign = Person { token: ben.token.clone(), ..ana.clone() };
    upload(&phone, &foreign, json!({})).await.is_error(403, "M_FORBIDDEN");
    let large = json!({ "event_fields": ["x".repeat(65_536)] });
    upload(&phone, &ana, large).await.is_error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn the_oldest_filter_goes_when_there_are_too_many() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let mut ids = Vec::new();
    for limit in 0..=FILTERS_MAX {
        let filter = json!({ "room": { "timeline": { "limit": limit + 1 } } });
        ids.push(upload(&phone, &ana, filter).await.ok()["filter_id"].as_str().unwrap().to_owned());
    }
    download(&phone, &ana, &ana, &ids[0]).await.is_error(404, "M_NOT_FOUND");
    for (limit, id) in ids.iter().enumerate().skip(1) {
        let filter = download(&phone, &ana, &ana, id).await.ok();
        assert_eq!(filter["room"]["timeline"]["limit"], limit + 1);
    }
}

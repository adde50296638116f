//! Rooms as clients make and change them: createRoom, send, state, redact, aliases.

use http::Method;
use ruma::{OwnedRoomId, RoomId, events::StateEventType};
use serde_json::{Value, json};

use crate::{
    api::testing::{Answer, Person, Phone},
    rooms::Room,
    store::Stored,
    types::limits,
};

pub(super) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

pub(super) async fn post(phone: &Phone, who: &Person, path: &str, body: Value) -> Answer {
    phone.call(Method::POST, &format!("/_matrix/client/v3/{path}"), Some(&who.token), Some(body)).await
}

pub(super) async fn put(phone: &Phone, who: &Person, path: &str, body: Value) -> Answer {
    phone.call(Method::PUT, &format!("/_matrix/client/v3/{path}"), Some(&who.token), Some(body)).await
}

pub(super) async fn get(phone: &Phone, who: &Person, path: &str) -> Answer {
    phone.call(Method::GET, &format!("/_matrix/client/v3/{path}"), Some(&who.token), None).await
}

pub(super) async fn create(phone: &Phone, who: &Person, body: Value) -> OwnedRoomId {
    let body = post(phone, who, "createRoom", body).await.ok();
    RoomId::parse(body["room_id"].as_str().unwrap()).unwrap()
}

/// The content of a current state event.
pub(super) fn state(phone: &Phone, room: &RoomId, kind: &str, key: &str) -> Option<Value> {
    let view = phone.home.store.snapshot().unwrap();
    let room = Room::find(&view, room).unwrap().unwrap();
    let event = room.current_event(&view, &StateEventType::from(kind), key).unwrap()?;
    Some(event.pdu.content_as().unwrap())
}

/// Types and contents of the timeline.
fn timeline(phone: &Phone, room: &RoomId) -> Vec<(String, Option<String>, Value)> {
    let view = phone.home.store.snapshot().unwrap();
    use crate::store::View;
    let key = Room::find(&view, room).unwrap().unwrap().key.0;
    let range = (std::ops::Bound::Included((key, 0)), std::ops::Bound::Included((key, u64::MAX)));
    let rows = view.tl().unwrap().between(range.0, range.1).unwrap();
    rows.map(|row| {
        let pdu = Stored::must(&view, row.unwrap().1.value()).unwrap().pdu;
        (pdu.kind.to_string(), pdu.state_key.clone(), pdu.content_as().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn a_room_starts_with_what_was_asked_in_the_order_of_the_specification() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    let room = create(
        &phone,
        &ana,
        json!({
            "preset": "private_chat", "name": "Tea", "topic": "Green", "room_alias_name": "tea", "is_direct": true,
            "initial_state": [
                { "type": "m.room.guest_access", "content": { "guest_access": "forbidden" } },
                { "type": "org.example.colour", "state_key": "wall", "content": { "is": "green" } },
            ],
            "invite": [ben.user, ben.user],
            "creation_content": { "type": "m.space", "room_version": "1", "creator": "@eve:example.org" },
        }),
    )
    .await;
    let events = timeline(&phone, &room);
    let kinds: Vec<_> = events.iter().map(|(kind, ..)| kind.as_str()).collect();
    let expected = [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "org.example.colour",
        "m.room.name",
        "m.room.topic",
        "m.room.member",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(events[0].2, json!({ "room_version": "12", "type": "m.space" }));
    assert_eq!(events[6].2, json!({ "guest_access": "forbidden" }));
    assert_eq!((events[7].1.as_deref(), &events[7].2), (Some("wall"), &json!({ "is": "green" })));
    assert_eq!(events[9].2, json!({ "topic": "Green", "m.topic": { "m.text": [{ "body": "Green" }] } }));
    assert_eq!(events[10].1.as_deref(), Some(ben.user.as_str()));
    assert_eq!(events[10].2, json!({ "membership": "invite", "is_direct": true }));
    let alias = format!("#tea:{}", phone.home.server_name());
    assert_eq!(events[3].2, json!({ "alias": alias }));
    let found = get(&phone, &ana, &format!("directory/room/{}", escaped(&alias))).await.ok();
    assert_eq!(found, json!({ "room_id": room, "servers": [phone.home.server_name()] }));
}

#[tokio::test]
async fn visibility_chooses_the_preset_that_was_not_named() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    for (body, rule) in [
        (json!({}), "invite"),
        (json!({ "visibility": "public" }), "public"),
        (json!({ "visibility": "public", "preset": "private_chat" }), "invite"),
        (json!({ "preset": "public_chat" }), "public"),
    ] {
        let room = create(&phone, &ana, body.clone()).await;
        assert_eq!(state(&phone, &room, "m.room.join_rules", "").unwrap()["join_rule"], json!(rule), "{body}");
    }
}

#[tokio::test]
async fn what_no_room_can_be_is_refused_with_its_code() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    create(&phone, &ana, json!({ "room_alias_name": "taken" })).await;
    let many: Vec<_> = (0..=limits::CREATE_STATE_MAX).map(|_| json!({ "type": "a", "content": {} })).collect();
    let strangers: Vec<_> = (0..=limits::CREATE_INVITES_MAX).map(|n| format!("@u{n}:example.org")).collect();
    for (body, status, code) in [
        (json!({ "room_version": "5" }), 400, "M_UNSUPPORTED_ROOM_VERSION"),
        (json!({ "room_version": "org.example" }), 400, "M_UNSUPPORTED_ROOM_VERSION"),
        (json!({ "room_version": 12 }), 400, "M_BAD_JSON"),
        (json!({ "room_alias_name": "taken" }), 400, "M_ROOM_IN_USE"),
        (json!({ "room_alias_name": "a:b" }), 400, "M_INVALID_PARAM"),
        (json!({ "room_alias_name": "" }), 400, "M_INVALID_PARAM"),
        (json!({ "preset": "org.example.odd" }), 400, "M_INVALID_PARAM"),
        (json!({ "invite": [phone.user("nobody")] }), 404, "M_NOT_FOUND"),
        (json!({ "invite": ["nobody"] }), 400, "M_BAD_JSON"),
        (json!({ "invite": [ana.user] }), 400, "M_BAD_JSON"),
        (json!({ "invite": strangers }), 400, "M_BAD_JSON"),
        (json!({ "invite": ["@eve:example.org"], "creation_content": { "m.federate": false } }), 400, "M_BAD_JSON"),
        (
            json!({ "invite_3pid": [{ "id_server": "a", "id_access_token": "b", "medium": "email", "address": "c" }] }),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({ "initial_state": [{ "type": "m.room.create", "content": {} }] }), 400, "M_BAD_JSON"),
        (json!({ "initial_state": [{ "type": "a", "content": { "f": 1.5 } }] }), 400, "M_BAD_JSON"),
        (json!({ "initial_state": [{ "type": "a\u{0}b", "content": {} }] }), 400, "M_INVALID_PARAM"),
        (json!({ "initial_state": [{ "type": "a" }] }), 400, "M_BAD_JSON"),
        (json!({ "initial_state": many }), 400, "M_BAD_JSON"),
        (json!({ "initial_state": [{ "type": "a", "content": { "b": "x".repeat(70_000) } }] }), 413, "M_TOO_LARGE"),
        (json!({ "power_level_content_override": { "users": { ana.user.as_str(): 100 } } }), 400, "M_BAD_JSON"),
        (json!({ "creation_content": { "additional_creators": ["nobody"] } }), 400, "M_BAD_JSON"),
        // Ana locks herself out of naming the room in the same request.
        (
            json!({ "room_version": "11", "name": "x", "power_level_content_override": { "users": {} } }),
            400,
            "M_INVALID_ROOM_STATE",
        ),
    ] {
        let answer = post(&phone, &ana, "createRoom", body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body["errcode"].as_str()),
            (status, Some(code)),
            "{body} {answer:?}"
        );
    }
    phone
        .call(Method::POST, "/_matrix/client/v3/createRoom", None, Some(json!({})))
        .await
        .is_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_room_stands_though_an_invited_server_is_out_of_reach() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let room = create(&phone, &ana, json!({ "invite": ["@far:example.org"] })).await;
    assert_eq!(state(&phone, &room, "m.room.member", "@far:example.org"), None);
    assert!(state(&phone, &room, "m.room.member", ana.user.as_str()).is_some());
}

#[tokio::test]
async fn two_rooms_made_in_one_millisecond_are_two_rooms() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let first = create(&phone, &ana, json!({})).await;
    let second = create(&phone, &ana, json!({})).await;
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_message_is_sent_once_for_each_transaction_and_path() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    let (room, other) = (create(&phone, &ana, json!({})).await, create(&phone, &ana, json!({})).await);
    let text = json!({ "msgtype": "m.text", "body": "hi" });
    let path = |room: &RoomId, kind: &str, txn: &str| format!("rooms/{}/send/{kind}/{txn}", escaped(room.as_str()));
    let before = timeline(&phone, &room).len();
    let first = put(&phone, &ana, &path(&room, "m.room.message", "1"), text.clone()).await.ok();
    let again = put(&phone, &ana, &path(&room, "m.room.message", "1"), text.clone()).await.ok();
    assert_eq!(first, again);
    assert_eq!(timeline(&phone, &room).len(), before + 1);
    for path in
        [path(&room, "m.room.message", "2"), path(&room, "org.example", "1"), path(&other, "m.room.message", "1")]
    {
        assert_ne!(put(&phone, &ana, &path, text.clone()).await.ok(), first, "{path}");
    }
    put(&phone, &ben, &path(&room, "m.room.message", "1"), text.clone()).await.is_error(403, "M_FORBIDDEN");
    let unknown = RoomId::parse("!unknown:example.org").unwrap();
    put(&phone, &ana, &path(&unknown, "m.room.message", "3"), text.clone()).await.is_error(403, "M_FORBIDDEN");
    for kind in ["m.room.create", "m.room.member"] {
        put(&phone, &ana, &path(&room, kind, "4"), json!({ "membership": "join" })).await.is_error(400, "M_BAD_JSON");
    }
    put(&phone, &ana, &path(&room, "a", "5"), json!({ "f": 0.5 })).await.is_error(400, "M_BAD_JSON");
    put(&phone, &ana, &path(&room, "a", "5"), json!({ "f": 9_007_199_254_740_993_i64 }))
        .await
        .is_error(400, "M_BAD_JSON");
    put(&phone, &ana, &path(&room, "a", "5"), json!([])).await.is_error(400, "M_BAD_JSON");
    put(&phone, &ana, &path(&room, "a%00b", "5"), json!({})).await.is_error(400, "M_INVALID_PARAM");
    put(&phone, &ana, &path(&room, "a", "5"), json!({ "b": "x".repeat(70_000) })).await.is_error(413, "M_TOO_LARGE");
    put(&phone, &ana, &path(&room, &"a".repeat(256), "5"), json!({})).await.is_error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn state_is_set_under_every_form_of_the_path_and_once() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    let room = create(&phone, &ana, json!({ "preset": "public_chat" })).await;
    let path = |tail: &str| format!("rooms/{}/state/{tail}", escaped(room.as_str()));
    for (tail, name) in [("m.room.name", "one"), ("m.room.name/", "two")] {
        put(&phone, &ana, &path(tail), json!({ "name": name })).await.ok();
        assert_eq!(state(&phone, &room, "m.room.name", "").unwrap()["name"], json!(name), "{tail}");
    }
    let first = put(&phone, &ana, &path("org.example/a%2Fb"), json!({ "x": 1 })).await.ok();
    assert_eq!(state(&phone, &room, "org.example", "a/b"), Some(json!({ "x": 1 })));
    let before = timeline(&phone, &room).len();
    assert_eq!(put(&phone, &ana, &path("org.example/a%2Fb"), json!({ "x": 1 })).await.ok(), first);
    assert_eq!(timeline(&phone, &room).len(), before);
    assert_ne!(put(&phone, &ana, &path("org.example/a%2Fb"), json!({ "x": 2 })).await.ok(), first);

    put(&phone, &ben, &path("m.room.name"), json!({ "name": "ben's" })).await.is_error(403, "M_FORBIDDEN");
    post(&phone, &ben, &format!("join/{}", escaped(room.as_str())), json!({})).await.ok();
    put(&phone, &ben, &path("m.room.name"), json!({ "name": "ben's" })).await.is_error(403, "M_FORBIDDEN");
    put(&phone, &ana, &path("m.room.create"), json!({})).await.is_error(403, "M_FORBIDDEN");
    put(&phone, &ana, &path("a%00b"), json!({})).await.is_error(400, "M_INVALID_PARAM");
    put(&phone, &ana, &path("a"), json!({ "f": 0.5 })).await.is_error(400, "M_BAD_JSON");
    put(&phone, &ana, &path(&format!("a/{}", "k".repeat(256))), json!({})).await.is_error(413, "M_TOO_LARGE");
    // A state key that is a user id belongs to that user.
    let key = escaped(ben.user.as_str());
    put(&phone, &ana, &path(&format!("org.example/{key}")), json!({})).await.is_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn power_levels_hold_and_change() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    for version in ["6", "10", "11", "12"] {
        let room = create(&phone, &ana, json!({ "preset": "public_chat", "room_version": version })).await;
        let path = |tail: &str| format!("rooms/{}/state/{tail}", escaped(room.as_str()));
        post(&phone, &ben, &format!("join/{}", escaped(room.as_str())), json!({})).await.ok();
        let mut levels = state(&phone, &room, "m.room.power_levels", "").unwrap();
        put(&phone, &ben, &path("m.room.power_levels"), levels.clone()).await.is_error(403, "M_FORBIDDEN");
        levels["users"][ben.user.as_str()] = json!(50);
        put(&phone, &ana, &path("m.room.power_levels"), levels.clone()).await.ok();
        put(&phone, &ben, &path("m.room.topic"), json!({ "topic": "ben's" })).await.ok();
        put(&phone, &ben, &path("m.room.power_levels"), levels.clone()).await.is_error(403, "M_FORBIDDEN");
        if version == "12" {
            levels["users"][ana.user.as_str()] = json!(100);
            put(&phone, &ana, &path("m.room.power_levels"), levels).await.is_error(403, "M_FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn a_redaction_is_for_ones_own_words_or_for_moderators() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    for version in ["6", "10", "11", "12"] {
        let room = create(&phone, &ana, json!({ "preset": "public_chat", "room_version": version })).await;
        let path = |tail: &str| format!("rooms/{}/{tail}", escaped(room.as_str()));
        let say = async |who: &Person, txn: &str| {
            let text = json!({ "msgtype": "m.text", "body": "secret" });
            let sent = put(&phone, who, &path(&format!("send/m.room.message/{txn}")), text).await.ok();
            sent["event_id"].as_str().unwrap().to_owned()
        };
        let content = |id: &str| {
            let view = phone.home.store.snapshot().unwrap();
            let id = ruma::EventId::parse(id).unwrap();
            Stored::by_id(&view, &id).unwrap().unwrap().pdu.content.get().to_owned()
        };
        post(&phone, &ben, &format!("join/{}", escaped(room.as_str())), json!({})).await.ok();
        let (anas, bens, bens_other) = (say(&ana, "1").await, say(&ben, "1").await, say(&ben, "2").await);

        let redact = |id: &str, txn: &str| path(&format!("redact/{}/{txn}", escaped(id)));
        put(&phone, &ben, &redact(&anas, "r1"), json!({})).await.is_error(403, "M_FORBIDDEN");
        assert!(content(&anas).contains("secret"), "{version}");
        let first = put(&phone, &ben, &redact(&bens, "r2"), json!({ "reason": "typo" })).await.ok();
        assert_eq!(put(&phone, &ben, &redact(&bens, "r2"), json!({ "reason": "typo" })).await.ok(), first);
        assert!(!content(&bens).contains("secret"), "{version}");
        assert!(content(first["event_id"].as_str().unwrap()).contains("typo"), "{version}");
        // The other way to say it, and by somebody who may.
        let body = json!({ "redacts": bens_other, "reason": "spam" });
        put(&phone, &ana, &path("send/m.room.redaction/r3"), body).await.ok();
        assert!(!content(&bens_other).contains("secret"), "{version}");
        put(&phone, &ana, &path("send/m.room.redaction/r4"), json!({})).await.is_error(400, "M_BAD_JSON");

        let elsewhere = create(&phone, &ana, json!({ "room_version": version })).await;
        let wrong = format!("rooms/{}/redact/{}/r5", escaped(elsewhere.as_str()), escaped(&anas));
        put(&phone, &ana, &wrong, json!({})).await.is_error(404, "M_NOT_FOUND");
        put(&phone, &ben, &wrong, json!({})).await.is_error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn an_alias_belongs_to_its_maker_and_the_rooms_admins() {
    let phone = Phone::new(1);
    let (ana, ben, chi) = (phone.person("ana").await, phone.person("ben").await, phone.person("chi").await);
    let room = create(&phone, &ana, json!({ "preset": "public_chat" })).await;
    let hidden = create(&phone, &ana, json!({})).await;
    let path = |name: &str| format!("directory/room/{}", escaped(&format!("#{name}:{}", phone.home.server_name())));
    let aliases = format!("rooms/{}/aliases", escaped(room.as_str()));
    let delete = async |who: &Person, name: &str| {
        let uri = format!("/_matrix/client/v3/{}", path(name));
        phone.call(Method::DELETE, &uri, Some(&who.token), None).await
    };
    let body = json!({ "room_id": room });
    put(&phone, &ben, &path("one"), body.clone()).await.is_error(403, "M_FORBIDDEN");
    for who in [&ben, &chi] {
        post(&phone, who, &format!("join/{}", escaped(room.as_str())), json!({})).await.ok();
    }
    for name in ["one", "two"] {
        put(&phone, &ben, &path(name), body.clone()).await.ok();
    }
    put(&phone, &ana, &path("one"), body.clone()).await.is_error(409, "M_UNKNOWN");
    let foreign = format!("directory/room/{}", escaped("#one:example.org"));
    put(&phone, &ana, &foreign, body.clone()).await.is_error(400, "M_INVALID_PARAM");
    put(&phone, &ana, "directory/room/none", body).await.is_error(400, "M_INVALID_PARAM");
    assert_eq!(get(&phone, &chi, &aliases).await.ok()["aliases"].as_array().unwrap().len(), 2);
    let hidden_aliases = format!("rooms/{}/aliases", escaped(hidden.as_str()));
    assert_eq!(get(&phone, &ana, &hidden_aliases).await.ok(), json!({ "aliases": [] }));
    get(&phone, &chi, &hidden_aliases).await.is_error(403, "M_FORBIDDEN");

    // Joining by name.
    let dan = phone.person("dan").await;
    let name = escaped(&format!("#one:{}", phone.home.server_name()));
    assert_eq!(post(&phone, &dan, &format!("join/{name}"), json!({})).await.ok(), json!({ "room_id": room }));

    delete(&chi, "one").await.is_error(403, "M_FORBIDDEN");
    delete(&ben, "one").await.ok();
    delete(&ana, "two").await.ok();
    delete(&ana, "two").await.is_error(404, "M_NOT_FOUND");
    get(&phone, &ana, &path("one")).await.is_error(404, "M_NOT_FOUND");
    assert_eq!(get(&phone, &chi, &aliases).await.ok(), json!({ "aliases": [] }));
    get(&phone, &ana, &foreign).await.is_error(502, "M_UNKNOWN");
}

#[tokio::test]
async fn a_canonical_alias_points_to_its_room() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let room = create(&phone, &ana, json!({ "room_alias_name": "here" })).await;
    create(&phone, &ana, json!({ "room_alias_name": "there" })).await;
    let path = format!("rooms/{}/state/m.room.canonical_alias", escaped(room.as_str()));
    let named = |name: &str| format!("#{name}:{}", phone.home.server_name());
    for bad in [
        json!({ "alias": named("there") }),
        json!({ "alias": named("nowhere") }),
        json!({ "alias": named("here"), "alt_aliases": [named("there")] }),
        json!({ "alt_aliases": ["#far:example.org"] }),
    ] {
        put(&phone, &ana, &path, bad).await.is_error(400, "M_BAD_ALIAS");
    }
    for bad in [json!({ "alias": "here" }), json!({ "alias": 5 }), json!({ "alt_aliases": "x" })] {
        put(&phone, &ana, &path, bad).await.is_error(400, "M_INVALID_PARAM");
    }
    put(&phone, &ana, &path, json!({ "alt_aliases": [named("here")] })).await.ok();
    // What stands there already is not asked for again, even when the name is gone.
    let directory = format!("/_matrix/client/v3/directory/room/{}", escaped(&named("here")));
    phone.call(Method::DELETE, &directory, Some(&ana.token), None).await.ok();
    put(&phone, &ana, &path, json!({ "alias": named("here") })).await.ok();
    put(&phone, &ana, &path, json!({ "alias": "" })).await.ok();
    put(&phone, &ana, &path, json!({ "alias": named("here") })).await.is_error(400, "M_BAD_ALIAS");
}

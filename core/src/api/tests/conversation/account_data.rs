//! Account data and tags.

use serde_json::{Value, json};

use super::{Client, data, joined, put};
use crate::{
    api::testing::{Answer, Phone},
    types::limits,
};

async fn set(client: &Client<'_>, place: &str, kind: &str, content: Value) -> Answer {
    put(client, &format!("user/{}{place}/account_data/{kind}", client.id()), content).await
}

async fn get(client: &Client<'_>, place: &str, kind: &str) -> Answer {
    client.get(&format!("user/{}{place}/account_data/{kind}", client.id())).await
}

#[tokio::test]
async fn account_data_is_kept_apart_for_each_place_and_for_its_user_alone() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    let place = format!("/rooms/{room}");
    for place in ["", &place] {
        get(&ana, place, "org.x").await.is_error(404, "M_NOT_FOUND");
        set(&ana, place, "org.x", json!({ "place": place })).await.ok();
        assert_eq!(get(&ana, place, "org.x").await.ok(), json!({ "place": place }));
        let uri = format!("user/{}{place}/account_data/org.x", ana.id());
        ben.get(&uri).await.is_error(403, "M_FORBIDDEN");
        put(&ben, &uri, json!({})).await.is_error(403, "M_FORBIDDEN");
        ana.call(http::Method::DELETE, &uri, None).await.is_error(405, "M_UNRECOGNIZED");
    }
    assert_eq!(get(&ana, "", "org.x").await.ok(), json!({ "place": "" }));
    // Ben has nothing to do with the room until he is invited.
    set(&ben, &place, "org.x", json!({})).await.is_error(403, "M_FORBIDDEN");
    set(&ben, "/rooms/!no:where", "org.x", json!({})).await.is_error(403, "M_FORBIDDEN");
    ana.invite(&room, &ben).await;
    set(&ben, &place, "org.x", json!({})).await.ok();
    set(&ana, "/rooms/nonsense", "org.x", json!({})).await.is_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn what_the_server_writes_is_refused_and_the_rest_is_bounded() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let room = ana.create("shared").await;
    for place in ["", &format!("/rooms/{room}")] {
        for kind in ["m.fully_read", "m.push_rules"] {
            set(&ana, place, kind, json!({})).await.is_error(405, "M_BAD_JSON");
        }
        set(&ana, place, "org.x", json!([1])).await.is_error(400, "M_BAD_JSON");
        set(&ana, place, "org.x", json!("text")).await.is_error(400, "M_BAD_JSON");
        set(&ana, place, &"k".repeat(256), json!({})).await.is_error(400, "M_INVALID_PARAM");
        let large = json!({ "x": "x".repeat(limits::ACCOUNT_DATA_BYTES_MAX) });
        set(&ana, place, "org.x", large).await.is_error(413, "M_TOO_LARGE");
        get(&ana, place, "org.x").await.is_error(404, "M_NOT_FOUND");
    }
    // The rules can be read like anything else, also before anybody changed them.
    let rules = get(&ana, "", "m.push_rules").await.ok();
    assert_eq!(rules["global"]["override"][0]["rule_id"], ".m.rule.master");
    for number in 0..limits::ACCOUNT_DATA_ITEMS_MAX {
        set(&ana, "", &format!("org.{number}"), json!({})).await.ok();
    }
    set(&ana, "", "org.more", json!({})).await.is_error(413, "M_TOO_LARGE");
    set(&ana, "", "org.1", json!({ "still": "changes" })).await.ok();
}

#[tokio::test]
async fn syncs_show_account_data_once_and_to_its_user_alone() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let place = format!("/rooms/{room}");
    set(&ana, "", "org.x", json!({ "n": 1 })).await.ok();
    set(&ana, &place, "org.y", json!({ "n": 2 })).await.ok();
    let first = ana.sync("").await;
    let global = data(&first["account_data"]["events"]);
    assert_eq!(global.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["org.x", "m.push_rules"]);
    assert_eq!(global[0].1, json!({ "n": 1 }));
    assert_eq!(data(&joined(&first, &room)["account_data"]["events"]), [("org.y".into(), json!({ "n": 2 }))]);
    let bens = ben.sync("").await;
    assert_eq!(data(&bens["account_data"]["events"]).len(), 1, "his push rules");

    assert_eq!(ana.sync_since(&first).await["account_data"], Value::Null);
    set(&ana, "", "org.x", json!({ "n": 3 })).await.ok();
    set(&ana, &place, "org.z", json!({ "n": 4 })).await.ok();
    let second = ana.sync_since(&first).await;
    assert_eq!(data(&second["account_data"]["events"]), [("org.x".into(), json!({ "n": 3 }))]);
    assert_eq!(data(&joined(&second, &room)["account_data"]["events"]), [("org.z".into(), json!({ "n": 4 }))]);
    assert_eq!(joined(&second, &room)["timeline"], Value::Null);
    assert_eq!(ben.sync_since(&bens).await["rooms"], Value::Null);

    // The same again is no news.
    set(&ana, "", "org.x", json!({ "n": 3 })).await.ok();
    let third = ana.sync_since(&second).await;
    assert_eq!((&third["account_data"], &third["next_batch"]), (&Value::Null, &second["next_batch"]));

    let filter = json!({
        "account_data": { "not_types": ["org.x"] }, "room": { "account_data": { "types": ["org.y*"] } },
    });
    let filtered = ana.sync_with(None, filter).await;
    assert_eq!(data(&filtered["account_data"]["events"])[0].0, "m.push_rules");
    assert_eq!(data(&joined(&filtered, &room)["account_data"]["events"])[0].0, "org.y");
    let none = json!({ "account_data": { "types": [] }, "room": { "account_data": { "not_rooms": [room] } } });
    let filtered = ana.sync_with(None, none).await;
    assert_eq!(filtered["account_data"], Value::Null);
    assert_eq!(joined(&filtered, &room)["account_data"], Value::Null);
}

#[tokio::test]
async fn a_room_that_is_entered_comes_with_its_account_data_and_a_new_name_does_not_repeat_it() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ana.invite(&room, &ben).await;
    set(&ben, &format!("/rooms/{room}"), "org.x", json!({ "set": "while invited" })).await.ok();
    let before = ben.sync("").await;
    ben.join(&room).await;
    let after = ben.sync_since(&before).await;
    assert_eq!(data(&joined(&after, &room)["account_data"]["events"]).len(), 1);
    put(&ben, &format!("profile/{}/displayname", ben.id()), json!({ "displayname": "Benno" })).await.ok();
    let renamed = ben.sync_since(&after).await;
    assert_ne!(joined(&renamed, &room)["timeline"], Value::Null);
    assert_eq!(joined(&renamed, &room)["account_data"], Value::Null);
}

#[tokio::test]
async fn tags_are_added_changed_and_taken_away() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    let tags = format!("user/{}/rooms/{room}/tags", ana.id());
    let start = ana.sync("").await;
    assert_eq!(ana.get(&tags).await.ok(), json!({ "tags": {} }));
    put(&ana, &format!("{tags}/m.favourite"), json!({ "order": 0.25 })).await.ok();
    put(&ana, &format!("{tags}/u.work"), json!({})).await.ok();
    let both = json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": {} } });
    assert_eq!(ana.get(&tags).await.ok(), both);
    let sync = ana.sync_since(&start).await;
    assert_eq!(data(&joined(&sync, &room)["account_data"]["events"]), [("m.tag".into(), both)]);
    ana.call(http::Method::DELETE, &format!("{tags}/u.work"), None).await.ok();
    ana.call(http::Method::DELETE, &format!("{tags}/u.work"), None).await.ok();
    assert_eq!(ana.get(&tags).await.ok(), json!({ "tags": { "m.favourite": { "order": 0.25 } } }));
    put(&ana, &format!("{tags}/{}", "t".repeat(256)), json!({})).await.is_error(400, "M_INVALID_PARAM");
    put(&ben, &format!("{tags}/u.mine"), json!({})).await.is_error(403, "M_FORBIDDEN");
    ben.get(&format!("user/{}/rooms/{room}/tags", ben.id())).await.is_error(403, "M_FORBIDDEN");
    // A client may have written anything there.
    set(&ana, &format!("/rooms/{room}"), "m.tag", json!({ "tags": ["not", "a", "map"] })).await.ok();
    assert_eq!(ana.get(&tags).await.ok(), json!({ "tags": {} }));
}

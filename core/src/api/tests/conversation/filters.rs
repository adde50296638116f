//! The shape of events in syncs, and whom a user ignores.

use serde_json::{Value, json};

use super::{Client, bodies, ids, ignore, joined, read};
use crate::api::testing::Phone;

#[tokio::test]
async fn events_come_in_the_shape_that_was_asked_for() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let room = ana.create("shared").await;
    let start = ana.sync("").await;
    ana.topic(&room, "tea").await;
    ana.say(&room, "hello").await;
    let fields = json!({ "event_fields": ["type", "content.body"] });
    let sync = ana.sync_with(Some(&start), fields.clone()).await;
    let shown = json!([{ "type": "m.room.topic", "content": {} }, {
        "type": "m.room.message", "content": { "body": "hello" }
    }]);
    assert_eq!(joined(&sync, &room)["timeline"]["events"], shown);
    let mut state_too = fields;
    state_too["room"] = json!({ "timeline": { "limit": 1 } });
    let sync = ana.sync_with(Some(&start), state_too).await;
    assert_eq!(joined(&sync, &room)["state"]["events"], json!([{ "type": "m.room.topic", "content": {} }]));

    let sync = ana.sync_with(Some(&start), json!({ "event_format": "federation" })).await;
    let message = &joined(&sync, &room)["timeline"]["events"][1];
    assert_eq!((&message["content"]["body"], &message["event_id"]), (&json!("hello"), &Value::Null));
    assert!(message["prev_events"].is_array() && message["signatures"].is_object(), "{message}");
}

#[tokio::test]
async fn whoever_is_ignored_is_not_heard_but_for_state() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let heard = ben.say(&room, "heard").await;
    let start = ana.sync("").await;
    ignore(&ana, ben.id()).await;
    let said = ben.say(&room, "not heard").await;
    put_name(&ben, "Benno").await;
    ana.say(&room, "ours").await;
    let sync = ana.sync_since(&start).await;
    assert_eq!(bodies(&joined(&sync, &room)["timeline"]["events"]), ["ours"]);
    assert!(joined(&sync, &room)["timeline"]["events"].to_string().contains("Benno"));
    let page = ana.messages(&room, "dir=b&limit=50").await;
    assert_eq!(bodies(&page["chunk"]), ["ours"]);
    ana.get(&format!("rooms/{room}/event/{said}")).await.is_error(404, "M_NOT_FOUND");
    read(&ana, &room, "m.read", &said, None).await.is_error(404, "M_NOT_FOUND");

    let other = ben.create("shared").await;
    ben.invite(&other, &ana).await;
    assert_eq!(ana.sync_since(&sync).await["rooms"], Value::Null);
    assert_eq!(ana.sync("").await["rooms"]["invite"], Value::Null);

    // Heard again, with all that there was.
    ignore(&ana, "@nobody:here").await;
    let page = ana.messages(&room, "dir=b&limit=50").await;
    assert_eq!(bodies(&page["chunk"]), ["ours", "not heard", "heard"]);
    assert!(ids(&page["chunk"]).contains(&heard));
    // Nobody loses sight of themselves, and nonsense hides nobody.
    ignore(&ana, ana.id()).await;
    assert_eq!(bodies(&ana.messages(&room, "dir=b&limit=50").await["chunk"]).len(), 3);
    let path = format!("user/{}/account_data/m.ignored_user_list", ana.id());
    super::put(&ana, &path, json!({ "ignored_users": [ben.id()] })).await.ok();
    assert_eq!(bodies(&ana.messages(&room, "dir=b&limit=50").await["chunk"]).len(), 3);
}

async fn put_name(client: &Client<'_>, name: &str) {
    let path = format!("profile/{}/displayname", client.id());
    super::put(client, &path, json!({ "displayname": name })).await.ok();
}

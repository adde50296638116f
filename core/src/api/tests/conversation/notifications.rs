//! What is unread: counted with the event, and no more once it is read, redacted or left.

use serde_json::{Value, json};

use super::{Client, Pair, event_id, ignore, joined, put, react, read, redact, relate, send, settle, unread};
use crate::{
    api::testing::Phone,
    rooms::{Room, unread as kept},
    store::UserKey,
    types::limits,
};

async fn mention(client: &Client<'_>, room: &str, mentions: Value) -> String {
    let content = json!({ "msgtype": "m.text", "body": "you there", "m.mentions": mentions });
    event_id(send(client, room, "m.room.message", content).await)
}

async fn counts(client: &Client<'_>, room: &str) -> (u64, u64) {
    unread(&client.sync("").await, room)
}

/// The counts of each thread that has any, and of the main timeline.
async fn counts_by_thread(client: &Client<'_>, room: &str) -> (u64, Value) {
    let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
    let sync = client.sync_with(None, filter).await;
    (unread(&sync, room).0, joined(&sync, room)["unread_thread_notifications"].clone())
}

#[tokio::test]
async fn counts_come_with_the_events_and_go_with_the_receipts() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let start = ben.sync("").await;
    assert_eq!(unread(&start, &room), (0, 0));
    let one = ana.say(&room, "one").await;
    let sync = ben.sync_since(&start).await;
    assert_eq!(unread(&sync, &room), (1, 0));
    let two = mention(&ana, &room, json!({ "user_ids": [ben.id()] })).await;
    mention(&ana, &room, json!({ "room": true })).await;
    // Not for him, and not by him.
    mention(&ana, &room, json!({ "user_ids": ["@carol:x"] })).await;
    ana.topic(&room, "tea").await;
    react(&ana, &room, "+", &one).await.ok();
    let notice = json!({ "msgtype": "m.notice", "body": "automatic" });
    send(&ana, &room, "m.room.message", notice).await.ok();
    let sync = ben.sync_since(&sync).await;
    assert_eq!(unread(&sync, &room), (4, 2));
    assert_eq!(counts(&ana, &room).await, (0, 0));

    read(&ben, &room, "m.read", &one, None).await.ok();
    let sync = ben.sync_since(&sync).await;
    assert_eq!(unread(&sync, &room), (3, 2));
    assert_eq!(joined(&sync, &room)["timeline"], Value::Null);
    // The private one is ahead, and what is behind it changes nothing.
    read(&ben, &room, "m.read.private", &two, None).await.ok();
    assert_eq!(counts(&ben, &room).await, (2, 1));
    read(&ben, &room, "m.read", &two, None).await.ok();
    assert_eq!(counts(&ben, &room).await, (2, 1));

    let view = phone.home.store.snapshot().unwrap();
    let key = Room::find(&view, room.as_str().try_into().unwrap()).unwrap().unwrap().key;
    let user = UserKey::find(&view, &ben.who.user).unwrap().unwrap();
    let positions = kept::positions(&view, user, key).unwrap();
    assert_eq!(positions.iter().map(|unread| unread.highlight).collect::<Vec<_>>(), [true, false]);
    assert!(positions[0].pos < positions[1].pos);
    let sum = kept::counts(&view, user, key).unwrap();
    assert_eq!((sum.notifications, sum.highlights), (2, 1));
}

#[tokio::test]
async fn who_speaks_has_read() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let root = ana.say(&room, "one").await;
    relate(&ana, &room, "in a thread", "m.thread", &root).await;
    assert_eq!(counts(&ben, &room).await, (2, 0));
    // A new name says nothing about what was read.
    put(&ben, &format!("profile/{}/displayname", ben.id()), json!({ "displayname": "Benno" })).await.ok();
    assert_eq!(counts(&ben, &room).await, (2, 0));
    ben.say(&room, "here I am").await;
    assert_eq!(counts(&ben, &room).await, (1, 0));
    relate(&ben, &room, "here too", "m.thread", &root).await;
    assert_eq!(counts(&ben, &room).await, (0, 0));
}

#[tokio::test]
async fn threads_are_counted_and_read_apart() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let root = ana.say(&room, "root").await;
    let child = relate(&ana, &room, "child", "m.thread", &root).await;
    let plain = ana.say(&room, "plain").await;
    // Two steps away from the root, and in its thread all the same.
    let about = relate(&ana, &room, "about the child", "org.x.about", &child).await;
    let about = relate(&ana, &room, "about that", "org.x.about", &about).await;
    assert_eq!(counts(&ben, &room).await, (5, 0));
    let in_thread = |count: u64| json!({ &root: { "highlight_count": 0, "notification_count": count } });
    assert_eq!(counts_by_thread(&ben, &room).await, (2, in_thread(3)));
    read(&ben, &room, "m.read", &child, Some(&root)).await.ok();
    assert_eq!(counts_by_thread(&ben, &room).await, (2, in_thread(2)));
    read(&ben, &room, "m.read", &plain, Some("main")).await.ok();
    assert_eq!(counts_by_thread(&ben, &room).await, (0, in_thread(2)));
    // A receipt without a thread is about all of them.
    read(&ben, &room, "m.read", &about, None).await.ok();
    assert_eq!(counts_by_thread(&ben, &room).await, (0, Value::Null));
    relate(&ana, &room, "more", "m.thread", &root).await;
    assert_eq!(counts_by_thread(&ben, &room).await, (0, in_thread(1)));
}

#[tokio::test]
async fn redacted_events_edits_and_the_ignored_do_not_count() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let one = mention(&ana, &room, json!({ "user_ids": [ben.id()] })).await;
    let two = relate(&ana, &room, "two", "m.thread", &one).await;
    relate(&ana, &room, "edited", "m.replace", &one).await;
    assert_eq!(counts(&ben, &room).await, (2, 1));
    let seen = ben.sync("").await;
    redact(&ana, &room, &one).await;
    assert_eq!(unread(&ben.sync_since(&seen).await, &room), (1, 0));
    redact(&ana, &room, &one).await;
    redact(&ana, &room, &two).await;
    assert_eq!(counts(&ben, &room).await, (0, 0));
    // What was read already is not taken off again.
    let three = ana.say(&room, "three").await;
    read(&ben, &room, "m.read", &three, None).await.ok();
    ana.say(&room, "four").await;
    redact(&ana, &room, &three).await;
    assert_eq!(counts(&ben, &room).await, (1, 0));
    ignore(&ben, ana.id()).await;
    ana.say(&room, "five").await;
    assert_eq!(counts(&ben, &room).await, (1, 0));
}

#[tokio::test]
async fn changed_rules_are_heeded_from_the_next_event_on() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let rule = async |path: &str, body: Value| {
        put(&ben, &format!("pushrules/global/{path}"), body).await.ok();
    };
    ana.say(&room, "counts").await;
    rule(&format!("room/{room}"), json!({ "actions": [] })).await;
    ana.say(&room, "muted").await;
    assert_eq!(counts(&ben, &room).await, (1, 0));
    let loud = json!(["notify", { "set_tweak": "highlight" }]);
    rule("content/tea", json!({ "pattern": "te?", "actions": &loud })).await;
    ana.say(&room, "Time for TEA!").await;
    assert_eq!(counts(&ben, &room).await, (2, 1));
    rule("content/tea/enabled", json!({ "enabled": false })).await;
    ana.say(&room, "tea again").await;
    assert_eq!(counts(&ben, &room).await, (2, 1));
    // By what he is called in the room, by its power levels, and by how many are in it.
    put(&ben, &format!("profile/{}/displayname", ben.id()), json!({ "displayname": "Benno" })).await.ok();
    let conditions = json!([{ "kind": "contains_display_name" }]);
    rule("override/name", json!({ "actions": &loud, "conditions": conditions })).await;
    ana.say(&room, "benno?").await;
    assert_eq!(counts(&ben, &room).await, (3, 2));
    let conditions = json!([
        { "kind": "sender_notification_permission", "key": "room" }, { "kind": "room_member_count", "is": "<=2" },
        { "kind": "event_match", "key": "content.body", "pattern": "all" },
    ]);
    rule("override/all", json!({ "actions": loud, "conditions": conditions })).await;
    ana.say(&room, "all of you").await;
    assert_eq!(counts(&ben, &room).await, (4, 3));
    Client::new(&phone, "carol").await.join(&room).await;
    ana.say(&room, "all of you").await;
    assert_eq!(counts(&ben, &room).await, (4, 3));
    rule("override/.m.rule.master/enabled", json!({ "enabled": true })).await;
    mention(&ana, &room, json!({ "user_ids": [ben.id()] })).await;
    assert_eq!(counts(&ben, &room).await, (4, 3));
}

/// ruma matches words by calling itself for each word that almost matches, and holds each field with its whole path: a long
/// body of the right words, or a long name around many fields, could exhaust the phone. So rules see only so much.
#[tokio::test]
async fn rules_see_the_beginning_of_a_long_text_and_no_field_of_a_long_name() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let loud = json!(["notify", { "set_tweak": "highlight" }]);
    let rule = json!({ "pattern": "b", "actions": &loud });
    put(&ben, "pushrules/global/content/b", rule).await.ok();
    let glob = json!({ "pattern": "?".repeat(limits::PUSH_PATTERN_BYTES_MAX), "actions": [] });
    put(&ben, "pushrules/global/content/glob?after=b", glob).await.ok();
    let long = "x".repeat(limits::PUSH_PATH_BYTES_MAX);
    for name in ["short", &long] {
        let condition = json!({ "kind": "event_match", "key": format!("content.{name}.f7"), "pattern": "7" });
        let body = json!({ "actions": &loud, "conditions": [condition] });
        put(&ben, &format!("pushrules/global/underride/{}", name.len()), body).await.ok();
    }
    ana.say(&room, &("ab ".repeat(20_000) + "b")).await;
    assert_eq!(counts(&ben, &room).await, (1, 0));
    ana.say(&room, &("b ".to_owned() + &"ab ".repeat(20_000))).await;
    assert_eq!(counts(&ben, &room).await, (2, 1));
    let fields: serde_json::Map<String, Value> = (0..3_000).map(|n| (format!("f{n}"), json!(n.to_string()))).collect();
    send(&ana, &room, "m.room.message", json!({ "msgtype": "m.text", "body": "x", long: fields })).await.ok();
    assert_eq!(counts(&ben, &room).await, (3, 1));
    send(&ana, &room, "m.room.message", json!({ "msgtype": "m.text", "body": "x", "short": fields })).await.ok();
    assert_eq!(counts(&ben, &room).await, (4, 2));
}

#[tokio::test]
async fn a_room_that_is_left_has_nothing_unread() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    ana.say(&room, "one").await;
    assert_eq!(counts(&ben, &room).await, (1, 0));
    ben.leave(&room).await;
    ana.say(&room, "while he was away").await;
    ben.join(&room).await;
    assert_eq!(counts(&ben, &room).await, (0, 0));
    ana.say(&room, "two").await;
    assert_eq!(counts(&ben, &room).await, (1, 0));
    ana.kick(&room, &ben).await;
    assert_eq!(ben.get("notifications").await.ok()["notifications"], json!([]));
}

#[tokio::test]
async fn notifications_are_listed_newest_first_over_all_rooms() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let (room, other) = (ana.create("shared").await, ana.create("shared").await);
    let mut told = Vec::new();
    for room in [&room, &other] {
        ben.join(room).await;
    }
    for number in 0..5 {
        told.push(ana.say(&room, &number.to_string()).await);
        told.push(mention(&ana, &other, json!({ "user_ids": [ben.id()] })).await);
    }
    let root = told[8].clone();
    told.push(relate(&ana, &room, "in a thread", "m.thread", &root).await);
    read(&ben, &room, "m.read", &told[4], None).await.ok();
    let pages = async |query: &str| {
        let mut from = String::new();
        let mut all = Vec::new();
        for _ in 0..50 {
            let page = ben.get(&format!("notifications?{query}{from}")).await.ok();
            all.extend(page["notifications"].as_array().unwrap().clone());
            match page["next_token"].as_str() {
                Some(token) => from = format!("&from={token}"),
                None => return all,
            }
        }
        panic!("the pages have no end")
    };
    let ids = |page: &[Value]| -> Vec<String> {
        page.iter().map(|told| told["event"]["event_id"].as_str().unwrap().to_owned()).collect()
    };
    let mut expected = told.clone();
    expected.reverse();
    for limit in [1, 2, 3, 100] {
        assert_eq!(ids(&pages(&format!("limit={limit}")).await), expected, "{limit}");
    }
    let all = pages("limit=100").await;
    let were_read: Vec<_> = all.iter().filter(|told| told["read"] == true).cloned().collect();
    assert_eq!(ids(&were_read), [told[4].clone(), told[2].clone(), told[0].clone()]);
    assert_eq!(
        (&all[0]["room_id"], &all[0]["actions"]),
        (&json!(room), &json!(["notify", { "set_tweak": "sound", "value": "default" }]))
    );
    let loud = pages("limit=2&only=highlight").await;
    assert_eq!(ids(&loud), [9, 7, 5, 3, 1].map(|index: usize| told[index].clone()));
    assert_eq!(loud[0]["actions"].as_array().unwrap().last(), Some(&json!({ "set_tweak": "highlight" })));
    ben.get("notifications?from=nonsense").await.is_error(400, "M_INVALID_PARAM");
    assert_eq!(ana.get("notifications").await.ok(), json!({ "notifications": [] }));

    // Of what is read only so much stays on the list.
    let mut last = String::new();
    for number in 0..limits::NOTIFICATIONS_READ_MAX + 20 {
        last = ana.say(&room, &number.to_string()).await;
    }
    read(&ben, &room, "m.read", &last, None).await.ok();
    let in_room = pages("limit=100").await.iter().filter(|told| told["room_id"] == room.as_str()).count();
    assert_eq!(in_room, limits::NOTIFICATIONS_READ_MAX + 1, "and one in a thread");
}

#[tokio::test(start_paused = true)]
async fn what_comes_from_another_phone_counts_and_history_does_not() {
    let pair = Pair::new();
    let ben = Client::new(&pair.theirs, "ben").await;
    let room = ben.create("shared").await;
    for number in 0..5 {
        ben.say(&room, &number.to_string()).await;
    }
    let ana = Client::new(&pair.ours, "ana").await;
    ana.post(&format!("join/{room}?via={}", pair.theirs.home.server_name()), json!({})).await;
    settle().await;
    assert_eq!(counts(&ana, &room).await, (0, 0));
    let history = ana.messages(&room, "dir=b&limit=50").await;
    assert_eq!(super::bodies(&history["chunk"]).len(), 5);
    assert_eq!(counts(&ana, &room).await, (0, 0));
    let encrypted = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "y" });
    send(&ben, &room, "m.room.encrypted", encrypted).await.ok();
    mention(&ben, &room, json!({ "user_ids": [ana.id()] })).await;
    settle().await;
    assert_eq!(counts(&ana, &room).await, (2, 1));
}

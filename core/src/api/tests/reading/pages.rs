//! `/messages` and `/context`.

use serde_json::{Value, json};

use super::{Client, bodies, encoded, ids, keys};
use crate::api::testing::Phone;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

#[tokio::test]
async fn pages_join_both_ways_and_come_to_an_end() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let room = alice.create("shared").await;
    for number in 0..25 {
        alice.say(&room, &number.to_string()).await;
    }
    let mut backwards = Vec::new();
    let mut page = alice.messages(&room, "dir=b&limit=7").await;
    loop {
        assert!(ids(&page["chunk"]).len() <= 7);
        backwards.extend(ids(&page["chunk"]));
        let Some(end) = page["end"].as_str() else { break };
        page = alice.messages(&room, &format!("dir=b&limit=7&from={end}")).await;
    }
    let mut forwards = Vec::new();
    let mut page = alice.messages(&room, "dir=f&limit=4").await;
    while let Some(end) = page["end"].as_str() {
        forwards.extend(ids(&page["chunk"]));
        page = alice.messages(&room, &format!("dir=f&limit=4&from={end}")).await;
    }
    assert!(ids(&page["chunk"]).is_empty());
    backwards.reverse();
    assert_eq!(backwards, forwards);
    let all = alice.messages(&room, "dir=f&limit=100").await;
    assert_eq!(ids(&all["chunk"]), forwards);
    assert_eq!(bodies(&all["chunk"]), (0..25).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(text(&all["chunk"][0], "type"), "m.room.create");
    // The default limit of the specification.
    assert_eq!(ids(&alice.messages(&room, "dir=b").await["chunk"]).len(), 10);
}

#[tokio::test]
async fn tokens_of_both_kinds_bound_a_page() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let room = alice.create("shared").await;
    alice.say(&room, "one").await;
    let first = alice.sync("").await;
    alice.say(&room, "two").await;
    alice.say(&room, "three").await;
    let second = alice.sync_since(&first).await;
    alice.say(&room, "four").await;
    let (first, second) = (text(&first, "next_batch"), text(&second, "next_batch"));
    let page = alice.messages(&room, &format!("dir=b&from={second}&to={first}")).await;
    assert_eq!(bodies(&page["chunk"]), ["three", "two"]);
    assert_eq!(page["end"], Value::Null);
    let page = alice.messages(&room, &format!("dir=f&from={first}&to={second}")).await;
    assert_eq!(bodies(&page["chunk"]), ["two", "three"]);
    let page = alice.messages(&room, &format!("dir=f&from={second}")).await;
    assert_eq!(bodies(&page["chunk"]), ["four"]);
    for bad in ["x", "t", "t-1", "s1x", "t1%20"] {
        alice.get(&format!("rooms/{room}/messages?dir=b&from={bad}")).await.is_error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn filters_choose_and_lazy_loading_names_the_speakers() {
    let phone = Phone::new(1);
    let (alice, bob, carol) =
        (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await, Client::new(&phone, "carol").await);
    let room = alice.create("shared").await;
    bob.join(&room).await;
    carol.join(&room).await;
    alice.say(&room, "from alice").await;
    bob.say(&room, "from bob").await;
    bob.set(&room, "m.room.member", bob.id(), json!({ "membership": "join", "displayname": "Bob" })).await;
    let page = async |filter: Value| {
        alice.messages(&room, &format!("dir=b&limit=50&filter={}", encoded(&filter.to_string()))).await
    };
    assert_eq!(bodies(&page(json!({ "senders": [bob.id()], "types": ["m.room.mess*"] })).await["chunk"]), ["from bob"]);
    assert_eq!(bodies(&page(json!({ "not_senders": [bob.id()] })).await["chunk"]), ["from alice"]);
    assert_eq!(ids(&page(json!({ "not_types": ["*"] })).await["chunk"]).len(), 0);
    assert_eq!(ids(&page(json!({ "contains_url": true })).await["chunk"]).len(), 0);
    assert_eq!(ids(&page(json!({ "limit": 2 })).await["chunk"]).len(), 2);
    let lazy = page(json!({ "types": ["m.room.message"], "lazy_load_members": true })).await;
    let member = |who: &Client<'_>| ("m.room.member".to_owned(), who.id().to_owned());
    let mut expected = vec![member(&alice), member(&bob)];
    expected.sort();
    assert_eq!(keys(&lazy["state"]), expected);
    assert_eq!(page(json!({ "types": ["m.room.message"] })).await["state"], Value::Null);
}

#[tokio::test]
async fn context_stands_around_an_event() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("joined").await;
    let mut events = Vec::new();
    for body in ["a", "b", "c", "d", "e", "f", "g"] {
        events.push(alice.say(&room, body).await);
    }
    let context = alice.get(&format!("rooms/{room}/context/{}?limit=4", events[3])).await.ok();
    assert_eq!(text(&context["event"], "event_id"), events[3]);
    assert_eq!(bodies(&context["events_before"]), ["c", "b"]);
    assert_eq!(bodies(&context["events_after"]), ["e", "f"]);
    assert!(keys(&context["state"]).contains(&("m.room.create".into(), String::new())));
    let before = alice.messages(&room, &format!("dir=b&limit=1&from={}", text(&context, "start"))).await;
    assert_eq!(bodies(&before["chunk"]), ["a"]);
    let after = alice.messages(&room, &format!("dir=f&limit=1&from={}", text(&context, "end"))).await;
    assert_eq!(bodies(&after["chunk"]), ["g"]);
    bob.get(&format!("rooms/{room}/context/{}", events[3])).await.is_error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    bob.get(&format!("rooms/{room}/context/{}", events[3])).await.is_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_event_carries_what_its_reader_may_know() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    let said = alice.say_as(&room, "hello", "mine").await;
    bob.join(&room).await;
    let event = async |who: &Client<'_>, id: &str| who.get(&format!("rooms/{room}/event/{id}")).await.ok();
    assert_eq!(event(&alice, &said).await["unsigned"]["transaction_id"], "mine");
    assert_eq!(event(&bob, &said).await["unsigned"]["transaction_id"], Value::Null);
    assert_eq!(event(&bob, &said).await["unsigned"]["membership"], "leave");
    assert_eq!(event(&alice, &said).await["unsigned"]["membership"], "join");
    assert_eq!(event(&alice, &said).await["unsigned"]["age"], 0);
    assert_eq!(event(&alice, &said).await["room_id"], room);

    let first = alice.topic(&room, "first").await;
    let second = alice.topic(&room, "second").await;
    let topic = event(&alice, &second).await;
    assert_eq!(topic["unsigned"]["prev_content"], json!({ "topic": "first" }));
    assert_eq!(topic["unsigned"]["replaces_state"], json!(first));
    assert_eq!(event(&alice, &first).await["unsigned"]["prev_content"], Value::Null);

    let path = format!("rooms/{room}/redact/{said}/r1");
    let redaction = alice.call(http::Method::PUT, &path, Some(json!({ "reason": "typo" }))).await.ok();
    let redacted = event(&bob, &said).await;
    assert_eq!(redacted["content"], json!({}));
    assert_eq!(redacted["unsigned"]["redacted_because"]["event_id"], redaction["event_id"]);
    assert_eq!(redacted["unsigned"]["redacted_because"]["content"]["reason"], "typo");
    bob.get(&format!("rooms/{room}/event/$nothing")).await.is_error(404, "M_NOT_FOUND");
}

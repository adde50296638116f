//! Typing notifications, on one phone and between two.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Client, Pair, ephemeral, put, settle};
use crate::{
    api::testing::{Answer, Phone},
    types::limits::{TYPING_HEARD_FOR, TYPING_TIMEOUT_DEFAULT, TYPING_TIMEOUT_MAX},
};

async fn set(client: &Client<'_>, room: &str, body: Value) -> Answer {
    put(client, &format!("rooms/{room}/typing/{}", client.id()), body).await
}

fn typing(sync: &Value, room: &str) -> Option<Value> {
    let mut events = ephemeral(sync, room, "m.typing");
    assert!(events.len() <= 1, "{events:?}");
    events.pop().map(|content| content["user_ids"].clone())
}

/// A sync that waits, with how long it took.
async fn wait(client: &Client<'_>, since: &Value) -> (Value, Duration) {
    let asked = Instant::now();
    let since = since["next_batch"].as_str().unwrap();
    let sync = client.sync(&format!("since={since}&timeout=100000")).await;
    (sync, asked.elapsed())
}

#[tokio::test(start_paused = true)]
async fn who_types_is_shown_while_they_do() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let idle = ana.sync("").await;
    assert_eq!(typing(&idle, &room), None);
    set(&ben, &room, json!({ "typing": true, "timeout": 5_000 })).await.ok();
    let (busy, took) = wait(&ana, &idle).await;
    assert_eq!((typing(&busy, &room), took), (Some(json!([ben.id()])), Duration::ZERO));
    // Said once; whoever starts anew is told as well.
    assert_eq!(ana.sync_since(&busy).await["rooms"], Value::Null);
    assert_eq!(typing(&ana.sync("").await, &room), Some(json!([ben.id()])));
    // Nobody said that he stopped: his time ran out, and that wakes whoever waits.
    let (quiet, took) = wait(&ana, &busy).await;
    assert_eq!((typing(&quiet, &room), took.as_secs()), (Some(json!([])), 5));
    assert_eq!(ana.sync_since(&quiet).await["rooms"], Value::Null);

    set(&ben, &room, json!({ "typing": true })).await.ok();
    let busy = ana.sync_since(&quiet).await;
    set(&ben, &room, json!({ "typing": false })).await.ok();
    set(&ben, &room, json!({ "typing": false })).await.ok();
    let stopped = ana.sync_since(&busy).await;
    assert_eq!(typing(&stopped, &room), Some(json!([])));
    // Whoever did not hear that he began has no need to hear that he stopped.
    assert_eq!(ana.sync_since(&quiet).await["rooms"], Value::Null);
    assert_eq!(typing(&ana.sync_since(&idle).await, &room), None);

    let deaf = json!({ "room": { "ephemeral": { "types": ["m.receipt"] } } });
    set(&ben, &room, json!({ "typing": true })).await.ok();
    assert_eq!(ana.sync_with(Some(&stopped), deaf).await["rooms"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn times_have_a_limit_and_a_default() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let lasts = async |body: Value| {
        set(&ben, &room, body).await.ok();
        let busy = ana.sync("").await;
        let started = Instant::now();
        let mut sync = busy;
        while typing(&sync, &room) != Some(json!([])) {
            sync = wait(&ana, &sync).await.0;
        }
        started.elapsed()
    };
    assert_eq!(lasts(json!({ "typing": true, "timeout": 1_000_000 })).await.as_secs(), TYPING_TIMEOUT_MAX.as_secs());
    assert_eq!(lasts(json!({ "typing": true })).await.as_secs(), TYPING_TIMEOUT_DEFAULT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn an_idle_phone_sleeps() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    set(&ben, &room, json!({ "typing": true, "timeout": 1_000 })).await.ok();
    let busy = ana.sync("").await;
    let quiet = wait(&ana, &busy).await.0;
    let teller = tokio::time::timeout(Duration::from_secs(1 << 30), crate::rooms::typing::run(phone.home.clone()));
    let (slept, (sync, took)) = tokio::join!(teller, wait(&ana, &quiet));
    assert!(slept.is_err());
    assert_eq!((&sync["rooms"], took.as_secs()), (&Value::Null, 100));
    // The token of somebody who knows of nobody typing is what it always was.
    assert!(!sync["next_batch"].as_str().unwrap().contains('_'));
}

#[tokio::test]
async fn typing_is_for_members_and_for_oneself() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    set(&ben, &room, json!({ "typing": true })).await.is_error(403, "M_FORBIDDEN");
    set(&ben, "!no:where", json!({ "typing": true })).await.is_error(403, "M_FORBIDDEN");
    let path = format!("rooms/{room}/typing/{}", ben.id());
    put(&ana, &path, json!({ "typing": true })).await.is_error(403, "M_FORBIDDEN");
    set(&ana, &room, json!({})).await.is_error(400, "M_BAD_JSON");
    set(&ana, &room, json!({ "typing": "yes" })).await.is_error(400, "M_BAD_JSON");
    assert_eq!(typing(&ana.sync("").await, &room), None);
    // Of a room that one is not in one hears nothing.
    let start = ben.sync("").await;
    set(&ana, &room, json!({ "typing": true })).await.ok();
    assert_eq!(ben.sync_since(&start).await["next_batch"], start["next_batch"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_earlier_run_hears_who_does_not_type_any_more() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let (room, other) = (ana.create("shared").await, ana.create("shared").await);
    ben.join(&room).await;
    let sync = ana.sync("").await;
    let n = sync["next_batch"].as_str().unwrap().to_owned();
    for serial in [1, u64::MAX] {
        let restarted = ana.sync(&format!("since={n}_t{serial}")).await;
        assert_eq!((typing(&restarted, &room), typing(&restarted, &other)), (Some(json!([])), Some(json!([]))));
        assert_eq!(restarted["next_batch"], n.as_str());
    }
    set(&ben, &room, json!({ "typing": true })).await.ok();
    let restarted = ana.sync(&format!("since={n}_t1")).await;
    assert_eq!((typing(&restarted, &room), typing(&restarted, &other)), (Some(json!([ben.id()])), Some(json!([]))));
    // Either half may be damaged.
    for token in ["s1_", "s_1", "s1_x", "s1_2", "s1_t2_3"] {
        let uri = format!("/_matrix/client/v3/sync?since={token}");
        phone.call(Method::GET, &uri, Some(&ana.who.token), None).await.is_error(400, "M_INVALID_PARAM");
    }
    // Pages take the token of a sync as they always did.
    let token = restarted["next_batch"].as_str().unwrap();
    assert!(token.contains('_'));
    assert_ne!(ana.messages(&room, &format!("dir=b&from={token}")).await["chunk"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn typing_crosses_over_to_whoever_is_near() {
    let pair = Pair::new();
    let (ana, ben, room) = pair.together().await;
    let start = ben.sync("").await;
    set(&ana, &room, json!({ "typing": true, "timeout": 20_000 })).await.ok();
    let (busy, _) = wait(&ben, &start).await;
    assert_eq!(typing(&busy, &room), Some(json!([ana.id()])));
    // Her client goes silent; our server says so.
    let (quiet, took) = wait(&ben, &busy).await;
    assert_eq!((typing(&quiet, &room), took.as_secs() / 10), (Some(json!([])), 2));
    // Away there is nothing that waits, and nothing that comes late.
    pair.part();
    set(&ana, &room, json!({ "typing": true, "timeout": 5_000 })).await.ok();
    tokio::time::sleep(Duration::from_secs(60)).await;
    pair.meet();
    settle().await;
    assert_eq!(ben.sync_since(&quiet).await["rooms"], Value::Null);
    // Who goes on typing is believed for as long as they do, and no longer when their server is gone.
    for _ in 0..10 {
        set(&ana, &room, json!({ "typing": true, "timeout": 30_000 })).await.ok();
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let busy = ben.sync_since(&quiet).await;
    assert_eq!(typing(&busy, &room), Some(json!([ana.id()])));
    assert_eq!(ben.sync_since(&busy).await["rooms"], Value::Null);
    pair.part();
    let (gone, took) = wait(&ben, &busy).await;
    assert_eq!(typing(&gone, &room), Some(json!([])));
    assert!(took <= TYPING_HEARD_FOR, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_another_server_may_not_say_of_typing_is_passed_over() {
    let pair = Pair::new();
    let (ana, ben, room) = pair.together().await;
    let stranger = Client::new(&pair.theirs, "stranger").await;
    let other = ana.create("shared").await;
    let start = ana.sync("").await;
    let say = async |room: &str, user: &str| {
        pair.they_say("m.typing", json!({ "room_id": room, "user_id": user, "typing": true })).await;
    };
    say(&room, ana.id()).await;
    say(&room, stranger.id()).await;
    say(&room, "@carol:elsewhere").await;
    say(&other, ben.id()).await;
    say("!no:where", ben.id()).await;
    say("nonsense", ben.id()).await;
    pair.they_say("m.typing", json!({ "room_id": room, "user_id": ben.id() })).await;
    pair.they_say("m.typing", json!("typing")).await;
    assert_eq!(ana.sync_since(&start).await["next_batch"], start["next_batch"]);
    say(&room, ben.id()).await;
    assert_eq!(typing(&ana.sync_since(&start).await, &room), Some(json!([ben.id()])));
    let acl = json!({ "allow": ["*"], "deny": [pair.theirs.home.server_name()] });
    ana.set(&room, "m.room.server_acl", "", acl).await;
    let shut = ana.sync("").await;
    pair.they_say("m.typing", json!({ "room_id": room, "user_id": ben.id(), "typing": false })).await;
    assert_eq!(ana.sync_since(&shut).await["rooms"], Value::Null);
}

//! Threads: told of beside their roots, and listed.

use serde_json::{Value, json};

use super::{Client, event_id, ids, ignore, redact, relate, send, v1};
use crate::api::testing::Phone;

async fn thread(client: &Client<'_>, room: &str, root: &str) -> Value {
    let event = client.get(&format!("rooms/{room}/event/{root}")).await.ok();
    event["unsigned"]["m.relations"]["m.thread"].clone()
}

async fn list(client: &Client<'_>, room: &str, query: &str) -> Value {
    v1(client, &format!("rooms/{room}/threads{query}")).await.ok()
}

#[tokio::test]
async fn a_root_tells_of_its_thread() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let carol = Client::new(&phone, "carol").await;
    let room = ana.create("shared").await;
    ben.join(&room).await;
    carol.join(&room).await;
    let root = ana.say(&room, "root").await;
    let one = relate(&ben, &room, "one", "m.thread", &root).await;
    let two = relate(&ben, &room, "two", "m.thread", &root).await;
    let edit = relate(&ben, &room, "better two", "m.replace", &two).await;
    let told = thread(&carol, &room, &root).await;
    assert_eq!((&told["count"], &told["current_user_participated"]), (&json!(2), &json!(false)));
    assert_eq!(told["latest_event"]["event_id"], two.as_str());
    let nested = &told["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"];
    assert_eq!(*nested, edit.as_str());
    for participant in [&ana, &ben] {
        assert_eq!(thread(participant, &room, &root).await["current_user_participated"], true);
    }
    redact(&ben, &room, &two).await;
    let told = thread(&carol, &room, &root).await;
    assert_eq!((&told["count"], &told["latest_event"]["event_id"]), (&json!(1), &json!(one)));
    ignore(&carol, ben.id()).await;
    assert_eq!(thread(&carol, &room, &root).await, Value::Null);
    // The root may lose its content; the thread goes on.
    redact(&ana, &room, &root).await;
    assert_eq!(thread(&ben, &room, &root).await["count"], 1);
}

#[tokio::test]
async fn a_thread_does_not_start_within_a_relation() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let room = ana.create("shared").await;
    let root = ana.say(&room, "root").await;
    let child = relate(&ana, &room, "child", "m.thread", &root).await;
    let relation = json!({ "rel_type": "m.thread", "event_id": child });
    let content = json!({ "msgtype": "m.text", "body": "nested", "m.relates_to": relation });
    send(&ana, &room, "m.room.message", content).await.is_error(400, "M_UNKNOWN");
    // A reply relates to nothing in this sense.
    let content =
        json!({ "msgtype": "m.text", "body": "x", "m.relates_to": { "m.in_reply_to": { "event_id": root } } });
    let reply = event_id(send(&ana, &room, "m.room.message", content).await);
    relate(&ana, &room, "about the reply", "m.thread", &reply).await;
    // One that nobody has yet may start one.
    relate(&ana, &room, "to be", "m.thread", "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!(ids(&list(&ana, &room, "").await["chunk"]), [reply, root]);
}

#[tokio::test]
async fn threads_are_listed_by_their_last_events() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let mut roots = Vec::new();
    for number in 0..4 {
        let root = ana.say(&room, &number.to_string()).await;
        relate(&ana, &room, "first", "m.thread", &root).await;
        roots.push(root);
    }
    let root = |index: usize| roots[index].clone();
    assert_eq!(ids(&list(&ana, &room, "").await["chunk"]), [root(3), root(2), root(1), root(0)]);
    let bens = relate(&ben, &room, "again", "m.thread", &root(1)).await;
    let all = list(&ana, &room, "?include=all").await;
    assert_eq!(ids(&all["chunk"]), [root(1), root(3), root(2), root(0)]);
    assert_eq!(all["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"], 2);
    assert_eq!(ids(&list(&ben, &room, "?include=participated").await["chunk"]), [root(1)]);
    assert_eq!(list(&ana, &room, "?include=participated").await["chunk"].as_array().unwrap().len(), 4);
    let page = list(&ana, &room, "?limit=3").await;
    let from = page["next_batch"].as_str().unwrap();
    assert_eq!(ids(&page["chunk"]), [root(1), root(3), root(2)]);
    let rest = list(&ana, &room, &format!("?limit=3&from={from}")).await;
    assert_eq!((ids(&rest["chunk"]), &rest["next_batch"]), (vec![root(0)], &Value::Null));
    redact(&ben, &room, &bens).await;
    assert_eq!(ids(&list(&ana, &room, "").await["chunk"]), [root(3), root(2), root(1), root(0)]);
    v1(&ana, &format!("rooms/{room}/threads?from=nonsense")).await.is_error(400, "M_INVALID_PARAM");
    v1(&ana, &format!("rooms/{room}/threads?include=some")).await.is_error(400, "M_INVALID_PARAM");
    let stranger = Client::new(&phone, "stranger").await;
    v1(&stranger, &format!("rooms/{room}/threads")).await.is_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_root_of_somebody_ignored_is_listed_without_its_content() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let root = ben.say(&room, "unheard").await;
    relate(&ana, &room, "mine", "m.thread", &root).await;
    ignore(&ana, ben.id()).await;
    let listed = list(&ana, &room, "").await["chunk"][0].clone();
    assert_eq!((&listed["event_id"], &listed["content"]), (&json!(root), &json!({})));
    assert_eq!(listed["unsigned"]["m.relations"]["m.thread"]["count"], 1);
}

//! Children of events: aggregated beside them, in pages, and from another phone.

use serde_json::{Value, json};

use super::{Client, Pair, event_id, ids, ignore, joined, react, redact, relate, send, settle, v1};
use crate::{
    api::testing::Phone,
    rooms::relations,
    store::{Esn, Stored},
};

async fn event(client: &Client<'_>, room: &str, event: &str) -> Value {
    client.get(&format!("rooms/{room}/event/{event}")).await.ok()
}

async fn bundle(client: &Client<'_>, room: &str, id: &str) -> Value {
    event(client, room, id).await["unsigned"]["m.relations"].clone()
}

async fn children(client: &Client<'_>, room: &str, path: &str) -> Value {
    v1(client, &format!("rooms/{room}/relations/{path}")).await.ok()
}

#[tokio::test]
async fn the_newest_edit_of_the_sender_counts() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let said = ana.say(&room, "said").await;
    assert_eq!(bundle(&ana, &room, &said).await, Value::Null);
    // The clock stands still, so of these the one with the greatest id counts.
    let mut edits = Vec::new();
    for number in 0..5 {
        edits.push(relate(&ana, &room, &number.to_string(), "m.replace", &said).await);
    }
    edits.sort();
    // By another sender, of another type, without new content, of a state event's kind: none of these is an edit.
    relate(&ben, &room, "not yours", "m.replace", &said).await;
    let relation = json!({ "rel_type": "m.replace", "event_id": said });
    send(&ana, &room, "org.x", json!({ "m.new_content": {}, "m.relates_to": relation })).await.ok();
    let bare = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
    send(&ana, &room, "m.room.message", bare).await.ok();
    for reader in [&ana, &ben] {
        let bundled = bundle(reader, &room, &said).await;
        assert_eq!(bundled["m.replace"]["event_id"], edits[4].as_str());
        assert!(bundled["m.replace"]["content"]["m.new_content"].is_object());
        assert_eq!(bundled.as_object().unwrap().len(), 1);
    }
    // The event itself stays as it was.
    assert_eq!(event(&ana, &room, &said).await["content"]["body"], "said");
    // An edit of an edit is none.
    relate(&ana, &room, "again", "m.replace", &edits[4]).await;
    assert_eq!(bundle(&ana, &room, &edits[4]).await, Value::Null);
    redact(&ana, &room, &edits[4]).await;
    assert_eq!(bundle(&ana, &room, &said).await["m.replace"]["event_id"], edits[3].as_str());
    redact(&ana, &room, &said).await;
    assert_eq!(bundle(&ana, &room, &said).await, Value::Null);
}

#[tokio::test]
async fn encrypted_events_relate_by_what_is_in_the_clear() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let room = ana.create("shared").await;
    let encrypted = async |relation: Option<Value>| {
        let mut content = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" });
        if let Some(relation) = relation {
            content["m.relates_to"] = relation;
        }
        event_id(send(&ana, &room, "m.room.encrypted", content).await)
    };
    let said = encrypted(None).await;
    let edit = encrypted(Some(json!({ "rel_type": "m.replace", "event_id": said }))).await;
    let reply = encrypted(Some(json!({ "m.in_reply_to": { "event_id": said } }))).await;
    let bundled = bundle(&ana, &room, &said).await;
    assert_eq!((&bundled["m.replace"]["event_id"], bundled.as_object().unwrap().len()), (&json!(edit), 1));
    assert_eq!(ids(&children(&ana, &room, &said).await["chunk"]), [edit]);
    assert_eq!(bundle(&ana, &room, &reply).await, Value::Null);
}

#[tokio::test]
async fn what_does_not_keep_the_shape_is_no_relation() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let room = ana.create("shared").await;
    let said = ana.say(&room, "said").await;
    for relation in [
        json!("text"),
        json!({ "event_id": said }),
        json!({ "rel_type": "m.reference" }),
        json!({ "rel_type": 7, "event_id": said }),
        json!({ "rel_type": "", "event_id": said }),
        json!({ "rel_type": "x".repeat(256), "event_id": said }),
        json!({ "rel_type": "m.reference", "event_id": "nonsense" }),
        json!({ "rel_type": "m.reference", "event_id": "$of-an-old-room:x" }),
    ] {
        send(&ana, &room, "org.x", json!({ "m.relates_to": relation })).await.ok();
    }
    send(&ana, &room, "org.x", json!({ "body": format!("\"m.relates_to\" {said}") })).await.ok();
    assert_eq!(children(&ana, &room, &said).await, json!({ "chunk": [] }));
}

#[tokio::test]
async fn references_are_listed_and_reactions_are_not() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let said = ana.say(&room, "said").await;
    let one = relate(&ana, &room, "one", "m.reference", &said).await;
    let two = relate(&ben, &room, "two", "m.reference", &said).await;
    react(&ben, &room, "+1", &said).await.ok();
    let chunk = json!({ "m.reference": { "chunk": [{ "event_id": one }, { "event_id": two }] } });
    assert_eq!(bundle(&ana, &room, &said).await, chunk);
    redact(&ana, &room, &one).await;
    ignore(&ana, ben.id()).await;
    assert_eq!(bundle(&ana, &room, &said).await, Value::Null);
    assert_eq!(bundle(&ben, &room, &said).await["m.reference"]["chunk"], json!([{ "event_id": two }]));
    // State events have none.
    let topic = ana.topic(&room, "tea").await;
    relate(&ana, &room, "about the topic", "m.reference", &topic).await;
    assert_eq!(bundle(&ana, &room, &topic).await, Value::Null);
}

#[tokio::test]
async fn every_endpoint_that_shows_events_tells_of_their_children() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let room = ana.create("shared").await;
    let said = ana.say(&room, "said").await;
    let start = ana.sync("").await;
    let other = relate(&ana, &room, "other", "m.reference", &said).await;
    let third = relate(&ana, &room, "third", "m.reference", &other).await;
    let has = |events: &Value, id: &str| {
        let events = events.as_array().unwrap();
        let event = events.iter().find(|event| event["event_id"] == id).unwrap();
        event["unsigned"]["m.relations"]["m.reference"]["chunk"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(has(&ana.messages(&room, "dir=b").await["chunk"], &said), 1);
    let context = ana.get(&format!("rooms/{room}/context/{other}")).await.ok();
    assert_eq!(has(&context["events_before"], &said), 1);
    assert_eq!(has(&json!([context["event"]]), &other), 1);
    assert_eq!(has(&children(&ana, &room, &said).await["chunk"], &other), 1);
    // A sync does so only where it leaves something out: else the client has seen the children itself.
    let sync = ana.sync_since(&start).await;
    assert_eq!(has(&joined(&sync, &room)["timeline"]["events"], &other), 0);
    let limited = ana.sync_with(Some(&start), json!({ "room": { "timeline": { "limit": 1 } } })).await;
    assert_eq!(joined(&limited, &room)["timeline"]["limited"], true);
    relate(&ana, &room, "fourth", "m.reference", &third).await;
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let limited = ana.sync_with(Some(&start), filter).await;
    assert_eq!(has(&joined(&limited, &room)["timeline"]["events"], &third), 1);
}

#[tokio::test]
async fn children_come_in_pages_both_ways() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let said = ana.say(&room, "said").await;
    let mut all = Vec::new();
    for number in 0..12 {
        ana.say(&room, "between").await;
        let rel_type = ["m.thread", "m.reference", "org.x.own", "m.replace"][number % 4];
        all.push(relate(&ana, &room, &number.to_string(), rel_type, &said).await);
    }
    let reaction = event_id(react(&ben, &room, "+1", &said).await);
    all.push(reaction.clone());
    let pages = async |path: &str, query: &str| {
        let (mut found, mut from) = (Vec::new(), String::new());
        for _ in 0..50 {
            let page = children(&ana, &room, &format!("{path}?{query}{from}")).await;
            assert_eq!(page["prev_batch"].is_null(), from.is_empty());
            found.extend(ids(&page["chunk"]));
            match page["next_batch"].as_str() {
                Some(token) => from = format!("&from={token}"),
                None => return found,
            }
        }
        panic!("the pages have no end")
    };
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    for limit in [1, 2, 5, 100] {
        assert_eq!(pages(&said, &format!("limit={limit}")).await, reversed, "{limit}");
        assert_eq!(pages(&said, &format!("limit={limit}&dir=f")).await, all, "{limit}");
    }
    let own: Vec<_> = [2, 6, 10].map(|index: usize| all[index].clone()).into();
    assert_eq!(pages(&format!("{said}/org.x.own"), "limit=2&dir=f").await, own);
    assert_eq!(pages(&format!("{said}/m.annotation"), "").await, std::slice::from_ref(&reaction));
    assert_eq!(pages(&format!("{said}/m.annotation/m.reaction"), "").await, [reaction]);
    assert_eq!(pages(&format!("{said}/m.thread/m.reaction"), "").await, [] as [&str; 0]);
    assert_eq!(pages(&format!("{said}/org.x.other"), "").await, [] as [&str; 0]);
    // A page ends at `to`, and takes the tokens of other endpoints.
    let first = children(&ana, &room, &format!("{said}?limit=4")).await;
    let to = first["next_batch"].as_str().unwrap();
    assert_eq!(pages(&said, &format!("limit=100&to={to}")).await, reversed[..4]);
    let sync = ana.sync("").await;
    relate(&ana, &room, "later", "m.thread", &said).await;
    let from = sync["next_batch"].as_str().unwrap();
    assert_eq!(ids(&children(&ana, &room, &format!("{said}?limit=1&from={from}")).await["chunk"]), reversed[..1]);
    v1(&ana, &format!("rooms/{room}/relations/{said}?from=nonsense")).await.is_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn children_of_children_come_when_they_are_asked_for() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let room = ana.create("shared").await;
    let said = ana.say(&room, "said").await;
    let mut chain = vec![said.clone()];
    for number in 0..5 {
        let parent = chain.last().unwrap().clone();
        chain.push(relate(&ana, &room, &number.to_string(), "org.x.own", &parent).await);
    }
    let other = relate(&ana, &room, "other", "m.reference", &chain[1]).await;
    let direct = children(&ana, &room, &said).await;
    assert_eq!((ids(&direct["chunk"]), &direct["recursion_depth"]), (vec![chain[1].clone()], &Value::Null));
    let deep = children(&ana, &room, &format!("{said}?recurse=true&dir=f")).await;
    let mut expected = chain[1..4].to_vec();
    expected.push(other.clone());
    assert_eq!((ids(&deep["chunk"]), &deep["recursion_depth"]), (expected, &json!(3)));
    let filtered = children(&ana, &room, &format!("{said}/m.reference?recurse=true")).await;
    assert_eq!(ids(&filtered["chunk"]), [other]);
    let page = children(&ana, &room, &format!("{said}?recurse=true&dir=f&limit=2")).await;
    assert_eq!(ids(&page["chunk"]), chain[1..3]);
    assert!(page["next_batch"].is_string());
}

#[tokio::test]
async fn children_are_for_those_who_may_see_their_parent() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("joined").await;
    let said = ana.say(&room, "said").await;
    relate(&ana, &room, "before ben", "m.reference", &said).await;
    let path = format!("rooms/{room}/relations/{said}");
    v1(&ben, &path).await.is_error(404, "M_NOT_FOUND");
    ben.join(&room).await;
    v1(&ben, &path).await.is_error(404, "M_NOT_FOUND");
    v1(&ana, &format!("rooms/{room}/relations/$unknown")).await.is_error(404, "M_NOT_FOUND");
    v1(&ana, &format!("rooms/!no:where/relations/{said}")).await.is_error(404, "M_NOT_FOUND");
    let with_ben = ana.say(&room, "with ben").await;
    let child = relate(&ana, &room, "child", "m.reference", &with_ben).await;
    assert_eq!(ids(&children(&ben, &room, &with_ben).await["chunk"]), [child]);
}

#[tokio::test]
async fn the_same_reaction_is_not_sent_twice() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let said = ana.say(&room, "said").await;
    let first = event_id(react(&ana, &room, "+1", &said).await);
    react(&ana, &room, "+1", &said).await.is_error(400, "M_DUPLICATE_ANNOTATION");
    react(&ana, &room, "-1", &said).await.ok();
    react(&ben, &room, "+1", &said).await.ok();
    let relation = json!({ "rel_type": "m.annotation", "event_id": said, "key": "+1" });
    send(&ana, &room, "org.x", json!({ "m.relates_to": relation })).await.ok();
    redact(&ana, &room, &first).await;
    react(&ana, &room, "+1", &said).await.ok();
    // A stranger is a stranger first.
    let stranger = Client::new(&phone, "stranger").await;
    react(&stranger, &room, "+1", &said).await.is_error(403, "M_FORBIDDEN");
}

fn esn(phone: &Phone, id: &str) -> Esn {
    let view = phone.home.store.snapshot().unwrap();
    Stored::find(&view, id.try_into().unwrap()).unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn children_that_come_before_their_parents_are_found() {
    let pair = Pair::new();
    let ben = Client::new(&pair.theirs, "ben").await;
    let room = ben.create("shared").await;
    let said = ben.say(&room, "said").await;
    let gone = relate(&ben, &room, "gone", "m.thread", &said).await;
    let child = relate(&ben, &room, "child", "m.thread", &said).await;
    let edit = relate(&ben, &room, "edited", "m.replace", &said).await;
    redact(&ben, &room, &gone).await;
    let ana = Client::new(&pair.ours, "ana").await;
    ana.post(&format!("join/{room}?via={}", pair.theirs.home.server_name()), json!({})).await;
    settle().await;
    let later = relate(&ben, &room, "later", "m.thread", &said).await;
    settle().await;
    // The parent lies in history that nobody has fetched.
    assert!(v1(&ana, &format!("rooms/{room}/relations/{said}")).await.status == 404);
    ana.messages(&room, "dir=b&limit=100").await;
    let view = pair.ours.home.store.snapshot().unwrap();
    let found = relations::children(&view, esn(&pair.ours, &said), None).unwrap();
    let expected = [("m.thread", &child), ("m.replace", &edit), ("m.thread", &later)];
    let expected = expected.map(|(rel_type, id)| (rel_type.to_owned(), esn(&pair.ours, id)));
    assert_eq!(found, expected);
    let threads = relations::children(&view, esn(&pair.ours, &said), Some("m.thread")).unwrap();
    assert_eq!(threads.len(), 2);
    let bundled = bundle(&ana, &room, &said).await;
    assert_eq!(bundled["m.thread"]["latest_event"]["event_id"], later.as_str());
    assert_eq!((&bundled["m.thread"]["count"], &bundled["m.replace"]["event_id"]), (&json!(2), &json!(edit)));
}

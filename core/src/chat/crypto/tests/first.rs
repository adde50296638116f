//! Two people who are near each other.

use serde_json::{Value, json};

use super::super::{
    Clear, Trust,
    testing::{Net, people, settle},
};
use crate::store::Stored;

#[tokio::test(start_paused = true)]
async fn two_people_read_each_other_from_the_first_message_on() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    let hello = alice.say(&room, "hello").await;
    settle().await;
    bob.say(&room, "hello to you").await;
    settle().await;
    let both = ["hello", "hello to you"];
    assert_eq!(bob.texts(&room).await, both);
    assert_eq!(alice.texts(&room).await, both);
    // Nothing of it lies in the clear, on neither phone.
    for phone in [&alice, &bob] {
        let stored = Stored::by_id(&phone.home().store.snapshot().unwrap(), &hello).unwrap().unwrap();
        assert!(!stored.pdu.json().get().contains("hello"), "{}", stored.pdu.json());
    }
    assert_eq!((alice.debts(), bob.debts()), (0, 0), "both were near, so nothing is owed");
    let Clear::Event { trust, .. } = bob.read(&room, &hello).await else { panic!("unread") };
    assert_eq!(trust, Trust::Unverified);
    let Clear::Event { trust, .. } = alice.read(&room, &hello).await else { panic!("unread") };
    assert_eq!(trust, Trust::Verified, "one's own device is one's own");
}

#[tokio::test(start_paused = true)]
async fn relations_stay_readable_from_outside_and_come_back_inside() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    let first = alice.say(&room, "first").await;
    let relation = json!({ "rel_type": "m.thread", "event_id": first });
    let reply =
        alice.send(&room, json!({ "msgtype": "m.text", "body": "in the thread", "m.relates_to": relation })).await;
    settle().await;
    let stored = Stored::by_id(&bob.home().store.snapshot().unwrap(), &reply).unwrap().unwrap();
    let outside: Value = stored.pdu.content_as().unwrap();
    assert_eq!(outside["m.relates_to"], relation);
    let Clear::Event { kind, content, .. } = bob.read(&room, &reply).await else { panic!("unread") };
    let inside: Value = serde_json::from_str(content.get()).unwrap();
    assert_eq!((kind.as_str(), &inside["m.relates_to"]), ("m.room.message", &relation));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_after_as_many_messages_as_the_room_says() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    let mut sessions = Vec::new();
    for number in 0..205 {
        let event = alice.say(&room, &format!("{number}")).await;
        let stored = Stored::by_id(&alice.home().store.snapshot().unwrap(), &event).unwrap().unwrap();
        let content: Value = stored.pdu.content_as().unwrap();
        sessions.push(content["session_id"].as_str().unwrap().to_owned());
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 3, "100 messages each");
    settle().await;
    assert_eq!(bob.texts(&room).await, (0..205).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_object_is_refused_and_harms_nothing() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    for content in ["[]", "\"text\"", "{\"m.relates_to\":1e999}"] {
        let content = serde_json::value::RawValue::from_string(content.to_owned()).unwrap();
        let crypto = &alice.chat.inner.crypto;
        let refused = crypto.encrypt(&alice.chat.inner, &room, "m.room.message", &content).await;
        assert!(matches!(refused, Err(super::super::CryptoError::Invalid(_))), "{refused:?}");
    }
    alice.say(&room, "still here").await;
    assert_eq!(alice.texts(&room).await, ["still here"]);
}

//! What a hostile server sends, and what a careful one repeats.

use std::time::Duration;

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, UInt,
    api::federation::{
        event::{get_event, get_room_state_ids},
        transactions::send_transaction_message::v1::{Request, Response},
    },
};
use serde_json::{Value, json, value::RawValue};

use super::{net::*, pair, three};
use crate::{
    federation::receive,
    outbox::{FederationError, request},
};

fn transaction(phone: &Phone, id: &str, pdus: Vec<Box<RawValue>>) -> Request {
    let now = MilliSecondsSinceUnixEpoch(UInt::new_saturating(1_800_000_000_000));
    let mut request = Request::new(id.into(), phone.name(), now);
    request.pdus = pdus;
    request
}

async fn send(from: &Phone, to: &Phone, id: &str, pdus: Vec<Box<RawValue>>) -> Result<Response, FederationError> {
    request(from.server.home(), &to.name(), transaction(from, id, pdus)).await
}

fn raw_event(phone: &Phone, id: &str) -> Box<RawValue> {
    let view = phone.server.home().store.snapshot().unwrap();
    let id = OwnedEventId::try_from(id).unwrap();
    crate::store::Stored::by_id(&view, &id).unwrap().unwrap().pdu.json().to_owned()
}

fn status(error: &FederationError) -> u16 {
    match error {
        FederationError::Refused { error, .. } => error.status_code.as_u16(),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_event_is_dropped_and_a_foreign_one_judged_by_its_author() {
    let (net, alice, bob, carol) = three().await;
    let room = alice.create("12", "public_chat").await;
    bob.join(&room, &alice).await;
    carol.join(&room, &alice).await;
    settle().await;
    net.cut(&alice, &carol);
    let id = alice.say(&room, "genuine").await;
    tokio::time::sleep(Duration::from_millis(40)).await;
    let genuine = raw_event(&alice, &id);
    let mut forged: Value = serde_json::from_str(genuine.get()).unwrap();
    forged["origin_server_ts"] = json!(1);
    let forged = serde_json::value::to_raw_value(&forged).unwrap();
    net.cut(&bob, &carol);
    let before = carol.sight(&room);
    net.link(&bob, &carol);
    let answer = send(&bob, &carol, "t1", vec![forged]).await.unwrap();
    assert!(answer.pdus.is_empty(), "{answer:?}");
    assert!(carol.sight(&room).texts.len() <= before.texts.len() + 1);
    // What bob carries of alice's is as good as from herself.
    let answer = send(&bob, &carol, "t2", vec![genuine]).await.unwrap();
    assert_eq!(answer.pdus.values().collect::<Vec<_>>(), [&Ok(())]);
    assert_eq!(carol.sight(&room).texts, ["genuine"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_text_arrives_without_it() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("11", "public_chat").await;
    bob.join(&room, &alice).await;
    settle().await;
    net.cut(&alice, &bob);
    let id = alice.say(&room, "genuine").await;
    let mut changed: Value = serde_json::from_str(raw_event(&alice, &id).get()).unwrap();
    changed["content"]["body"] = json!("changed");
    let changed = serde_json::value::to_raw_value(&changed).unwrap();
    alice.server.stop().await.unwrap();
    let alice = Phone::new(&net, 1, "alice").await;
    net.link(&alice, &bob);
    send(&alice, &bob, "t1", vec![changed]).await.unwrap();
    assert!(bob.sight(&room).texts.is_empty());
    assert_eq!(bob.sight(&room).heads, [id].into(), "the event is there, redacted");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_transaction_is_answered_the_same_and_changes_nothing() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "public_chat").await;
    bob.join(&room, &alice).await;
    settle().await;
    let id = alice.say(&room, "once").await;
    settle().await;
    let event = raw_event(&alice, &id);
    let first = send(&alice, &bob, "again", vec![event.clone()]).await.unwrap();
    let second = send(&alice, &bob, "again", vec![event]).await.unwrap();
    assert_eq!(first.pdus, second.pdus);
    assert_eq!(bob.sight(&room).texts, ["once"]);
    drop(net);
}

#[tokio::test(start_paused = true)]
async fn more_events_than_a_transaction_holds_are_refused() {
    let (_net, alice, bob) = pair().await;
    let room = alice.create("12", "public_chat").await;
    let id = alice.say(&room, "x").await;
    let event = raw_event(&alice, &id);
    let error = send(&alice, &bob, "big", vec![event; 51]).await.unwrap_err();
    assert_eq!(status(&error), 400);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_reads_nothing() {
    let (_net, alice, bob, carol) = three().await;
    let room = alice.create("12", "public_chat").await;
    bob.join(&room, &alice).await;
    settle().await;
    let id = OwnedEventId::try_from(alice.say(&room, "secret").await).unwrap();
    let home = carol.server.home();
    let error = request(home, &alice.name(), get_event::v1::Request::new(id.clone())).await.unwrap_err();
    assert_eq!(status(&error), 403);
    let ask = get_room_state_ids::v1::Request::new(id.clone(), room.clone());
    assert_eq!(status(&request(home, &alice.name(), ask.clone()).await.unwrap_err()), 403);
    // Those who are in it do.
    assert!(request(bob.server.home(), &alice.name(), get_event::v1::Request::new(id)).await.is_ok());
    assert!(!request(bob.server.home(), &alice.name(), ask).await.unwrap().pdu_ids.is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_the_past_is_not_to_be_had_the_state_is() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "public_chat").await;
    bob.join(&room, &alice).await;
    settle().await;
    net.cut(&alice, &bob);
    // More than may wait in memory: the state before the oldest that was fetched closes the matter.
    alice.call("PUT", &format!("/rooms/{room}/state/m.room.topic"), json!({ "topic": "while bob was away" })).await;
    let mut last = String::new();
    for n in 0..crate::types::limits::WAITING_EVENTS_MAX + 20 {
        last = alice.say(&room, &format!("{n}")).await;
    }
    let event = raw_event(&alice, &last);
    // Alice can be asked, and her queue cannot send: the last event alone arrives, by the hand of the test.
    net.mute.lock().unwrap().insert(alice.name());
    net.link(&alice, &bob);
    let door = receive::Door::of(&bob.server.home().store.snapshot().unwrap(), &room).unwrap().unwrap();
    let pdus = door.verified(bob.server.home(), &alice.name(), &[event]);
    let verdicts = receive::deliver(bob.server.home(), &alice.name(), &door, pdus).await.unwrap();
    assert_eq!(verdicts.values().collect::<Vec<_>>(), [&Ok(())]);
    assert!(bob.sight(&room).heads.is_superset(&alice.sight(&room).heads));
    assert_eq!(bob.sight(&room).state, alice.sight(&room).state);
    assert_eq!(bob.sight(&room).texts.len(), crate::types::limits::WAITING_EVENTS_MAX);
    let view = bob.server.home().store.snapshot().unwrap();
    let found = crate::rooms::Room::find(&view, &room).unwrap().unwrap();
    assert_eq!(crate::rooms::gaps(&view, found.key).unwrap().len(), 2, "one before the join, one now");
    drop(view);
    // What bob says next joins both ends, and alice, who has all of it, has one head again.
    bob.say(&room, "back").await;
    settle().await;
    assert_eq!(bob.sight(&room).heads, alice.sight(&room).heads);
    assert_eq!(bob.sight(&room).heads.len(), 1);
    assert_eq!(bob.sight(&room).state, alice.sight(&room).state);
}

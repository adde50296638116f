//! `/sync`: what a client is shown, and that it is shown once.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Client, bodies, ids, keys};
use crate::{
    api::testing::{Phone, password_of},
    store::{LogKind, LogRow, StoreError},
};

fn timeline<'a>(sync: &'a Value, room: &str) -> &'a Value {
    &sync["rooms"]["join"][room]["timeline"]
}

fn state<'a>(sync: &'a Value, room: &str) -> &'a Value {
    &sync["rooms"]["join"][room]["state"]["events"]
}

#[tokio::test]
async fn a_first_sync_shows_the_room_and_the_next_ones_what_is_new() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let room = alice.create("shared").await;
    alice.topic(&room, "old").await;
    for number in 0..30 {
        alice.say(&room, &number.to_string()).await;
    }
    let first = alice.sync("").await;
    let shown = timeline(&first, &room);
    assert_eq!(shown["events"].as_array().unwrap().len(), 20);
    assert_eq!(shown["limited"], true);
    assert_eq!(bodies(&shown["events"]), (10..30).map(|number| number.to_string()).collect::<Vec<_>>());
    let known = keys(state(&first, &room));
    for key in [("m.room.create", ""), ("m.room.member", alice.id()), ("m.room.topic", ""), ("m.room.power_levels", "")]
    {
        assert!(known.contains(&(key.0.to_owned(), key.1.to_owned())), "{key:?} in {known:?}");
    }
    let summary = &first["rooms"]["join"][&room]["summary"];
    assert_eq!((&summary["m.joined_member_count"], &summary["m.heroes"]), (&json!(1), &Value::Null));
    assert_eq!(first["device_one_time_keys_count"], json!({}));
    let before = alice.messages(&room, &format!("dir=b&limit=1&from={}", shown["prev_batch"].as_str().unwrap())).await;
    assert_eq!(bodies(&before["chunk"]), ["9"]);
    assert_eq!(shown["events"][0]["room_id"], Value::Null);

    let nothing = alice.sync_since(&first).await;
    assert_eq!(nothing["rooms"], Value::Null);
    alice.say(&room, "new").await;
    let topic = alice.topic(&room, "new topic").await;
    let second = alice.sync_since(&nothing).await;
    assert_eq!(ids(&timeline(&second, &room)["events"]).last(), Some(&topic));
    assert_eq!(bodies(&timeline(&second, &room)["events"]), ["new"]);
    assert_ne!(timeline(&second, &room)["limited"], true);
    // The timeline shows the topic; to repeat it as state would put it before itself.
    assert_eq!(*state(&second, &room), Value::Null);
    // The same token again gives the same answer: nothing is remembered.
    assert_eq!(alice.sync_since(&nothing).await["rooms"], second["rooms"]);
}

#[tokio::test]
async fn every_event_is_shown_once_however_the_syncs_fall() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let (room, other) = (alice.create("shared").await, alice.create("shared").await);
    bob.join(&room).await;
    let filter = json!({ "room": { "timeline": { "limit": 5 } } });
    let mut last = bob.sync_with(None, filter.clone()).await;
    let (mut sent, mut seen, mut limited) = (Vec::new(), Vec::new(), 0);
    for round in 0..40_usize {
        for number in 0..(round * 7) % 11 {
            let body = format!("{round}.{number}");
            sent.push(if number % 4 == 3 { alice.topic(&room, &body).await } else { alice.say(&room, &body).await });
            alice.say(&other, "not for bob").await;
        }
        let next = bob.sync_with(Some(&last), filter.clone()).await;
        assert_eq!(next["rooms"]["join"][&other], Value::Null);
        let shown = timeline(&next, &room);
        let mut events = ids(&shown["events"]);
        assert!(events.len() <= 5);
        if shown["limited"] == true {
            limited += 1;
            // What did not fit lies between `prev_batch` and the last sync.
            let (from, to) = (shown["prev_batch"].as_str().unwrap(), last["next_batch"].as_str().unwrap());
            let rest = bob.messages(&room, &format!("dir=b&limit=100&from={from}&to={to}")).await;
            let mut rest = ids(&rest["chunk"]);
            rest.reverse();
            rest.append(&mut events);
            events = rest;
        }
        seen.append(&mut events);
        last = next;
    }
    assert!(limited > 5 && limited < 35, "{limited}");
    assert_eq!(seen, sent);
}

#[tokio::test]
async fn state_that_did_not_fit_the_timeline_comes_beside_it() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let room = alice.create("shared").await;
    let first = alice.sync("").await;
    alice.topic(&room, "one").await;
    let topic = alice.topic(&room, "two").await;
    for number in 0..5 {
        alice.say(&room, &number.to_string()).await;
    }
    let name = alice.set(&room, "m.room.name", "", json!({ "name": "hearth" })).await;
    let limit = |limit: u32| json!({ "room": { "timeline": { "limit": limit } } });
    let short = alice.sync_with(Some(&first), limit(3)).await;
    assert_eq!(timeline(&short, &room)["limited"], true);
    assert_eq!(ids(state(&short, &room)), std::slice::from_ref(&topic));
    assert_eq!(ids(&timeline(&short, &room)["events"]).last(), Some(&name));
    let whole = alice.sync_with(Some(&first), limit(50)).await;
    assert_eq!(*state(&whole, &room), Value::Null);
    let none = alice.sync_with(Some(&first), limit(0)).await;
    let mut both = vec![topic, name.clone()];
    both.sort();
    let mut got = ids(state(&none, &room));
    got.sort();
    assert_eq!(got, both);
    // What a filter keeps off the timeline is still state.
    let filter =
        json!({ "room": { "timeline": { "types": ["m.room.message"] }, "state": { "not_types": ["m.room.topic"] } } });
    let filtered = alice.sync_with(Some(&first), filter).await;
    assert_eq!(ids(state(&filtered, &room)), [name]);
}

#[tokio::test]
async fn full_state_and_state_after() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let room = alice.create("shared").await;
    let first = alice.sync("").await;
    let since = first["next_batch"].as_str().unwrap();
    let topic = alice.topic(&room, "now").await;
    let after = alice.sync(&format!("since={since}&use_state_after=true")).await;
    assert_eq!(ids(&after["rooms"]["join"][&room]["state_after"]["events"]), std::slice::from_ref(&topic));
    assert_eq!(ids(&timeline(&after, &room)["events"]), std::slice::from_ref(&topic));
    assert_eq!(*state(&after, &room), Value::Null);
    let full = alice.sync(&format!("since={since}&full_state=true")).await;
    assert_eq!(ids(&timeline(&full, &room)["events"]), [topic]);
    let mut whole = keys(state(&full, &room));
    whole.push(("m.room.topic".into(), String::new()));
    whole.sort();
    assert_eq!(whole, keys(&alice.get(&format!("rooms/{room}/state")).await.ok()));
}

#[tokio::test]
async fn an_invite_is_shown_until_it_is_answered() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    let start = bob.sync("").await;
    alice.invite(&room, &bob).await;
    for sync in [bob.sync_since(&start).await, bob.sync("").await] {
        let events = sync["rooms"]["invite"][&room]["invite_state"]["events"].as_array().unwrap().clone();
        let own = events.iter().find(|event| event["state_key"] == bob.id()).unwrap();
        assert_eq!((own["sender"].as_str(), &own["content"]["membership"]), (Some(alice.id()), &json!("invite")));
        assert!(events.iter().any(|event| event["type"] == "m.room.create"));
        assert_eq!(sync["rooms"]["join"], Value::Null);
    }
    let invited = bob.sync_since(&start).await;
    alice.say(&room, "not for the invited").await;
    assert_eq!(bob.sync_since(&invited).await["rooms"], Value::Null);
    bob.join(&room).await;
    let joined = bob.sync_since(&invited).await;
    assert_eq!(joined["rooms"]["invite"], Value::Null);
    // A new room comes whole: its state, and its timeline from before the join as far as it is visible.
    let mut known = keys(state(&joined, &room));
    known.extend(
        timeline(&joined, &room)["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|event| Some((event["type"].as_str()?.to_owned(), event["state_key"].as_str()?.to_owned()))),
    );
    assert!(known.contains(&("m.room.create".into(), String::new())), "{known:?}");
    assert_eq!(bodies(&timeline(&joined, &room)["events"]), ["not for the invited"]);
    assert_eq!(joined["rooms"]["join"][&room]["summary"]["m.heroes"], json!([alice.id()]));
}

#[tokio::test]
async fn a_knock_alone_is_not_lost() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    alice.set(&room, "m.room.join_rules", "", json!({ "join_rule": "knock" })).await;
    let start = bob.sync("").await;
    bob.post(&format!("knock/{room}"), json!({})).await;
    let sync = bob.sync_since(&start).await;
    let events = sync["rooms"]["knock"][&room]["knock_state"]["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["content"]["membership"] == "knock"));
}

#[tokio::test]
async fn a_departure_is_shown_to_its_end_and_not_beyond() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    bob.join(&room).await;
    let start = bob.sync("").await;
    alice.say(&room, "last words").await;
    alice.kick(&room, &bob).await;
    alice.say(&room, "without bob").await;
    let sync = bob.sync_since(&start).await;
    let left = &sync["rooms"]["leave"][&room];
    assert_eq!(sync["rooms"]["join"], Value::Null);
    assert_eq!(bodies(&left["timeline"]["events"]), ["last words"]);
    let kick = left["timeline"]["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&kick["content"]["membership"], &kick["content"]["reason"]), (&json!("leave"), &json!("enough")));
    alice.say(&room, "still without bob").await;
    assert_eq!(bob.sync_since(&sync).await["rooms"], Value::Null);
    assert_eq!(bob.sync("").await["rooms"], Value::Null);
    let with_left = bob.sync_with(None, json!({ "room": { "include_leave": true } })).await;
    assert_eq!(bodies(&with_left["rooms"]["leave"][&room]["timeline"]["events"]), ["last words"]);

    // Bob comes back: what he saw is not shown again, what he missed is there for him.
    bob.join(&room).await;
    let back = bob.sync_since(&sync).await;
    assert_eq!(bodies(&timeline(&back, &room)["events"]), ["without bob", "still without bob"]);
    assert!(keys(state(&back, &room)).contains(&("m.room.create".into(), String::new())));

    bob.leave(&room).await;
    let gone = bob.sync_since(&back).await;
    assert_eq!(ids(&gone["rooms"]["leave"][&room]["timeline"]["events"]).len(), 1);
    bob.post(&format!("rooms/{room}/forget"), json!({})).await;
    let forgotten = bob.sync_with(None, json!({ "room": { "include_leave": true } })).await;
    assert_eq!(forgotten["rooms"], Value::Null);
    assert_eq!(bob.sync_since(&back).await["rooms"], Value::Null);
}

#[tokio::test]
async fn an_invite_that_ends_is_a_departure() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    alice.say(&room, "secret").await;
    alice.invite(&room, &bob).await;
    let start = bob.sync("").await;
    alice.kick(&room, &bob).await;
    let left = &bob.sync_since(&start).await["rooms"]["leave"][&room];
    let events = left["timeline"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["state_key"], &events[0]["content"]["membership"]), (&json!(bob.id()), &json!("leave")));
    assert_eq!(left["state"], Value::Null);
}

#[tokio::test]
async fn filters_choose_rooms_and_are_kept_under_a_number() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let (room, other) = (alice.create("shared").await, alice.create("shared").await);
    let rooms = |sync: &Value| sync["rooms"]["join"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(rooms(&alice.sync_with(None, json!({ "room": { "rooms": [room] } })).await), [room.as_str()]);
    assert_eq!(rooms(&alice.sync_with(None, json!({ "room": { "not_rooms": [room] } })).await), [other.as_str()]);
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let uploaded = alice.post(&format!("user/{}/filter", alice.id()), filter).await;
    let sync = alice.sync(&format!("filter={}", uploaded["filter_id"].as_str().unwrap())).await;
    assert_eq!(ids(&timeline(&sync, &room)["events"]).len(), 1);
    alice.get("sync?filter=99").await.is_error(400, "M_INVALID_PARAM");
    alice.get("sync?filter=%7Bbroken").await.is_error(400, "M_INVALID_PARAM");
    alice.get("sync?since=yesterday").await.is_error(400, "M_INVALID_PARAM");
    phone.call(Method::GET, "/_matrix/client/v3/sync", None, None).await.is_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn lazy_loading_brings_the_speakers() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let room = alice.create("shared").await;
    let mut others = Vec::new();
    for name in ["bob", "carol", "dora"] {
        let other = Client::new(&phone, name).await;
        other.join(&room).await;
        others.push(other);
    }
    let unnamed = alice.sync_with(None, json!({ "room": { "state": { "lazy_load_members": true } } })).await;
    let shown = |sync: &Value| keys(state(sync, &room)).into_iter().filter(|key| key.0 == "m.room.member").count();
    // The timeline shows the four joins itself, as of when they came.
    assert_eq!(
        (shown(&unnamed), unnamed["rooms"]["join"][&room]["summary"]["m.heroes"].as_array().unwrap().len()),
        (0, 3)
    );
    let short = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 0 } } });
    assert_eq!(shown(&alice.sync_with(None, short).await), 4, "the reader and the heroes");
    alice.set(&room, "m.room.name", "", json!({ "name": "hearth" })).await;
    others[0].say(&room, "from bob").await;
    let members = |sync: &Value| -> Vec<String> {
        keys(state(sync, &room)).into_iter().filter(|key| key.0 == "m.room.member").map(|key| key.1).collect()
    };
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let first = alice.sync_with(None, filter.clone()).await;
    let mut expected = vec![alice.id().to_owned(), others[0].id().to_owned()];
    expected.sort();
    assert_eq!(members(&first), expected);
    others[1].say(&room, "from carol").await;
    let second = alice.sync_with(Some(&first), filter.clone()).await;
    assert_eq!(members(&second), [others[1].id()]);
    // A change of membership that the timeline does not hold is told all the same.
    others[2].leave(&room).await;
    others[1].say(&room, "again").await;
    let third = alice.sync_with(Some(&second), filter).await;
    let mut expected = vec![others[1].id().to_owned(), others[2].id().to_owned()];
    expected.sort();
    assert_eq!(members(&third), expected);
    assert_eq!(third["rooms"]["join"][&room]["summary"]["m.joined_member_count"], 3);
    assert_eq!(members(&alice.sync_with(None, json!({ "room": { "timeline": { "limit": 1 } } })).await).len(), 4);
}

#[tokio::test]
async fn only_the_sending_device_sees_its_transaction() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let login = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" }, "password": password_of("alice"),
    });
    let login = alice.post("login", login).await;
    let mut second = Client { phone: &phone, who: alice.who.clone() };
    second.who.token = login["access_token"].as_str().unwrap().to_owned();
    let room = alice.create("shared").await;
    alice.say_as(&room, "hello", "echo").await;
    let unsigned =
        |sync: Value| timeline(&sync, &room)["events"].as_array().unwrap().last().unwrap()["unsigned"].clone();
    assert_eq!(unsigned(alice.sync("").await)["transaction_id"], "echo");
    assert_eq!(unsigned(second.sync("").await)["transaction_id"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_sync_wakes_for_its_own_rooms_and_gives_up_in_time() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let (room, other) = (alice.create("shared").await, alice.create("shared").await);
    bob.join(&room).await;
    let start = bob.sync("").await;
    let since = start["next_batch"].as_str().unwrap();
    let wait = format!("since={since}&timeout=30000");

    let began = Instant::now();
    let (sync, ()) = tokio::join!(bob.sync(&wait), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        alice.say(&other, "not for bob").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        alice.say(&room, "for bob").await;
    });
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(bodies(&timeline(&sync, &room)["events"]), ["for bob"]);

    let began = Instant::now();
    let since = sync["next_batch"].as_str().unwrap();
    let sync = bob.sync(&format!("since={since}&timeout=30000")).await;
    assert_eq!((began.elapsed().as_secs(), &sync["rooms"]), (30, &Value::Null));
    // No client makes a sync wait for ever.
    let began = Instant::now();
    let sync = bob.sync(&format!("since={since}&timeout=999999999")).await;
    assert_eq!(began.elapsed(), crate::types::limits::SYNC_WAIT_MAX);
    assert_eq!(sync["next_batch"], since);
    // What is new already, and a first sync, do not wait.
    alice.say(&room, "at once").await;
    let began = Instant::now();
    bob.sync(&format!("since={since}&timeout=30000")).await;
    bob.sync("timeout=30000").await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_token_from_beyond_the_log_means_its_end() {
    let phone = Phone::new(1);
    let alice = Client::new(&phone, "alice").await;
    let room = alice.create("shared").await;
    let lost = alice.sync("since=s999999999").await;
    assert_eq!(lost["rooms"], Value::Null);
    alice.say(&room, "after the loss").await;
    assert_eq!(bodies(&timeline(&alice.sync_since(&lost).await, &room)["events"]), ["after the loss"]);
}

#[tokio::test]
async fn a_client_that_was_away_for_long_is_asked_for_room_by_room() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    bob.join(&room).await;
    let start = bob.sync("").await;
    alice.say(&room, "early").await;
    // More rows than a sync reads to find its rooms.
    let row = LogRow { kind: LogKind::Profile, room: 0, user: 0, esn: 0 };
    let write = phone.home.store.write(move |tx| (0..3_000).try_for_each(|_| tx.log(&row).map(drop)));
    write.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    alice.say(&room, "late").await;
    let sync = bob.sync_since(&start).await;
    assert_eq!(bodies(&timeline(&sync, &room)["events"]), ["early", "late"]);
}

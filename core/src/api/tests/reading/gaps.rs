//! Timelines with holes: a room joined through another server, and one that was out of reach for a while.
//!
//! There is no network here: what servers would send one another is handed over by hand.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, events::TimelineEventType};
use serde_json::{Value, json};

use super::{Client, bodies, ids};
use crate::{
    api::testing::Phone,
    event::{Pdu, verify},
    rooms::{self, Applied, ApplyError, ImportedRoom, Incoming, NewEvent, Past, Room, timeline},
    store::Stored,
    types::SyncToken,
};

fn member(room: &str, sender: &Client<'_>, target: &Client<'_>, membership: &str) -> NewEvent {
    NewEvent {
        room: RoomId::parse(room).unwrap(),
        sender: sender.who.user.clone(),
        kind: TimelineEventType::RoomMember,
        state_key: Some(target.id().to_owned()),
        content: serde_json::from_value(json!({ "membership": membership })).unwrap(),
        redacts: None,
        txn: None,
        timestamp: None,
    }
}

pub(super) async fn invite_remote(phone: &Phone, alice: &Client<'_>, bob: &Client<'_>, room: &str) {
    rooms::send(&phone.home, member(room, alice, bob, "invite")).await.unwrap();
}

fn room_of(phone: &Phone, room: &str) -> Room {
    let view = phone.home.store.snapshot().unwrap();
    Room::find(&view, &RoomId::parse(room).unwrap()).unwrap().unwrap()
}

fn pdu(phone: &Phone, id: &str) -> Pdu {
    let view = phone.home.store.snapshot().unwrap();
    Stored::by_id(&view, &EventId::parse(id).unwrap()).unwrap().unwrap().pdu
}

/// The state at the end of a room, and its auth chain.
fn state_of(phone: &Phone, room: &str) -> (Vec<Pdu>, Vec<Pdu>) {
    let view = phone.home.store.snapshot().unwrap();
    let room = room_of(phone, room);
    let state = room.record.current().all(&view, room.key).unwrap().into_values();
    let state: Vec<Pdu> = state.map(|esn| Stored::must(&view, esn).unwrap().pdu).collect();
    let mut chain: BTreeMap<OwnedEventId, Pdu> = BTreeMap::new();
    let mut open: Vec<OwnedEventId> = state.iter().flat_map(|pdu| pdu.auth_events.clone()).collect();
    while let Some(id) = open.pop() {
        let event = pdu(phone, id.as_str());
        let parents = event.auth_events.clone();
        if chain.insert(id, event).is_none() {
            open.extend(parents);
        }
    }
    (state, chain.into_values().collect())
}

async fn receive(phone: &Phone, pdu: &Pdu, past: Past) -> Result<Applied, ApplyError> {
    let version = room_of(phone, pdu.room_id.as_str()).version;
    let local = phone.home.local.clone();
    let pdu = verify(&local, pdu.json(), &pdu.room_id, &version).unwrap();
    let incoming = Incoming { pdu, past, relay: false };
    phone.home.store.write(move |tx| rooms::apply(tx, &local, &incoming)).await
}

/// Bob joins a room of `host` from `guest`, as `make_join` and `send_join` do.
pub(super) async fn join_remote(host: &Phone, guest: &Phone, bob: &Client<'_>, room: &str) {
    let (state, auth_chain) = state_of(host, room);
    let there = room_of(host, room);
    let event = {
        let view = host.home.store.snapshot().unwrap();
        let draft = rooms::draft(&view, &there, host.home.now(), &member(room, bob, bob, "join")).unwrap();
        draft.sign(&guest.home.local, &there.rules).unwrap()
    };
    let applied = receive(host, &event, Past::Prevs).await.unwrap();
    assert!(matches!(applied, Applied::Accepted { .. }), "{applied:?}");
    let room: OwnedRoomId = there.id.clone();
    let imported = ImportedRoom { version: there.version, room, state, auth_chain, event };
    let local = guest.home.local.clone();
    let applied = guest.home.store.write(move |tx| rooms::import(tx, &local, &imported)).await.unwrap();
    assert!(matches!(applied, Applied::Accepted { .. }), "{applied:?}");
}

async fn fill(guest: &Phone, room: &str, gap: u64, pdus: Vec<Pdu>) -> usize {
    let room = RoomId::parse(room).unwrap();
    guest.home.store.write(move |tx| rooms::apply_backfill(tx, &room, gap, &pdus)).await.unwrap()
}

#[tokio::test]
async fn a_room_joined_elsewhere_begins_with_a_gap_that_history_fills() {
    let (host, guest) = (Phone::new(1), Phone::new(2));
    let (alice, bob) = (Client::new(&host, "alice").await, Client::new(&guest, "bob").await);
    let room = alice.create("shared").await;
    let start = bob.sync("").await;
    for number in 0..6 {
        alice.say(&room, &number.to_string()).await;
    }
    join_remote(&host, &guest, &bob, &room).await;
    let first = bob.sync_since(&start).await;
    let shown = &first["rooms"]["join"][&room];
    assert_eq!(shown["timeline"]["limited"], true);
    assert_eq!(ids(&shown["timeline"]["events"]).len(), 1);
    assert_eq!(shown["summary"]["m.joined_member_count"], 2);
    let known = super::keys(&shown["state"]["events"]);
    assert!(known.contains(&("m.room.member".into(), alice.id().into())), "{known:?}");

    // Nobody is near: what is here is served, and the token leads to another try.
    let prev = shown["timeline"]["prev_batch"].as_str().unwrap();
    let page = bob.messages(&room, &format!("dir=b&limit=50&from={prev}")).await;
    assert_eq!(page["chunk"], json!([]));
    assert_eq!(page["end"].as_str(), Some(prev));

    // Half of the history comes, then the rest.
    let view = host.home.store.snapshot().unwrap();
    let there = room_of(&host, &room);
    let span = timeline::Span { from: timeline::Point::END, to: timeline::Point(0), limit: 100 };
    let all = timeline::page(&view, there.key, ruma::api::Direction::Backward, span, &mut |_| Ok(true)).unwrap();
    let history: Vec<Pdu> = all.events.into_iter().skip(1).map(|stored| stored.pdu).collect();
    drop(view);
    let gap_of = |phone: &Phone| {
        let view = phone.home.store.snapshot().unwrap();
        rooms::gaps(&view, room_of(phone, &room).key).unwrap().first().map(|gap| gap.pos)
    };
    assert_eq!(fill(&guest, &room, gap_of(&guest).unwrap(), history[..3].to_vec()).await, 3);
    let page = bob.messages(&room, &format!("dir=b&limit=50&from={prev}")).await;
    assert_eq!(bodies(&page["chunk"]), ["5", "4", "3"]);
    let end = page["end"].as_str().unwrap().to_owned();
    assert_eq!(fill(&guest, &room, gap_of(&guest).unwrap(), history[3..].to_vec()).await, history.len() - 3);
    let page = bob.messages(&room, &format!("dir=b&limit=50&from={end}")).await;
    assert_eq!(bodies(&page["chunk"]), ["2", "1", "0"]);
    assert_eq!(page["chunk"].as_array().unwrap().last().unwrap()["type"], "m.room.create");
    assert_eq!(page["end"], Value::Null);
    assert_eq!(gap_of(&guest), None);
    // History is not news.
    assert_eq!(bob.sync_since(&first).await["rooms"], Value::Null);
}

#[tokio::test]
async fn a_hole_since_the_last_sync_limits_the_timeline_and_brings_the_state() {
    let (host, guest) = (Phone::new(1), Phone::new(2));
    let (alice, bob) = (Client::new(&host, "alice").await, Client::new(&guest, "bob").await);
    let room = alice.create("shared").await;
    join_remote(&host, &guest, &bob, &room).await;
    let first = bob.sync("").await;
    let early = alice.say(&room, "early").await;
    receive(&guest, &pdu(&host, &early), Past::Prevs).await.unwrap();
    // Then bob is out of reach for a while.
    let lost = alice.say(&room, "lost").await;
    let topic = alice.topic(&room, "changed meanwhile").await;
    let (state, chain) = state_of(&host, &room);
    let late = alice.say(&room, "late").await;
    receive(&guest, &pdu(&host, &late), Past::State(state, chain)).await.unwrap();

    let sync = bob.sync_since(&first).await;
    let shown = &sync["rooms"]["join"][&room];
    assert_eq!(bodies(&shown["timeline"]["events"]), ["late"]);
    assert_eq!(shown["timeline"]["limited"], true);
    assert_eq!(ids(&shown["state"]["events"]), std::slice::from_ref(&topic));
    let prev = shown["timeline"]["prev_batch"].as_str().unwrap();
    let page = bob.messages(&room, &format!("dir=f&limit=50&from={}", first["next_batch"].as_str().unwrap())).await;
    assert_eq!(bodies(&page["chunk"]), ["early"], "a page does not leap over a gap");
    let beyond = bob.messages(&room, &format!("dir=f&limit=50&from={}", page["end"].as_str().unwrap())).await;
    assert_eq!(bodies(&beyond["chunk"]), ["late"]);

    let gap = {
        let view = guest.home.store.snapshot().unwrap();
        rooms::gaps(&view, room_of(&guest, &room).key).unwrap()[0].pos
    };
    assert_eq!(fill(&guest, &room, gap, vec![pdu(&host, &lost), pdu(&host, &topic)]).await, 2);
    // The same sync now still stops where the hole was: what is below came without the client's knowing.
    let again = bob.sync_since(&first).await;
    assert_eq!(bodies(&again["rooms"]["join"][&room]["timeline"]["events"]), ["late"]);
    assert_eq!(again["rooms"]["join"][&room]["timeline"]["limited"], true);
    let to = first["next_batch"].as_str().unwrap();
    let page = bob.messages(&room, &format!("dir=b&limit=50&from={prev}&to={to}")).await;
    assert_eq!(bodies(&page["chunk"]), ["lost", "early"]);
}

/// What a client believes that trusts `state_after` alone.
fn believe(known: &mut BTreeMap<(String, String), String>, sync: &Value, room: &str) {
    let events = sync["rooms"]["join"][room]["state_after"]["events"].as_array().cloned().unwrap_or_default();
    for event in events {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        known.insert((text("type"), text("state_key")), text("event_id"));
    }
}

#[tokio::test]
async fn what_a_resolution_changes_reaches_the_client() {
    let (host, guest) = (Phone::new(1), Phone::new(2));
    let (alice, bob) = (Client::new(&host, "alice").await, Client::new(&guest, "bob").await);
    let room = alice.create("shared").await;
    join_remote(&host, &guest, &bob, &room).await;
    let levels = json!({ "users": { bob.id(): 100 } });
    let levels = alice.set(&room, "m.room.power_levels", "", levels).await;
    receive(&guest, &pdu(&host, &levels), Past::Prevs).await.unwrap();
    let filter = super::encoded(&json!({ "room": { "timeline": { "limit": 2 } } }).to_string());
    let mut known = BTreeMap::new();
    let mut sync = alice.sync(&format!("filter={filter}&use_state_after=true")).await;
    believe(&mut known, &sync, &room);
    for round in 0..6 {
        let mut theirs = Vec::new();
        for number in 0..=round % 3 {
            alice.topic(&room, &format!("alice {round}.{number}")).await;
            theirs.push(bob.topic(&room, &format!("bob {round}.{number}")).await);
            theirs.push(bob.set(&room, "org.example.lamp", &number.to_string(), json!({ "round": round })).await);
        }
        for id in theirs {
            receive(&host, &pdu(&guest, &id), Past::Prevs).await.unwrap();
            if round % 2 == 0 {
                sync = alice
                    .sync(&format!(
                        "filter={filter}&use_state_after=true&since={}",
                        sync["next_batch"].as_str().unwrap()
                    ))
                    .await;
                believe(&mut known, &sync, &room);
            }
        }
        let since = sync["next_batch"].as_str().unwrap();
        sync = alice.sync(&format!("filter={filter}&use_state_after=true&since={since}")).await;
        believe(&mut known, &sync, &room);
        let mut actual = BTreeMap::new();
        for event in alice.get(&format!("rooms/{room}/state")).await.ok().as_array().unwrap() {
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            actual.insert((text("type"), text("state_key")), text("event_id"));
        }
        assert_eq!(known, actual, "round {round}");
    }
}

#[tokio::test]
async fn a_place_in_the_log_is_found_on_timelines_with_history() {
    let (host, guest) = (Phone::new(1), Phone::new(2));
    let (alice, bob) = (Client::new(&host, "alice").await, Client::new(&guest, "bob").await);
    let room = alice.create("shared").await;
    join_remote(&host, &guest, &bob, &room).await;
    for round in 0..4 {
        for number in 0..5 {
            let id = alice.say(&room, &format!("{round}.{number}")).await;
            receive(&guest, &pdu(&host, &id), Past::Prevs).await.unwrap();
        }
        let lost: Vec<_> = [alice.say(&room, "lost").await, alice.say(&room, "lost too").await].into();
        let (state, chain) = state_of(&host, &room);
        let late = alice.say(&room, "late").await;
        receive(&guest, &pdu(&host, &late), Past::State(state, chain)).await.unwrap();
        let gap = {
            let view = guest.home.store.snapshot().unwrap();
            rooms::gaps(&view, room_of(&guest, &room).key).unwrap()[0].pos
        };
        assert_eq!(fill(&guest, &room, gap, lost.iter().map(|id| pdu(&host, id)).collect()).await, 2);
    }
    let view = guest.home.store.snapshot().unwrap();
    let there = room_of(&guest, &room);
    let mut live = Vec::new();
    let span = timeline::Span { from: timeline::Point(0), to: timeline::Point::END, limit: 100 };
    let mut from = span.from;
    loop {
        let page = timeline::page(
            &view,
            there.key,
            ruma::api::Direction::Forward,
            timeline::Span { from, ..span },
            &mut |_| Ok(true),
        );
        let page = page.unwrap();
        live.extend(
            page.events.iter().filter(|stored| stored.header.n != 0).map(|stored| (stored.header.n, stored.header.pos)),
        );
        from = page.end;
        if !page.more {
            break;
        }
    }
    assert!(live.len() > 20);
    for token in 0..there.record.last_n + 3 {
        let reached = timeline::Reached::at(&view, &there, SyncToken(token)).unwrap();
        let last = live.iter().filter(|(n, _)| *n <= token).max();
        let next = live.iter().filter(|(n, _)| *n > token).min();
        assert_eq!(reached.last.map(|header| (header.n, header.pos)).as_ref(), last, "{token}");
        let expected = next.map_or(there.record.last_pos + 1, |(_, pos)| *pos);
        assert_eq!(reached.point.0, expected, "{token}");
    }
}

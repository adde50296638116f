//! Who sees what: the visibility settings against the reader's memberships, for users and for servers.

use ruma::{EventId, RoomId, ServerName};

use super::{Client, ids};
use crate::{
    api::testing::Phone,
    rooms::{Room, visibility::visible_to_server},
    store::Stored,
};

/// Which of these events a reader gets.
async fn seen(reader: &Client<'_>, room: &str, events: &[String]) -> String {
    let mut seen = String::new();
    for event in events {
        let answer = reader.get(&format!("rooms/{room}/event/{event}")).await;
        seen.push(match answer.status.as_u16() {
            200 => 'y',
            404 => 'n',
            _ => panic!("{answer:?}"),
        });
    }
    // The page must say the same; who may see nothing at all is refused it.
    let page = reader.get(&format!("rooms/{room}/messages?dir=b&limit=100")).await;
    if page.status.as_u16() == 403 {
        assert!(!seen.contains('y'), "{seen}");
    } else {
        let page = ids(&page.body["chunk"]);
        let paged: String = events.iter().map(|event| if page.contains(event) { 'y' } else { 'n' }).collect();
        assert_eq!(paged, seen);
    }
    seen
}

#[tokio::test]
async fn history_visibility_against_memberships() {
    // What bob sees of: an event before his invite, one after it, one while he is in, one after he left.
    for (visibility, invited, joined, left, stranger) in [
        ("world_readable", "yy", "yyy", "yyyy", "yyyy"),
        ("shared", "nn", "yyy", "yyyn", "nnnn"),
        ("invited", "nn", "nyy", "nyyn", "nnnn"),
        ("joined", "nn", "nny", "nnyn", "nnnn"),
    ] {
        let phone = Phone::new(1);
        let (alice, bob, carol) =
            (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await, Client::new(&phone, "carol").await);
        let room = alice.create(visibility).await;
        let mut events = vec![alice.say(&room, "before").await];
        alice.invite(&room, &bob).await;
        events.push(alice.say(&room, "invited").await);
        assert_eq!(seen(&bob, &room, &events).await, invited, "{visibility}, invited");
        bob.join(&room).await;
        events.push(alice.say(&room, "joined").await);
        assert_eq!(seen(&bob, &room, &events).await, joined, "{visibility}, joined");
        bob.leave(&room).await;
        events.push(alice.say(&room, "left").await);
        assert_eq!(seen(&bob, &room, &events).await, left, "{visibility}, left");
        assert_eq!(seen(&carol, &room, &events).await, stranger, "{visibility}, carol");
        assert_eq!(seen(&alice, &room, &events).await, "yyyy", "{visibility}, alice");
    }
}

#[tokio::test]
async fn a_change_of_visibility_counts_from_there_on() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("joined").await;
    let mut events = vec![alice.say(&room, "hidden").await];
    let to = |visibility: &str| serde_json::json!({ "history_visibility": visibility });
    events.push(alice.set(&room, "m.room.history_visibility", "", to("shared")).await);
    events.push(alice.say(&room, "shared").await);
    events.push(alice.set(&room, "m.room.history_visibility", "", to("joined")).await);
    events.push(alice.say(&room, "hidden again").await);
    bob.join(&room).await;
    // Either side of a change is enough for the change itself.
    assert_eq!(seen(&bob, &room, &events).await, "nyyyn");
}

#[tokio::test]
async fn a_ban_after_a_departure_shows_nothing_of_the_time_between() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    bob.join(&room).await;
    let there = alice.say(&room, "bob is there").await;
    bob.leave(&room).await;
    let after = alice.say(&room, "bob is gone").await;
    alice.topic(&room, "after bob").await;
    alice.post(&format!("rooms/{room}/ban"), serde_json::json!({ "user_id": bob.id() })).await;
    assert_eq!(seen(&bob, &room, &[there, after]).await, "yn");
    bob.get(&format!("rooms/{room}/state/m.room.topic")).await.is_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_invite_that_was_turned_down_opens_nothing() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    let event = alice.say(&room, "secret").await;
    alice.invite(&room, &bob).await;
    bob.leave(&room).await;
    assert_eq!(seen(&bob, &room, &[event]).await, "n");
    bob.get(&format!("rooms/{room}/state")).await.is_error(403, "M_FORBIDDEN");
}

fn server_sees(phone: &Phone, room: &str, server: &ServerName, events: &[String]) -> String {
    let view = phone.home.store.snapshot().unwrap();
    let room = Room::find(&view, &RoomId::parse(room).unwrap()).unwrap().unwrap();
    let sees = |event: &String| {
        let stored = Stored::by_id(&view, &EventId::parse(event).unwrap()).unwrap().unwrap();
        visible_to_server(&view, &room, &stored, server).unwrap()
    };
    events.iter().map(|event| if sees(event) { 'y' } else { 'n' }).collect()
}

#[tokio::test]
async fn another_server_gets_what_its_users_may_see() {
    for (visibility, joined, left) in [
        ("world_readable", "yyy", "yyyy"),
        ("shared", "yyy", "nnyn"),
        ("invited", "nyy", "nyyn"),
        ("joined", "nny", "nnyn"),
    ] {
        let (phone, other) = (Phone::new(1), Phone::new(2));
        let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&other, "bob").await);
        let room = alice.create(visibility).await;
        let mut events = vec![alice.say(&room, "before").await];
        super::gaps::invite_remote(&phone, &alice, &bob, &room).await;
        events.push(alice.say(&room, "invited").await);
        super::gaps::join_remote(&phone, &other, &bob, &room).await;
        events.push(alice.say(&room, "joined").await);
        let server = other.home.server_name();
        assert_eq!(server_sees(&phone, &room, server, &events), joined, "{visibility}, joined");
        alice.kick(&room, &bob).await;
        events.push(alice.say(&room, "left").await);
        assert_eq!(server_sees(&phone, &room, server, &events), left, "{visibility}, left");
        let stranger = ServerName::parse("stranger.example").unwrap();
        let nothing = if visibility == "world_readable" { "yyyy" } else { "nnnn" };
        assert_eq!(server_sees(&phone, &room, &stranger, &events), nothing, "{visibility}, stranger");
    }
}

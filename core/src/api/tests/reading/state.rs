//! `/state`, `/members`, `/joined_members`, `/joined_rooms`.

use serde_json::{Value, json};

use super::{Client, keys};
use crate::api::testing::Phone;

#[tokio::test]
async fn state_is_read_whole_and_by_key() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    alice.topic(&room, "hearths").await;
    alice.set(&room, "org.example.lamp", "kitchen", json!({ "on": true })).await;
    let all = alice.get(&format!("rooms/{room}/state")).await.ok();
    let keys = keys(&all);
    for (kind, key) in
        [("m.room.create", ""), ("m.room.member", alice.id()), ("m.room.topic", ""), ("org.example.lamp", "kitchen")]
    {
        assert_eq!(keys.iter().filter(|entry| **entry == (kind.into(), key.into())).count(), 1, "{kind} {key}");
    }
    for path in ["state/m.room.topic", "state/m.room.topic/"] {
        let topic = alice.get(&format!("rooms/{room}/{path}")).await.ok();
        assert_eq!(topic["topic"], "hearths", "{path}");
    }
    let lamp = alice.get(&format!("rooms/{room}/state/org.example.lamp/kitchen")).await.ok();
    assert_eq!(lamp, json!({ "on": true }));
    let event = alice.get(&format!("rooms/{room}/state/org.example.lamp/kitchen?format=event")).await.ok();
    assert_eq!((event["type"].as_str(), event["sender"].as_str()), (Some("org.example.lamp"), Some(alice.id())));
    assert_eq!(event["content"], json!({ "on": true }));
    alice.get(&format!("rooms/{room}/state/org.example.lamp/cellar")).await.is_error(404, "M_NOT_FOUND");
    alice.get(&format!("rooms/{room}/state/m.room.topic?format=poem")).await.is_error(400, "M_INVALID_PARAM");
    bob.get(&format!("rooms/{room}/state")).await.is_error(403, "M_FORBIDDEN");
    bob.get(&format!("rooms/{room}/state/m.room.topic")).await.is_error(403, "M_FORBIDDEN");
    bob.get("rooms/!nowhere:example.org/state").await.is_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn who_left_reads_the_room_as_it_was() {
    let phone = Phone::new(1);
    let (alice, bob) = (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await);
    let room = alice.create("shared").await;
    bob.join(&room).await;
    alice.topic(&room, "while bob was there").await;
    bob.leave(&room).await;
    alice.topic(&room, "without bob").await;
    let topic =
        async |who: &Client<'_>| who.get(&format!("rooms/{room}/state/m.room.topic")).await.ok()["topic"].clone();
    assert_eq!(topic(&bob).await, "while bob was there");
    assert_eq!(topic(&alice).await, "without bob");
    let own = |all: &Value| {
        let events = all.as_array().unwrap().iter();
        events
            .filter(|event| event["state_key"] == bob.id())
            .map(|event| event["content"]["membership"].clone())
            .next_back()
    };
    assert_eq!(own(&bob.get(&format!("rooms/{room}/state")).await.ok()), Some(json!("leave")));
    let page = bob.messages(&room, "dir=b&limit=1").await;
    assert_eq!(page["chunk"][0]["content"]["membership"], "leave");
    bob.get(&format!("rooms/{room}/joined_members")).await.is_error(403, "M_FORBIDDEN");
    assert_eq!(bob.get(&format!("rooms/{room}/members")).await.status.as_u16(), 200);
}

#[tokio::test]
async fn members_by_membership_and_by_time() {
    let phone = Phone::new(1);
    let (alice, bob, carol) =
        (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await, Client::new(&phone, "carol").await);
    let room = alice.create("shared").await;
    let early = alice.sync("").await;
    bob.join(&room).await;
    alice.invite(&room, &carol).await;
    bob.leave(&room).await;
    let names = async |query: &str| {
        let members = alice.get(&format!("rooms/{room}/members{query}")).await.ok();
        keys(&members["chunk"]).into_iter().map(|(_, user)| user).collect::<Vec<_>>()
    };
    let sorted = |mut users: Vec<&str>| {
        users.sort_unstable();
        users.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, sorted(vec![alice.id(), bob.id(), carol.id()]));
    assert_eq!(names("?membership=join").await, [alice.id()]);
    assert_eq!(names("?membership=leave").await, [bob.id()]);
    assert_eq!(names("?not_membership=leave").await, sorted(vec![alice.id(), carol.id()]));
    let at = early["next_batch"].as_str().unwrap();
    assert_eq!(names(&format!("?at={at}")).await, [alice.id()]);
    alice.get(&format!("rooms/{room}/members?at=nonsense")).await.is_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn joined_members_and_rooms() {
    let phone = Phone::new(1);
    let (alice, bob, carol) =
        (Client::new(&phone, "alice").await, Client::new(&phone, "bob").await, Client::new(&phone, "carol").await);
    let (room, other) = (alice.create("shared").await, alice.create("shared").await);
    bob.join(&room).await;
    let content = json!({ "membership": "join", "displayname": "Bob", "avatar_url": 7 });
    bob.set(&room, "m.room.member", bob.id(), content).await;
    alice.invite(&room, &carol).await;
    let joined = alice.get(&format!("rooms/{room}/joined_members")).await.ok();
    let joined = joined["joined"].as_object().unwrap();
    assert_eq!(joined.len(), 2);
    assert_eq!(joined[bob.id()], json!({ "display_name": "Bob" }));
    carol.get(&format!("rooms/{room}/joined_members")).await.is_error(403, "M_FORBIDDEN");
    let rooms = async |who: &Client<'_>| {
        let rooms = who.get("joined_rooms").await.ok();
        let mut rooms: Vec<_> =
            rooms["joined_rooms"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        rooms.sort();
        rooms
    };
    let mut both = vec![room.clone(), other];
    both.sort();
    assert_eq!(rooms(&alice).await, both);
    assert_eq!(rooms(&bob).await, [room.as_str()]);
    bob.leave(&room).await;
    assert_eq!(rooms(&bob).await, [""; 0]);
    assert_eq!(rooms(&carol).await, [""; 0]);
}

//! Events that do not hold, and answers that lead nowhere.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hearth_tests::sim::{self, history};
use http::Method;
use serde_json::{Value, json};

use super::{Scene, peer::wire};

#[test]
fn forged_events_are_not_kept() {
    for version in ["6", "10", "11", "12"] {
        sim::run(async {
            let scene = Scene::new(version).await;
            let (mallory, alice) = (&scene.mallory, &*scene.alice.phone);
            let mut as_alice = mallory.message("I am alice");
            as_alice.sender = scene.alice.user.clone();
            let mut elsewhere = mallory.message("elsewhere");
            elsewhere.room_id = Some("!elsewhere:example.org".try_into().unwrap());
            let good = mallory.sign(&mallory.message("hello"));
            let mut changed = wire(&good);
            changed["depth"] = json!(7);
            let mut bare = wire(&good);
            bare["signatures"] = json!({});
            let mut fat = wire(&good);
            fat["content"]["body"] = json!("x".repeat(70_000));
            let pdus = vec![
                wire(&mallory.sign(&as_alice)),
                wire(&mallory.sign(&elsewhere)),
                changed,
                bare,
                fat,
                json!({}),
                json!("an event"),
                json!({ "room_id": scene.room }),
            ];
            for (number, pdu) in pdus.into_iter().enumerate() {
                let reply = mallory.transaction(alice, &format!("f{number}"), vec![pdu], vec![]).await;
                assert!(matches!(reply.status, 200 | 400), "{version}, {number}: {} {}", reply.status, reply.body);
            }
            scene.is_unharmed().await;
            // The one that is in order is taken, so the others were refused for what they are.
            assert_eq!(mallory.transaction(alice, "good", vec![wire(&good)], vec![]).await.status, 200);
            let copy = history::copy(&alice.server().unwrap(), &scene.room).unwrap();
            assert!(copy.events[&good.event_id].accepted);
        });
    }
}

#[test]
fn what_the_rules_forbid_changes_no_state() {
    sim::run(async {
        let scene = Scene::new("11").await;
        let (mallory, alice) = (&scene.mallory, &*scene.alice.phone);
        let before = history::copy(&alice.server().unwrap(), &scene.room).unwrap();
        let levels = json!({ "users": { mallory.user.as_str(): 100 } });
        let ban = json!({ "membership": "ban" });
        let alice_id = scene.alice.user.as_str();
        let drafts = [
            mallory.draft("m.room.power_levels", Some(""), levels),
            mallory.draft("m.room.member", Some(alice_id), ban),
            mallory.draft("m.room.member", Some(alice_id), json!({ "membership": "leave" })),
            mallory.draft("m.room.create", Some(""), json!({ "creator": mallory.user })),
            mallory.draft("m.room.topic", Some(""), json!({ "topic": "mine" })),
        ];
        for (number, draft) in drafts.iter().enumerate() {
            let pdu = mallory.sign(draft);
            let reply = mallory.transaction(alice, &format!("r{number}"), vec![wire(&pdu)], vec![]).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            let verdict = &reply.body["pdus"][pdu.event_id.as_str()]["error"];
            assert!(verdict.is_string(), "{number}: {}", reply.body);
        }
        let after = history::copy(&alice.server().unwrap(), &scene.room).unwrap();
        assert_eq!((before.state, before.heads, before.timeline), (after.state, after.heads, after.timeline));
        scene.serves_others().await;
    });
}

#[test]
fn joins_and_invites_are_what_they_say_or_nothing() {
    sim::run(async {
        let scene = Scene::new("11").await;
        let (mallory, alice) = (&scene.mallory, &*scene.alice.phone);
        let event = mallory.sign(&mallory.message("no join"));
        let join =
            mallory.sign(&mallory.draft("m.room.member", Some(mallory.user.as_str()), json!({ "membership": "join" })));
        let leave = mallory.sign(&mallory.draft(
            "m.room.member",
            Some(mallory.user.as_str()),
            json!({ "membership": "leave" }),
        ));
        let mut of_bob = mallory.draft("m.room.member", Some(scene.bob.user.as_str()), json!({ "membership": "join" }));
        of_bob.sender = scene.bob.user.clone();
        let of_bob = mallory.sign(&of_bob);
        let other_id = "$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let other_room = "!elsewhere:example.org";
        let own_room = scene.room.as_str();
        let cases = [
            (own_room, event.event_id.as_str(), wire(&event)),
            (own_room, other_id, wire(&join)),
            (other_room, join.event_id.as_str(), wire(&join)),
            (own_room, leave.event_id.as_str(), wire(&leave)),
            (own_room, of_bob.event_id.as_str(), wire(&of_bob)),
            (own_room, other_id, json!({})),
        ];
        for (number, (room, id, body)) in cases.iter().enumerate() {
            let uri = format!("/_matrix/federation/v2/send_join/{room}/{id}");
            let reply = mallory.ask(alice, Method::PUT, &uri, Some(body)).await;
            assert!(matches!(reply.status, 400 | 403 | 404), "join {number}: {} {}", reply.status, reply.body);
            let body = json!({ "room_version": "11", "event": body, "invite_room_state": [] });
            let uri = format!("/_matrix/federation/v2/invite/{room}/{id}");
            let reply = mallory.ask(alice, Method::PUT, &uri, Some(&body)).await;
            assert!(matches!(reply.status, 400 | 403 | 404), "invite {number}: {} {}", reply.status, reply.body);
        }
        scene.is_unharmed().await;
    });
}

#[test]
fn history_without_an_end_is_given_up() {
    sim::run(async {
        let scene = Scene::new("11").await;
        let (mallory, alice) = (&scene.mallory, &*scene.alice.phone);
        let chain = mallory.chain(2_000);
        let last = chain.last().unwrap().clone();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        mallory.answers(move |path, body| {
            count.fetch_add(1, Ordering::SeqCst);
            if !path.contains("/get_missing_events/") {
                return None;
            }
            // One event before the oldest that was asked about, and so on for ever.
            let latest = body["latest_events"].as_array()?;
            let place = chain.iter().position(|pdu| latest.iter().any(|id| id == pdu.event_id.as_str()))?;
            Some(json!({ "events": [wire(chain.get(place.checked_sub(1)?)?)] }))
        });
        let reply = mallory.transaction(alice, "endless", vec![wire(&last)], vec![]).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(reply.body["pdus"][last.event_id.as_str()]["error"].is_string(), "{}", reply.body);
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked < 1_000, "{asked} requests for one event");
        scene.is_unharmed().await;
    });
}

#[test]
fn a_room_of_lies_is_not_joined() {
    let lies: [fn(&Scene) -> Value; 5] = [
        |_| json!({ "state": [], "auth_chain": [] }),
        |_| json!({ "state": [{}], "auth_chain": [{}] }),
        |scene| {
            let event = wire(&scene.mallory.sign(&scene.mallory.message("no state")));
            json!({ "state": [event], "auth_chain": [event] })
        },
        |scene| {
            let mut create = scene.mallory.draft("m.room.create", Some(""), json!({ "room_version": "11" }));
            // A create event of another's, signed by mallory.
            create.sender = scene.bob.user.clone();
            create.prev_events.clear();
            create.auth_events.clear();
            let create = wire(&scene.mallory.sign(&create));
            json!({ "state": [create], "auth_chain": [create] })
        },
        |_| json!("no object"),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        sim::run(async move {
            let scene = Scene::new("11").await;
            let (mallory, alice) = (&scene.mallory, &scene.alice);
            let room = ruma::RoomId::parse(format!("!lies:{}", mallory.local.name)).unwrap();
            let mut template =
                mallory.draft("m.room.member", Some(alice.user.as_str()), json!({ "membership": "join" }));
            template.room_id = Some(room.clone());
            template.sender = alice.user.clone();
            let template = template.to_object(&hearth_core::event::rules_of(&ruma::RoomVersionId::V11).unwrap());
            let told = lie(&scene);
            mallory.answers(move |path, _| {
                if path.contains("/make_join/") {
                    return Some(json!({ "room_version": "11", "event": template }));
                }
                path.contains("/send_join/").then(|| told.clone())
            });
            let answer = alice.join(&room, std::slice::from_ref(&mallory.local.name)).await;
            assert!(matches!(answer.status, 403 | 404 | 502), "lie {number}: {} {}", answer.status, answer.body);
            assert!(history::copy(&alice.phone.server().unwrap(), &room).is_none(), "lie {number} made a room");
            scene.is_unharmed().await;
        });
    }
}

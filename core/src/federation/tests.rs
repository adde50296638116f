//! Two and three homeservers that federate through memory: alice, bob and carol.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod forged;
mod net;
mod waiting;

use serde_json::json;

use self::net::{Net, Phone, settle};
use crate::store::{Backend, CrashDisk, Standing, StoreConfig, Threading};

const VERSIONS: [&str; 4] = ["6", "10", "11", "12"];

async fn pair() -> (std::sync::Arc<Net>, Phone, Phone) {
    let net = Net::new();
    let (alice, bob) = (Phone::new(&net, 1, "alice").await, Phone::new(&net, 2, "bob").await);
    net.link(&alice, &bob);
    (net, alice, bob)
}

async fn three() -> (std::sync::Arc<Net>, Phone, Phone, Phone) {
    let (net, alice, bob) = pair().await;
    let carol = Phone::new(&net, 3, "carol").await;
    net.link(&alice, &carol);
    net.link(&bob, &carol);
    (net, alice, bob, carol)
}

#[tokio::test(start_paused = true)]
async fn invite_join_chat_kick_and_leave_in_each_version() {
    for version in VERSIONS {
        let (_net, alice, bob) = pair().await;
        let room = alice.create(version, "private_chat").await;
        alice.invite(&room, &bob).await;
        assert_eq!(bob.stands(&room), Some(Standing::Invite), "{version}");
        bob.join(&room, &alice).await;
        alice.say(&room, "one").await;
        settle().await;
        bob.say(&room, "two").await;
        settle().await;
        assert_eq!(bob.sight(&room), alice.sight(&room), "{version}");
        assert_eq!(bob.sight(&room).texts, ["one", "two"], "{version}");

        alice.call("POST", &format!("/rooms/{room}/kick"), json!({ "user_id": bob.user })).await;
        settle().await;
        assert_eq!(bob.stands(&room), Some(Standing::Leave), "{version}");

        alice.invite(&room, &bob).await;
        assert_eq!(bob.stands(&room), Some(Standing::Invite), "{version}: invited again");
        bob.join(&room, &alice).await;
        bob.say(&room, "three").await;
        settle().await;
        assert_eq!(alice.sight(&room).texts, ["one", "two", "three"], "{version}");
        bob.call("POST", &format!("/rooms/{room}/leave"), json!({})).await;
        settle().await;
        assert!(!alice.is_in(&room, &bob), "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_public_room_is_joined_by_its_alias_and_a_private_one_is_not() {
    let (_net, alice, bob) = pair().await;
    let room = alice.create("12", "public_chat").await;
    let alias = format!("%23den:{}", alice.name());
    alice.call("PUT", &format!("/directory/room/{alias}"), json!({ "room_id": room })).await;
    bob.call("POST", &format!("/join/{alias}"), json!({})).await;
    settle().await;
    assert!(alice.is_in(&room, &bob));
    let private = alice.create("12", "private_chat").await;
    let (status, answer) = bob.ask("POST", &format!("/join/{private}?via={}", alice.name()), json!({})).await;
    assert_eq!((status, answer["errcode"].as_str()), (403, Some("M_FORBIDDEN")));
}

#[tokio::test(start_paused = true)]
async fn an_invite_is_declined_and_the_inviter_hears_of_it() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("11", "private_chat").await;
    alice.invite(&room, &bob).await;
    bob.call("POST", &format!("/rooms/{room}/leave"), json!({ "reason": "no time" })).await;
    assert_eq!(bob.stands(&room), Some(Standing::Leave));
    settle().await;
    let (_, member) = alice.ask("GET", &format!("/rooms/{room}/state/m.room.member/{}", bob.user), json!({})).await;
    assert_eq!((member["membership"].as_str(), member["reason"].as_str()), (Some("leave"), Some("no time")));

    // Out of reach, the invite is gone for bob all the same.
    alice.invite(&room, &bob).await;
    net.cut(&alice, &bob);
    bob.call("POST", &format!("/rooms/{room}/leave"), json!({})).await;
    assert_eq!(bob.stands(&room), Some(Standing::Leave));
}

#[tokio::test(start_paused = true)]
async fn a_knock_is_taken_and_answered() {
    let (_net, alice, bob) = pair().await;
    let room = alice.create("12", "private_chat").await;
    alice.call("PUT", &format!("/rooms/{room}/state/m.room.join_rules"), json!({ "join_rule": "knock" })).await;
    bob.call("POST", &format!("/knock/{room}?via={}", alice.name()), json!({ "reason": "please" })).await;
    assert_eq!(bob.stands(&room), Some(Standing::Knock));
    alice.invite(&room, &bob).await;
    assert_eq!(bob.stands(&room), Some(Standing::Invite));
    bob.join(&room, &alice).await;
    assert!(alice.is_in(&room, &bob));
}

#[tokio::test(start_paused = true)]
async fn a_restricted_room_opens_for_members_of_the_other_room_alone() {
    for version in ["8", "10", "12"] {
        let (_net, alice, bob) = pair().await;
        let club = alice.create(version, "public_chat").await;
        let room = alice.create(version, "private_chat").await;
        let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
        alice.call("PUT", &format!("/rooms/{room}/state/m.room.join_rules"), rule).await;
        let path = format!("/join/{room}?via={}", alice.name());
        let (status, answer) = bob.ask("POST", &path, json!({})).await;
        assert_eq!(status, 403, "{version}: {answer}");
        bob.join(&club, &alice).await;
        bob.join(&room, &alice).await;
        settle().await;
        assert!(alice.is_in(&room, &bob), "{version}");
        assert_eq!(alice.sight(&room), bob.sight(&room), "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_out_of_reach_arrives_when_the_peer_is_seen() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "private_chat").await;
    alice.invite(&room, &bob).await;
    bob.join(&room, &alice).await;
    settle().await;
    net.cut(&alice, &bob);
    for n in 0..120 {
        alice.say(&room, &format!("a{n}")).await;
    }
    bob.say(&room, "b").await;
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    assert_eq!(bob.sight(&room).texts, ["b"]);
    net.link(&alice, &bob);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(alice.sight(&room).state, bob.sight(&room).state);
    assert_eq!(alice.sight(&room).heads, bob.sight(&room).heads);
    let of_alice: Vec<String> = bob.sight(&room).texts.into_iter().filter(|text| text.starts_with('a')).collect();
    assert_eq!(of_alice, (0..120).map(|n| format!("a{n}")).collect::<Vec<_>>());
    assert!(alice.sight(&room).texts.contains(&"b".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_idle_mesh_is_silent() {
    let (net, alice, bob, carol) = three().await;
    let room = alice.create("12", "public_chat").await;
    bob.join(&room, &alice).await;
    carol.join(&room, &alice).await;
    alice.say(&room, "hello").await;
    settle().await;
    net.clear();
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    assert_eq!(net.asked.lock().unwrap().len(), 0, "{:?}", net.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn history_travels_over_a_neighbour_when_the_ends_never_meet() {
    let (net, alice, bob, carol) = three().await;
    let room = bob.create("12", "public_chat").await;
    alice.join(&room, &bob).await;
    carol.join(&room, &bob).await;
    settle().await;
    net.cut(&alice, &carol);
    alice.say(&room, "from alice").await;
    settle().await;
    assert_eq!(carol.sight(&room).texts, ["from alice"]);
    carol.say(&room, "from carol").await;
    settle().await;
    assert_eq!(alice.sight(&room), bob.sight(&room));
    assert_eq!(alice.sight(&room).heads, carol.sight(&room).heads);
    assert_eq!(alice.sight(&room).texts, ["from alice", "from carol"]);
}

#[tokio::test(start_paused = true)]
async fn history_of_one_who_is_gone_reaches_a_third_on_contact() {
    let (net, alice, bob, carol) = three().await;
    let room = bob.create("11", "public_chat").await;
    alice.join(&room, &bob).await;
    carol.join(&room, &bob).await;
    settle().await;
    net.cut(&bob, &carol);
    net.cut(&alice, &carol);
    for n in 0..250 {
        alice.say(&room, &format!("{n}")).await;
    }
    settle().await;
    net.cut(&alice, &bob);
    net.link(&bob, &carol);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(carol.sight(&room).texts.len(), 250);
    assert_eq!(carol.sight(&room), bob.sight(&room));
}

#[tokio::test(start_paused = true)]
async fn forks_of_a_partition_merge() {
    for version in VERSIONS {
        let (net, alice, bob, carol) = three().await;
        let room = alice.create(version, "public_chat").await;
        bob.join(&room, &alice).await;
        carol.join(&room, &alice).await;
        settle().await;
        net.cut(&alice, &bob);
        net.cut(&alice, &carol);
        alice.call("PUT", &format!("/rooms/{room}/state/m.room.name"), json!({ "name": "ours" })).await;
        alice.say(&room, "left").await;
        bob.say(&room, "right").await;
        carol.say(&room, "right too").await;
        settle().await;
        net.link(&alice, &bob);
        net.link(&alice, &carol);
        settle().await;
        let sights = [alice.sight(&room), bob.sight(&room), carol.sight(&room)];
        assert!(sights.iter().all(|sight| sight.state == sights[0].state), "{version}");
        assert!(sights.iter().all(|sight| sight.heads == sights[0].heads), "{version}: {sights:?}");
        assert!(sights.iter().all(|sight| sight.texts.len() == 3), "{version}: {sights:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_survives_a_restart() {
    let net = Net::new();
    let disk = CrashDisk::new();
    let store =
        StoreConfig { backend: Backend::Crash(disk.clone()), threading: Threading::Inline, ..StoreConfig::memory() };
    let alice = Phone::on(&net, 1, "alice", store.clone()).await;
    let bob = Phone::new(&net, 2, "bob").await;
    net.link(&alice, &bob);
    let room = alice.create("12", "private_chat").await;
    alice.invite(&room, &bob).await;
    bob.join(&room, &alice).await;
    settle().await;
    net.cut(&alice, &bob);
    for n in 0..5 {
        alice.say(&room, &format!("{n}")).await;
    }
    settle().await;
    assert_eq!(alice.server.status().unwrap().queues[0].pending, 5);
    alice.server.kill();
    disk.crash();
    let alice = alice.reopened(&net, 1, store);
    assert!(bob.sight(&room).texts.is_empty());
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.sight(&room).texts, ["0", "1", "2", "3", "4"]);
    assert!(alice.server.status().unwrap().queues.is_empty());
    alice.server.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_past_of_a_room_is_backfilled() {
    let (_net, alice, bob) = pair().await;
    let room = alice.create("12", "public_chat").await;
    for n in 0..150 {
        alice.say(&room, &format!("{n}")).await;
    }
    bob.join(&room, &alice).await;
    assert!(bob.sight(&room).texts.is_empty());
    let home = bob.server.home();
    for _ in 0..3 {
        let gap = {
            let view = home.store.snapshot().unwrap();
            let found = crate::rooms::Room::find(&view, &room).unwrap().unwrap();
            crate::rooms::gaps(&view, found.key).unwrap().pop()
        };
        let Some(gap) = gap else { break };
        assert!(super::backfill(home, &room, &gap).await.unwrap() > 0);
    }
    assert_eq!(bob.sight(&room).texts, (0..150).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_shut_out_server_is_refused() {
    let (_net, alice, bob) = pair().await;
    let room = alice.create("11", "public_chat").await;
    bob.join(&room, &alice).await;
    settle().await;
    let acl = json!({ "allow": ["*"], "deny": [bob.name()], "allow_ip_literals": true });
    alice.call("PUT", &format!("/rooms/{room}/state/m.room.server_acl"), acl).await;
    let lost = bob.say(&room, "can you hear me").await;
    settle().await;
    assert!(alice.sight(&room).texts.is_empty(), "{lost} must not be here");
}

#[tokio::test(start_paused = true)]
async fn one_unreadable_event_holds_up_no_other() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "public_chat").await;
    bob.join(&room, &alice).await;
    settle().await;
    *net.unreadable.lock().unwrap() = Some("poison".to_owned());
    net.cut(&alice, &bob);
    for n in 0..70 {
        alice.say(&room, &if n == 33 { "poison".to_owned() } else { n.to_string() }).await;
    }
    net.link(&alice, &bob);
    settle().await;
    // The one that could not be sent is fetched by whoever builds on it: the room has no hole.
    let texts = bob.sight(&room).texts;
    assert_eq!(texts.len(), 70, "{texts:?}");
    assert!(alice.server.status().unwrap().queues.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_is_asked_ever_more_rarely_and_never_given_up() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "public_chat").await;
    bob.join(&room, &alice).await;
    settle().await;
    // Near as far as anybody knows, and yet nothing gets through.
    net.mute.lock().unwrap().insert(alice.name());
    alice.say(&room, "are you there").await;
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    let early = alice.server.status().unwrap().queues[0].failures;
    assert!((10..40).contains(&early), "{early}");
    tokio::time::sleep(std::time::Duration::from_secs(6 * 3_600)).await;
    let late = alice.server.status().unwrap().queues[0].failures;
    assert!(late > early && late < early + 6 * 14, "{late}");
    net.mute.lock().unwrap().clear();
    tokio::time::sleep(crate::types::limits::RETRY_PAUSE_MAX).await;
    assert_eq!(bob.sight(&room).texts, ["are you there"]);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (net, alice, bob, carol) = three().await;
            let room = alice.create("12", "public_chat").await;
            bob.join(&room, &alice).await;
            carol.join(&room, &alice).await;
            net.cut(&alice, &carol);
            alice.say(&room, "one").await;
            carol.say(&room, "two").await;
            settle().await;
            net.link(&alice, &carol);
            settle().await;
            let asked = net.asked.lock().unwrap().clone();
            (asked, alice.sight(&room), carol.sight(&room))
        })
    };
    let (first, second) = (run(), run());
    let apart = first.0.iter().zip(&second.0).position(|(one, other)| one != other);
    assert_eq!(apart.map(|at| (&first.0[at], &second.0[at])), None);
    assert_eq!(first, second);
}

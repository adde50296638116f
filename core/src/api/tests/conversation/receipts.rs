//! Receipts and read markers, on one phone and between two.

use std::ops::Bound;

use serde_json::{Value, json};

use super::{Client, Pair, ephemeral, joined, post, put, read, relate, settle, unread};
use crate::{
    api::testing::{NOW, Phone},
    outbox,
    rooms::{Room, receipts},
    store::{Backend, CrashDisk, StoreConfig, Threading, View},
    types::limits,
};

fn receipt(event: &str, kind: &str, user: &str) -> Value {
    json!({ event: { kind: { user: { "ts": NOW.0 } } } })
}

#[tokio::test]
async fn public_receipts_are_everybodys_and_private_ones_their_users() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let (one, two) = (ana.say(&room, "one").await, ana.say(&room, "two").await);
    let (anas, bens) = (ana.sync("").await, ben.sync("").await);
    read(&ben, &room, "m.read", &one, None).await.ok();
    read(&ben, &room, "m.read.private", &two, None).await.ok();
    let next = ana.sync_since(&anas).await;
    assert_eq!(ephemeral(&next, &room, "m.receipt"), [receipt(&one, "m.read", ben.id())]);
    assert_eq!(joined(&next, &room)["timeline"], Value::Null);
    let both = json!({
        &one: { "m.read": { ben.id(): { "ts": NOW.0 } } }, &two: { "m.read.private": { ben.id(): { "ts": NOW.0 } } },
    });
    assert_eq!(ephemeral(&ben.sync_since(&bens).await, &room, "m.receipt"), std::slice::from_ref(&both));
    // Shown once, and again to whoever starts anew.
    assert_eq!(ana.sync_since(&next).await["rooms"], Value::Null);
    assert_eq!(ephemeral(&ana.sync("").await, &room, "m.receipt"), [receipt(&one, "m.read", ben.id())]);
    assert_eq!(ephemeral(&ben.sync("").await, &room, "m.receipt"), [both]);
    let deaf = json!({ "room": { "ephemeral": { "not_types": ["m.receipt"] } } });
    assert_eq!(ephemeral(&ana.sync_with(None, deaf.clone()).await, &room, "m.receipt"), [] as [Value; 0]);
    // The counts are news even to whoever does not want the receipts themselves.
    assert_eq!(unread(&ben.sync_with(Some(&bens), deaf).await, &room), (0, 0));
}

#[tokio::test]
async fn receipts_move_forward_only() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let (one, two) = (ana.say(&room, "one").await, ana.say(&room, "two").await);
    read(&ben, &room, "m.read", &two, None).await.ok();
    let seen = ana.sync("").await;
    read(&ben, &room, "m.read", &one, None).await.ok();
    read(&ben, &room, "m.read", &two, None).await.ok();
    assert_eq!(ana.sync_since(&seen).await["rooms"], Value::Null);
    assert_eq!(ephemeral(&ana.sync("").await, &room, "m.receipt"), [receipt(&two, "m.read", ben.id())]);
    // A new name is no reason to repeat what stands beside the room.
    put(&ana, &format!("profile/{}/displayname", ana.id()), json!({ "displayname": "Anna" })).await.ok();
    let renamed = ana.sync_since(&seen).await;
    assert_ne!(joined(&renamed, &room)["timeline"], Value::Null);
    assert_eq!(ephemeral(&renamed, &room, "m.receipt"), [] as [Value; 0]);
    // Who comes in later gets them all.
    let carol = Client::new(&phone, "carol").await;
    let before = carol.sync("").await;
    carol.join(&room).await;
    let entered = carol.sync_since(&before).await;
    assert_eq!(ephemeral(&entered, &room, "m.receipt"), [receipt(&two, "m.read", ben.id())]);
}

#[tokio::test]
async fn receipts_of_threads_are_checked_and_come_apart() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let root = ana.say(&room, "root").await;
    let child = relate(&ana, &room, "child", "m.thread", &root).await;
    let edit = relate(&ana, &room, "edited child", "m.replace", &child).await;
    let plain = ana.say(&room, "plain").await;
    let start = ana.sync("").await;
    for (event, thread) in [(&plain, root.as_str()), (&child, "main"), (&child, &plain), (&edit, "main")] {
        read(&ben, &room, "m.read", event, Some(thread)).await.is_error(400, "M_INVALID_PARAM");
    }
    for thread in [json!(""), json!(7), json!(null), json!("nonsense"), json!(["main"])] {
        let path = format!("rooms/{room}/receipt/m.read/{child}");
        post(&ben, &path, json!({ "thread_id": thread })).await.is_error(400, "M_INVALID_PARAM");
    }
    read(&ben, &room, "m.fully_read", &plain, Some("main")).await.is_error(400, "M_INVALID_PARAM");
    read(&ben, &room, "m.unheard_of", &plain, None).await.is_error(400, "M_INVALID_PARAM");
    read(&ben, &room, "m.read", "$unknown", None).await.is_error(404, "M_NOT_FOUND");
    let stranger = Client::new(&phone, "stranger").await;
    read(&stranger, &room, "m.read", &plain, None).await.is_error(403, "M_FORBIDDEN");
    read(&ben, "!no:where", "m.read", &plain, None).await.is_error(403, "M_FORBIDDEN");
    assert_eq!(ana.sync_since(&start).await["rooms"], Value::Null);

    // One event may hold receipts of each kind of thread; a user stands in each list once.
    for thread in [None, Some("main"), Some(root.as_str())] {
        read(&ben, &room, "m.read", &root, thread).await.ok();
    }
    read(&ben, &room, "m.read", &edit, Some(&root)).await.ok();
    let mut told = ephemeral(&ana.sync_since(&start).await, &room, "m.receipt");
    let of = |event: &str, thread: Option<&str>| {
        let mut said = json!({ "ts": NOW.0 });
        if let Some(thread) = thread {
            said["thread_id"] = json!(thread);
        }
        json!({ event: { "m.read": { ben.id(): said } } })
    };
    let mut expected = vec![of(&root, None), of(&root, Some("main")), of(&edit, Some(&root))];
    told.sort_by_key(ToString::to_string);
    expected.sort_by_key(ToString::to_string);
    assert_eq!(told, expected);
}

#[tokio::test]
async fn read_markers_set_all_or_nothing() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let (one, two) = (ana.say(&room, "one").await, ana.say(&room, "two").await);
    let start = ben.sync("").await;
    let path = format!("rooms/{room}/read_markers");
    let bad = json!({ "m.fully_read": &one, "m.read": "$unknown" });
    post(&ben, &path, bad).await.is_error(404, "M_NOT_FOUND");
    assert_eq!(ben.sync_since(&start).await["rooms"], Value::Null);
    let all = json!({ "m.fully_read": &one, "m.read": &two, "m.read.private": &two });
    post(&ben, &path, all).await.ok();
    let sync = ben.sync_since(&start).await;
    let marker = json!([{ "type": "m.fully_read", "content": { "event_id": &one } }]);
    assert_eq!(joined(&sync, &room)["account_data"]["events"], marker);
    assert_eq!(ephemeral(&sync, &room, "m.receipt")[0][&two].as_object().unwrap().len(), 2);
    assert_eq!(ana.get(&format!("user/{}/rooms/{room}/account_data/m.fully_read", ana.id())).await.status, 404);
    // By the receipt's own endpoint, forward only.
    read(&ben, &room, "m.fully_read", &two, None).await.ok();
    read(&ben, &room, "m.fully_read", &one, None).await.ok();
    let kept = ben.get(&format!("user/{}/rooms/{room}/account_data/m.fully_read", ben.id())).await.ok();
    assert_eq!(kept, json!({ "event_id": two }));
    post(&ben, &path, json!({})).await.ok();
}

/// Everybody's receipts in a room as a phone keeps them: user, thread, position.
fn kept(phone: &Phone, room: &str) -> Vec<(String, Option<String>, u64)> {
    let view = phone.home.store.snapshot().unwrap();
    let room = Room::find(&view, room.try_into().unwrap()).unwrap().unwrap();
    let receipts = receipts::of_room(&view, room.key).unwrap().into_iter();
    let shown = receipts.map(|receipt| {
        let user = receipt.user.id(&view).unwrap().to_string();
        (user, receipt.thread.as_str().map(ToOwned::to_owned), receipt.pos)
    });
    shown.collect()
}

/// The users whose receipts wait for events, and the events that they wait for.
fn waiting(phone: &Phone) -> (usize, usize) {
    let view = phone.home.store.snapshot().unwrap();
    let users = view.rcpt_wait().unwrap().between(Bound::Unbounded, Bound::Unbounded).unwrap().count();
    let events = view.rcpt_due().unwrap().between(Bound::Unbounded, Bound::Unbounded).unwrap().count();
    (users, events)
}

#[tokio::test(start_paused = true)]
async fn public_receipts_cross_over_and_nothing_else_does() {
    let pair = Pair::new();
    let (ana, ben, room) = pair.together().await;
    let (one, two) = (ben.say(&room, "one").await, ben.say(&room, "two").await);
    let root = ana.say(&room, "root").await;
    let child = relate(&ben, &room, "child", "m.thread", &root).await;
    settle().await;
    let start = ben.sync("").await;
    read(&ana, &room, "m.read.private", &two, None).await.ok();
    read(&ana, &room, "m.fully_read", &two, None).await.ok();
    // What the reader sent themselves needs no receipt.
    read(&ana, &room, "m.read", &root, Some("main")).await.ok();
    settle().await;
    assert_eq!(ben.sync_since(&start).await["rooms"], Value::Null);
    read(&ana, &room, "m.read", &one, None).await.ok();
    read(&ana, &room, "m.read", &child, Some(&root)).await.ok();
    settle().await;
    let sync = ben.sync_since(&start).await;
    let threaded = json!({ &child: { "m.read": { ana.id(): { "ts": NOW.0, "thread_id": root } } } });
    assert_eq!(ephemeral(&sync, &room, "m.receipt"), [receipt(&one, "m.read", ana.id()), threaded]);
}

#[tokio::test(start_paused = true)]
async fn of_what_waits_for_a_phone_that_is_away_only_the_newest_stays() {
    let pair = Pair::new();
    let (ana, ben, room) = pair.together().await;
    let mut said = Vec::new();
    for number in 0..5 {
        said.push(ben.say(&room, &number.to_string()).await);
    }
    settle().await;
    pair.part();
    for event in &said {
        read(&ana, &room, "m.read", event, None).await.ok();
        settle().await;
    }
    let queued = |phone: &Phone| {
        let view = phone.home.store.snapshot().unwrap();
        outbox::letters_pending(&view, pair.theirs.home.server_name()).unwrap()
    };
    assert_eq!(queued(&pair.ours), 1);
    let start = ben.sync("").await;
    pair.meet();
    settle().await;
    assert_eq!(queued(&pair.ours), 0);
    let told = ephemeral(&ben.sync_since(&start).await, &room, "m.receipt");
    assert_eq!(told, [receipt(&said[4], "m.read", ana.id())]);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_comes_before_its_event_waits_for_it() {
    let pair = Pair::new();
    let (ana, ben, room) = pair.together().await;
    let carol = Client::new(&pair.theirs, "carol").await;
    carol.join(&room).await;
    settle().await;
    let before = kept(&pair.ours, &room);
    pair.part();
    let first = ben.say(&room, "first").await;
    let last = ben.say(&room, "last").await;
    settle().await;
    // Their events are not here yet; carol has read both, and says so.
    pair.theirs.meets(&pair.ours);
    let say = async |event: &str, ts: u64| {
        let read = json!({ carol.id(): { "event_ids": [event], "data": { "ts": ts } } });
        pair.they_say("m.receipt", json!({ &room: { "m.read": read } })).await;
    };
    pair.theirs.home.peer_gone(pair.ours.home.server_name());
    say(&first, 5).await;
    say(&last, 6).await;
    assert_eq!((kept(&pair.ours, &room), waiting(&pair.ours)), (before, (1, 1)));
    let start = ana.sync("").await;
    pair.meet();
    settle().await;
    let sync = ana.sync_since(&start).await;
    let expected = json!({ &last: { "m.read": { carol.id(): { "ts": 6 } } } });
    assert_eq!(ephemeral(&sync, &room, "m.receipt"), [expected]);
    assert_eq!(waiting(&pair.ours), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_another_server_may_not_say_is_passed_over() {
    let pair = Pair::new();
    let (ana, ben, room) = pair.together().await;
    let stranger = Client::new(&pair.theirs, "stranger").await;
    let other = ana.create("shared").await;
    let (here, elsewhere) = (ana.say(&room, "here").await, ana.say(&other, "elsewhere").await);
    settle().await;
    let start = ana.sync("").await;
    let say = async |room: &str, kind: &str, user: &str, receipt: Value| {
        pair.they_say("m.receipt", json!({ room: { kind: { user: receipt } } })).await;
    };
    let read = |event: &str| json!({ "event_ids": [event], "data": { "ts": 1 } });
    // Users of ours, users who are not in the room, rooms that they are not in or that are not here.
    say(&room, "m.read", ana.id(), read(&here)).await;
    say(&room, "m.read", "@carol:elsewhere", read(&here)).await;
    say(&room, "m.read", stranger.id(), read(&here)).await;
    say(&other, "m.read", ben.id(), read(&elsewhere)).await;
    say("!no:where", "m.read", ben.id(), read(&here)).await;
    say("nonsense", "m.read", ben.id(), read(&here)).await;
    // Another kind, another room's event, no event, more than one, a thread that is none, no shape at all.
    say(&room, "m.read.private", ben.id(), read(&here)).await;
    say(&room, "m.read", ben.id(), read(&elsewhere)).await;
    say(&room, "m.read", ben.id(), json!({ "event_ids": [], "data": { "ts": 1 } })).await;
    say(&room, "m.read", ben.id(), json!({ "event_ids": [here, here], "data": { "ts": 1 } })).await;
    for thread in ["", "nonsense", "$unknown"] {
        let data = json!({ "ts": 1, "thread_id": thread });
        say(&room, "m.read", ben.id(), json!({ "event_ids": [here], "data": data })).await;
    }
    say(&room, "m.read", ben.id(), json!({ "event_ids": "here", "data": 7 })).await;
    say(&room, "m.read", ben.id(), json!([])).await;
    pair.they_say("m.receipt", json!([1])).await;
    pair.they_say("m.receipt", json!({ &room: 7 })).await;
    assert_eq!(ana.sync_since(&start).await["rooms"], Value::Null);
    // From the future, which is now.
    say(&room, "m.read", ben.id(), json!({ "event_ids": [here], "data": { "ts": u64::MAX >> 11 } })).await;
    assert_eq!(ephemeral(&ana.sync_since(&start).await, &room, "m.receipt"), [receipt(&here, "m.read", ben.id())]);
    // A server that the room shuts out is not heard any more.
    let next = ana.say(&room, "next").await;
    let acl = json!({ "allow": ["*"], "deny": [pair.theirs.home.server_name()] });
    ana.set(&room, "m.room.server_acl", "", acl).await;
    let shut = ana.sync("").await;
    say(&room, "m.read", ben.id(), read(&next)).await;
    assert_eq!(ana.sync_since(&shut).await["rooms"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn receipts_for_events_that_never_come_are_few() {
    let pair = Pair::new();
    let (_ana, ben, room) = pair.together().await;
    for number in 0..50_u8 {
        let event = format!("${number:02}{}", "A".repeat(41));
        let thread = if number % 2 == 0 { "main".to_owned() } else { format!("$thread{number}") };
        let data = json!({ "ts": 1, "thread_id": thread });
        let read = json!({ ben.id(): { "event_ids": [event], "data": data } });
        pair.they_say("m.receipt", json!({ &room: { "m.read": read } })).await;
    }
    assert_eq!(waiting(&pair.ours), (1, limits::RECEIPTS_WAITING_MAX));
}

#[tokio::test]
async fn a_user_has_receipts_in_so_many_threads_and_no_more() {
    let phone = Phone::new(1);
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let mut roots = Vec::new();
    for number in 0..=limits::RECEIPT_THREADS_MAX {
        let root = ana.say(&room, &number.to_string()).await;
        read(&ben, &room, "m.read", &root, Some(&root)).await.ok();
        roots.push(root);
    }
    read(&ben, &room, "m.read", roots.last().unwrap(), None).await.ok();
    let kept = kept(&phone, &room);
    assert_eq!(kept.len(), limits::RECEIPT_THREADS_MAX + 1);
    let has = |root: &String| kept.iter().any(|(_, thread, _)| thread.as_ref() == Some(root));
    assert!(!has(&roots[0]) && roots[1..].iter().all(has));
}

#[tokio::test]
async fn receipts_and_counts_outlive_a_restart() {
    let disk = CrashDisk::new();
    let config = StoreConfig {
        backend: Backend::Crash(disk.clone()),
        threading: Threading::Inline,
        cache_bytes: limits::STORE_CACHE_BYTES,
    };
    let open = || Phone::on(1, &config);
    let phone = open();
    let (ana, ben) = (Client::new(&phone, "ana").await, Client::new(&phone, "ben").await);
    let room = ana.create("shared").await;
    ben.join(&room).await;
    let one = ana.say(&room, "one").await;
    ana.say(&room, "two").await;
    read(&ben, &room, "m.read", &one, None).await.ok();
    let (anas, bens) = (ana.who.clone(), ben.who.clone());
    let seen = ben.sync("").await;
    assert_eq!(unread(&seen, &room), (1, 0));
    let before = kept(&phone, &room);
    disk.crash();
    phone.home.store.kill();
    drop((ana, ben));
    drop(phone);

    let phone = open();
    let (ana, ben) = (Client { phone: &phone, who: anas }, Client { phone: &phone, who: bens });
    assert_eq!(kept(&phone, &room), before);
    assert_eq!(unread(&ben.sync("").await, &room), (1, 0));
    let three = ana.say(&room, "three").await;
    assert_eq!(unread(&ben.sync_since(&seen).await, &room), (2, 0));
    read(&ben, &room, "m.read", &three, None).await.ok();
    assert_eq!(unread(&ben.sync_since(&seen).await, &room), (0, 0));
}

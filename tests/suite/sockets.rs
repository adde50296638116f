//! Two real processes with real sockets and real disks: what was acknowledged survives SIGKILL and reaches the other side,
//! once and in order.

mod process;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::process::{Client, Process};

/// Lanes that send at the same time, each one message after the other.
const LANES: usize = 50;
/// Messages of a lane.
const MESSAGES: usize = 10;
/// So many acknowledgements, and then the plug is pulled.
const KILL_AFTER: usize = 120;

/// The messages of a lane that were acknowledged: (lane, number).
type Said = (usize, usize);

async fn lane(client: Client, room: String, lane: usize, acks: tokio::sync::mpsc::Sender<Said>) {
    for number in 0..MESSAGES {
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/l{lane}n{number}");
        let body = json!({ "msgtype": "m.text", "body": format!("{lane} {number}") });
        // No answer means that nothing is known; the retry has the same transaction id.
        while !client.put(&path, &body).await.is_ok_and(|answer| answer["event_id"].is_string()) {
            sleep(Duration::from_millis(100)).await;
        }
        acks.send((lane, number)).await.unwrap();
    }
}

/// The messages that a client sees when it scrolls back to the beginning, oldest first.
async fn timeline(client: &Client, room: &str) -> Vec<Said> {
    let (mut said, mut from) = (Vec::new(), String::new());
    loop {
        let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=500{from}");
        let page = client.get(&path).await.unwrap();
        for event in page["chunk"].as_array().unwrap() {
            let body = event["content"]["body"].as_str().unwrap_or_default();
            if let Some((lane, number)) = body.split_once(' ') {
                said.push((lane.parse().unwrap(), number.parse().unwrap()));
            }
        }
        match page["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => break,
        }
    }
    said.reverse();
    said
}

/// Everything once, and each lane in its order.
fn assert_whole(whose: &str, said: &[Said]) {
    assert_eq!(said.len(), LANES * MESSAGES, "{whose} shows another number of messages");
    assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), said.len(), "{whose} shows a message twice");
    for lane in 0..LANES {
        let numbers: Vec<_> = said.iter().filter(|said| said.0 == lane).map(|said| said.1).collect();
        assert!(numbers.is_sorted(), "{whose} shows lane {lane} in another order: {numbers:?}");
    }
}

async fn join(client: &Client, room: &str, via: &str) {
    let started = Instant::now();
    loop {
        let answer = client.post(&format!("/_matrix/client/v3/join/{room}?via={via}"), &json!({})).await;
        if answer.as_ref().is_ok_and(|answer| answer["room_id"].is_string()) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "bob cannot join: {answer:?}");
        sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_sends_survive_a_kill_and_arrive_once_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut ana = Process::start(&directory.path().join("ana")).await;
    let ben = Process::start(&directory.path().join("ben")).await;
    let (alice, bob) = (ana.register("alice").await, ben.register("bob").await);
    let body = json!({ "preset": "public_chat" });
    let created: Value = alice.post("/_matrix/client/v3/createRoom", &body).await.unwrap();
    let room = created["room_id"].as_str().unwrap().replace('!', "%21");
    join(&bob, &room, alice.server()).await;

    let (acks_in, mut acks) = tokio::sync::mpsc::channel(LANES * MESSAGES);
    let alice = Arc::new(alice);
    for number in 0..LANES {
        tokio::spawn(lane((*alice).clone(), room.clone(), number, acks_in.clone()));
    }
    drop(acks_in);
    let mut said = Vec::new();
    while said.len() < KILL_AFTER {
        said.push(acks.recv().await.unwrap());
    }
    ana.kill().await;
    assert!(said.len() < LANES * MESSAGES, "the kill came too late to be in the middle");
    // What is acknowledged by now is a promise.
    while let Ok(late) = acks.try_recv() {
        said.push(late);
    }
    ana.restart().await;
    let shown: BTreeSet<Said> = timeline(&alice, &room).await.into_iter().collect();
    let lost: Vec<_> = said.iter().filter(|said| !shown.contains(said)).collect();
    assert!(lost.is_empty(), "acknowledged before the kill, and gone after it: {lost:?}");

    while acks.recv().await.is_some() {}
    let started = Instant::now();
    while timeline(&bob, &room).await.len() < LANES * MESSAGES && started.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(250)).await;
    }
    assert_whole("alice", &timeline(&alice, &room).await);
    assert_whole("bob", &timeline(&bob, &room).await);
}

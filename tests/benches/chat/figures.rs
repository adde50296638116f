//! The figures, one process each.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hearth_core::{
    chat::{
        NewRoom,
        wipe::{Targets, wipe},
    },
    media::{self, NewMedia},
};
use hearth_p2p::{identity, node::key_path};
use tokio::time::sleep;

use super::{
    milliseconds,
    phones::{Phone, Shown, Wire, all_sent, clear, client, ends_with, homeserver, next_rooms, room_of, shut, until},
};

/// Rooms of the person whose phone is opened, and what was said in each.
const ROOMS: usize = 100;
const MESSAGES: usize = 10;
/// Messages whose way to the other phone is measured.
const SENT: usize = 300;
/// Messages for throughput, in one room and then over several.
const STORED: usize = 800;
/// Messages that heal at once.
const SHUT: usize = 500;
/// Media that is wiped: files of a megabyte.
const FILES: usize = 100;

pub(crate) async fn take(figure: &str, data: &Path) {
    match figure {
        "rooms" => rooms(data).await,
        "open" => open(data).await,
        "memory" => memory(data).await,
        "send" => send(data).await,
        "throughput" => throughput(data).await,
        "heal" => heal(data).await,
        "wipe" => wiped(data).await,
        other => panic!("there is no figure `{other}`"),
    }
}

/// Makes the rooms that the other figures open. Alice has them all; bob is in them.
async fn rooms(data: &Path) {
    let started = Instant::now();
    let (alice, bob) = (Phone::start(data.join("alice"), "alice").await, Phone::start(data.join("bob"), "bob").await);
    alice.meets(&bob).await;
    for room in 0..ROOMS {
        let id = room_of(&alice.chat, &bob.chat).await;
        let (mut hers, mut his) = (Shown::of(&alice.chat, &id).await, Shown::of(&bob.chat, &id).await);
        for number in 0..MESSAGES / 2 {
            hers.say(&format!("room {room}, message {number} of hers")).await;
            his.say(&format!("room {room}, message {number} of his")).await;
        }
        hers.until(|items| clear(items) == MESSAGES && all_sent(items)).await;
        his.until(|items| clear(items) == MESSAGES && all_sent(items)).await;
    }
    alice.stop().await;
    bob.stop().await;
    let bytes = fs::metadata(data.join("alice/hearth.redb")).unwrap().len();
    println!(
        "made {ROOMS} encrypted rooms of two people on two nodes over loopback QUIC, {MESSAGES} messages in each: {:.1} s, \
         {} KB of database",
        started.elapsed().as_secs_f64(),
        bytes / 1_024
    );
}

/// From opening the file to the open homeserver, to the open client and to the first list, in milliseconds.
async fn open(data: &Path) {
    let (secret, _) = identity::load_or_create(&key_path(&data.join("alice"))).unwrap();
    let wire = Arc::new(Wire::default());
    let started = Instant::now();
    let server = homeserver(&wire, &data.join("alice"), &secret);
    let server_open = started.elapsed();
    let chat = client(&server, "alice").await;
    let chat_open = started.elapsed();
    let mut list = Vec::new();
    next_rooms(&chat.rooms(), &mut list).await;
    let listed = started.elapsed();
    assert_eq!(list.len(), ROOMS);
    assert!(list.iter().all(|row| row.encrypted && row.last.is_some()));
    println!("{:.3} {:.3} {:.3}", milliseconds(server_open), milliseconds(chat_open), milliseconds(listed));
    chat.stop().await;
    server.stop().await.unwrap();
}

/// What a whole node with its client holds, the list and one timeline shown.
async fn memory(data: &Path) {
    let alice = Phone::start(data.join("alice"), "alice").await;
    let (feed, mut list) = (alice.chat.rooms(), Vec::new());
    next_rooms(&feed, &mut list).await;
    assert_eq!(list.len(), ROOMS);
    let shown = Shown::of(&alice.chat, &list[0].room_id).await;
    assert_eq!(clear(&shown.items), MESSAGES);
    sleep(Duration::from_secs(3)).await;
    let [all, own] = ["VmRSS", "RssAnon"].map(resident);
    println!(
        "memory of a whole node with {ROOMS} encrypted rooms, list and one timeline shown: {all:.1} MB resident, {own:.1} MB \
         of it not file pages (target <= 45 MB)"
    );
    alice.stop().await;
}

/// A line of `/proc/self/status` in megabytes.
fn resident(what: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

/// From `send_text` to the item in clear on the other phone.
async fn send(data: &Path) {
    let (alice, bob) = (Phone::start(data.join("alice"), "alice").await, Phone::start(data.join("bob"), "bob").await);
    alice.meets(&bob).await;
    let room = room_of(&alice.chat, &bob.chat).await;
    let (hers, mut his) = (Shown::of(&alice.chat, &room).await, Shown::of(&bob.chat, &room).await);
    let mut times = Vec::new();
    for number in 0..SENT {
        let text = format!("a message of ordinary length, number {number}");
        let started = Instant::now();
        hers.say(&text).await;
        his.until(|items| ends_with(items, &text)).await;
        times.push(started.elapsed());
        // As somebody types: what follows a message, such as its acknowledgement, is not measured with the next one.
        sleep(Duration::from_millis(20)).await;
    }
    times.sort_unstable();
    println!(
        "send to the decrypted item on the other phone, whole nodes on loopback QUIC: p50 {:.1} ms, p99 {:.1} ms (target p50 <= \
         25 ms)",
        milliseconds(times[SENT / 2]),
        milliseconds(times[SENT * 99 / 100])
    );
    alice.stop().await;
    bob.stop().await;
}

/// Messages a second that are encrypted and in their rooms on disk, while nobody is within reach.
async fn throughput(data: &Path) {
    let alice = Phone::start(data.join("alice"), "alice").await;
    let (feed, mut list) = (alice.chat.rooms(), Vec::new());
    next_rooms(&feed, &mut list).await;
    let mut rates = Vec::new();
    for rooms in [1, 8] {
        let mut shown = Vec::new();
        for row in list.iter().take(rooms) {
            shown.push(Shown::of(&alice.chat, &row.room_id).await);
        }
        let started = Instant::now();
        let senders = shown.iter_mut().map(async |shown| {
            for number in 0..STORED / rooms {
                shown.say(&format!("a message of ordinary length, number {number}")).await;
            }
        });
        futures::future::join_all(senders).await;
        let accepted = started.elapsed();
        let last = format!("a message of ordinary length, number {}", STORED / rooms - 1);
        let is_stored = |items: &[_]| ends_with(items, &last) && all_sent(items);
        futures::future::join_all(shown.iter_mut().map(|shown| shown.until(is_stored))).await;
        let rate = |time: Duration| STORED as f64 / time.as_secs_f64();
        rates.push(format!("{:.0}/s accepted, {:.0}/s stored in {rooms}", rate(accepted), rate(started.elapsed())));
    }
    println!("encrypt and send, nobody near: {} rooms at once (no target)", rates.join("; "));
    alice.stop().await;
}

/// From the arrival of the keys to the last of the messages in clear.
async fn heal(data: &Path) {
    let wire = Arc::new(Wire::default());
    let [alice, bob] = [1_u8, 2].map(|secret| homeserver(&wire, &data.join(format!("heal{secret}")), &[secret; 32]));
    let (hers, his) = (client(&alice, "alice").await, client(&bob, "bob").await);
    wire.held_back.store(true, Ordering::SeqCst);
    alice.peer_seen(bob.home().server_name());
    bob.peer_seen(alice.home().server_name());
    let room = room_of(&hers, &his).await;
    let (mut sent, mut got) = (Shown::of(&hers, &room).await, Shown::of(&his, &room).await);
    for number in 0..SHUT {
        sent.say(&format!("a message of ordinary length, number {number}")).await;
    }
    let last = format!("a message of ordinary length, number {}", SHUT - 1);
    sent.until(|items| ends_with(items, &last) && all_sent(items)).await;
    got.timeline.paginate_backwards(SHUT).await.unwrap();
    while shut(&got.items) < SHUT {
        got.next().await;
        got.timeline.paginate_backwards(SHUT).await.unwrap();
    }
    wire.held_back.store(false, Ordering::SeqCst);
    // Alice asks for keys again by herself after a pause, which is not measured.
    alice.peer_gone(bob.home().server_name());
    alice.peer_seen(bob.home().server_name());
    got.until(|items| clear(items) == SHUT).await;
    let healed = Instant::now();
    let came = wire.keys_came.lock().unwrap().expect("keys came");
    println!(
        "{SHUT} undecryptable messages shown, healed through memory: {:.0} ms after the first key came (no target)",
        milliseconds(healed - came)
    );
    for (chat, server) in [(hers, alice), (his, bob)] {
        chat.stop().await;
        server.stop().await.unwrap();
    }
}

/// A running phone is wiped: its keys, and then everything.
async fn wiped(data: &Path) {
    let alice = Phone::start(data.join("alice"), "alice").await;
    alice.chat.create_room(NewRoom::default()).await.unwrap();
    for number in 0..FILES {
        let bytes: Vec<u8> =
            (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ number as u8).collect();
        let source = futures::stream::iter([Ok(bytes.into())]);
        let home = alice.node.homeserver().home();
        media::store_file(home, &alice.user, source, NewMedia::default(), |_| {}).await.unwrap();
    }
    let home = data.join("alice");
    let targets = Targets { keys: vec![key_path(&home)], trees: vec![home.clone()] };
    let started = Instant::now();
    alice.chat.destroy_keys().await;
    let vault = started.elapsed();
    let keys = wipe(&Targets { trees: Vec::new(), ..targets.clone() });
    let destroyed = started.elapsed();
    let trees = wipe(&Targets { keys: Vec::new(), ..targets.clone() });
    let gone = started.elapsed();
    assert!(keys.left.is_empty() && trees.left.is_empty() && !home.exists());
    println!(
        "panic wipe of a running phone with {FILES} MB of media: vault key {:.1} ms, all keys {:.1} ms, and everything unlinked \
         {:.1} ms (target <= 200 ms)",
        milliseconds(vault),
        milliseconds(destroyed),
        milliseconds(gone)
    );
    alice.stop().await;
    until(async || wipe(&targets).left.is_empty()).await;
}

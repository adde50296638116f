//! A life out of a number: how many phones, which rooms, who does what, and what befalls them.

use std::{sync::Arc, time::Duration};

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ruma::OwnedRoomId;
use serde_json::json;
use tokio::time::sleep;

use super::{
    World, check, life,
    life::{Society, accept_invites},
    person::Person,
    troubles::trouble,
};

/// Within this much virtual time a healed world is quiet. The longest pause between two tries is ten minutes, but a peer
/// that is seen is tried at once.
const QUIET_WITHIN: Duration = Duration::from_secs(1_200);
/// So long nothing may be said between homeservers that agree.
const IDLE: Duration = Duration::from_secs(600);
/// How often people try to come into their rooms before the troubles begin.
const JOIN_TRIES: u32 = 20;

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// All that happened, as one number.
    pub trace: u64,
    /// Federation requests.
    pub requests: u64,
    /// Events that were acknowledged.
    pub acks: usize,
    /// Events that some server soft-failed.
    pub soft_failed: usize,
    /// What does not hold.
    pub faults: Vec<String>,
}

/// Lives the life of a seed and looks at what is left.
pub fn play(seed: u64) -> Outcome {
    super::run(play_in(seed))
}

async fn play_in(seed: u64) -> Outcome {
    let mut random = World::new(seed, 0).random(0);
    let phones = match random.random_range(0..100) {
        0..85 => random.random_range(3..=5),
        85..97 => random.random_range(6..=9),
        _ => 20,
    };
    let world = Arc::new(World::new(seed, phones));
    let people = world.people().await;
    let watchers: Vec<_> = people.iter().map(|person| tokio::spawn(person.clone().watch())).collect();
    let mut rooms = Vec::new();
    for _ in 0..random.random_range(1..=if phones > 6 { 1 } else { 3 }) {
        rooms.push(make_room(&people, &mut random).await);
    }
    let society = Arc::new(Society { people, rooms });
    // Fewer deeds for each where there are many, so that every seed takes about as long.
    let deeds = random.random_range(4..=8) + 40 / u32::try_from(phones).unwrap();
    struggle(&world, &society, deeds).await;
    let mut faults = settle(&world, &society).await;
    for watcher in &watchers {
        watcher.abort();
    }
    let copies = check::copies(&world, &society.rooms);
    for (room, copies) in &copies {
        check::note(&world, room, copies);
    }
    if faults.is_empty() {
        faults = check::everything(&society, &copies);
    }
    // The net holds the homeservers, and they hold the net.
    world.phones.iter().for_each(|phone| phone.kill());
    Outcome {
        trace: world.net.trace(),
        requests: world.net.requests(),
        acks: society.people.iter().map(|person| person.diary().acks.len()).sum(),
        soft_failed: copies.values().map(check::soft_failed).sum(),
        faults: faults.into_iter().map(|fault| readable(&world, &society, fault)).collect(),
    }
}

/// Servers by their numbers, rooms by theirs.
fn readable(world: &World, society: &Society, mut fault: String) -> String {
    for (number, room) in society.rooms.iter().enumerate() {
        fault = fault.replace(room.as_str(), &format!("room {number}"));
    }
    for phone in &world.phones {
        fault = fault.replace(phone.name.as_str(), &format!("{}", phone.number));
    }
    fault
}

async fn make_room(people: &[Arc<Person>], random: &mut ChaCha8Rng) -> OwnedRoomId {
    let creator = people.choose(random).unwrap();
    let guests = people.iter().filter(|person| person.user != creator.user);
    let guests: Vec<_> = guests.map(|person| person.user.as_str()).collect();
    let version = *["12", "12", "12", "12", "12", "11", "10", "6"].choose(random).unwrap();
    let preset = *["public_chat", "private_chat", "trusted_private_chat"].choose(random).unwrap();
    let body = json!({ "room_version": version, "preset": preset, "invite": guests, "name": "the room" });
    let room = creator.create_room(&body).await;
    for guest in people.iter().filter(|person| person.user != creator.user) {
        let mut tries = 0;
        loop {
            let answer = guest.join(&room, std::slice::from_ref(&creator.phone.name)).await;
            tries += 1;
            if answer.status == 200 {
                break;
            }
            assert!(tries < JOIN_TRIES, "{} cannot join in calm weather: {}", guest.name, answer.body);
            sleep(Duration::from_secs(1)).await;
        }
    }
    room
}

/// Everybody lives, and trouble comes, until everybody has done what they wanted.
async fn struggle(world: &Arc<World>, society: &Arc<Society>, deeds: u32) {
    let mut lives = Vec::new();
    for (number, person) in society.people.iter().enumerate() {
        let random = world.random(100 + number as u64);
        lives.push(tokio::spawn(life::live(society.clone(), person.clone(), random, deeds)));
    }
    let troubles = tokio::spawn({
        let (world, random) = (world.clone(), world.random(1));
        async move { trouble(&world, random).await }
    });
    for life in lives {
        life.await.expect("a life does not panic");
    }
    troubles.abort();
    drop(troubles.await);
}

/// Heals the world and lets it come to rest. Answers what went wrong over that.
async fn settle(world: &World, society: &Society) -> Vec<String> {
    world.heal();
    let mut faults = Vec::new();
    let mut rest = async |what: &str| {
        if !world.quiet(QUIET_WITHIN).await {
            faults.push(format!("{what} the servers do not come to rest"));
        }
    };
    rest("after healing").await;
    for person in &society.people {
        accept_invites(person).await;
        retry_doubtful(person).await;
    }
    rest("after the last joins").await;
    let mut early = check::agreement(&check::copies(world, &society.rooms), true);
    // What one server soft-failed and another accepted is settled by the next event that builds on it.
    for person in &society.people {
        for room in &society.rooms {
            person.say(room, &format!("{} was here", person.name)).await;
            sleep(Duration::from_secs(5)).await;
        }
    }
    rest("after the last words").await;
    for person in &society.people {
        for room in &society.rooms {
            if check::is_joined(person, room) {
                person.scroll_back(room).await;
            }
        }
    }
    rest("after scrolling back").await;
    let before = world.net.requests();
    sleep(IDLE).await;
    let idle = world.net.requests() - before;
    if idle > 0 {
        faults.push(format!("{idle} federation requests while nothing happened"));
    }
    faults.append(&mut early);
    faults
}

/// A join or leave whose answer was lost may have happened or not: people ask again.
async fn retry_doubtful(person: &Person) {
    let doubtful = std::mem::take(&mut person.diary().doubtful);
    for (room, (join, via)) in doubtful {
        if join {
            person.join(&room, &via).await;
        } else {
            person.leave(&room).await;
        }
    }
}

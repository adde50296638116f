//! Encrypted evenings out of a number: people of Hearth's own client talk while their phones and their network fail.
//!
//! Once all has healed everybody reads everything that any client took, and nothing was ever said to be on a phone or read
//! that was not. The encryption draws its own randomness, so the bytes of two runs of one seed differ, and their traces too.

use std::{sync::Arc, time::Duration};

use hearth_core::chat::NewRoom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use ruma::{OwnedRoomId, RoomId};
use tokio::time::sleep;

use super::{
    NAMES, World,
    chatter::{Chatter, texts},
    troubles::trouble,
};

/// How often people try to come into their room before the troubles begin.
const JOIN_TRIES: u32 = 20;
/// How long a healed world may take until nobody lacks a key, in tries of a minute.
const HEALED_WITHIN_MINUTES: u32 = 40;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Messages that a client took.
    pub said: usize,
    /// Claims that were shown of messages that had arrived or were read.
    pub claims: usize,
    /// What does not hold.
    pub faults: Vec<String>,
}

/// Lives the evening of a seed and looks at what is left.
pub fn play(seed: u64) -> Outcome {
    super::run(play_in(seed))
}

async fn play_in(seed: u64) -> Outcome {
    let mut random = World::new(seed, 0).random(0);
    let world = Arc::new(World::new(seed, random.random_range(3..=4)));
    let mut people = Vec::new();
    for (phone, name) in world.phones.iter().zip(NAMES) {
        people.push(Arc::new(Chatter::register(phone, name).await));
    }
    let mut tasks: Vec<_> = people.iter().map(|person| tokio::spawn(person.clone().live())).collect();
    let room = gather(&people).await;
    for person in &people {
        tasks.push(tokio::spawn(person.clone().watch(room.clone(), people.clone())));
    }
    struggle(&world, &people, &room).await;
    world.heal();
    for person in &people {
        sleep(Duration::from_secs(5)).await;
        person.say(&room, &format!("{} was here", person.name)).await;
    }
    let mut faults = healed(&people, &room).await;
    for person in &people {
        let claims = person.diary().claims.clone();
        faults.append(&mut person.diary().faults);
        for (event, user, is_read) in claims {
            let other = people.iter().find(|other| other.user == user);
            faults.extend(other.and_then(|other| other.refutes(&event, is_read)));
        }
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    world.phones.iter().for_each(|phone| phone.kill());
    Outcome {
        said: people.iter().map(|person| person.diary().said.len()).sum(),
        claims: people.iter().map(|person| person.diary().claims.len()).sum(),
        faults,
    }
}

/// The first makes a room, and all others come in.
async fn gather(people: &[Arc<Chatter>]) -> OwnedRoomId {
    let [host, guests @ ..] = people else { panic!("nobody is there") };
    let invite = guests.iter().map(|guest| guest.user.clone()).collect();
    let room = host.chat().await.create_room(NewRoom { invite, ..NewRoom::default() }).await.expect("a room");
    for guest in guests {
        let mut tries = 0;
        while let Err(error) = guest.chat().await.join(room.id().to_owned().into(), Vec::new()).await {
            tries += 1;
            assert!(tries < JOIN_TRIES, "{} cannot join in calm weather: {error}", guest.name);
            sleep(Duration::from_secs(1)).await;
        }
    }
    room.id().to_owned()
}

/// Everybody talks, and trouble comes, until everybody has said what they wanted.
async fn struggle(world: &Arc<World>, people: &[Arc<Chatter>], room: &RoomId) {
    let troubles = tokio::spawn({
        let (world, random) = (world.clone(), world.random(1));
        async move { trouble(&world, random).await }
    });
    let talks = people.iter().enumerate().map(|(number, person)| {
        let (person, room, random) = (person.clone(), room.to_owned(), world.random(100 + number as u64));
        tokio::spawn(async move { talk(&person, &room, random).await })
    });
    for talk in talks.collect::<Vec<_>>() {
        talk.await.expect("a talk does not panic");
    }
    troubles.abort();
    drop(troubles.await);
}

async fn talk(person: &Chatter, room: &RoomId, mut random: ChaCha8Rng) {
    for deed in 0..random.random_range(15..30) {
        sleep(Duration::from_millis(random.random_range(50..6_000))).await;
        match random.random_range(0..100) {
            0..70 => person.say(room, &format!("{} says {deed}", person.name)).await,
            _ => person.read(room).await,
        }
    }
}

/// Waits until everybody reads everything. Answers what they do not read in the end.
async fn healed(people: &[Arc<Chatter>], room: &RoomId) -> Vec<String> {
    let mut minutes = 0;
    loop {
        sleep(Duration::from_secs(60)).await;
        minutes += 1;
        let mut faults = Vec::new();
        for reader in people {
            let (texts, shut) = texts(&reader.items(room).await);
            if shut > 0 {
                faults.push(format!("{} cannot read {shut} messages", reader.name));
            }
            for (text, _) in texts.iter().filter(|(_, times)| **times > 1) {
                faults.push(format!("{} is shown {text:?} twice", reader.name));
            }
            for speaker in people {
                let said = speaker.diary().said.clone();
                let missing: Vec<_> = said.into_iter().filter(|text| !texts.contains_key(text)).collect();
                if !missing.is_empty() {
                    faults.push(format!("{} is not shown what {} said: {missing:?}", reader.name, speaker.name));
                }
            }
        }
        if faults.is_empty() || minutes >= HEALED_WITHIN_MINUTES {
            return faults;
        }
    }
}

//! What people do all day: mostly talk, sometimes rearrange the room, now and then come and go.

use std::{sync::Arc, time::Duration};

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ruma::{OwnedRoomId, OwnedServerName, RoomId, UserId};
use serde_json::json;
use tokio::time::sleep;

use super::person::Person;

/// Who there is, and which rooms.
pub struct Society {
    /// Everybody.
    pub people: Vec<Arc<Person>>,
    /// All rooms.
    pub rooms: Vec<OwnedRoomId>,
}

/// One person's days: some deeds with pauses between them.
pub async fn live(society: Arc<Society>, me: Arc<Person>, mut random: ChaCha8Rng, deeds: u32) {
    for deed in 0..deeds {
        sleep(Duration::from_millis(random.random_range(50..4_000))).await;
        let Some(room) = society.rooms.choose(&mut random) else { return };
        let what = random.random_range(0..100);
        match what {
            0..60 => drop(me.say(room, &format!("{} says {deed}", me.name)).await),
            60..70 => drop(me.set(room, "m.room.topic", &json!({ "topic": format!("{} {deed}", me.name) })).await),
            70..76 => change_power(&society, &me, room, &mut random).await,
            76..81 => redact(&me, room, &mut random).await,
            81..84 => drop(me.leave(room).await),
            84..90 => join(&society, &me, room, &mut random).await,
            90..94 => moderate(&society, &me, room, "invite", &mut random).await,
            94..96 => moderate(&society, &me, room, "kick", &mut random).await,
            96..98 => moderate(&society, &me, room, "ban", &mut random).await,
            _ => moderate(&society, &me, room, "unban", &mut random).await,
        }
        accept_invites(&me).await;
    }
}

async fn change_power(society: &Society, me: &Person, room: &RoomId, random: &mut ChaCha8Rng) {
    let mut levels = me.state(room, "m.room.power_levels").await;
    let Some(whom) = society.people.choose(random) else { return };
    let level = *[0, 50, 100].choose(random).unwrap();
    if levels.status == 200 {
        levels.body["users"][whom.user.as_str()] = json!(level);
        me.set(room, "m.room.power_levels", &levels.body).await;
    }
}

async fn redact(me: &Person, room: &RoomId, random: &mut ChaCha8Rng) {
    let seen = me.diary().seen.get(room).and_then(|seen| seen.choose(random)).cloned();
    if let Some(event) = seen {
        me.redact(room, &event).await;
    }
}

async fn join(society: &Society, me: &Person, room: &RoomId, random: &mut ChaCha8Rng) {
    let others = society.people.choose_multiple(random, 3);
    let via: Vec<OwnedServerName> = others.map(|other| other.phone.name.clone()).collect();
    me.join(room, &via).await;
}

async fn moderate(society: &Society, me: &Person, room: &RoomId, what: &str, random: &mut ChaCha8Rng) {
    if let Some(whom) = society.people.choose(random).filter(|whom| whom.user != me.user) {
        let whom: &UserId = &whom.user;
        me.moderate(room, what, whom).await;
    }
}

/// Joins what the last sync showed as an invite. One that does not work out is thrown away.
pub async fn accept_invites(me: &Person) {
    let invites = std::mem::take(&mut me.diary().invites);
    for (room, inviter) in invites {
        me.join(&room, &[inviter]).await;
    }
}

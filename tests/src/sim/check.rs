//! What must hold when the troubles are over.
//!
//! 1. Servers in a room hold the same events and the same state, and agree on who is in it.
//! 2. What was acknowledged is held by every server that was in the room then and still is.
//! 3. Everyone's words stand in the order in which they were said.
//! 4. A client that kept syncing was shown each event once.
//! 5. Nobody got an answer that nobody should get.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName, events::TimelineEventType};

use super::{
    World,
    history::{self, Copy},
    life::Society,
    person::{Ack, Diary, Person},
};

/// All copies of a room, by the number of the phone, with its server's name.
pub type Copies = BTreeMap<usize, (OwnedServerName, Copy)>;

/// All copies of all rooms.
pub fn copies(world: &World, rooms: &[OwnedRoomId]) -> BTreeMap<OwnedRoomId, Copies> {
    let of = |room: &OwnedRoomId| {
        let copies = world.phones.iter().filter_map(|phone| {
            let copy = history::copy(&phone.server()?, room)?;
            Some((phone.number, (phone.name.clone(), copy)))
        });
        (room.clone(), copies.collect())
    };
    rooms.iter().map(of).collect()
}

/// Writes into the trace what the servers hold of a room in the end.
pub fn note(world: &World, room: &RoomId, copies: &Copies) {
    for (number, (_, copy)) in copies {
        let (heads, missing) = (&copy.heads, &copy.missing);
        world.net.note(format_args!("{number} holds {room}: heads {heads:?}, missing {missing:?}"));
        for (id, kept) in &copy.events {
            let judged = match (kept.accepted, kept.soft_failed) {
                (true, _) => "accepted",
                (_, true) => "soft-failed",
                _ => "rejected",
            };
            let (kind, sender, key, prevs) = (&kept.kind, &kept.sender, &kept.state_key, &kept.prevs);
            world.net.note(format_args!("  {id} {judged} n {} {kind} {key:?} of {sender} on {prevs:?}", kept.n));
        }
    }
}

/// Whether a person is joined, as their own server knows it.
pub fn is_joined(person: &Person, room: &RoomId) -> bool {
    let Some(server) = person.phone.server() else { return false };
    history::servers(&server, room).contains(&person.phone.name)
}

/// Everything.
pub fn everything(society: &Society, copies: &BTreeMap<OwnedRoomId, Copies>) -> Vec<String> {
    let mut faults = agreement(copies, false);
    for (room, copies) in copies {
        for person in &society.people {
            acknowledged(person, room, society, copies, &mut faults);
            in_order(person, room, society, copies, &mut faults);
            synced(person, room, copies, &mut faults);
        }
    }
    for person in &society.people {
        faults.append(&mut person.diary().strange);
    }
    faults
}

/// The servers of each room agree on it. `early`: only rooms in which nothing was soft-failed, since those wait for the next
/// event to agree.
pub fn agreement(copies: &BTreeMap<OwnedRoomId, Copies>, early: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (room, copies) in copies.iter().filter(|(_, copies)| !early || soft_failed(copies) == 0) {
        let inside = copies.iter().filter(|(_, (name, copy))| copy.servers.contains(name));
        let inside: Copies = inside.filter(|(_, (name, _))| !was_reset(name, copies)).map(own).collect();
        let names: BTreeSet<_> = inside.values().map(|(name, _)| name.clone()).collect();
        let Some((first, (_, reference))) = inside.iter().next() else { continue };
        for (number, (_, copy)) in &inside {
            let pair = format!("{room}: {first} and {number}{}", if early { ", before the last words" } else { "" });
            if copy.servers != names {
                let differ: Vec<_> = copy.servers.symmetric_difference(&names).collect();
                faults.push(format!("{pair}: {number} errs about which servers are inside: {differ:?}"));
            }
            if copy.state != reference.state {
                faults.push(format!("{pair}: states differ: {}", difference(&reference.state, &copy.state)));
            }
            same_events(&pair, reference, copy, copies, &mut faults);
            same_events(&pair, copy, reference, copies, &mut faults);
        }
    }
    faults
}

fn own<'a>((number, copy): (&'a usize, &'a (OwnedServerName, Copy))) -> (usize, (OwnedServerName, Copy)) {
    (*number, copy.clone())
}

/// Whether all others hold a server's users to be where they were *before* what the server itself holds.
///
/// Matrix can do that: state resolution sorts joins and leaves by their senders' clocks, so that a leave of a phone whose
/// clock ran fast may come out above the later join that was built on it. Nobody tells the server, since it is out. Someone
/// who holds a newer event, or one that the server does not know, is another matter, and a fault.
fn was_reset(name: &ServerName, copies: &Copies) -> bool {
    let Some((_, (_, own))) = copies.iter().find(|(_, (other, _))| other == name) else { return false };
    let others = copies.values().filter(|(other, copy)| other != name && copy.servers.contains(other));
    let mut others = others.map(|(_, copy)| copy).peekable();
    let of_server = |key: &&(String, String)| key.0 == "m.room.member" && key.1.ends_with(&format!(":{name}"));
    others.peek().is_some()
        && others.all(|other| {
            let mut members = own.state.iter().filter(|(key, _)| of_server(key));
            let stale = |(key, event): (&(String, String), &OwnedEventId)| match other.state.get(key) {
                Some(held) => held != event && ancestors(copies, &BTreeSet::from([event.clone()])).contains(held),
                None => false,
            };
            !other.servers.contains(name) && members.any(stale)
        })
}

/// Events that some server of a room soft-failed.
pub fn soft_failed(copies: &Copies) -> usize {
    let failed = copies.values().flat_map(|(_, copy)| copy.events.iter().filter(|(_, kept)| kept.soft_failed));
    failed.map(|(id, _)| id).collect::<BTreeSet<_>>().len()
}

/// Whatever one server accepted the other holds too, unless it lies behind a gap that the other knows of.
fn same_events(pair: &str, one: &Copy, other: &Copy, copies: &Copies, faults: &mut Vec<String>) {
    let behind_gaps = ancestors(copies, &other.missing);
    for (id, kept) in &one.events {
        let holds = other.events.get(id).is_some_and(|kept| !kept.rejected);
        if kept.accepted && !holds && !behind_gaps.contains(id) {
            faults.push(format!("{pair}: only one holds {id}, {} of {}", kept.kind, kept.sender));
        }
    }
}

/// Events and all that they build on, as far as anybody knows.
fn ancestors(copies: &Copies, of: &BTreeSet<OwnedEventId>) -> BTreeSet<OwnedEventId> {
    let mut found = BTreeSet::new();
    let mut next: Vec<OwnedEventId> = of.iter().cloned().collect();
    while let Some(id) = next.pop() {
        if let Some(kept) = copies.values().find_map(|(_, copy)| copy.events.get(&id)) {
            next.extend(kept.prevs.iter().filter(|prev| !found.contains(*prev)).cloned());
        }
        found.insert(id);
    }
    found
}

fn difference(
    one: &BTreeMap<(String, String), OwnedEventId>,
    other: &BTreeMap<(String, String), OwnedEventId>,
) -> String {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ = keys.into_iter().filter(|key| one.get(*key) != other.get(*key));
    let shown: Vec<_> = differ.map(|key| format!("{key:?}: {:?} / {:?}", one.get(key), other.get(key))).collect();
    shown.join(", ")
}

fn acknowledged(person: &Person, room: &OwnedRoomId, society: &Society, copies: &Copies, faults: &mut Vec<String>) {
    let diary = person.diary();
    for ack in diary.acks.iter().filter(|ack| ack.room == *room) {
        for (number, (name, copy)) in copies {
            let inside = copy.servers.contains(name) && was_inside(name, ack, person, &diary, society);
            if inside && !copy.events.contains_key(&ack.event) {
                faults.push(format!("{room}: {number} lacks {} of {}, acknowledged", ack.event, person.name));
            }
        }
    }
}

/// Whether a server was in the room when an event was acknowledged, and has not come into it anew since.
fn was_inside(name: &ServerName, ack: &Ack, person: &Person, diary: &Diary, society: &Society) -> bool {
    let mut residents = society.people.iter().filter(|resident| resident.phone.name == name);
    let joined_before = |resident| joined_at(resident, person, diary, &ack.room).is_some_and(|at| at < ack.at);
    ack.servers.iter().any(|server| server == name) && residents.any(joined_before)
}

/// When somebody came into a room for the last time. The diary that is open already is not opened again.
fn joined_at(
    resident: &Arc<Person>,
    reader: &Person,
    open: &Diary,
    room: &OwnedRoomId,
) -> Option<tokio::time::Instant> {
    if resident.user == reader.user {
        return open.joins.get(room).map(|join| join.0);
    }
    resident.diary().joins.get(room).map(|join| join.0)
}

/// A person's words since they came in stand in the order in which they were acknowledged, on every server that was in the
/// room all the while. One that came back shows what it missed where it found it.
fn in_order(person: &Person, room: &OwnedRoomId, society: &Society, copies: &Copies, faults: &mut Vec<String>) {
    let diary = person.diary();
    let Some((joined, _)) = diary.joins.get(room) else { return };
    let said: Vec<_> = diary.acks.iter().filter(|ack| ack.room == *room && ack.at > *joined).collect();
    for (number, (name, copy)) in copies {
        let due = said.iter().filter(|ack| was_inside(name, ack, person, &diary, society));
        let kept = due.filter_map(|ack| copy.events.get(&ack.event));
        // Power levels that are set to what they are already are acknowledged with the event that set them long ago.
        let own = kept.filter(|kept| kept.kind != TimelineEventType::RoomPowerLevels);
        let places: Vec<u64> = own.map(|kept| kept.pos).filter(|pos| *pos > 0).collect();
        if !places.is_sorted() {
            faults.push(format!("{room}: {number} shows the words of {} in another order: {places:?}", person.name));
        }
    }
}

/// A client that was in the room once, and still is, was shown all that came since, and nothing twice.
fn synced(person: &Person, room: &OwnedRoomId, copies: &Copies, faults: &mut Vec<String>) {
    let diary = person.diary();
    let Some((name, copy)) = copies.get(&person.phone.number) else { return };
    let once = diary.joins.get(room).is_some_and(|(_, joins)| *joins == 1);
    if !once || !copy.servers.contains(name) || was_away(person, copy) {
        return;
    }
    let seen = diary.seen.get(room).map(Vec::as_slice).unwrap_or_default();
    let mut shown = BTreeSet::new();
    for event in seen.iter().filter(|event| !shown.insert(*event)) {
        faults.push(format!("{room}: {}'s client was shown {event} twice", person.name));
    }
    let join =
        copy.events.values().filter(|kept| kept.n > 0 && is_membership_of(kept, person)).map(|kept| kept.n).min();
    let due = copy.timeline.iter().filter(|event| copy.events[*event].n > join.unwrap_or(0));
    for event in due.filter(|event| !shown.contains(event)) {
        faults.push(format!("{room}: {}'s client was never shown {event}", person.name));
    }
}

fn is_membership_of(kept: &history::Kept, person: &Person) -> bool {
    let about_them =
        kept.kind == TimelineEventType::RoomMember && kept.state_key.as_deref() == Some(person.user.as_str());
    about_them && kept.sender == person.user
}

/// Whether they were out of the room for a while: another member event of theirs, or somebody else's about them, came after
/// the first.
fn was_away(person: &Person, copy: &Copy) -> bool {
    let about_them = copy.events.values().filter(|kept| {
        kept.kind == TimelineEventType::RoomMember && kept.state_key.as_deref() == Some(person.user.as_str())
    });
    about_them.filter(|kept| kept.n > 0).count() > 2
}

//! What one homeserver holds of a room, read straight out of its store.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use hearth_core::{
    rooms::{Room, gaps},
    server::Homeserver,
    store::{Snapshot, Stored, View},
};
use ruma::{OwnedEventId, OwnedServerName, OwnedUserId, RoomId, events::TimelineEventType};

/// An event as a server holds it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// It is part of the room, as this server judges.
    pub accepted: bool,
    /// It came too late to be allowed.
    pub soft_failed: bool,
    /// It breaks the rules.
    pub rejected: bool,
    /// Its place on the timeline, or 0.
    pub pos: u64,
    /// Its place in the log, or 0 for what was not live.
    pub n: u64,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: TimelineEventType,
    /// Its state key.
    pub state_key: Option<String>,
    /// Its parents.
    pub prevs: Vec<OwnedEventId>,
}

/// A room as a server holds it.
#[derive(Clone, Debug)]
pub struct Copy {
    /// All events but outliers.
    pub events: BTreeMap<OwnedEventId, Kept>,
    /// What a client can see, in order.
    pub timeline: Vec<OwnedEventId>,
    /// The current state.
    pub state: BTreeMap<(String, String), OwnedEventId>,
    /// The heads.
    pub heads: BTreeSet<OwnedEventId>,
    /// Events that the server knows to be missing.
    pub missing: BTreeSet<OwnedEventId>,
    /// Servers with joined members.
    pub servers: BTreeSet<OwnedServerName>,
}

/// The servers of a room, as a server knows them now.
pub fn servers(server: &Homeserver, room: &RoomId) -> Vec<OwnedServerName> {
    let Ok(view) = server.home().store.snapshot() else { return Vec::new() };
    let Some(room) = Room::find(&view, room).unwrap() else { return Vec::new() };
    let servers = room.servers(&view).unwrap();
    servers.into_iter().map(|server| server.name(&view).unwrap()).collect()
}

/// How many events a server keeps of all rooms, outliers too.
pub fn kept(server: &Homeserver) -> usize {
    let view = server.home().store.snapshot().unwrap();
    view.ev().unwrap().between(Bound::Unbounded, Bound::Unbounded).unwrap().count()
}

/// All that a server holds of a room. `None` for a room that it does not know.
pub fn copy(server: &Homeserver, room: &RoomId) -> Option<Copy> {
    let view = server.home().store.snapshot().unwrap();
    let room = Room::find(&view, room).unwrap()?;
    let events = events(&view, &room);
    let mut timeline = Vec::new();
    let all = (Bound::Included((room.key.0, 0)), Bound::Included((room.key.0, u64::MAX)));
    for row in view.tl().unwrap().between(all.0, all.1).unwrap() {
        let esn = row.unwrap().1.value();
        timeline.push(Stored::header(&view, esn).unwrap().unwrap().event_id().unwrap());
    }
    let id = |esn: u64| Stored::header(&view, esn).unwrap().unwrap().event_id().unwrap();
    let state = room.record.current().all(&view, room.key).unwrap().into_values().map(|esn| {
        let pdu = Stored::must(&view, esn).unwrap().pdu;
        ((pdu.kind.to_string(), pdu.state_key.unwrap_or_default()), pdu.event_id)
    });
    Some(Copy {
        state: state.collect(),
        heads: room.record.heads.iter().map(|esn| id(*esn)).collect(),
        missing: gaps(&view, room.key).unwrap().into_iter().flat_map(|gap| gap.missing).collect(),
        servers: room.servers(&view).unwrap().into_iter().map(|server| server.name(&view).unwrap()).collect(),
        events,
        timeline,
    })
}

fn events(view: &Snapshot, room: &Room) -> BTreeMap<OwnedEventId, Kept> {
    let mut events = BTreeMap::new();
    for row in view.ev().unwrap().between(Bound::Unbounded, Bound::Unbounded).unwrap() {
        let esn = row.unwrap().0.value();
        let header = Stored::header(view, esn).unwrap().unwrap();
        if header.room != room.key || header.flags.outlier {
            continue;
        }
        let Stored { header, pdu, .. } = Stored::must(view, esn).unwrap();
        let flags = header.flags;
        let kept = Kept {
            accepted: !flags.rejected && !flags.soft_failed,
            soft_failed: flags.soft_failed,
            rejected: flags.rejected,
            pos: header.pos,
            n: header.n,
            sender: pdu.sender,
            kind: pdu.kind,
            state_key: pdu.state_key,
            prevs: pdu.prev_events,
        };
        events.insert(pdu.event_id, kept);
    }
    events
}

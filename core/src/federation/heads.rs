//! Telling neighbours the heads of shared rooms, so that history travels from phone to phone.
//!
//! The outbox brings our own events to those who were in the room. What others wrote reaches a neighbour through whoever is
//! near: on contact, and after a room changed by an event of somebody else, each neighbour in the room that is not known to
//! have the heads is told them, as an EDU of type `dev.hearth.heads`:
//!
//! ```json
//! { "rooms": { "!room": ["$head", "$head"] }, "reply": false }
//! ```
//!
//! It fetches what it lacks from the teller, and tells its own heads back, once, if the teller's list lacks them. Neighbours
//! that are converged say nothing: there is no timer without a change.

mod advertise;
mod hear;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub(crate) use self::hear::hear;
use crate::{
    home::Home,
    outbox::at,
    rooms::Room,
    store::{LogKind, LogRow, Record, Result, RoomKey, StoreError, UserKey, View},
    types::limits::{HEADS_TOLD_AT_ONCE_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN},
};

/// The EDU's type.
pub(crate) const EDU_TYPE: &str = "dev.hearth.heads";

/// How long a change waits for others to come, and for the neighbour to hear of it elsewhere.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// What the EDU says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Heads {
    /// Rooms with their heads.
    pub(crate) rooms: BTreeMap<OwnedRoomId, Vec<OwnedEventId>>,
    /// It answers one of ours: it is not answered again.
    #[serde(default)]
    pub(crate) reply: bool,
}

/// What a neighbour is to be told.
#[derive(Debug)]
struct Tell {
    rooms: BTreeSet<RoomKey>,
    at: Instant,
    failures: u32,
    telling: bool,
}

/// What became of telling.
enum Told {
    /// The neighbour knows.
    Done,
    /// Some rooms wait until our own events in them are delivered by the outbox.
    Later(BTreeSet<RoomKey>),
    /// No answer; these rooms are still to be told.
    Failed(BTreeSet<RoomKey>),
}

#[derive(Debug)]
struct Teller {
    neighbours: BTreeMap<OwnedServerName, Tell>,
    /// The contact of each neighbour that was noticed.
    contacts: BTreeMap<OwnedServerName, u64>,
    /// The log is read up to here.
    read: u64,
}

/// Tells neighbours our heads, until the store closes.
pub async fn run(home: Arc<Home>) {
    let mut log = home.store.log_watch();
    let mut teller = Teller { neighbours: BTreeMap::new(), contacts: BTreeMap::new(), read: *log.borrow() };
    let mut telling = FuturesUnordered::new();
    loop {
        log.borrow_and_update();
        let contacts = home.contacts();
        match teller.notice(&home) {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "the log could not be read for the neighbours"),
        }
        while telling.len() < HEADS_TOLD_AT_ONCE_MAX
            && let Some((server, rooms)) = teller.take_due(Instant::now())
        {
            telling.push(advertise::tell(&home, server, rooms));
        }
        let wake = teller.next_wake();
        tokio::select! {
            biased;
            Some((server, told)) = telling.next(), if !telling.is_empty() => teller.finished(&home, &server, told),
            changed = log.changed() => if changed.is_err() { return },
            () = home.contact_after(contacts) => {}
            () = at(wake) => {}
        }
    }
}

impl Teller {
    fn notice(&mut self, home: &Home) -> Result<()> {
        let near = home.near();
        self.contacts.retain(|server, _| near.contains(server));
        self.neighbours.retain(|server, tell| tell.telling || near.contains(server));
        let view = home.store.snapshot()?;
        let changed = self.changed_rooms(home, &view)?;
        for server in near {
            let contact = home.contact(&server);
            let is_new = self.contacts.insert(server.clone(), contact) != Some(contact);
            let rooms = if is_new { shared_rooms(&view, &server)? } else { those_with(&view, &changed, &server)? };
            self.add(home, server, rooms, is_new);
        }
        Ok(())
    }

    /// The rooms that changed by events of others since the last look.
    fn changed_rooms(&mut self, home: &Home, view: &dyn View) -> Result<BTreeSet<RoomKey>> {
        let mut rooms = BTreeSet::new();
        let mut local: BTreeMap<u32, bool> = BTreeMap::new();
        for row in view.log()?.between(Bound::Excluded(self.read), Bound::Unbounded)? {
            let (n, row) = row?;
            let row = LogRow::decode(row.value())?;
            self.read = n.value();
            if row.kind != LogKind::Timeline {
                continue;
            }
            let is_local = match local.get(&row.user) {
                Some(is_local) => *is_local,
                None => {
                    let is_local = home.is_local(UserKey(row.user).id(view)?.server_name());
                    local.insert(row.user, is_local);
                    is_local
                }
            };
            if !is_local {
                rooms.insert(RoomKey(row.room));
            }
        }
        Ok(rooms)
    }

    fn add(&mut self, home: &Home, server: OwnedServerName, rooms: BTreeSet<RoomKey>, now: bool) {
        if rooms.is_empty() {
            return;
        }
        let fresh =
            || Tell { rooms: BTreeSet::new(), at: Instant::now() + debounce(home), failures: 0, telling: false };
        let tell = self.neighbours.entry(server).or_insert_with(fresh);
        tell.rooms.extend(rooms);
        if now {
            tell.failures = 0;
            tell.at = Instant::now();
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<(OwnedServerName, BTreeSet<RoomKey>)> {
        let (server, tell) = self.neighbours.iter_mut().find(|(_, tell)| !tell.telling && tell.at <= now)?;
        tell.telling = true;
        Some((server.clone(), std::mem::take(&mut tell.rooms)))
    }

    fn finished(&mut self, home: &Home, server: &ServerName, told: Told) {
        let Some(tell) = self.neighbours.get_mut(server) else { return };
        tell.telling = false;
        match told {
            Told::Done => {
                tell.failures = 0;
                tell.at = Instant::now() + debounce(home);
            }
            Told::Later(rooms) => {
                tell.rooms.extend(rooms);
                tell.at = Instant::now() + debounce(home);
            }
            Told::Failed(rooms) => {
                tell.rooms.extend(rooms);
                tell.failures = tell.failures.saturating_add(1);
                let pause = RETRY_PAUSE_MIN.saturating_mul(1 << tell.failures.min(16)).min(RETRY_PAUSE_MAX);
                tell.at = Instant::now() + pause + debounce(home);
            }
        }
        if tell.rooms.is_empty() {
            self.neighbours.remove(server);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        self.neighbours.values().filter(|tell| !tell.telling).map(|tell| tell.at).min()
    }
}

/// Between one and two times [`DEBOUNCE`]: of two neighbours that would tell one another the same, one is first.
fn debounce(home: &Home) -> Duration {
    DEBOUNCE + Duration::from_millis(home.ports.random.next_u64() % 50)
}

/// The rooms that local users and users of a server are in.
fn shared_rooms(view: &dyn View, server: &ServerName) -> Result<BTreeSet<RoomKey>> {
    let mut rooms = BTreeSet::new();
    for row in view.room()?.between(Bound::Unbounded, Bound::Unbounded)? {
        rooms.insert(RoomKey(row?.0.value()));
    }
    those_with(view, &rooms, server)
}

fn those_with(view: &dyn View, rooms: &BTreeSet<RoomKey>, server: &ServerName) -> Result<BTreeSet<RoomKey>> {
    let mut shared = BTreeSet::new();
    for key in rooms {
        if let Some(room) = Room::by_key(view, *key)?
            && room.record.joined_local > 0
            && room.has_server(view, server)?
        {
            shared.insert(*key);
        }
    }
    Ok(shared)
}

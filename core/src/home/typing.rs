//! Who is typing. In memory only: what was typed before a restart is of no interest.
//!
//! Each change has a serial number, and a sync's token names the last one that its client has seen, so no client misses a
//! change or is told twice. Numbers begin at the time of the start, in milliseconds, so that those of an earlier run are
//! known as such. Nobody runs a timer while nobody types: whoever waits for a change waits for the next one to run out too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedUserId, UserId};
use tokio::time::{Duration, Instant, sleep_until};

use super::{Home, bell::Bell};
use crate::{
    store::RoomKey,
    types::{Millis, limits},
};

/// The typists of all rooms.
#[derive(Debug)]
pub(super) struct Typing {
    started: u64,
    rooms: Mutex<Rooms>,
    changes: Bell,
    /// Rings when other servers are to be told of something.
    outgoing: Bell,
}

#[derive(Debug, Default)]
struct Rooms {
    typists: BTreeMap<RoomKey, BTreeMap<OwnedUserId, Typist>>,
    /// The serial of each room's last change.
    changed: BTreeMap<RoomKey, u64>,
    /// What other servers are to be told of our own users.
    to_tell: BTreeMap<(RoomKey, OwnedUserId), bool>,
}

#[derive(Clone, Copy, Debug)]
struct Typist {
    until: Instant,
    is_ours: bool,
    /// When other servers were last told.
    told: Instant,
}

/// What there is to say about typing to a client that has seen some of it.
#[derive(Clone, Debug)]
pub struct TypingNews {
    /// The last change.
    pub serial: u64,
    /// The rooms that changed; `None` if what the client has seen is of an earlier run, so that every room is news.
    changed: Option<BTreeSet<RoomKey>>,
    /// Who types where now.
    busy: BTreeMap<RoomKey, Vec<OwnedUserId>>,
}

impl TypingNews {
    /// Who types in a room, if the client does not know; nobody, if it only knows that somebody did.
    pub fn of(&self, room: RoomKey) -> Option<Vec<OwnedUserId>> {
        let is_news = self.changed.as_ref().is_none_or(|changed| changed.contains(&room));
        is_news.then(|| self.busy.get(&room).cloned().unwrap_or_default())
    }

    /// Who types in a room, for a client that has not seen the room before; `None` for nobody.
    pub fn of_new(&self, room: RoomKey) -> Option<Vec<OwnedUserId>> {
        self.busy.get(&room).cloned()
    }

    /// The rooms that changed; `None` for all rooms.
    pub fn rooms(&self) -> Option<&BTreeSet<RoomKey>> {
        self.changed.as_ref()
    }

    /// The rooms in which somebody types.
    pub fn busy(&self) -> impl Iterator<Item = RoomKey> + '_ {
        self.busy.keys().copied()
    }
}

impl Typing {
    pub(super) fn new(now: Millis) -> Self {
        Self { started: now.0, rooms: Mutex::default(), changes: Bell::default(), outgoing: Bell::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on while the rooms are locked, so that a serial and what it names are one.
    fn serial(&self) -> u64 {
        self.started.saturating_add(self.changes.count())
    }

    fn change(&self, rooms: &mut Rooms, room: RoomKey) {
        self.changes.ring();
        rooms.changed.insert(room, self.serial());
    }

    fn tell(&self, rooms: &mut Rooms, room: RoomKey, user: &UserId, typing: bool) {
        rooms.to_tell.insert((room, user.to_owned()), typing);
        self.outgoing.ring();
    }

    fn set(&self, room: RoomKey, user: &UserId, is_ours: bool, lasts: Option<Duration>) {
        let now = Instant::now();
        let mut rooms = self.lock();
        self.expire(&mut rooms, now);
        let Some(lasts) = lasts else {
            let typists = rooms.typists.entry(room).or_default();
            let stopped = typists.remove(user).is_some();
            if typists.is_empty() {
                rooms.typists.remove(&room);
            }
            if stopped {
                self.change(&mut rooms, room);
                if is_ours {
                    self.tell(&mut rooms, room, user, false);
                }
            }
            return;
        };
        let typists = rooms.typists.entry(room).or_default();
        let (until, is_full) = (now + lasts, typists.len() >= limits::TYPING_USERS_MAX);
        match typists.get_mut(user) {
            Some(typist) => {
                let is_sooner = until < typist.until;
                typist.until = until;
                let repeats = is_ours && now.duration_since(typist.told) >= limits::TYPING_REPEAT;
                if repeats {
                    typist.told = now;
                    self.tell(&mut rooms, room, user, true);
                }
                if is_sooner {
                    // Somebody is waiting for the old end.
                    self.outgoing.ring();
                }
            }
            None if is_full => {}
            None => {
                typists.insert(user.to_owned(), Typist { until, is_ours, told: now });
                self.change(&mut rooms, room);
                if is_ours {
                    self.tell(&mut rooms, room, user, true);
                }
            }
        }
    }

    /// Lets those go whose time has run out.
    fn expire(&self, rooms: &mut Rooms, now: Instant) {
        let mut gone = Vec::new();
        rooms.typists.retain(|room, typists| {
            typists.retain(|user, typist| {
                let stays = typist.until > now;
                if !stays {
                    gone.push((*room, user.clone(), typist.is_ours));
                }
                stays
            });
            !typists.is_empty()
        });
        for (room, user, is_ours) in gone {
            self.change(rooms, room);
            if is_ours {
                self.tell(rooms, room, &user, false);
            }
        }
    }

    /// When the next of the typists runs out of time, of all or of ours.
    fn next_end(&self, only_ours: bool) -> Option<Instant> {
        let rooms = self.lock();
        let typists = rooms.typists.values().flat_map(BTreeMap::values);
        typists.filter(|typist| typist.is_ours || !only_ours).map(|typist| typist.until).min()
    }

    async fn at_next_end(&self, only_ours: bool) {
        match self.next_end(only_ours) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
        self.expire(&mut self.lock(), Instant::now());
    }
}

impl Home {
    /// Somebody types in a room for a while, or (`None`) does so no more.
    pub fn set_typing(&self, room: RoomKey, user: &UserId, lasts: Option<Duration>) {
        self.typing.set(room, user, self.is_local(user.server_name()), lasts);
    }

    /// Who is typing in a room, sorted.
    pub fn typing(&self, room: RoomKey) -> Vec<OwnedUserId> {
        let mut rooms = self.typing.lock();
        self.typing.expire(&mut rooms, Instant::now());
        rooms.typists.get(&room).map(|typists| typists.keys().cloned().collect()).unwrap_or_default()
    }

    /// The serial of the last change of who is typing anywhere.
    pub fn typing_serial(&self) -> u64 {
        self.typing.serial()
    }

    /// Waits until who is typing changed after a serial.
    pub async fn typing_after(&self, seen: u64) {
        let rings = seen.saturating_sub(self.typing.started);
        loop {
            tokio::select! {
                biased;
                () = self.typing.changes.after(rings) => return,
                () = self.typing.at_next_end(false) => {}
            }
        }
    }

    /// What is news to a client that has seen all changes up to a serial. `None`: it knows of nobody who types.
    pub fn typing_news(&self, seen: Option<u64>) -> TypingNews {
        let mut rooms = self.typing.lock();
        self.typing.expire(&mut rooms, Instant::now());
        let serial = self.typing.serial();
        let busy = rooms.typists.iter().map(|(room, typists)| (*room, typists.keys().cloned().collect()));
        let busy: BTreeMap<RoomKey, Vec<OwnedUserId>> = busy.collect();
        let is_of_this_run = |seen: u64| (self.typing.started..=serial).contains(&seen);
        let changed = match seen {
            None => Some(busy.keys().copied().collect()),
            Some(seen) if is_of_this_run(seen) => {
                let changed = rooms.changed.iter().filter(|(_, at)| **at > seen);
                Some(changed.map(|(room, _)| *room).collect())
            }
            Some(_) => None,
        };
        TypingNews { serial, changed, busy }
    }

    /// What other servers are to be told of our users' typing since this was last asked.
    pub(crate) fn take_typing_to_tell(&self) -> BTreeMap<(RoomKey, OwnedUserId), bool> {
        std::mem::take(&mut self.typing.lock().to_tell)
    }

    /// Waits until there is something to tell.
    pub(crate) async fn typing_to_tell(&self) {
        loop {
            let rings = self.typing.outgoing.count();
            if !self.typing.lock().to_tell.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = self.typing.outgoing.after(rings) => {}
                () = self.typing.at_next_end(true) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: RoomKey = RoomKey(7);

    fn user(name: &str) -> OwnedUserId {
        UserId::parse(format!("@{name}:here")).unwrap()
    }

    fn names(typing: &Typing) -> usize {
        typing.lock().typists.get(&HERE).map_or(0, BTreeMap::len)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_seen_to_change_is_a_change() {
        let typing = Typing::new(Millis(1_000));
        let minute = Some(Duration::from_secs(60));
        typing.set(HERE, &user("ana"), true, minute);
        assert_eq!((typing.serial(), names(&typing)), (1_001, 1));
        // Saying it again is no change, and is passed on once in a while only.
        assert_eq!(std::mem::take(&mut typing.lock().to_tell).len(), 1);
        typing.set(HERE, &user("ana"), true, minute);
        assert_eq!((typing.serial(), typing.lock().to_tell.len()), (1_001, 0));
        tokio::time::sleep(limits::TYPING_REPEAT).await;
        typing.set(HERE, &user("ana"), true, minute);
        assert_eq!((typing.serial(), typing.lock().to_tell.len()), (1_001, 1));
        // Who does not type cannot stop.
        typing.set(HERE, &user("ben"), false, None);
        assert_eq!(typing.serial(), 1_001);
        // What others say of their users is nothing for us to tell.
        typing.lock().to_tell.clear();
        typing.set(HERE, &user("ben"), false, minute);
        assert_eq!((typing.serial(), typing.lock().to_tell.len()), (1_002, 0));
        tokio::time::timeout(Duration::from_secs(61), typing.at_next_end(false)).await.unwrap();
        assert_eq!((typing.serial(), names(&typing)), (1_004, 0));
        assert_eq!(typing.lock().to_tell.values().collect::<Vec<_>>(), [&false]);
        // With nobody typing there is nothing to wake up for.
        assert!(tokio::time::timeout(Duration::from_secs(1 << 30), typing.at_next_end(false)).await.is_err());
    }

    #[tokio::test]
    async fn a_room_has_only_so_many_typists() {
        let typing = Typing::new(Millis(0));
        for number in 0..2 * limits::TYPING_USERS_MAX {
            typing.set(HERE, &user(&format!("u{number}")), false, Some(Duration::from_secs(9)));
        }
        assert_eq!(names(&typing), limits::TYPING_USERS_MAX);
    }
}

//! What happens, told as lines of JSON: invites, new and changed messages, verifications.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hearth_core::chat::{
    Chat, ItemContent, ItemId, RoomKind, Timeline, TimelineItem, VerificationInfo, VerificationState, feed,
};
use ruma::{OwnedEventId, OwnedRoomId, RoomId};
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};

/// Prints one line. A reader that went away ends the program by its closed input.
pub(super) fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// A timeline that is followed, and what it shows.
struct Followed {
    timeline: Arc<Timeline>,
    items: Vec<TimelineItem>,
}

/// Which timeline: a room's, or a thread's in it.
type Place = (OwnedRoomId, Option<OwnedEventId>);

/// Everything that is followed.
pub(super) struct Told {
    chat: Chat,
    places: Mutex<BTreeMap<Place, Followed>>,
    said: Mutex<BTreeMap<OwnedEventId, Value>>,
    invites: Mutex<BTreeSet<OwnedRoomId>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    pub(super) changed: Notify,
}

impl Told {
    pub(super) fn start(chat: &Chat) -> Arc<Self> {
        let (places, said, invites, tasks) = Default::default();
        let told = Arc::new(Self { chat: chat.clone(), places, said, invites, tasks, changed: Notify::new() });
        let (rooms, verifications) = (told.clone(), told.clone());
        told.keep(tokio::spawn(async move { rooms.rooms().await }));
        told.keep(tokio::spawn(async move { verifications.verifications().await }));
        told
    }

    pub(super) fn stop(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    fn keep(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Followed>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn rooms(self: Arc<Self>) {
        let feed = self.chat.rooms();
        let (mut rows, mut invites) = (Vec::new(), BTreeSet::new());
        while let Some(diffs) = feed.next().await {
            feed::apply(&mut rows, &diffs);
            for room in &rows {
                match &room.kind {
                    RoomKind::Invited(invite) if invites.insert(room.room_id.clone()) => {
                        let name = room.name.to_string();
                        say(&json!({ "event": "invite", "room": room.room_id, "by": invite.by, "name": name }));
                    }
                    RoomKind::Joined => {
                        invites.remove(&room.room_id);
                        self.follow(&room.room_id, None);
                    }
                    _ => {}
                }
            }
            *self.invites.lock().unwrap_or_else(PoisonError::into_inner) = invites.clone();
            self.changed.notify_waiters();
        }
    }

    /// The rooms that somebody asks us into.
    pub(super) fn invites(&self) -> BTreeSet<OwnedRoomId> {
        self.invites.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows a timeline from now on, unless it is followed already. Answers it.
    pub(super) fn follow(self: &Arc<Self>, room: &RoomId, thread: Option<&OwnedEventId>) -> Option<Arc<Timeline>> {
        let place = (room.to_owned(), thread.cloned());
        let mut places = self.lock();
        if let Some(followed) = places.get(&place) {
            return Some(followed.timeline.clone());
        }
        let handle = self.chat.room(room).ok()?;
        let timeline = Arc::new(thread.map_or_else(|| handle.timeline(), |root| handle.thread(root.clone())));
        places.insert(place.clone(), Followed { timeline: timeline.clone(), items: Vec::new() });
        let (told, watched) = (self.clone(), timeline.clone());
        self.keep(tokio::spawn(async move {
            while let Some(diffs) = watched.next().await {
                told.take(&place, &diffs);
            }
        }));
        Some(timeline)
    }

    fn take(self: &Arc<Self>, place: &Place, diffs: &[feed::Diff<TimelineItem>]) {
        let items = {
            let mut places = self.lock();
            let Some(followed) = places.get_mut(place) else { return };
            feed::apply(&mut followed.items, diffs);
            followed.items.clone()
        };
        for item in &items {
            if place.1.is_none() && item.thread.is_some() {
                self.follow(&place.0, item.event_id.as_ref());
            }
            self.tell(place, item);
        }
        self.changed.notify_waiters();
    }

    fn tell(&self, (room, thread): &Place, item: &TimelineItem) {
        // A thread's timeline shows its root too, which the room's tells of.
        let Some(id) = item.event_id.clone().filter(|id| Some(id) != thread.as_ref()) else { return };
        let Some(shown) = shown(item, thread.as_ref()) else { return };
        let before = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(id, shown.clone());
        if before.as_ref() != Some(&shown) {
            say(&json!({ "event": "item", "room": room, "item": shown }));
        }
    }

    /// The item of an event, and the timeline that shows it.
    pub(super) fn find(&self, room: &RoomId, event: &str) -> Option<(Arc<Timeline>, TimelineItem)> {
        self.search(room, |item| item.event_id.as_ref().is_some_and(|id| id == event))
    }

    /// The event of an item, once there is one.
    pub(super) fn event_of(&self, room: &RoomId, id: &ItemId) -> Option<OwnedEventId> {
        self.search(room, |item| item.id == *id).and_then(|(_, item)| item.event_id)
    }

    fn search(&self, room: &RoomId, is: impl Fn(&TimelineItem) -> bool) -> Option<(Arc<Timeline>, TimelineItem)> {
        self.lock().iter().filter(|((of, _), _)| *of == *room).find_map(|(_, followed)| {
            followed.items.iter().find(|item| is(item)).map(|item| (followed.timeline.clone(), item.clone()))
        })
    }

    /// Everything of a room that was told, oldest first.
    pub(super) fn timeline(&self, room: &RoomId) -> Vec<Value> {
        let places = self.lock();
        let mut items = Vec::new();
        for ((_, thread), followed) in places.iter().filter(|((of, _), _)| *of == *room) {
            let own = followed.items.iter().filter(|item| item.event_id.as_ref() != thread.as_ref());
            items.extend(own.filter_map(|item| {
                item.event_id.as_ref()?;
                Some((item.ts, shown(item, thread.as_ref())?))
            }));
        }
        items.sort_by_key(|(ts, _)| *ts);
        items.into_iter().map(|(_, shown)| shown).collect()
    }

    async fn verifications(self: Arc<Self>) {
        let mut feed = self.chat.verifications();
        let (mut rows, mut last): (Vec<VerificationInfo>, BTreeMap<String, &str>) = Default::default();
        while let Some(diffs) = feed.next().await {
            feed::apply(&mut rows, &diffs);
            for info in &rows {
                let state = match &info.state {
                    VerificationState::Requested => "requested",
                    VerificationState::Ready { .. } => "ready",
                    VerificationState::SasEmoji { .. } => "emoji",
                    VerificationState::Done => "done",
                    VerificationState::Cancelled { .. } => "cancelled",
                    _ => continue,
                };
                if last.insert(info.id.clone(), state) != Some(state) {
                    say(&verification(info, state));
                }
            }
        }
    }
}

fn verification(info: &VerificationInfo, state: &str) -> Value {
    let emoji: Vec<_> = match &info.state {
        VerificationState::SasEmoji { emoji, .. } => emoji.iter().map(|one| json!([one.symbol, one.name])).collect(),
        _ => Vec::new(),
    };
    json!({
        "event": "verification", "flow": flow_of(&info.id), "user": info.other_user,
        "incoming": info.incoming, "state": state, "emoji": emoji,
    })
}

/// The flow's own id: ours has the other user before it.
pub(super) fn flow_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, flow)| flow)
}

/// A message as the protocol shows it; `None` for what is none.
fn shown(item: &TimelineItem, thread: Option<&OwnedEventId>) -> Option<Value> {
    let (kind, text, sealed) = match &item.content {
        ItemContent::Text { body, .. } => ("text", body.clone(), item.trust.is_some()),
        ItemContent::Media(file) => ("image", file.name.clone(), item.trust.is_some()),
        ItemContent::Undecryptable { reason, .. } => ("undecryptable", reason.clone(), true),
        _ => return None,
    };
    let reactions: BTreeMap<&str, BTreeSet<&str>> = item
        .reactions
        .iter()
        .map(|reaction| (reaction.key.as_str(), reaction.senders.iter().map(|user| user.as_str()).collect()))
        .collect();
    Some(json!({
        "id": item.event_id, "sender": item.sender, "kind": kind, "text": text, "encrypted": sealed,
        "edited": item.edited, "reactions": reactions, "thread": thread,
        "replies": item.thread.as_ref().map_or(0, |thread| thread.count),
    }))
}

//! Somebody with Hearth's own encrypted client: what they say and read, and what their client claims of it.
//!
//! The client ends with the phone and opens again with it. What a timeline says to be on another phone, or read, is held
//! against that phone's own store and its owner's diary at the very moment at which it is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hearth_core::{
    chat::{
        Chat, ChatConfig, ChatError, ItemContent, Reach, SendState, TextMessage, Timeline, TimelineItem, feed,
        vault::StoreKey,
    },
    store::Stored,
};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{history, phone::Phone};

/// How long a person waits for their client, which waits for no network.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than anybody's room holds.
const ALL: usize = 1_000;

/// What a person remembers.
#[derive(Debug, Default)]
pub struct Diary {
    /// What the client took, in order.
    pub said: Vec<String>,
    /// What they may have seen when they read the room.
    pub read: BTreeSet<OwnedEventId>,
    /// Claims that were shown: an event, whom it is said to have reached, and whether it is said to be read.
    pub claims: BTreeSet<(OwnedEventId, OwnedUserId, bool)>,
    /// What does not hold.
    pub faults: Vec<String>,
}

/// Somebody.
pub struct Chatter {
    /// `alice`.
    pub name: String,
    /// Their Matrix id.
    pub user: OwnedUserId,
    /// Their phone.
    pub phone: Arc<Phone>,
    chat: watch::Sender<Option<Chat>>,
    diary: Mutex<Diary>,
}

impl Chatter {
    /// Opens their client for the first time, which makes the account.
    pub async fn register(phone: &Arc<Phone>, name: &str) -> Self {
        let chat = open(phone, name).await.expect("the phone is on");
        let user = chat.identity().user_id;
        chat.stop().await;
        let (name, phone) = (name.to_owned(), phone.clone());
        Self { name, user, phone, chat: watch::Sender::new(None), diary: Mutex::default() }
    }

    /// Keeps the client open while the phone is on, for ever.
    pub async fn live(self: Arc<Self>) {
        loop {
            self.phone.until_on().await;
            let life = self.phone.life();
            // A phone that dies meanwhile ends it.
            let Ok(chat) = open(&self.phone, &self.name).await else {
                sleep(Duration::from_secs(1)).await;
                continue;
            };
            chat.start();
            self.chat.send_replace(Some(chat.clone()));
            self.phone.life_after(life).await;
            self.chat.send_replace(None);
            chat.stop().await;
        }
    }

    /// What they remember.
    pub fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Their client, once it is open.
    pub async fn chat(&self) -> Chat {
        let mut chat = self.chat.subscribe();
        let open = chat.wait_for(Option::is_some).await.expect("the client outlives its users");
        open.clone().expect("it is open")
    }

    /// Says something. Whether the client took it is written down, not whether it arrived.
    pub async fn say(&self, room: &RoomId, text: &str) {
        let Ok(timeline) = self.timeline(room).await else { return };
        if let Ok(Ok(_)) = timeout(PATIENCE, timeline.send_text(TextMessage::plain(text))).await {
            self.diary().said.push(text.to_owned());
        }
    }

    /// Reads the room to its end.
    pub async fn read(&self, room: &RoomId) {
        let Ok(timeline) = self.timeline(room).await else { return };
        drop(timeout(PATIENCE, timeline.mark_read(false)).await);
        let seen = self.seen(room);
        self.diary().read.extend(seen);
    }

    async fn timeline(&self, room: &RoomId) -> Result<Timeline, ChatError> {
        Ok(self.chat().await.room(room)?.timeline())
    }

    /// What lies on their phone of a room now.
    fn seen(&self, room: &RoomId) -> BTreeSet<OwnedEventId> {
        let copy = self.phone.server().and_then(|server| history::copy(&server, room));
        copy.map(|copy| copy.timeline.into_iter().collect()).unwrap_or_default()
    }

    /// The whole room as the client shows it.
    pub async fn items(&self, room: &RoomId) -> Vec<TimelineItem> {
        let timeline = self.timeline(room).await.expect("they are in the room");
        let mut items = Vec::new();
        feed::apply(&mut items, &timeline.next().await.expect("the client is open"));
        while let Ok(false) = timeline.paginate_backwards(ALL).await {}
        while let Ok(Some(batch)) = timeout(Duration::from_secs(5), timeline.next()).await {
            feed::apply(&mut items, &batch);
        }
        items
    }

    /// Watches a room, and holds what is claimed against the others' phones, for ever.
    pub async fn watch(self: Arc<Self>, room: OwnedRoomId, people: Vec<Arc<Self>>) {
        loop {
            let chat = self.chat().await;
            let timeline = chat.room(&room).map(|room| room.timeline());
            if let Ok(timeline) = timeline {
                let mut items = Vec::new();
                while let Some(batch) = timeline.next().await {
                    feed::apply(&mut items, &batch);
                    self.check(&items, &people);
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn check(&self, items: &[TimelineItem], people: &[Arc<Self>]) {
        for item in items {
            let (Some(event), Some(SendState::Sent { recipients })) = (&item.event_id, &item.state) else { continue };
            for recipient in recipients {
                let is_read = match recipient.reach {
                    Reach::Read => true,
                    Reach::OnTheirPhone => false,
                    _ => continue,
                };
                let Some(other) = people.iter().find(|other| other.user == recipient.user) else { continue };
                if !self.diary().claims.insert((event.clone(), recipient.user.clone(), is_read)) {
                    continue;
                }
                if let Some(fault) = other.refutes(event, is_read) {
                    self.diary().faults.push(format!("{} was shown that {event} {fault}", self.name));
                }
            }
        }
    }

    /// What is wrong about a claim that something arrived here, or was read here.
    pub fn refutes(&self, event: &OwnedEventId, is_read: bool) -> Option<String> {
        if is_read && !self.diary().read.contains(event) {
            return Some(format!("was read by {}, who has not read it", self.name));
        }
        // A phone that is off is asked in the end.
        let server = self.phone.server()?;
        let view = server.home().store.snapshot().ok()?;
        let has = Stored::find(&view, event).ok()?.is_some();
        (!has).then(|| format!("is on the phone of {}, where it is not", self.name))
    }
}

/// The texts of a room, each with how often it is shown, and how many items cannot be read.
pub fn texts(items: &[TimelineItem]) -> (BTreeMap<String, usize>, usize) {
    let (mut texts, mut shut) = (BTreeMap::new(), 0);
    for item in items {
        match &item.content {
            ItemContent::Text { body, .. } => *texts.entry(body.clone()).or_default() += 1,
            ItemContent::Undecryptable { .. } => shut += 1,
            _ => {}
        }
    }
    (texts, shut)
}

async fn open(phone: &Phone, name: &str) -> Result<Chat, ChatError> {
    let server = phone.server().ok_or(ChatError::Closed)?;
    let config = ChatConfig {
        store_key: StoreKey::new([7; 32]),
        localpart: name.to_owned(),
        display_name: Some(name.to_owned()),
        device_name: None,
    };
    Chat::open(server.home().clone(), config).await
}

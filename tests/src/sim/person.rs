//! Somebody with a client: what they ask of their phone's homeserver, and what they write down of it.
//!
//! A person uses nothing but the client-server API, so a whole phone is under test. When the phone dies over a request the
//! person waits and asks again, in the same words and with the same transaction id, as clients do.

mod http;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use ::http::Method;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::http::{escaped, request};
use super::{history, phone::Phone};

/// An event that the homeserver acknowledged.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Where.
    pub room: OwnedRoomId,
    /// Which.
    pub event: OwnedEventId,
    /// When the answer came.
    pub at: Instant,
    /// The servers of the room, as the sender's server knew them then.
    pub servers: Vec<OwnedServerName>,
}

/// What a person remembers.
#[derive(Debug, Default)]
pub struct Diary {
    /// What they sent, in order.
    pub acks: Vec<Ack>,
    /// What their client showed, in order.
    pub seen: BTreeMap<OwnedRoomId, Vec<OwnedEventId>>,
    /// The rooms that they are invited to.
    pub invites: BTreeMap<OwnedRoomId, OwnedServerName>,
    /// The rooms that they joined, when, and how often.
    pub joins: BTreeMap<OwnedRoomId, (Instant, u32)>,
    /// Joins (true) and leaves whose answer did not come: they may have happened or not.
    pub doubtful: BTreeMap<OwnedRoomId, (bool, Vec<OwnedServerName>)>,
    /// Answers that nobody should get.
    pub strange: Vec<String>,
}

/// Somebody.
pub struct Person {
    /// `alice`.
    pub name: String,
    /// Their Matrix id.
    pub user: OwnedUserId,
    /// Their phone.
    pub phone: Arc<Phone>,
    token: String,
    transactions: AtomicU64,
    diary: Mutex<Diary>,
}

/// What the homeserver answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// The body of a 200.
    pub fn good(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }
}

impl Person {
    /// Makes an account on a phone.
    pub async fn register(phone: &Arc<Phone>, name: &str) -> Self {
        let user = UserId::parse(format!("@{name}:{}", phone.name)).unwrap();
        let body = json!({ "username": name, "password": "a b c", "auth": { "type": "m.login.dummy" } });
        let request = request(&Method::POST, "/_matrix/client/v3/register", None, Some(&body));
        let answer = phone.call(request).await.expect("the phone is on");
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{name} cannot register: {answer}"));
        Self {
            name: name.to_owned(),
            user,
            phone: phone.clone(),
            token: token.to_owned(),
            transactions: AtomicU64::new(0),
            diary: Mutex::default(),
        }
    }

    /// What they remember.
    pub fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap()
    }

    /// One request, once. `None` when the phone is off or dies over it.
    pub async fn ask_once(&self, method: &Method, path: &str, body: Option<&Value>) -> Option<Answer> {
        let answer = self.phone.call(request(method, path, Some(&self.token), body)).await?;
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        if !path.contains("/sync?") {
            let (event, error) = (&body["event_id"], &body["error"]);
            self.phone.net.note(format_args!("{}: {method} {path}: {status} {event} {error}", self.name));
        }
        if !is_sensible(status) {
            self.diary().strange.push(format!("{}: {method} {path}: {status} {body}", self.name));
        }
        Some(Answer { status, body })
    }

    /// One request, repeated until the phone lives long enough to answer it.
    pub async fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Answer {
        loop {
            self.phone.until_on().await;
            if let Some(answer) = self.ask_once(method, path, body).await {
                return answer;
            }
        }
    }

    /// `POST`.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&Method::POST, path, Some(body)).await
    }

    /// `PUT`.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(&Method::PUT, path, Some(body)).await
    }

    /// `GET`.
    pub async fn read(&self, path: &str) -> Answer {
        self.ask(&Method::GET, path, None).await
    }

    /// Makes a room, invites people.
    pub async fn create_room(&self, body: &Value) -> OwnedRoomId {
        let answer = self.post("/_matrix/client/v3/createRoom", body).await.good();
        let room = RoomId::parse(answer["room_id"].as_str().expect("a room id")).unwrap();
        self.note_join(&room);
        room
    }

    /// Says something.
    pub async fn say(&self, room: &RoomId, text: &str) -> Answer {
        let transaction = self.transactions.fetch_add(1, Ordering::SeqCst);
        let path = format!("{}/send/m.room.message/t{transaction}", path(room));
        self.send(room, &path, &json!({ "msgtype": "m.text", "body": text })).await
    }

    /// Sets a state event with an empty key.
    pub async fn set(&self, room: &RoomId, kind: &str, content: &Value) -> Answer {
        self.send(room, &format!("{}/state/{kind}", path(room)), content).await
    }

    /// Removes an event's content.
    pub async fn redact(&self, room: &RoomId, event: &OwnedEventId) -> Answer {
        let transaction = self.transactions.fetch_add(1, Ordering::SeqCst);
        let path = format!("{}/redact/{}/t{transaction}", path(room), escaped(event.as_str()));
        self.send(room, &path, &json!({ "reason": "a typo" })).await
    }

    async fn send(&self, room: &RoomId, path: &str, content: &Value) -> Answer {
        let answer = self.put(path, content).await;
        if let Some(event) = answer.body["event_id"].as_str().filter(|_| answer.status == 200) {
            let event = OwnedEventId::try_from(event).unwrap();
            let servers = self.phone.server().map(|server| history::servers(&server, room)).unwrap_or_default();
            // The same event again is the answer to the same state set twice, or to a repeated transaction.
            let mut diary = self.diary();
            if diary.acks.iter().all(|ack| ack.event != event) {
                diary.acks.push(Ack { room: room.to_owned(), event, at: Instant::now(), servers });
            }
        }
        answer
    }

    /// Joins a room, with the help of some servers.
    pub async fn join(&self, room: &RoomId, via: &[OwnedServerName]) -> Answer {
        let via_servers = via.to_vec();
        let via: Vec<_> = via.iter().map(|server| format!("via={server}")).collect();
        let path = format!("/_matrix/client/v3/join/{}?{}", escaped(room.as_str()), via.join("&"));
        let answer = self.post(&path, &json!({})).await;
        match answer.status {
            200 => self.note_join(room),
            500.. => drop(self.diary().doubtful.insert(room.to_owned(), (true, via_servers))),
            _ => {}
        }
        answer
    }

    fn note_join(&self, room: &RoomId) {
        let mut diary = self.diary();
        diary.invites.remove(room);
        let join = diary.joins.entry(room.to_owned()).or_insert((Instant::now(), 0));
        *join = (Instant::now(), join.1 + 1);
    }

    /// Leaves a room.
    pub async fn leave(&self, room: &RoomId) -> Answer {
        let answer = self.post(&format!("{}/leave", path(room)), &json!({})).await;
        if answer.status >= 500 {
            self.diary().doubtful.insert(room.to_owned(), (false, Vec::new()));
        }
        answer
    }

    /// Does something to somebody: `invite`, `kick`, `ban`, `unban`.
    pub async fn moderate(&self, room: &RoomId, what: &str, whom: &UserId) -> Answer {
        self.post(&format!("{}/{what}", path(room)), &json!({ "user_id": whom })).await
    }

    /// The content of a state event with an empty key.
    pub async fn state(&self, room: &RoomId, kind: &str) -> Answer {
        self.read(&format!("{}/state/{kind}", path(room))).await
    }

    /// Looks at everything that the client can scroll back to, which fetches what the phone does not have.
    pub async fn scroll_back(&self, room: &RoomId) -> Vec<OwnedEventId> {
        let mut events = Vec::new();
        let mut from = String::new();
        loop {
            let page = self.read(&format!("{}/messages?dir=b&limit=100{from}", path(room))).await.good();
            events.extend(event_ids(&page["chunk"]));
            match page["end"].as_str() {
                Some(end) if format!("&from={end}") != from => from = format!("&from={end}"),
                _ => return events,
            }
        }
    }

    /// The client that shows what comes: syncs for ever.
    pub async fn watch(self: Arc<Self>) {
        let filter = escaped(r#"{"room":{"timeline":{"limit":1000}}}"#);
        let mut since = String::new();
        loop {
            self.phone.until_on().await;
            let path = format!("/_matrix/client/v3/sync?timeout=30000&filter={filter}{since}");
            let Some(answer) = self.ask_once(&Method::GET, &path, None).await else { continue };
            if answer.status != 200 {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                continue;
            }
            since = format!("&since={}", answer.body["next_batch"].as_str().expect("a token"));
            self.note_sync(&answer.body["rooms"]);
        }
    }

    fn note_sync(&self, rooms: &Value) {
        let mut diary = self.diary();
        for part in ["join", "leave"] {
            for (room, news) in rooms[part].as_object().into_iter().flatten() {
                let room = OwnedRoomId::try_from(room.as_str()).unwrap();
                diary.seen.entry(room).or_default().extend(event_ids(&news["timeline"]["events"]));
            }
        }
        for (room, invite) in rooms["invite"].as_object().into_iter().flatten() {
            let events = invite["invite_state"]["events"].as_array().into_iter().flatten();
            let ours = |event: &&Value| event["state_key"] == self.user.as_str();
            let inviter = events.filter(ours).find_map(|event| event["sender"].as_str());
            let inviter = UserId::parse(inviter.expect("an invite names its inviter")).unwrap();
            let room = OwnedRoomId::try_from(room.as_str()).unwrap();
            diary.invites.insert(room, inviter.server_name().to_owned());
        }
    }
}

/// Refusals have reasons, and other servers may be out of reach. Everything else that is no success is a defect.
fn is_sensible(status: u16) -> bool {
    matches!(status, 200 | 400 | 403 | 404 | 502 | 504)
}

fn event_ids(events: &Value) -> impl Iterator<Item = OwnedEventId> {
    let events = events.as_array().into_iter().flatten();
    events.map(|event| OwnedEventId::try_from(event["event_id"].as_str().expect("an event id")).unwrap())
}

fn path(room: &RoomId) -> String {
    format!("/_matrix/client/v3/rooms/{}", escaped(room.as_str()))
}

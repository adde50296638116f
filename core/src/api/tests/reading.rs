//! Reading rooms: syncs, pages, state and members, as clients ask for them.

mod gaps;
mod pages;
mod sight;
mod state;
mod sync;

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use serde_json::{Value, json};

use crate::api::testing::{Answer, Person, Phone};

static TXN: AtomicU64 = AtomicU64::new(0);

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// One person's client.
pub(super) struct Client<'a> {
    pub(super) phone: &'a Phone,
    pub(super) who: Person,
}

impl<'a> Client<'a> {
    pub(super) async fn new(phone: &'a Phone, name: &str) -> Self {
        Self { phone, who: phone.person(name).await }
    }

    pub(super) fn id(&self) -> &str {
        self.who.user.as_str()
    }

    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.phone.call(method, &format!("/_matrix/client/v3/{path}"), Some(&self.who.token), body).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, Some(body)).await.ok()
    }

    /// A room with this history visibility.
    pub(super) async fn create(&self, visibility: &str) -> String {
        let body = json!({
            "preset": "public_chat",
            "initial_state": [{
                "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": visibility }
            }],
        });
        self.post("createRoom", body).await["room_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn say(&self, room: &str, body: &str) -> String {
        let txn = TXN.fetch_add(1, Ordering::Relaxed);
        self.say_as(room, body, &format!("t{txn}")).await
    }

    pub(super) async fn say_as(&self, room: &str, body: &str, txn: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": body });
        let path = format!("rooms/{room}/send/m.room.message/{txn}");
        let sent = self.call(Method::PUT, &path, Some(content)).await.ok();
        sent["event_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn set(&self, room: &str, kind: &str, key: &str, content: Value) -> String {
        let sent = self.call(Method::PUT, &format!("rooms/{room}/state/{kind}/{key}"), Some(content)).await.ok();
        sent["event_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn topic(&self, room: &str, topic: &str) -> String {
        self.set(room, "m.room.topic", "", json!({ "topic": topic })).await
    }

    pub(super) async fn invite(&self, room: &str, whom: &Client<'_>) {
        self.post(&format!("rooms/{room}/invite"), json!({ "user_id": whom.id() })).await;
    }

    pub(super) async fn kick(&self, room: &str, whom: &Client<'_>) {
        self.post(&format!("rooms/{room}/kick"), json!({ "user_id": whom.id(), "reason": "enough" })).await;
    }

    pub(super) async fn join(&self, room: &str) {
        self.post(&format!("rooms/{room}/join"), json!({})).await;
    }

    pub(super) async fn leave(&self, room: &str) {
        self.post(&format!("rooms/{room}/leave"), json!({})).await;
    }

    pub(super) async fn messages(&self, room: &str, query: &str) -> Value {
        self.get(&format!("rooms/{room}/messages?{query}")).await.ok()
    }

    pub(super) async fn sync(&self, query: &str) -> Value {
        self.get(&format!("sync?{query}")).await.ok()
    }

    pub(super) async fn sync_since(&self, since: &Value) -> Value {
        self.sync(&format!("since={}", since["next_batch"].as_str().unwrap())).await
    }

    pub(super) async fn sync_with(&self, since: Option<&Value>, filter: Value) -> Value {
        let filter = encoded(&filter.to_string());
        let since = since.map_or_else(String::new, |since| format!("&since={}", since["next_batch"].as_str().unwrap()));
        self.sync(&format!("filter={filter}{since}")).await
    }
}

/// The ids of a list of events.
pub(super) fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

/// The bodies of a list of messages; other events are left out.
pub(super) fn bodies(events: &Value) -> Vec<String> {
    let events = events.as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str().map(ToOwned::to_owned)).collect()
}

/// Type and state key of a list of state events, sorted.
fn keys(events: &Value) -> Vec<(String, String)> {
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let events = events.as_array().cloned().unwrap_or_default();
    let mut keys: Vec<_> = events.iter().map(|event| (text(event, "type"), text(event, "state_key"))).collect();
    keys.sort();
    keys
}

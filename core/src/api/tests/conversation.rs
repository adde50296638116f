//! What a chat needs beside messages: account data, receipts, typing, notifications, relations.

mod account_data;
mod filters;
mod notifications;
mod push_rules;
mod receipts;
mod relations;
mod threads;
mod typing;

use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::{Value, json};

use super::reading::{Client, bodies, ids};
use crate::{
    api::testing::{Answer, Phone},
    outbox, rooms,
};

/// Two phones within reach of one another, with all that runs in the background of each.
struct Pair {
    ours: Phone,
    theirs: Phone,
}

impl Pair {
    fn new() -> Self {
        let (ours, theirs) = (Phone::new(1), Phone::new(2));
        ours.meets(&theirs);
        theirs.meets(&ours);
        for phone in [&ours, &theirs] {
            tokio::spawn(outbox::run(phone.home.clone(), Arc::default()));
            tokio::spawn(rooms::typing::run(phone.home.clone()));
        }
        Self { ours, theirs }
    }

    /// Ana here, Ben there, and a room of Ana's that both are in.
    async fn together(&self) -> (Client<'_>, Client<'_>, String) {
        let (ana, ben) = (Client::new(&self.ours, "ana").await, Client::new(&self.theirs, "ben").await);
        let room = ana.create("shared").await;
        ben.post(&format!("join/{room}?via={}", self.ours.home.server_name()), json!({})).await;
        settle().await;
        (ana, ben, room)
    }

    /// What their server says to ours, whatever it is.
    async fn they_say(&self, kind: &str, content: Value) {
        let edu = json!({ "edu_type": kind, "content": content }).to_string();
        outbox::tell_now(&self.theirs.home, self.ours.home.server_name(), vec![edu]).await.unwrap();
    }

    fn part(&self) {
        self.ours.leaves(&self.theirs);
        self.theirs.leaves(&self.ours);
    }

    fn meet(&self) {
        self.ours.meets(&self.theirs);
        self.theirs.meets(&self.ours);
    }
}

/// Lets everything that is under way come to its end. Under a paused clock it takes no time.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// A request to another version of the API than v3.
async fn v1(client: &Client<'_>, path: &str) -> Answer {
    client.phone.call(Method::GET, &format!("/_matrix/client/v1/{path}"), Some(&client.who.token), None).await
}

async fn put(client: &Client<'_>, path: &str, body: Value) -> Answer {
    client.call(Method::PUT, path, Some(body)).await
}

async fn post(client: &Client<'_>, path: &str, body: Value) -> Answer {
    client.call(Method::POST, path, Some(body)).await
}

/// Sends an event of any content.
async fn send(client: &Client<'_>, room: &str, kind: &str, content: Value) -> Answer {
    let txn = client.phone.home.ports.random.token(12);
    put(client, &format!("rooms/{room}/send/{kind}/{txn}"), content).await
}

/// Says something that relates to something else.
async fn relate(client: &Client<'_>, room: &str, body: &str, rel_type: &str, event: &str) -> String {
    let new = json!({ "msgtype": "m.text", "body": body });
    let content = json!({
        "msgtype": "m.text", "body": body, "m.new_content": new,
        "m.relates_to": { "rel_type": rel_type, "event_id": event },
    });
    event_id(send(client, room, "m.room.message", content).await)
}

async fn react(client: &Client<'_>, room: &str, key: &str, event: &str) -> Answer {
    let relation = json!({ "rel_type": "m.annotation", "event_id": event, "key": key });
    send(client, room, "m.reaction", json!({ "m.relates_to": relation })).await
}

async fn redact(client: &Client<'_>, room: &str, event: &str) {
    let txn = client.phone.home.ports.random.token(12);
    put(client, &format!("rooms/{room}/redact/{event}/{txn}"), json!({})).await.ok();
}

async fn read(client: &Client<'_>, room: &str, kind: &str, event: &str, thread: Option<&str>) -> Answer {
    let body = thread.map_or_else(|| json!({}), |thread| json!({ "thread_id": thread }));
    post(client, &format!("rooms/{room}/receipt/{kind}/{event}"), body).await
}

async fn ignore(client: &Client<'_>, whom: &str) {
    let path = format!("user/{}/account_data/m.ignored_user_list", client.id());
    put(client, &path, json!({ "ignored_users": { whom: {} } })).await.ok();
}

#[track_caller]
fn event_id(answer: Answer) -> String {
    answer.ok()["event_id"].as_str().unwrap().to_owned()
}

fn joined<'a>(sync: &'a Value, room: &str) -> &'a Value {
    &sync["rooms"]["join"][room]
}

/// The contents of a room's ephemeral events of a type.
fn ephemeral(sync: &Value, room: &str, kind: &str) -> Vec<Value> {
    let events = joined(sync, room)["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["type"] == kind).map(|event| event["content"].clone()).collect()
}

/// Types and contents of a list of account data.
fn data(events: &Value) -> Vec<(String, Value)> {
    let events = events.as_array().cloned().unwrap_or_default();
    events.iter().map(|event| (event["type"].as_str().unwrap().to_owned(), event["content"].clone())).collect()
}

/// Notifications and highlights.
fn unread(sync: &Value, room: &str) -> (u64, u64) {
    let counts = &joined(sync, room)["unread_notifications"];
    (counts["notification_count"].as_u64().unwrap(), counts["highlight_count"].as_u64().unwrap())
}

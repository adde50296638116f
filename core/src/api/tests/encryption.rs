//! End-to-end encryption as clients and other servers meet it: keys, lists, inboxes and backups, on phones without sockets.

mod backup;
mod claims;
mod cross_signing;
mod hostile;
mod inbox;
mod lists;
mod remote;
mod upload;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use http::Method;
use ruma::{
    CanonicalJsonValue, SigningKeyId, UserId,
    signatures::{KeyPair, Signature, sign_json},
};
use serde_json::{Value, json};

use super::rooms::{create, escaped, get, post, put};
use crate::{
    api::testing::{Answer, Person, Phone, password_of, proof},
    home::Home,
    keys, outbox,
    store::{Backend, CrashDisk, StoreConfig, UserKey, View},
};

/// The algorithm of all one-time keys here.
const OTK: &str = "signed_curve25519";

/// A key that signs in the name of a device or a user.
#[derive(Clone)]
struct Key {
    name: String,
    key: SigningKey,
}

impl KeyPair for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        let id = SigningKeyId::parse(format!("ed25519:{}", self.name)).unwrap();
        Signature::new(id, self.key.sign(message).to_bytes().to_vec())
    }
}

impl Key {
    fn of_device(name: &str, seed: u8) -> Self {
        Self { name: name.to_owned(), key: SigningKey::from_bytes(&[seed; 32]) }
    }

    /// A cross-signing key, which is named by itself.
    fn cross_signing(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Self { name: base64(key.verifying_key().as_bytes()), key }
    }

    fn public(&self) -> String {
        base64(self.key.verifying_key().as_bytes())
    }

    fn id(&self) -> String {
        format!("ed25519:{}", self.name)
    }

    fn sign(&self, user: &UserId, json: &Value) -> Value {
        let CanonicalJsonValue::Object(mut object) = CanonicalJsonValue::try_from(json.clone()).unwrap() else {
            panic!("{json}")
        };
        sign_json(user.as_str(), self, &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }
}

fn base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// Somebody's device with its key.
struct Device<'a> {
    phone: &'a Phone,
    who: Person,
    key: Key,
}

impl<'a> Device<'a> {
    /// A new account's first device.
    async fn new(phone: &'a Phone, name: &str, seed: u8) -> Self {
        Self::of(phone, phone.person(name).await, seed)
    }

    fn of(phone: &'a Phone, who: Person, seed: u8) -> Self {
        let key = Key::of_device(&who.device, seed);
        Self { phone, who, key }
    }

    /// Another device of the same account.
    async fn another(&self, seed: u8) -> Self {
        self.log_in(&json!({ "initial_device_display_name": "another" }), seed).await
    }

    async fn log_in(&self, with: &Value, seed: u8) -> Self {
        let mut body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": self.who.user },
            "password": password_of(self.who.user.localpart()),
        });
        body.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let body = self.phone.call(Method::POST, "/_matrix/client/v3/login", None, Some(body)).await.ok();
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        let who = Person { user: self.who.user.clone(), device: text("device_id"), token: text("access_token") };
        Self::of(self.phone, who, seed)
    }

    fn user(&self) -> &str {
        self.who.user.as_str()
    }

    fn id(&self) -> &str {
        &self.who.device
    }

    /// The device's keys, signed.
    fn keys(&self) -> Value {
        self.key.sign(&self.who.user, &self.unsigned_keys())
    }

    fn unsigned_keys(&self) -> Value {
        json!({
            "user_id": self.who.user, "device_id": self.id(),
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { self.key.id(): self.key.public(), format!("curve25519:{}", self.id()): base64(&[9; 32]) },
        })
    }

    /// One-time keys with these numbers.
    fn one_time(&self, numbers: impl IntoIterator<Item = u8>) -> Value {
        numbers.into_iter().map(|n| (key_id(n), self.prekey(n, false))).collect()
    }

    fn fallback(&self, n: u8) -> Value {
        json!({ key_id(n): self.prekey(n, true) })
    }

    fn prekey(&self, n: u8, fallback: bool) -> Value {
        let mut key = json!({ "key": base64(&[n; 32]) });
        if fallback {
            key["fallback"] = json!(true);
        }
        self.key.sign(&self.who.user, &key)
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.phone, &self.who, path).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        post(self.phone, &self.who, path, body).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        put(self.phone, &self.who, path, body).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.phone.call(Method::DELETE, &format!("/_matrix/client/v3/{path}"), Some(&self.who.token), None).await
    }

    async fn upload(&self, body: Value) -> Answer {
        self.post("keys/upload", body).await
    }

    /// Publishes the device's keys, five one-time keys and a fallback key.
    async fn publish(&self) {
        let body = json!({
            "device_keys": self.keys(), "one_time_keys": self.one_time(1..=5), "fallback_keys": self.fallback(100),
        });
        assert_eq!(self.upload(body).await.ok(), json!({ "one_time_key_counts": { OTK: 5 } }));
    }

    async fn query(&self, users: &[&str]) -> Value {
        let users: Value = users.iter().map(|user| ((*user).to_owned(), json!([]))).collect();
        self.post("keys/query", json!({ "device_keys": users })).await.ok()
    }

    /// The number of the key that a claim gives, if it gives one.
    async fn claim(&self, of: &Device<'_>) -> Option<u8> {
        let claims = json!({ of.user(): { of.id(): OTK } });
        let answer = self.post("keys/claim", json!({ "one_time_keys": claims })).await.ok();
        number_of(&answer["one_time_keys"][of.user()][of.id()])
    }

    async fn send(&self, txn: &str, messages: Value) -> Answer {
        self.put(&format!("sendToDevice/m.test/{txn}"), json!({ "messages": messages })).await
    }

    /// Sends one message to one device.
    async fn tell(&self, whom: &Device<'_>, body: &str) {
        let txn = self.phone.home.ports.random.token(8);
        self.send(&txn, json!({ whom.user(): { whom.id(): { "body": body } } })).await.ok();
    }

    async fn sync(&self, since: Option<&Value>) -> Value {
        let since = since.map_or_else(String::new, |since| format!("?since={}", since["next_batch"].as_str().unwrap()));
        self.get(&format!("sync{since}")).await.ok()
    }

    async fn create_room(&self, invite: &[&Device<'_>]) -> String {
        let invite: Vec<&str> = invite.iter().map(|device| device.user()).collect();
        create(self.phone, &self.who, json!({ "preset": "public_chat", "invite": invite })).await.to_string()
    }

    async fn join(&self, room: &str, via: &Phone) {
        self.post(&format!("join/{}?via={}", escaped(room), via.home.server_name()), json!({})).await.ok();
    }

    async fn leave(&self, room: &str) {
        self.post(&format!("rooms/{}/leave", escaped(room)), json!({})).await.ok();
    }

    fn user_key(&self, on: &Phone) -> UserKey {
        UserKey::find(&on.home.store.snapshot().unwrap(), &self.who.user).unwrap().unwrap()
    }

    /// Messages that wait for the device.
    fn waiting(&self) -> usize {
        let view = self.phone.home.store.snapshot().unwrap();
        let user = self.user_key(self.phone).0;
        let all = view.inbox().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap();
        all.filter(|row| {
            let key = row.as_ref().unwrap().0.value();
            (key.0, key.1) == (user, self.id().as_bytes())
        })
        .count()
    }
}

/// The cross-signing keys of somebody.
struct Identity {
    master: Key,
    self_signing: Key,
    user_signing: Key,
}

impl Identity {
    fn new(seed: u8) -> Self {
        let key = |n: u8| Key::cross_signing(seed + n);
        Self { master: key(0), self_signing: key(1), user_signing: key(2) }
    }

    fn key(user: &UserId, usage: &str, key: &Key) -> Value {
        json!({ "user_id": user, "usage": [usage], "keys": { key.id(): key.public() } })
    }

    fn master(&self, user: &UserId) -> Value {
        Self::key(user, "master", &self.master)
    }

    fn self_signing(&self, user: &UserId) -> Value {
        self.master.sign(user, &Self::key(user, "self_signing", &self.self_signing))
    }

    fn user_signing(&self, user: &UserId) -> Value {
        self.master.sign(user, &Self::key(user, "user_signing", &self.user_signing))
    }

    /// The body of an upload of all three.
    fn body(&self, user: &UserId) -> Value {
        json!({
            "master_key": self.master(user), "self_signing_key": self.self_signing(user),
            "user_signing_key": self.user_signing(user),
        })
    }

    async fn publish(&self, device: &Device<'_>) {
        device.post("keys/device_signing/upload", self.body(&device.who.user)).await.ok();
    }
}

/// The id of a one-time key. In one upload, those with a smaller number come first.
fn key_id(n: u8) -> String {
    format!("{OTK}:{n:03}")
}

/// The number in the id of the only key of a claim's answer.
fn number_of(keys: &Value) -> Option<u8> {
    let keys = keys.as_object()?;
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys.keys().next()?.strip_prefix(&format!("{OTK}:"))?.parse().ok()
}

/// The bodies of a sync's to-device messages.
fn bodies(sync: &Value) -> Vec<String> {
    let events = sync["to_device"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["content"]["body"].as_str().unwrap().to_owned()).collect()
}

/// The users in one of a sync's device lists.
fn listed(sync: &Value, which: &str) -> Vec<String> {
    let users = sync["device_lists"][which].as_array().cloned().unwrap_or_default();
    users.iter().map(|user| user.as_str().unwrap().to_owned()).collect()
}

/// What the first phone keeps through a crash.
struct Disk {
    disk: CrashDisk,
    config: StoreConfig,
}

impl Disk {
    fn new() -> Self {
        let disk = CrashDisk::new();
        let backend = Backend::Crash(disk.clone());
        Self { disk, config: StoreConfig { backend, ..StoreConfig::memory() } }
    }

    fn phone(&self) -> Phone {
        Phone::on(1, &self.config)
    }

    /// The phone is killed, loses what was not durable, and starts again.
    fn crash(&self, phone: Phone) -> Phone {
        phone.home.store.kill();
        drop(phone);
        self.disk.crash();
        self.phone()
    }
}

/// Two phones within reach of one another, each with what runs in the background.
fn pair() -> (Phone, Phone) {
    let (ours, theirs) = (Phone::new(1), Phone::new(2));
    meet(&ours, &theirs);
    for phone in [&ours, &theirs] {
        run(&phone.home);
    }
    (ours, theirs)
}

fn meet(one: &Phone, other: &Phone) {
    one.meets(other);
    other.meets(one);
}

fn part(one: &Phone, other: &Phone) {
    one.leaves(other);
    other.leaves(one);
}

fn run(home: &Arc<Home>) {
    tokio::spawn(outbox::run(home.clone(), Arc::default()));
    tokio::spawn(keys::resync::run(home.clone()));
}

/// Lets everything that is under way come to its end. The clock is paused, so this takes no time.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

//! Peers that lie.

use std::collections::BTreeMap;

use matrix_sdk_crypto::{OlmMachine, types::requests::AnyOutgoingRequest};
use ruma::{
    api::federation::transactions::edu::DirectDeviceContent, events::ToDeviceEventType, serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use serde_json::{Value, json, value::to_raw_value};

use super::super::{
    Clear, Trust,
    testing::{Net, Phone, people, settle},
};
use crate::{
    chat::{crypto::send, verification::UserTrust},
    keys,
};

/// Puts a to-device message from one phone's user into another's inbox, as the first one's homeserver could.
async fn throw(from: &Phone, to: &Phone, kind: &str, id: &str, content: Value) {
    let mut thrown = DirectDeviceContent::new(from.user.clone(), ToDeviceEventType::from(kind), id.to_owned().into());
    let content = Raw::from_json(to_raw_value(&content).unwrap());
    thrown.messages =
        BTreeMap::from([(to.user.clone(), BTreeMap::from([(DeviceIdOrAllDevices::AllDevices, content)]))]);
    keys::receive(to.home(), &from.name(), vec![thrown]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_back_with_other_keys_is_refused() {
    let net = Net::new();
    let [alice, mallory] = people(&net, ["alice", "mallory"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &mallory).await;
    alice.say(&room, "to the true device").await;
    settle().await;
    let before = alice.chat.devices(&mallory.user).await.unwrap();
    assert_eq!(before.len(), 1);
    // Mallory's homeserver puts other keys in the place of the device that she has.
    let forged = OlmMachine::new(&mallory.user, &mallory.me().device).await;
    for request in forged.outgoing_requests().await.unwrap() {
        if let AnyOutgoingRequest::KeysUpload(request) = request.request() {
            keys::upload(mallory.home(), &mallory.me(), request.clone()).await.unwrap();
        }
    }
    settle().await;
    assert_eq!(alice.chat.devices(&mallory.user).await.unwrap(), before, "the first keys count");
    let event = alice.say(&room, "to the true device still").await;
    settle().await;
    let Clear::Event { .. } = mallory.read(&room, &event).await else { panic!("the true device reads on") };
}

#[tokio::test(start_paused = true)]
async fn another_identity_is_told_and_one_that_was_verified_gets_no_keys_until_it_is_accepted() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    assert_eq!(alice.chat.trust_of(&bob.user).await.unwrap(), UserTrust::Unverified);
    // Alice verified bob once.
    let identity = alice.chat.inner.crypto.machine.get_identity(&bob.user, None).await.unwrap().unwrap();
    let signatures = identity.other().unwrap().verify().await.unwrap();
    send::signatures(&alice.chat.inner, signatures).await.unwrap();
    settle().await;
    assert_eq!(alice.chat.trust_of(&bob.user).await.unwrap(), UserTrust::Verified);
    let event = bob.say(&room, "as ever").await;
    settle().await;
    let Clear::Event { trust: Trust::Verified, .. } = alice.read(&room, &event).await else { panic!("not verified") };
    // Then somebody takes his place.
    bob.new_identity().await;
    settle().await;
    assert_eq!(alice.chat.trust_of(&bob.user).await.unwrap(), UserTrust::Changed);
    alice.say(&room, "who are you?").await;
    settle().await;
    assert_eq!(bob.texts(&room).await, ["as ever", "?"], "no keys for whoever this is");
    alice.chat.accept_identity(&bob.user).await.unwrap();
    settle().await;
    assert_eq!(alice.chat.trust_of(&bob.user).await.unwrap(), UserTrust::Unverified);
    assert_eq!(bob.texts(&room).await, ["as ever", "who are you?"], "what was held back is given");
}

#[tokio::test(start_paused = true)]
async fn nonsense_from_device_to_device_holds_nothing_up() {
    let net = Net::new();
    let [alice, mallory] = people(&net, ["alice", "mallory"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &mallory).await;
    let olm = |body: &str| {
        json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "hPQNcabIABgGnx3/ACv/jmMmiQHoeFfuLB17tzWp6Hw",
            "ciphertext": { alice.chat.inner.crypto.machine.identity_keys().curve25519.to_base64(): { "type": 0, "body": body } },
        })
    };
    let junk = [
        ("m.room.encrypted", json!({})),
        ("m.room.encrypted", olm("")),
        ("m.room.encrypted", olm("AwogAAAA")),
        ("m.room.encrypted", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
        (
            "m.room_key",
            json!({ "algorithm": "m.megolm.v1.aes-sha2", "room_id": room, "session_id": "x", "session_key": "y" }),
        ),
        ("m.forwarded_room_key", json!({ "room_id": room })),
        ("m.room_key.withheld", json!({ "code": "m.blacklisted" })),
        ("m.room_key_request", json!({ "action": "request" })),
        (
            "m.room_key_request",
            json!({ "action": "request", "requesting_device_id": "X", "request_id": "1",
            "body": { "algorithm": "m.megolm.v1.aes-sha2", "room_id": room, "session_id": "nothing" } }),
        ),
        (
            "m.secret.request",
            json!({ "action": "request", "name": "m.cross_signing.master",
            "requesting_device_id": mallory.me().device, "request_id": "2" }),
        ),
        ("m.secret.send", json!({ "request_id": "2", "secret": "s" })),
        (
            "m.key.verification.request",
            json!({ "from_device": "NOBODY", "transaction_id": "t",
            "methods": ["m.sas.v1"], "timestamp": 1 }),
        ),
        ("m.key.verification.start", json!({ "transaction_id": "t" })),
        ("m.key.verification.mac", json!({ "transaction_id": "t", "mac": {}, "keys": "" })),
        ("m.dummy", json!([])),
        ("", json!(null)),
    ];
    for (index, (kind, content)) in junk.into_iter().enumerate() {
        throw(&mallory, &alice, kind, &format!("junk{index}"), content).await;
    }
    settle().await;
    mallory.say(&room, "and now a true word").await;
    settle().await;
    assert_eq!(alice.texts(&room).await, ["and now a true word"]);
    alice.say(&room, "answered").await;
    settle().await;
    assert_eq!(mallory.texts(&room).await, ["and now a true word", "answered"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_replayed_from_device_to_device_changes_nothing() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    // What alice's homeserver sends to bob's device is put into his inbox a second and a third time.
    bob.chat.stop().await;
    alice.say(&room, "once").await;
    settle().await;
    let view = bob.home().store.snapshot().unwrap();
    let news = keys::news(&view, &bob.me(), None, crate::types::SyncToken(u64::MAX)).unwrap();
    let keys: Vec<Value> =
        news.to_device.iter().map(|event| serde_json::from_str(event.json().get()).unwrap()).collect();
    drop(view);
    assert!(!keys.is_empty());
    let bob = bob.reboot().await;
    net.link(&alice, &bob);
    settle().await;
    for round in 0..2 {
        for (index, event) in keys.iter().enumerate() {
            let kind = event["type"].as_str().unwrap();
            throw(&alice, &bob, kind, &format!("again{round}-{index}"), event["content"].clone()).await;
        }
        settle().await;
    }
    alice.say(&room, "twice").await;
    settle().await;
    bob.say(&room, "back").await;
    settle().await;
    let all = ["once", "twice", "back"];
    assert_eq!(bob.texts(&room).await, all);
    assert_eq!(alice.texts(&room).await, all);
}

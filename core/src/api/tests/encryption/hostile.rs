//! What other servers send that they should not.

use axum::{
    Router,
    routing::{MethodRouter, any},
};

use super::*;
use crate::types::limits::{DEVICES_MAX, INBOX_BYTES_MAX, TO_DEVICE_BYTES_MAX};

/// Sends EDUs in a transaction of their own, signed as it should be.
async fn send(from: &Phone, to: &Phone, edus: &[Value]) {
    let edus = edus.iter().map(Value::to_string).collect();
    outbox::tell_now(&from.home, to.home.server_name(), edus).await.unwrap();
}

fn message(sender: &str, id: &str, whom: &Device<'_>, body: &str) -> Value {
    json!({ "edu_type": "m.direct_to_device", "content": {
        "sender": sender, "type": "m.test", "message_id": id, "messages": { whom.user(): { whom.id(): { "body": body } } },
    } })
}

fn update(user: &str, device: &Device<'_>, stream: u64, prev: &[u64]) -> Value {
    json!({ "edu_type": "m.device_list_update", "content": {
        "user_id": user, "device_id": device.id(), "stream_id": stream, "prev_id": prev, "keys": device.keys(),
    } })
}

#[tokio::test]
async fn a_message_is_taken_once_and_from_its_senders_server_alone() {
    let disk = Disk::new();
    let (ours, theirs, third) = (disk.phone(), Phone::new(2), Phone::new(3));
    theirs.meets(&ours);
    third.meets(&ours);
    let ana = Device::new(&ours, "ana", 1).await;
    let (ben, cat) = (theirs.user("ben"), third.user("cat"));
    let genuine = message(ben.as_str(), "1", &ana, "genuine");
    send(&theirs, &ours, std::slice::from_ref(&genuine)).await;
    send(&theirs, &ours, &[genuine.clone(), message(ben.as_str(), "2", &ana, "second"), genuine.clone()]).await;
    // In another's name, and under another's message id.
    send(&theirs, &ours, &[message(cat.as_str(), "3", &ana, "forged"), message(ana.user(), "4", &ana, "forged")]).await;
    send(&third, &ours, &[message(cat.as_str(), "1", &ana, "another server's 1")]).await;
    assert_eq!(bodies(&ana.sync(None).await), ["genuine", "second", "another server's 1"]);
    let ana = ana.who;
    let ours = disk.crash(ours);
    theirs.meets(&ours);
    let ana = Device::of(&ours, ana, 1);
    send(&theirs, &ours, &[genuine]).await;
    assert_eq!(bodies(&ana.sync(None).await), ["genuine", "second", "another server's 1"], "nor after a restart");
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_passed_over_and_the_rest_taken() {
    let (ours, theirs) = (Phone::new(1), Phone::new(2));
    theirs.meets(&ours);
    let ana = Device::new(&ours, "ana", 1).await;
    let ben = theirs.user("ben");
    let mut no_object = message(ben.as_str(), "1", &ana, "");
    no_object["content"]["messages"][ana.user()][ana.id()] = json!([1]);
    let mut no_type = message(ben.as_str(), "2", &ana, "");
    no_type["content"].as_object_mut().unwrap().remove("type");
    let large = message(ben.as_str(), "3", &ana, &"x".repeat(TO_DEVICE_BYTES_MAX));
    let long_id = message(ben.as_str(), &"4".repeat(256), &ana, "");
    let mut long_type = message(ben.as_str(), "5", &ana, "");
    long_type["content"]["type"] = json!("t".repeat(256));
    let mut of_others = message(ben.as_str(), "6", &ana, "");
    of_others["content"]["messages"] = json!({ "@x:elsewhere": { "*": {} }, ours.user("none").as_str(): { "*": {} } });
    let fine = message(ben.as_str(), "7", &ana, "fine");
    let odd = [json!({ "edu_type": 1 }), json!({ "edu_type": "m.direct_to_device", "content": [] })];
    let edus: Vec<Value> =
        [no_object, no_type, large, long_id, long_type, of_others].into_iter().chain(odd).chain([fine]).collect();
    send(&theirs, &ours, &edus).await;
    assert_eq!(bodies(&ana.sync(None).await), ["fine"]);
    let view = ours.home.store.snapshot().unwrap();
    let all = std::ops::Bound::Unbounded;
    assert_eq!(view.seen().unwrap().between(all, all).unwrap().count(), 1, "what is for nobody leaves no trace");
}

#[tokio::test]
async fn a_flood_fills_its_own_share_of_an_inbox() {
    let (ours, theirs, third) = (Phone::new(1), Phone::new(2), Phone::new(3));
    let ana = Device::new(&ours, "ana", 1).await;
    let another = ana.another(4).await;
    for phone in [&theirs, &third] {
        phone.meets(&ours);
        // A room has brought the server here: it is no stranger.
        let ben = Device::new(phone, "ben", 2).await;
        ours.meets(phone);
        let room = ana.create_room(&[]).await;
        ben.join(&room, &ours).await;
    }
    let ben = theirs.user("ben");
    let large = "x".repeat(65_000);
    for n in 0..60 {
        let batch: Vec<Value> = (0..10).map(|m| message(ben.as_str(), &format!("{n}.{m}"), &ana, &large)).collect();
        send(&theirs, &ours, &batch).await;
    }
    let full = usize::try_from(INBOX_BYTES_MAX).unwrap() / large.len();
    assert!(ana.waiting() <= full && ana.waiting() > full - 5, "{} of {full}", ana.waiting());
    let before = ana.waiting();
    send(&third, &ours, &[message(third.user("ben").as_str(), "1", &ana, "honest")]).await;
    ana.tell(&ana, "own").await;
    send(&theirs, &ours, &[message(ben.as_str(), "other", &another, "to another device")]).await;
    assert_eq!(ana.waiting(), before + 2);
    assert_eq!(bodies(&another.sync(None).await), ["to another device"]);
    // Once the device has taken some, there is room again.
    let first = ana.sync(None).await;
    ana.sync(Some(&first)).await;
    send(&theirs, &ours, &[message(ben.as_str(), "last", &ana, "last")]).await;
    let (mut since, mut seen) = (first, Vec::new());
    loop {
        let next = ana.sync(Some(&since)).await;
        if bodies(&next).is_empty() {
            break;
        }
        seen.extend(bodies(&next));
        since = next;
    }
    assert_eq!(seen[seen.len() - 3..], ["honest", "own", "last"]);
    let view = ours.home.store.snapshot().unwrap();
    let all = std::ops::Bound::Unbounded;
    let used: Vec<_> = view.inbox_use().unwrap().between(all, all).unwrap().collect();
    assert_eq!(used.len(), 2, "only what waits for the other device is counted still, for it and for all");
}

/// Somebody here who follows the devices of somebody there.
async fn followed<'a>(ours: &'a Phone, theirs: &'a Phone) -> (Device<'a>, Device<'a>) {
    let (ana, ben) = (Device::new(ours, "ana", 1).await, Device::new(theirs, "ben", 2).await);
    ben.publish().await;
    let room = ana.create_room(&[]).await;
    ben.join(&room, ours).await;
    ana.query(&[ben.user()]).await;
    settle().await;
    (ana, ben)
}

#[tokio::test(start_paused = true)]
async fn a_server_speaks_for_its_own_users_alone() {
    let (ours, theirs) = pair();
    let third = Phone::new(3);
    third.meets(&ours);
    let (ana, ben) = followed(&ours, &theirs).await;
    let since = ana.sync(None).await;
    let eve = Device::of(&theirs, Person { device: "EVIL".into(), ..ben.who.clone() }, 66);
    let identity = Identity::new(30);
    let forged = json!({ "edu_type": "m.signing_key_update", "content": {
        "user_id": ben.user(), "master_key": identity.master(&ben.who.user),
        "self_signing_key": identity.self_signing(&ben.who.user),
    } });
    let deleted = json!({ "edu_type": "m.device_list_update", "content": {
        "user_id": ben.user(), "device_id": ben.id(), "stream_id": 10_000, "deleted": true,
    } });
    let own = update(ana.user(), &eve, 10_000, &[]);
    send(&third, &ours, &[update(ben.user(), &eve, 10_000, &[]), forged, deleted, own]).await;
    settle().await;
    assert_eq!(ana.sync(Some(&since)).await["device_lists"], Value::Null);
    part(&ours, &theirs);
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(
        shown,
        json!({ "device_keys": { ben.user(): { ben.id(): ben.keys() } } }),
        "and the list is not even stale"
    );
}

#[tokio::test(start_paused = true)]
async fn updates_that_do_not_hold_are_not_taken_over() {
    let (ours, theirs) = pair();
    let (ana, ben) = followed(&ours, &theirs).await;
    let stream = {
        let view = ours.home.store.snapshot().unwrap();
        let row = view.rdl().unwrap().row(ben.user_key(&ours).0).unwrap().unwrap();
        <crate::store::RemoteListRecord as crate::store::Record>::decode(row.value()).unwrap().stream.unwrap()
    };
    let eve = Device::of(&theirs, Person { device: "EVIL".into(), ..ben.who.clone() }, 66);
    let mut unsigned = update(ben.user(), &eve, 9_000, &[stream]);
    unsigned["content"]["keys"] = eve.unsigned_keys();
    let mut misnamed = update(ben.user(), &eve, 9_001, &[stream]);
    misnamed["content"]["device_id"] = json!("OTHER");
    let identity = Identity::new(30);
    let mixed = json!({ "edu_type": "m.signing_key_update", "content": {
        "user_id": ben.user(), "master_key": identity.master(&ben.who.user),
        "self_signing_key": Identity::new(40).self_signing(&ben.who.user),
    } });
    send(&theirs, &ours, &[unsigned, misnamed, mixed]).await;
    // Each made the list stale, and the server itself says that nothing is new.
    settle().await;
    part(&ours, &theirs);
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(shown, json!({ "device_keys": { ben.user(): { ben.id(): ben.keys() } } }));
}

/// A homeserver whose key endpoints answer lies, whatever they are asked.
fn liar(seed: u8, devices: &Value, query: &Value, claim: &Value) -> Phone {
    let says = |lie: &Value| -> MethodRouter {
        let lie = lie.to_string();
        any(move || std::future::ready(lie.clone()))
    };
    let mut phone = Phone::new(seed);
    phone.server = Router::new()
        .route("/_matrix/federation/v1/user/devices/{user}", says(devices))
        .route("/_matrix/federation/v1/user/keys/query", says(query))
        .route("/_matrix/federation/v1/user/keys/claim", says(claim));
    phone
}

#[tokio::test]
async fn lies_about_keys_are_left_out() {
    let name = Phone::new(2);
    let eve = Device::of(&name, Person { user: name.user("eve"), device: "EVE".into(), token: String::new() }, 2);
    let other = Device::of(&name, Person { user: name.user("eve"), device: "TWO".into(), token: String::new() }, 3);
    let ours = Phone::new(1);
    let ana = Device::new(&ours, "ana", 1).await;
    let mut altered = other.keys();
    altered["algorithms"] = json!([]);
    let mut chatty = eve.keys();
    chatty["unsigned"] = json!({ "device_display_name": "x".repeat(2_000), "more": 1 });
    chatty["signatures"]["@somebody:else"] = json!({ "ed25519:X": "AAAA" });
    let mut large = other.unsigned_keys();
    large["device_id"] = json!("LARGE");
    large["keys"] = json!({ "ed25519:LARGE": other.key.public() });
    large["more"] = json!("x".repeat(20_000));
    let key = Key { name: "LARGE".into(), ..other.key.clone() };
    let large = key.sign(&eve.who.user, &large);
    let identity = Identity::new(10);
    let query = json!({
        "device_keys": {
            eve.user(): { "EVE": chatty, "TWO": altered, "THREE": eve.keys(), "LARGE": large, "": eve.keys() },
            ana.user(): { ana.id(): ana.keys(), "EVIL": eve.keys() },
        },
        "master_keys": { eve.user(): identity.master(&ana.who.user), ana.user(): identity.master(&ana.who.user) },
        "self_signing_keys": { eve.user(): identity.self_signing(&eve.who.user) },
    });
    let claim = json!({ "one_time_keys": {
        eve.user(): { "EVE": { key_id(1): eve.prekey(1, false), "other:2": "x" }, "NOT ASKED": eve.one_time([1]) },
        ana.user(): { ana.id(): ana.one_time([1]) },
    } });
    let theirs = liar(2, &json!({}), &query, &claim);
    ours.meets(&theirs);
    let shown = ana.query(&[eve.user(), ana.user()]).await;
    let expected = json!({ eve.user(): { "EVE": eve.keys() }, ana.user(): {} });
    assert_eq!(shown, json!({ "device_keys": expected }));
    assert_eq!(ana.claim(&eve).await, Some(1));
    let asked = json!({ "one_time_keys": { eve.user(): { "EVE": "other", "TWO": OTK } } });
    let given = ana.post("keys/claim", asked).await.ok();
    assert_eq!(given["one_time_keys"], json!({ eve.user(): { "EVE": { "other:2": "x" } } }));
}

#[tokio::test]
async fn a_user_with_too_many_devices_has_some_of_them() {
    let name = Phone::new(2);
    let ours = Phone::new(1);
    let ana = Device::new(&ours, "ana", 1).await;
    let user = name.user("eve");
    let device = |n: usize| {
        let who = Person { user: user.clone(), device: format!("D{n}"), token: String::new() };
        (format!("D{n}"), Device::of(&name, who, 7).keys())
    };
    let devices: Value = (0..DEVICES_MAX + 5).map(device).collect();
    let theirs = liar(2, &json!({}), &json!({ "device_keys": { user.as_str(): devices } }), &json!({}));
    ours.meets(&theirs);
    let shown = ana.query(&[user.as_str()]).await;
    assert_eq!(shown["device_keys"][user.as_str()].as_object().unwrap().len(), DEVICES_MAX);
}

#[tokio::test]
async fn an_answer_about_somebody_else_is_a_failure() {
    let name = Phone::new(2);
    let ours = Phone::new(1);
    let ana = Device::new(&ours, "ana", 1).await;
    let eve = Device::new(&name, "eve", 2).await;
    // The server is honest until a room is shared.
    ours.meets(&name);
    name.meets(&ours);
    let room = ana.create_room(&[]).await;
    eve.join(&room, &ours).await;
    let devices = json!({ "user_id": ana.user(), "stream_id": 1, "devices": [] });
    let theirs = liar(2, &devices, &json!({}), &json!({}));
    ours.meets(&theirs);
    let shown = ana.query(&[eve.user()]).await;
    assert!(shown["failures"][theirs.home.server_name().as_str()].is_object(), "{shown}");
    assert_eq!(shown["device_keys"], Value::Null);
}

#[tokio::test]
async fn other_servers_hear_only_of_our_users_and_only_what_is_for_all() {
    let (ours, theirs) = (Phone::new(1), Phone::new(2));
    theirs.meets(&ours);
    let ana = Device::new(&ours, "ana", 1).await;
    ana.publish().await;
    let identity = Identity::new(10);
    identity.publish(&ana).await;
    let users = [ana.who.user.clone(), ours.user("nobody"), theirs.user("ben")];
    let request = ruma::api::federation::keys::get_keys::v1::Request::new(
        users.iter().map(|user| (user.clone(), Vec::new())).collect(),
    );
    let answer = outbox::request_soon(&theirs.home, ours.home.server_name(), request).await.unwrap();
    assert_eq!(answer.device_keys.keys().collect::<Vec<_>>(), [&ana.who.user]);
    let text = serde_json::to_string(&(answer.master_keys, answer.self_signing_keys)).unwrap();
    assert!(text.contains(&identity.self_signing.public()) && !text.contains(&identity.user_signing.public()));
    let devices = async |user: &UserId| {
        let request = ruma::api::federation::device::get_devices::v1::Request::new(user.to_owned());
        outbox::request_soon(&theirs.home, ours.home.server_name(), request).await
    };
    let list = devices(&ana.who.user).await.unwrap();
    assert_eq!(list.devices.len(), 1);
    assert!(u64::from(list.stream_id) > 0);
    for user in &users[1..] {
        let refused = devices(user).await.unwrap_err();
        assert_eq!(refused.kind(), Some(&ruma::api::error::ErrorKind::NotFound));
    }
}

//! A device publishes its keys, and loses them.

use super::*;
use crate::types::limits::{DEVICE_KEYS_BYTES_MAX, ONE_TIME_KEYS_MAX};

#[tokio::test]
async fn keys_are_published_counted_and_shown() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let first = ana.sync(None).await;
    assert_eq!(first["device_one_time_keys_count"], json!({}));
    assert_eq!(first["device_unused_fallback_key_types"], json!([]));
    ana.publish().await;
    let sync = ana.sync(Some(&first)).await;
    assert_eq!(sync["device_one_time_keys_count"], json!({ OTK: 5 }));
    assert_eq!(sync["device_unused_fallback_key_types"], json!([OTK]));
    assert_eq!(listed(&sync, "changed"), [ana.user()]);

    let shown = ben.query(&[ana.user(), phone.user("nobody").as_str()]).await;
    assert_eq!(shown, json!({ "device_keys": { ana.user(): { ana.id(): ana.keys() } } }));
    ana.put(&format!("devices/{}", ana.id()), json!({ "display_name": "my phone" })).await.ok();
    let named = &ben.query(&[ana.user()]).await["device_keys"][ana.user()][ana.id()];
    assert_eq!(named["unsigned"], json!({ "device_display_name": "my phone" }));
    assert_eq!(listed(&ana.sync(Some(&sync)).await, "changed"), [ana.user()]);

    let another = ana.another(3).await;
    another.publish().await;
    let two = &ben.query(&[ana.user()]).await["device_keys"][ana.user()];
    assert_eq!(two.as_object().unwrap().len(), 2);
    let one = json!({ "device_keys": { ana.user(): [another.id(), "NONE"] } });
    let one = ben.post("keys/query", one).await.ok();
    assert_eq!(one["device_keys"][ana.user()].as_object().unwrap().keys().collect::<Vec<_>>(), [another.id()]);
    // A user without keys exists all the same.
    assert_eq!(ana.query(&[ben.user()]).await["device_keys"], json!({ ben.user(): {} }));
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let phone = Phone::new(1);
    let ana = Device::new(&phone, "ana", 1).await;
    ana.publish().await;
    let before = ana.sync(None).await;
    ana.publish().await;
    let more = ana.upload(json!({ "one_time_keys": ana.one_time(4..=7) })).await.ok();
    assert_eq!(more["one_time_key_counts"][OTK], 7);
    assert_eq!(ana.upload(json!({})).await.ok()["one_time_key_counts"][OTK], 7);
    assert_eq!(listed(&ana.sync(Some(&before)).await, "changed"), Vec::<String>::new());
}

#[tokio::test]
async fn foreign_and_unsigned_keys_are_refused() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let device_keys = async |keys: Value| ana.upload(json!({ "device_keys": keys })).await;
    device_keys(ben.keys()).await.is_error(400, "M_INVALID_PARAM");
    device_keys(ana.another(3).await.keys()).await.is_error(400, "M_INVALID_PARAM");
    device_keys(ana.unsigned_keys()).await.is_error(400, "M_INVALID_SIGNATURE");
    let mut keys = ana.keys();
    keys["algorithms"] = json!(["m.other"]);
    device_keys(keys).await.is_error(400, "M_INVALID_SIGNATURE");
    let without = |field: &str| {
        let mut keys = ana.unsigned_keys();
        keys.as_object_mut().unwrap().remove(field);
        ana.key.sign(&ana.who.user, &keys)
    };
    for field in ["user_id", "device_id", "algorithms", "keys"] {
        device_keys(without(field)).await.is_error(400, "M_BAD_JSON");
    }
    let mut keys = ana.unsigned_keys();
    keys["keys"]["ed25519:OTHER"] = json!(ana.key.public());
    device_keys(ana.key.sign(&ana.who.user, &keys)).await.is_error(400, "M_BAD_JSON");
    device_keys(json!([])).await.is_error(400, "M_BAD_JSON");
    let mut keys = ana.unsigned_keys();
    keys["more"] = json!("x".repeat(DEVICE_KEYS_BYTES_MAX));
    device_keys(ana.key.sign(&ana.who.user, &keys)).await.is_error(413, "M_TOO_LARGE");
    assert_eq!(ben.query(&[ana.user()]).await["device_keys"][ana.user()], json!({}));
    // Without the device's keys there is nothing to check one-time keys with.
    ana.upload(json!({ "one_time_keys": ana.one_time(1..=1) })).await.is_error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn one_time_keys_have_rules() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    ana.publish().await;
    let other = json!({ key_id(1): ana.prekey(77, false) });
    ana.upload(json!({ "one_time_keys": other })).await.is_error(400, "M_INVALID_PARAM");
    ana.upload(json!({ "one_time_keys": ben.one_time(8..=8) })).await.is_error(400, "M_INVALID_SIGNATURE");
    ana.upload(json!({ "fallback_keys": ben.fallback(8) })).await.is_error(400, "M_INVALID_SIGNATURE");
    let key = json!({ key_id(9): { "key": base64(&[1; 32]) } });
    ana.upload(json!({ "one_time_keys": key })).await.is_error(400, "M_INVALID_SIGNATURE");
    let short = ana.key.sign(&ana.who.user, &json!({ "key": base64(&[1; 31]) }));
    ana.upload(json!({ "one_time_keys": { key_id(9): short } })).await.is_error(400, "M_BAD_JSON");
    let large = ana.key.sign(&ana.who.user, &json!({ "key": base64(&[1; 32]), "more": "x".repeat(5_000) }));
    ana.upload(json!({ "one_time_keys": { key_id(9): large } })).await.is_error(413, "M_TOO_LARGE");
    let two = json!({ key_id(1): ana.prekey(1, true), key_id(2): ana.prekey(2, true) });
    ana.upload(json!({ "fallback_keys": two })).await.is_error(400, "M_INVALID_PARAM");
    let key = ana.prekey(1, false);
    let many: Value = (0..ONE_TIME_KEYS_MAX - 4).map(|n| (format!("{OTK}:many{n}"), key.clone())).collect();
    ana.upload(json!({ "one_time_keys": many })).await.is_error(413, "M_TOO_LARGE");
    assert_eq!(ana.upload(json!({})).await.ok()["one_time_key_counts"][OTK], 5, "nothing of a refused upload stays");
}

#[tokio::test]
async fn a_device_with_another_identity_starts_anew() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    ana.publish().await;
    let reborn = Device { key: Key::of_device(ana.id(), 50), who: ana.who.clone(), phone: &phone };
    // The old keys are what they are checked with until the new ones come.
    reborn.upload(json!({ "one_time_keys": reborn.one_time(1..=1) })).await.is_error(400, "M_INVALID_SIGNATURE");
    let body = json!({ "device_keys": reborn.keys(), "one_time_keys": reborn.one_time(1..=1) });
    assert_eq!(reborn.upload(body).await.ok()["one_time_key_counts"][OTK], 1);
    assert_eq!(ben.query(&[ana.user()]).await["device_keys"][ana.user()][ana.id()], reborn.keys());
    assert_eq!(ben.claim(&reborn).await, Some(1));
    assert_eq!(ben.claim(&reborn).await, None, "what the old identity signed is gone, its fallback key too");
}

#[tokio::test]
async fn a_device_that_logs_out_takes_its_keys_along() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let another = ana.another(3).await;
    let room = ana.create_room(&[]).await;
    ben.join(&room, &phone).await;
    another.publish().await;
    ana.publish().await;
    ben.tell(&another, "hello").await;
    let before = ben.sync(None).await;
    another.post("logout", json!({})).await.ok();
    let after = ben.sync(Some(&before)).await;
    assert_eq!(listed(&after, "changed"), [ana.user()]);
    let left = ben.query(&[ana.user()]).await;
    assert_eq!(left["device_keys"][ana.user()].as_object().unwrap().keys().collect::<Vec<_>>(), [ana.id()]);
    assert_eq!(ben.claim(&another).await, None);
    // A device of the same name that comes later gets nothing that was meant for the one before.
    let same = ana.log_in(&json!({ "device_id": another.id() }), 3).await;
    assert_eq!(bodies(&same.sync(None).await), Vec::<String>::new());
    assert_eq!(same.sync(None).await["device_one_time_keys_count"], json!({}));

    let proof = json!({ "auth": proof("ana") });
    ana.post("account/deactivate", proof).await.ok();
    assert_eq!(ben.query(&[ana.user()]).await, json!({}));
    assert_eq!(listed(&ben.sync(Some(&after)).await, "changed"), [ana.user()]);
}

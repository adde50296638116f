//! Backups of room keys.

use super::*;
use crate::types::limits::{BACKUP_KEY_BYTES_MAX, BACKUPS_MAX};

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

fn described(public_key: &str) -> Value {
    json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": public_key, "signatures": {} } })
}

fn key(first: u32, forwarded: u32, verified: bool, text: &str) -> Value {
    json!({
        "first_message_index": first, "forwarded_count": forwarded, "is_verified": verified,
        "session_data": { "ephemeral": "AAAA", "ciphertext": text, "mac": "AAAA" },
    })
}

async fn begin(ana: &Device<'_>) -> String {
    ana.post("room_keys/version", described("AAAA")).await.ok()["version"].as_str().unwrap().to_owned()
}

fn state(answer: &Value) -> (String, u64) {
    (answer["etag"].as_str().unwrap().to_owned(), answer["count"].as_u64().unwrap())
}

#[tokio::test]
async fn versions_come_change_and_go() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    ana.get("room_keys/version").await.is_error(404, "M_NOT_FOUND");
    let one = begin(&ana).await;
    let mut shown = described("AAAA");
    shown["version"] = json!(one);
    (shown["etag"], shown["count"]) = (json!("0"), json!(0));
    assert_eq!(ana.get("room_keys/version").await.ok(), shown);
    assert_eq!(ana.get(&format!("room_keys/version/{one}")).await.ok(), shown);
    let two = begin(&ana).await;
    assert_ne!(one, two);
    assert_eq!(ana.get("room_keys/version").await.ok()["version"], two.as_str());

    let path = format!("room_keys/version/{one}");
    ana.put(&path, described("BBBB")).await.ok();
    assert_eq!(ana.get(&path).await.ok()["auth_data"]["public_key"], "BBBB");
    let mut body = described("CCCC");
    body["version"] = json!(two);
    ana.put(&path, body.clone()).await.is_error(400, "M_INVALID_PARAM");
    body["version"] = json!(one);
    ana.put(&path, body.clone()).await.ok();
    body["algorithm"] = json!("m.other");
    ana.put(&path, body).await.is_error(400, "M_INVALID_PARAM");
    ana.put("room_keys/version/9", described("A")).await.is_error(404, "M_NOT_FOUND");
    ana.post("room_keys/version", json!({ "algorithm": ALGORITHM })).await.is_error(400, "M_BAD_JSON");
    let long = described(&"A".repeat(BACKUP_KEY_BYTES_MAX));
    ana.post("room_keys/version", long).await.is_error(413, "M_TOO_LARGE");
    // Nobody else's.
    ben.get(&path).await.is_error(404, "M_NOT_FOUND");
    ben.delete(&path).await.is_error(404, "M_NOT_FOUND");

    ana.delete(&format!("room_keys/version/{two}")).await.ok();
    assert_eq!(ana.get("room_keys/version").await.ok()["version"], one.as_str(), "the latest that is left");
    ana.delete(&format!("room_keys/version/{two}")).await.ok();
    ana.delete("room_keys/version/9").await.is_error(404, "M_NOT_FOUND");
    ana.get(&format!("room_keys/version/{two}")).await.is_error(404, "M_NOT_FOUND");
    let three = begin(&ana).await;
    assert_ne!(three, two, "a version never means another backup");
    for _ in 2..BACKUPS_MAX {
        begin(&ana).await;
    }
    ana.post("room_keys/version", described("A")).await.is_error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn keys_are_put_read_and_deleted_by_backup_room_and_session() {
    let phone = Phone::new(1);
    let ana = Device::new(&phone, "ana", 1).await;
    let version = begin(&ana).await;
    let path = |part: &str| format!("room_keys/keys{part}?version={version}");
    assert_eq!(ana.get(&path("")).await.ok(), json!({ "rooms": {} }));
    let all = json!({ "rooms": {
        "!a:x": { "sessions": { "s1": key(0, 0, true, "a1"), "s2": key(0, 0, true, "a2") } },
        "!b:x": { "sessions": { "s1": key(0, 0, true, "b1") } },
    } });
    assert_eq!(state(&ana.put(&path(""), all.clone()).await.ok()), ("1".into(), 3));
    assert_eq!(
        state(&ana.put(&path("/%21b:x"), json!({ "sessions": { "s+/2": key(1, 0, true, "b2") } })).await.ok()).1,
        4
    );
    assert_eq!(state(&ana.put(&path("/%21c:x/s1"), key(1, 0, true, "c1")).await.ok()), ("3".into(), 5));
    let info = ana.get("room_keys/version").await.ok();
    assert_eq!(state(&info), ("3".into(), 5));

    assert_eq!(ana.get(&path("/%21a:x")).await.ok(), all["rooms"]["!a:x"]);
    assert_eq!(ana.get(&path("/%21b:x/s%2B%2F2")).await.ok(), key(1, 0, true, "b2"));
    assert_eq!(ana.get(&path("/%21none:x")).await.ok(), json!({ "sessions": {} }));
    ana.get(&path("/%21a:x/s9")).await.is_error(404, "M_NOT_FOUND");
    assert_eq!(ana.get(&path("")).await.ok()["rooms"].as_object().unwrap().len(), 3);

    assert_eq!(state(&ana.delete(&path("/%21a:x/s1")).await.ok()), ("4".into(), 4));
    assert_eq!(state(&ana.delete(&path("/%21a:x/s1")).await.ok()), ("4".into(), 4));
    assert_eq!(ana.get(&path("/%21a:x")).await.ok()["sessions"].as_object().unwrap().len(), 1);
    assert_eq!(state(&ana.delete(&path("/%21b:x")).await.ok()).1, 2);
    assert_eq!(state(&ana.delete(&path("")).await.ok()), ("6".into(), 0));
    assert_eq!(ana.get(&path("")).await.ok(), json!({ "rooms": {} }));
}

#[tokio::test]
async fn the_better_key_stays() {
    let phone = Phone::new(1);
    let ana = Device::new(&phone, "ana", 1).await;
    let version = begin(&ana).await;
    let path = format!("room_keys/keys/%21a:x/s1?version={version}");
    // Each with what is in the backup after it.
    let steps = [
        (key(5, 5, false, "1"), "1"),
        (key(5, 5, false, "same rank"), "1"),
        (key(5, 6, false, "a longer way"), "1"),
        (key(5, 4, false, "4"), "4"),
        (key(6, 0, false, "a later start"), "4"),
        (key(4, 9, false, "6"), "6"),
        (key(9, 9, true, "7"), "7"),
        (key(0, 0, false, "not verified"), "7"),
    ];
    let mut etags = Vec::new();
    for (new, kept) in steps {
        let answer = ana.put(&path, new).await.ok();
        assert_eq!(answer["count"], 1);
        etags.push(answer["etag"].as_str().unwrap().to_owned());
        assert_eq!(ana.get(&path).await.ok()["session_data"]["ciphertext"], kept);
    }
    assert_eq!(etags, ["1", "1", "1", "2", "2", "3", "4", "4"]);
}

#[tokio::test]
async fn keys_go_into_the_latest_version_alone() {
    let phone = Phone::new(1);
    let ana = Device::new(&phone, "ana", 1).await;
    let path = |version: &str| format!("room_keys/keys/%21a:x/s1?version={version}");
    ana.put(&path("1"), key(0, 0, true, "x")).await.is_error(404, "M_NOT_FOUND");
    let (old, new) = (begin(&ana).await, begin(&ana).await);
    let refused = ana.put(&path(&old), key(0, 0, true, "x")).await;
    refused.is_error(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(refused.body["current_version"], new.as_str());
    for unknown in ["9", "0", "nonsense", "01"] {
        ana.put(&path(unknown), key(0, 0, true, "x")).await.is_error(404, "M_NOT_FOUND");
        ana.get(&path(unknown)).await.is_error(404, "M_NOT_FOUND");
        ana.delete(&path(unknown)).await.is_error(404, "M_NOT_FOUND");
    }
    let mut odd = key(0, 0, true, "x");
    odd.as_object_mut().unwrap().remove("is_verified");
    ana.put(&path(&new), odd).await.is_error(400, "M_BAD_JSON");
    ana.put(&path(&new), key(0, 0, true, &"x".repeat(BACKUP_KEY_BYTES_MAX))).await.is_error(413, "M_TOO_LARGE");
    assert_eq!(ana.get("room_keys/version").await.ok()["count"], 0);
    ana.put(&path(&new), key(0, 0, true, "x")).await.ok();
    // An end of the account is an end of its backups.
    ana.post("account/deactivate", json!({ "auth": proof("ana") })).await.ok();
    let view = phone.home.store.snapshot().unwrap();
    let all = std::ops::Bound::Unbounded;
    assert_eq!(view.bk().unwrap().between(all, all).unwrap().count(), 0);
}

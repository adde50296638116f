//! To-device messages: in order, once, and kept until the device says that it has them.

use super::*;
use crate::{
    keys::Actor,
    types::{
        SyncToken,
        limits::{TO_DEVICE_BYTES_MAX, TO_DEVICE_SYNC_MAX},
    },
};

#[tokio::test]
async fn a_message_waits_until_it_is_acknowledged() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let start = ben.sync(None).await;
    ana.tell(&ben, "one").await;
    ana.tell(&ben, "two").await;
    let first = ben.sync(Some(&start)).await;
    assert_eq!(bodies(&first), ["one", "two"]);
    let event = json!({ "type": "m.test", "sender": ana.user(), "content": { "body": "one" } });
    assert_eq!(first["to_device"]["events"][0], event);
    // The answer was lost: the same again.
    assert_eq!(bodies(&ben.sync(Some(&start)).await), ["one", "two"]);
    assert_eq!(bodies(&ben.sync(None).await), ["one", "two"]);
    ana.tell(&ben, "three").await;
    assert_eq!(ben.waiting(), 3);
    let second = ben.sync(Some(&first)).await;
    assert_eq!(bodies(&second), ["three"]);
    assert_eq!(ben.waiting(), 1, "what was acknowledged is gone, and what was only shown is not");
    assert_eq!(bodies(&ben.sync(Some(&second)).await), Vec::<String>::new());
    assert_eq!(ben.waiting(), 0);
    assert_eq!(bodies(&ana.sync(None).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_star_means_every_device_that_is_not_named() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let another = ben.another(3).await;
    let messages = json!({
        ben.user(): { "*": { "body": "all" }, ben.id(): { "body": "you" }, "NONE": { "body": "nobody" } },
        phone.user("nobody").as_str(): { "*": { "body": "nobody" } },
        ana.user(): { ana.id(): { "body": "me" } },
    });
    ana.send("1", messages).await.ok();
    assert_eq!(bodies(&ben.sync(None).await), ["you"]);
    assert_eq!(bodies(&another.sync(None).await), ["all"]);
    assert_eq!(bodies(&ana.sync(None).await), ["me"]);
}

#[tokio::test]
async fn a_transaction_is_taken_once() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let message = |body: &str| json!({ ben.user(): { ben.id(): { "body": body } } });
    ana.send("1", message("one")).await.ok();
    ana.send("1", message("one")).await.ok();
    let another = ana.another(3).await;
    another.send("1", message("of another device")).await.ok();
    let path = "sendToDevice/m.other/1";
    ana.put(path, json!({ "messages": message("of another type") })).await.ok();
    // The same device with a new token counts from the start again.
    let again = ana.log_in(&json!({ "device_id": ana.id() }), 1).await;
    again.send("1", message("of another session")).await.ok();
    let expected = ["one", "of another device", "of another type", "of another session"];
    assert_eq!(bodies(&ben.sync(None).await), expected);
}

#[tokio::test]
async fn what_does_not_fit_one_sync_comes_at_once_with_the_next() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let room = ana.create_room(&[]).await;
    ben.join(&room, &phone).await;
    let start = ben.sync(None).await;
    let total = 2 * TO_DEVICE_SYNC_MAX + 50;
    for n in 0..total {
        ana.tell(&ben, &n.to_string()).await;
        if n % 50 == 0 {
            let path = format!("rooms/{}/send/m.room.message/t{n}", escaped(&room));
            ana.put(&path, json!({ "msgtype": "m.text", "body": format!("event {n}") })).await.ok();
        }
    }
    let (mut since, mut seen, mut events, mut syncs) = (start, Vec::new(), Vec::new(), 0);
    while seen.len() < total {
        let next = ben.sync(Some(&since)).await;
        let shown = bodies(&next);
        assert!(!shown.is_empty() && shown.len() <= TO_DEVICE_SYNC_MAX, "{}", shown.len());
        assert_eq!(bodies(&ben.sync(Some(&since)).await), shown, "a retry shows the same");
        if syncs == 0 {
            // What came while the rest waits stands behind it.
            ana.tell(&ben, "late").await;
        }
        seen.extend(shown);
        let timeline = next["rooms"]["join"][&room]["timeline"]["events"].as_array().cloned().unwrap_or_default();
        events.extend(timeline.iter().map(|event| event["content"]["body"].as_str().unwrap().to_owned()));
        since = next;
        syncs += 1;
    }
    let mut expected: Vec<_> = (0..total).map(|n| n.to_string()).collect();
    expected.push("late".into());
    assert_eq!(seen, expected);
    assert_eq!(syncs, 3);
    let expected: Vec<_> = (0..total).step_by(50).map(|n| format!("event {n}")).collect();
    assert_eq!(events, expected, "the room is shown once, whatever the inbox does");
    assert_eq!(bodies(&ben.sync(Some(&since)).await), Vec::<String>::new());
    assert_eq!(ben.waiting(), 0);
}

#[tokio::test]
async fn large_messages_are_shown_few_at_a_time() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let large = "x".repeat(60_000);
    for _ in 0..40 {
        ana.tell(&ben, &large).await;
    }
    let first = ben.sync(None).await;
    assert_eq!(bodies(&first).len(), 17, "a megabyte");
    assert_eq!(bodies(&ben.sync(Some(&first)).await).len(), 17);
}

#[tokio::test]
async fn what_is_no_message_is_refused_whole() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let with = |content: Value| json!({ ben.user(): { ben.id(): content, "*": { "body": "fine" } } });
    ana.send("1", with(json!("text"))).await.is_error(400, "M_BAD_JSON");
    ana.send("2", with(json!({ "body": "x".repeat(TO_DEVICE_BYTES_MAX) }))).await.is_error(413, "M_TOO_LARGE");
    ana.send(&"3".repeat(256), with(json!({}))).await.is_error(400, "M_INVALID_PARAM");
    let path = format!("sendToDevice/{}/4", "m".repeat(256));
    ana.put(&path, json!({ "messages": with(json!({})) })).await.is_error(400, "M_INVALID_PARAM");
    ana.put("sendToDevice/m.test/5", json!({})).await.is_error(400, "M_BAD_JSON");
    let none = phone.call(Method::PUT, "/_matrix/client/v3/sendToDevice/m.test/6", None, Some(json!({}))).await;
    none.is_error(401, "M_MISSING_TOKEN");
    assert_eq!(ben.waiting(), 0);
    // A transaction that was refused may be sent again as it should be.
    ana.send("1", with(json!({ "body": "mended" }))).await.ok();
    assert_eq!(bodies(&ben.sync(None).await), ["mended"]);
}

#[tokio::test]
async fn a_client_in_the_same_process_reads_news_and_acknowledges_them() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    ben.publish().await;
    let actor = Actor { user: ben.who.user.clone(), user_key: ben.user_key(&phone), device: ben.id().into() };
    let look = |since| {
        let view = phone.home.store.snapshot().unwrap();
        let last = *phone.home.store.log_watch().borrow();
        let news = keys::news(&view, &actor, since, SyncToken(last)).unwrap();
        (news, SyncToken(last))
    };
    let (first, start) = look(None);
    assert_eq!(first.reached, start);
    assert!(first.to_device.is_empty() && first.device_lists.is_empty());
    assert_eq!(u64::from(first.one_time_keys[&OTK.into()]), 5);
    assert_eq!(first.unused_fallback, [OTK.into()]);
    for n in 0..TO_DEVICE_SYNC_MAX + 1 {
        ana.tell(&ben, &n.to_string()).await;
    }
    ben.another(3).await.publish().await;
    let (news, last) = look(Some(start));
    assert_eq!(news.to_device.len(), TO_DEVICE_SYNC_MAX);
    assert!(news.reached < last);
    assert_eq!(news.device_lists.changed, std::slice::from_ref(&ben.who.user));
    keys::acknowledge(&phone.home, &actor, news.reached).await.unwrap();
    assert_eq!(ben.waiting(), 1);
    let (rest, last) = look(Some(news.reached));
    assert_eq!((rest.to_device.len(), rest.reached), (1, last));
    keys::acknowledge(&phone.home, &actor, rest.reached).await.unwrap();
    assert_eq!(ben.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_wakes_a_sync() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let start = ben.sync(None).await["next_batch"].as_str().unwrap().to_owned();
    let path = format!("sync?timeout=30000&since={start}");
    let waits = ben.get(&path);
    let tells = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        ana.tell(&ben, "wake up").await;
    };
    let before = tokio::time::Instant::now();
    let (sync, ()) = tokio::join!(waits, tells);
    assert_eq!(bodies(&sync.ok()), ["wake up"]);
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn an_inbox_outlives_a_crash() {
    let disk = Disk::new();
    let phone = disk.phone();
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    for n in 0..150 {
        ana.tell(&ben, &n.to_string()).await;
    }
    let first = ben.sync(None).await;
    assert_eq!(bodies(&first).len(), TO_DEVICE_SYNC_MAX);
    let (ana, ben) = (ana.who, ben.who);
    let phone = disk.crash(phone);
    let (ana, ben) = (Device::of(&phone, ana, 1), Device::of(&phone, ben, 2));
    ana.tell(&ben, "150").await;
    let second = ben.sync(Some(&first)).await;
    assert_eq!(bodies(&second), (100..=150).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(bodies(&ben.sync(Some(&second)).await), Vec::<String>::new());
    assert_eq!(ben.waiting(), 0);
}

//! Two and three homeservers: lists that travel, lists that wait, and messages that cross over.

use ruma::OwnedUserId;

use super::*;
use crate::{
    store::{RoomKey, Standing, StoreError, WriteTx},
    types::limits::KEYS_LISTS_ONE_BY_ONE_MAX,
};

/// Two people in one room, each on their own phone, with keys.
async fn friends<'a>(ours: &'a Phone, theirs: &'a Phone) -> (Device<'a>, Device<'a>, String) {
    let (ana, ben) = (Device::new(ours, "ana", 1).await, Device::new(theirs, "ben", 2).await);
    ana.publish().await;
    ben.publish().await;
    let room = ana.create_room(&[]).await;
    ben.join(&room, ours).await;
    settle().await;
    (ana, ben, room)
}

fn is_fresh(on: &Phone, of: &Device<'_>) -> bool {
    let view = on.home.store.snapshot().unwrap();
    let user = of.user_key(on).0;
    let all = std::ops::Bound::Unbounded;
    let is_stale = view.rdl_stale().unwrap().between(all, all).unwrap().any(|row| row.unwrap().0.value().1 == user);
    view.rdl().unwrap().row(user).unwrap().is_some() && !is_stale
}

#[tokio::test(start_paused = true)]
async fn keys_are_asked_for_claimed_and_written_with() {
    let (ours, theirs) = pair();
    let (ana, ben, _) = friends(&ours, &theirs).await;
    let identity = Identity::new(10);
    identity.publish(&ben).await;
    let shown = ana.query(&[ben.user(), theirs.user("nobody").as_str()]).await;
    assert_eq!(shown["device_keys"], json!({ ben.user(): { ben.id(): ben.keys() } }));
    assert_eq!(shown["master_keys"][ben.user()], identity.master(&ben.who.user));
    assert_eq!(shown["self_signing_keys"][ben.user()], identity.self_signing(&ben.who.user));
    assert_eq!((&shown["user_signing_keys"], &shown["failures"]), (&Value::Null, &Value::Null));
    for number in 1..=5 {
        assert_eq!(ana.claim(&ben).await, Some(number));
    }
    assert_eq!(ana.claim(&ben).await, Some(100));
    let start = ben.sync(None).await;
    ana.tell(&ben, "hello").await;
    let star = json!({ ben.user(): { "*": { "body": "all" } } });
    ana.send("star", star.clone()).await.ok();
    ana.send("star", star).await.ok();
    settle().await;
    let news = ben.sync(Some(&start)).await;
    assert_eq!(bodies(&news), ["hello", "all"]);
    assert_eq!(news["to_device"]["events"][0]["sender"], ana.user());
    assert_eq!(news["device_unused_fallback_key_types"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn changes_are_announced_and_followed_without_asking() {
    let (ours, theirs) = pair();
    let (ana, ben, _) = friends(&ours, &theirs).await;
    ana.query(&[ben.user()]).await;
    settle().await;
    assert!(is_fresh(&ours, &ben));
    let mut since = ana.sync(None).await;
    let mut told = async |what: &str| {
        settle().await;
        let news = ana.sync(Some(&since)).await;
        assert_eq!(listed(&news, "changed"), [ben.user()], "{what}");
        since = news;
    };
    let another = ben.another(3).await;
    another.publish().await;
    told("another device").await;
    assert!(is_fresh(&ours, &ben), "the update continues what is known");
    theirs.leaves(&ours);
    ours.leaves(&theirs);
    // Out of reach, the cache answers, and nothing has failed.
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(shown["device_keys"][ben.user()].as_object().unwrap().len(), 2);
    assert_eq!(shown["device_keys"][ben.user()][another.id()]["unsigned"]["device_display_name"], "another");
    assert_eq!(shown["failures"], Value::Null);
    meet(&ours, &theirs);
    let identity = Identity::new(10);
    identity.publish(&ben).await;
    told("an identity").await;
    let signed = identity.self_signing.sign(&ben.who.user, &ben.keys());
    ben.post("keys/signatures/upload", json!({ ben.user(): { ben.id(): signed } })).await.ok();
    told("a signature").await;
    another.post("logout", json!({})).await.ok();
    told("a logout").await;
    part(&ours, &theirs);
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(shown["device_keys"], json!({ ben.user(): { ben.id(): signed } }));
    assert_eq!(shown["master_keys"][ben.user()], identity.master(&ben.who.user));
}

#[tokio::test(start_paused = true)]
async fn who_was_away_for_long_hears_of_it_all() {
    let (ours, theirs) = pair();
    let (ana, ben, _) = friends(&ours, &theirs).await;
    ana.query(&[ben.user()]).await;
    settle().await;
    let (since, bens) = (ana.sync(None).await, ben.sync(None).await);
    part(&ours, &theirs);
    let others = [ben.another(3).await, ben.another(4).await, ben.another(5).await];
    for other in &others {
        other.publish().await;
    }
    for n in 0..300 {
        ana.tell(&ben, &n.to_string()).await;
    }
    tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
    assert_eq!(ana.sync(Some(&since)).await["device_lists"], Value::Null);
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(shown["device_keys"][ben.user()].as_object().unwrap().len(), 1, "what was known a day ago");
    let view = theirs.home.store.snapshot().unwrap();
    assert_eq!(outbox::letters_pending(&view, ours.home.server_name()).unwrap(), 1, "the newest update alone");
    drop(view);
    meet(&ours, &theirs);
    settle().await;
    assert_eq!(listed(&ana.sync(Some(&since)).await, "changed"), [ben.user()]);
    assert!(is_fresh(&ours, &ben), "a gap is closed though nobody asks");
    part(&ours, &theirs);
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(shown["device_keys"][ben.user()].as_object().unwrap().len(), 4);
    let (mut since, mut seen) = (bens, Vec::new());
    while seen.len() < 300 {
        let next = ben.sync(Some(&since)).await;
        assert!(!bodies(&next).is_empty());
        seen.extend(bodies(&next));
        since = next;
    }
    assert_eq!(seen, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_server_out_of_reach_is_named_and_its_stale_list_stands_in() {
    let (ours, theirs) = pair();
    let (ana, ben, _) = friends(&ours, &theirs).await;
    part(&ours, &theirs);
    let name = theirs.home.server_name().as_str();
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(shown["device_keys"], Value::Null);
    assert!(shown["failures"][name].is_object(), "{shown}");
    let claims = json!({ ben.user(): { ben.id(): OTK } });
    let claimed = ana.post("keys/claim", json!({ "one_time_keys": claims })).await.ok();
    assert_eq!(claimed["one_time_keys"], json!({}));
    assert!(claimed["failures"][name].is_object(), "{claimed}");
    // The client was told of nothing, so it is told once there is something.
    let since = ana.sync(None).await;
    meet(&ours, &theirs);
    settle().await;
    assert_eq!(listed(&ana.sync(Some(&since)).await, "changed"), [ben.user()]);
    assert_eq!(ana.query(&[ben.user()]).await["failures"], Value::Null);
    // An update that continues nothing makes the list stale; it still stands in.
    let update = json!({ "edu_type": "m.device_list_update", "content": {
        "user_id": ben.user(), "device_id": ben.id(), "stream_id": 9_999, "prev_id": [9_998], "keys": ben.keys(),
    } });
    ours.leaves(&theirs);
    outbox::tell_now(&theirs.home, ours.home.server_name(), vec![update.to_string()]).await.unwrap();
    assert!(!is_fresh(&ours, &ben));
    let shown = ana.query(&[ben.user()]).await;
    assert_eq!(shown["device_keys"][ben.user()], json!({ ben.id(): ben.keys() }));
    assert!(shown["failures"][name].is_object(), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_changed_while_no_room_was_shared_is_known_once_one_is() {
    let (ours, theirs) = pair();
    let (ana, ben, room) = friends(&ours, &theirs).await;
    ana.query(&[ben.user()]).await;
    ben.query(&[ana.user()]).await;
    settle().await;
    assert!(is_fresh(&ours, &ben) && is_fresh(&theirs, &ana));
    ben.leave(&room).await;
    settle().await;
    let since = ana.sync(None).await;
    let (anas, bens) = (ana.another(3).await, ben.another(4).await);
    anas.publish().await;
    bens.publish().await;
    settle().await;
    let since = ana.sync(Some(&since)).await;
    assert_eq!(since["device_lists"], json!({ "changed": [ana.user()] }), "her own device alone");
    // Without a room the server itself is asked, each time.
    assert_eq!(ana.query(&[ben.user()]).await["device_keys"][ben.user()].as_object().unwrap().len(), 2);
    ben.join(&room, &ours).await;
    settle().await;
    assert_eq!(listed(&ana.sync(Some(&since)).await, "changed"), [ben.user()]);
    part(&ours, &theirs);
    assert_eq!(ana.query(&[ben.user()]).await["device_keys"][ben.user()].as_object().unwrap().len(), 2);
    assert_eq!(ben.query(&[ana.user()]).await["device_keys"][ana.user()].as_object().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_third_server_is_told_when_a_user_comes_into_its_room() {
    let (ours, theirs) = pair();
    let third = Phone::new(3);
    run(&third.home);
    meet(&ours, &third);
    meet(&theirs, &third);
    let (ana, ben, _) = friends(&ours, &theirs).await;
    let cat = Device::new(&third, "cat", 5).await;
    let room = cat.create_room(&[]).await;
    let since = cat.sync(None).await;
    ben.join(&room, &third).await;
    settle().await;
    assert_eq!(listed(&cat.sync(Some(&since)).await, "changed"), [ben.user()]);
    cat.query(&[ben.user()]).await;
    let since = cat.sync(None).await;
    ana.another(6).await.publish().await;
    ben.another(7).await.publish().await;
    settle().await;
    assert_eq!(listed(&cat.sync(Some(&since)).await, "changed"), [ben.user()], "of ana it knows nothing");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_while_it_is_fetched_stays_stale() {
    let (ours, theirs) = pair();
    let (ana, ben, _) = friends(&ours, &theirs).await;
    let identity = Identity::new(10);
    // The old list and the announcement of a newer one cross on their way.
    let old = json!({ "user_id": ben.user(), "stream_id": 5, "devices": [
        { "device_id": ben.id(), "keys": ben.keys() },
    ] });
    let update = json!({ "edu_type": "m.signing_key_update", "content": {
        "user_id": ben.user(), "master_key": identity.master(&ben.who.user),
        "self_signing_key": identity.self_signing(&ben.who.user),
    } });
    let (home, to) = (theirs.home.clone(), ours.home.server_name().to_owned());
    let answer = axum::routing::get(move || async move {
        outbox::tell_now(&home, &to, vec![update.to_string()]).await.unwrap();
        old.to_string()
    });
    let mut slow = Phone::new(2);
    slow.server = axum::Router::new().route("/_matrix/federation/v1/user/devices/{user}", answer);
    ours.leaves(&theirs);
    ours.meets(&slow);
    ana.query(&[ben.user()]).await;
    assert!(!is_fresh(&ours, &ben));
}

#[tokio::test]
async fn many_users_of_one_server_are_asked_for_together() {
    let (ours, theirs) = (Phone::new(1), Phone::new(2));
    let ana = Device::new(&ours, "ana", 1).await;
    let room = ana.create_room(&[]).await;
    let users: Vec<_> = (0..KEYS_LISTS_ONE_BY_ONE_MAX + 5).map(|n| theirs.user(&format!("u{n}"))).collect();
    let device = |user: &OwnedUserId| {
        let who = Person { user: user.clone(), device: "D".into(), token: String::new() };
        Device::of(&theirs, who, 7).keys()
    };
    let devices: Value = users.iter().map(|user| (user.to_string(), json!({ "D": device(user) }))).collect();
    let answer = json!({ "device_keys": devices }).to_string();
    let mut many = Phone::new(2);
    let query = axum::routing::post(move || std::future::ready(answer));
    many.server = axum::Router::new().route("/_matrix/federation/v1/user/keys/query", query);
    ours.meets(&many);
    let (members, id) = (users.clone(), ruma::RoomId::parse(&room).unwrap());
    let all_join = move |tx: &mut WriteTx<'_>| -> Result<(), StoreError> {
        let room = RoomKey::intern(tx, &id)?;
        for user in &members {
            let user = UserKey::intern(tx, user)?;
            tx.write().rmem.insert((room.0, user.0), (Standing::Join as u8, 1))?;
        }
        Ok(())
    };
    ours.home.store.write(all_join).await.unwrap();
    let names: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
    let shown = ana.query(&names).await;
    assert_eq!(shown, json!({ "device_keys": devices }));
    ours.leaves(&many);
    assert_eq!(ana.query(&names).await, shown, "and they are kept");
    // No version came with them, so the first update continues nothing.
    let update = json!({ "edu_type": "m.device_list_update", "content": {
        "user_id": users[0], "device_id": "D", "stream_id": 2, "prev_id": [1], "deleted": true,
    } });
    theirs.meets(&ours);
    outbox::tell_now(&theirs.home, ours.home.server_name(), vec![update.to_string()]).await.unwrap();
    let shown = ana.query(&names).await;
    assert!(shown["failures"][theirs.home.server_name().as_str()].is_object());
    assert_eq!(shown["device_keys"], devices, "what is stale stands in");
}

#[tokio::test(start_paused = true)]
async fn a_server_is_told_once_of_a_user_who_comes_into_its_rooms() {
    let (ours, theirs) = pair();
    let (ana, ben, one) = friends(&ours, &theirs).await;
    let two = ana.create_room(&[]).await;
    ben.join(&two, &ours).await;
    settle().await;
    part(&ours, &theirs);
    let dan = Device::new(&theirs, "dan", 8).await;
    dan.publish().await;
    let waiting = || {
        let view = theirs.home.store.snapshot().unwrap();
        outbox::letters_pending(&view, ours.home.server_name()).unwrap()
    };
    assert_eq!(waiting(), 0, "nobody there shares a room with dan");
    dan.join(&one, &theirs).await;
    assert_eq!(waiting(), 1);
    meet(&ours, &theirs);
    settle().await;
    part(&ours, &theirs);
    dan.join(&two, &theirs).await;
    assert_eq!(waiting(), 0, "the other room told of him");
}

#[tokio::test(start_paused = true)]
async fn a_user_of_another_server_can_be_vouched_for() {
    let (ours, theirs) = pair();
    let (ana, ben, _) = friends(&ours, &theirs).await;
    let (anas, bens) = (Identity::new(10), Identity::new(20));
    anas.publish(&ana).await;
    bens.publish(&ben).await;
    settle().await;
    let signed = anas.user_signing.sign(&ana.who.user, &bens.master(&ben.who.user));
    let body = json!({ ben.user(): { bens.master.public(): signed } });
    assert_eq!(ana.post("keys/signatures/upload", body).await.ok(), json!({}));
    assert_eq!(ana.query(&[ben.user()]).await["master_keys"][ben.user()], signed);
    let seen = ben.query(&[ben.user()]).await;
    assert_eq!(seen["master_keys"][ben.user()], bens.master(&ben.who.user), "only the signer sees whom it has met");
}

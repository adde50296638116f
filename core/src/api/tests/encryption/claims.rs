//! One-time keys are given once, in order; fallback keys when there are none.

use super::*;
use crate::types::limits::{CLAIM_DEVICES_MAX, CLAIMS_PER_HOUR_MAX};

#[tokio::test]
async fn the_oldest_key_is_given_once_and_then_the_fallback_key() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    ana.upload(json!({ "device_keys": ana.keys(), "one_time_keys": ana.one_time([9]) })).await.ok();
    ana.upload(json!({ "one_time_keys": ana.one_time([3]) })).await.ok();
    ana.upload(json!({ "one_time_keys": ana.one_time([7]), "fallback_keys": ana.fallback(50) })).await.ok();
    for number in [9, 3, 7, 50, 50] {
        assert_eq!(ben.claim(&ana).await, Some(number));
    }
    let sync = ana.sync(None).await;
    assert_eq!(sync["device_one_time_keys_count"], json!({ OTK: 0 }));
    assert_eq!(sync["device_unused_fallback_key_types"], json!([]), "it was used");
    ana.upload(json!({ "fallback_keys": ana.fallback(50) })).await.ok();
    assert_eq!(ana.sync(None).await["device_unused_fallback_key_types"], json!([]), "the same one is no new one");
    ana.upload(json!({ "fallback_keys": ana.fallback(51) })).await.ok();
    assert_eq!(ana.sync(None).await["device_unused_fallback_key_types"], json!([OTK]));
    assert_eq!(ben.claim(&ana).await, Some(51));
    let other = json!({ ana.user(): { ana.id(): "m.other" }, "@nobody:x": {}, ben.user(): { ben.id(): OTK } });
    assert_eq!(ben.post("keys/claim", json!({ "one_time_keys": other })).await.ok()["one_time_keys"], json!({}));
}

#[tokio::test]
async fn the_retry_of_an_upload_brings_no_claimed_key_back() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    ana.publish().await;
    assert_eq!(ben.claim(&ana).await, Some(1));
    let again = json!({ "one_time_keys": ana.one_time(1..=5) });
    assert_eq!(ana.upload(again).await.ok()["one_time_key_counts"][OTK], 4);
    for number in [2, 3, 4, 5, 100] {
        assert_eq!(ben.claim(&ana).await, Some(number));
    }
}

#[tokio::test]
async fn no_crash_gives_a_key_twice() {
    let disk = Disk::new();
    let phone = disk.phone();
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    ana.publish().await;
    assert_eq!(ben.claim(&ana).await, Some(1));
    let (ana, ben) = (ana.who, ben.who);
    let phone = disk.crash(phone);
    let (ana, ben) = (Device::of(&phone, ana, 1), Device::of(&phone, ben, 2));
    assert_eq!(ana.sync(None).await["device_one_time_keys_count"][OTK], 4);
    assert_eq!(ben.claim(&ana).await, Some(2));
}

#[tokio::test]
async fn a_claim_is_bounded() {
    let phone = Phone::new(1);
    let ana = Device::new(&phone, "ana", 1).await;
    let devices: Value = (0..=CLAIM_DEVICES_MAX).map(|n| (format!("D{n}"), json!(OTK))).collect();
    let claims = json!({ "one_time_keys": { ana.user(): devices } });
    ana.post("keys/claim", claims).await.is_error(413, "M_TOO_LARGE");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_claims_in_a_loop_gets_the_fallback_key_and_others_still_one_time_keys() {
    let (ours, theirs) = pair();
    let third = Phone::new(3);
    meet(&ours, &third);
    let ana = Device::new(&ours, "ana", 1).await;
    let (eve, ben) = (Device::new(&theirs, "eve", 2).await, Device::new(&third, "ben", 3).await);
    let room = ana.create_room(&[]).await;
    eve.join(&room, &ours).await;
    ana.upload(json!({ "device_keys": ana.keys(), "one_time_keys": ana.one_time(1..=99) })).await.ok();
    let limit = u8::try_from(CLAIMS_PER_HOUR_MAX).unwrap();
    for number in 1..=limit {
        assert_eq!(eve.claim(&ana).await, Some(number));
    }
    // Without a fallback key there is none to be had any more.
    for _ in 0..50 {
        assert_eq!(eve.claim(&ana).await, None);
    }
    ana.upload(json!({ "fallback_keys": ana.fallback(200) })).await.ok();
    for _ in 0..50 {
        assert_eq!(eve.claim(&ana).await, Some(200));
    }
    assert_eq!(ben.claim(&ana).await, Some(limit + 1), "another server has its own share");
    assert_eq!(ana.another(5).await.claim(&ana).await, Some(limit + 2), "and so have devices here");
    // The hour passes.
    let (user, device) = (ana.user_key(&ours).0, ana.id().to_owned());
    let earlier = move |tx: &mut crate::store::WriteTx<'_>| {
        let all = std::ops::Bound::Unbounded;
        let rows: Vec<_> = tx.otk_claims()?.between(all, all)?.map(|row| row.unwrap().0.value().2).collect();
        for server in rows {
            let since = crate::api::testing::NOW.0 - 3_600_000;
            tx.write().otk_claims.insert((user, device.as_bytes(), server), (since, 1_000))?;
        }
        Ok::<_, crate::store::StoreError>(())
    };
    ours.home.store.write(earlier).await.unwrap();
    assert_eq!(eve.claim(&ana).await, Some(limit + 3));
}

#[tokio::test]
async fn strangers_have_one_share_together() {
    let ours = Phone::new(1);
    let ana = Device::new(&ours, "ana", 1).await;
    ana.upload(json!({ "device_keys": ana.keys(), "one_time_keys": ana.one_time(1..=99) })).await.ok();
    let mut given = 0;
    for seed in 10..16 {
        let stranger = Phone::new(seed);
        stranger.meets(&ours);
        let eve = Device::new(&stranger, "eve", 2).await;
        for _ in 0..5 {
            given += u32::from(eve.claim(&ana).await.is_some());
        }
    }
    assert_eq!(given, CLAIMS_PER_HOUR_MAX, "a new name costs nothing, and gains nothing");
}

//! Whose devices changed, as syncs and `/keys/changes` tell it.

use super::*;
use crate::{
    store::{LogKind, LogRow, StoreError, WriteTx},
    types::limits::DEVICE_LIST_ROWS_MAX,
};

const NOBODY: [&str; 0] = [];

#[tokio::test]
async fn those_who_share_a_room_hear_of_changes_and_others_do_not() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let cat = Device::new(&phone, "cat", 3).await;
    let room = ana.create_room(&[&cat]).await;
    ben.join(&room, &phone).await;
    let (bens, cats) = (ben.sync(None).await, cat.sync(None).await);
    assert_eq!(bens["device_lists"], Value::Null, "who has seen nothing asks for what it needs");
    ana.publish().await;
    let news = ben.sync(Some(&bens)).await;
    assert_eq!(listed(&news, "changed"), [ana.user()]);
    assert_eq!(listed(&news, "left"), NOBODY);
    assert_eq!(listed(&ben.sync(Some(&news)).await, "changed"), NOBODY);
    // An invite shares no room yet.
    assert_eq!(cat.sync(Some(&cats)).await["device_lists"], Value::Null);
    let changes = async |from: &Value, to: &Value| {
        let token = |sync: &Value| sync["next_batch"].as_str().unwrap().to_owned();
        ben.get(&format!("keys/changes?from={}&to={}", token(from), token(to))).await.ok()
    };
    assert_eq!(changes(&bens, &news).await, json!({ "changed": [ana.user()], "left": [] }));
    assert_eq!(changes(&news, &news).await, json!({ "changed": [], "left": [] }));
    assert_eq!(changes(&news, &bens).await, json!({ "changed": [], "left": [] }));
    ben.get("keys/changes?from=nonsense&to=s1").await.is_error(400, "M_INVALID_PARAM");
    ben.get("keys/changes?from=s1").await.is_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn who_comes_is_changed_and_who_goes_has_left() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let cat = Device::new(&phone, "cat", 3).await;
    let (one, two) = (ana.create_room(&[]).await, ana.create_room(&[]).await);
    cat.join(&one, &phone).await;
    let (anas, bens) = (ana.sync(None).await, ben.sync(None).await);
    ben.join(&one, &phone).await;
    let news = ana.sync(Some(&anas)).await;
    assert_eq!((listed(&news, "changed"), listed(&news, "left")), (vec![ben.user().to_owned()], vec![]));
    let own = ben.sync(Some(&bens)).await;
    let mut together = [ana.user(), cat.user()];
    together.sort_unstable();
    let mut told = listed(&own, "changed");
    told.sort_unstable();
    assert_eq!(told, together, "all who are there are new to who comes");
    ben.join(&two, &phone).await;
    let news = ana.sync(Some(&news)).await;
    // One of two shared rooms less is no parting.
    ben.leave(&one).await;
    let next = ana.sync(Some(&news)).await;
    assert_eq!((listed(&next, "changed"), listed(&next, "left")), (vec![ben.user().to_owned()], vec![]));
    let own = ben.sync(Some(&own)).await;
    assert_eq!(listed(&own, "left"), [cat.user()]);
    ben.leave(&two).await;
    let last = ana.sync(Some(&next)).await;
    assert_eq!((listed(&last, "changed"), listed(&last, "left")), (vec![], vec![ben.user().to_owned()]));
    let own = ben.sync(Some(&own)).await;
    assert_eq!(listed(&own, "left"), [ana.user()]);
    // Apart, neither hears of the other; nor does who left hear of who comes now.
    ana.publish().await;
    let dan = Device::new(&phone, "dan", 4).await;
    dan.join(&one, &phone).await;
    dan.leave(&one).await;
    assert_eq!(ben.sync(Some(&own)).await["device_lists"], Value::Null);
    // A change of name is no coming.
    let before = ana.sync(None).await;
    let path = format!("profile/{}/displayname", cat.user());
    cat.put(&path, json!({ "displayname": "Cat" })).await.ok();
    assert_eq!(ana.sync(Some(&before)).await["device_lists"], Value::Null);
}

#[tokio::test]
async fn who_was_away_for_long_takes_everybody_for_changed() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let cat = Device::new(&phone, "cat", 3).await;
    let room = ana.create_room(&[]).await;
    ben.join(&room, &phone).await;
    let before = ben.sync(None).await;
    let much = move |tx: &mut WriteTx<'_>| -> Result<(), StoreError> {
        for _ in 0..DEVICE_LIST_ROWS_MAX {
            tx.log(&LogRow { kind: LogKind::AccountData, room: 0, user: 0, esn: 0 })?;
        }
        Ok(())
    };
    phone.home.store.write(much).await.unwrap();
    let news = listed(&ben.sync(Some(&before)).await, "changed");
    assert!(!news.contains(&cat.user().to_owned()));
    cat.publish().await;
    let mut news = listed(&ben.sync(Some(&before)).await, "changed");
    news.sort_unstable();
    let mut all = [ana.user(), ben.user()];
    all.sort_unstable();
    assert_eq!(news, all);
}

//! Every preset in rooms of four versions, creators, and that a room is made whole or not at all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use ruma::UserId;
use serde_json::Value;

use super::*;
use crate::{
    api::testing::Phone,
    store::{Stored, View},
};

const VERSIONS: [RoomVersionId; 4] = [RoomVersionId::V6, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];

fn content(phone: &Phone, room: &RoomId, kind: &str, key: &str) -> Value {
    let view = phone.home.store.snapshot().unwrap();
    let room = Room::find(&view, room).unwrap().unwrap();
    let event = room.current_event(&view, &StateEventType::from(kind), key).unwrap();
    event.map_or(Value::Null, |event| event.pdu.content_as().unwrap())
}

/// Rows of the tables that a room leaves its traces in.
fn traces(phone: &Phone) -> [usize; 6] {
    let view = phone.home.store.snapshot().unwrap();
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    [
        view.ev().unwrap().between(all.0, all.1).unwrap().count(),
        view.room().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap().count(),
        view.log().unwrap().between(all.0, all.1).unwrap().count(),
        view.out_log().unwrap().between(all.0, all.1).unwrap().count(),
        view.alias().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap().count(),
        view.intern_r().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap().count(),
    ]
}

fn far() -> OwnedUserId {
    UserId::parse("@far:example.org").unwrap()
}

#[tokio::test]
async fn every_preset_in_every_version() {
    for version in VERSIONS {
        for (preset, rule, guests) in [
            (Preset::PrivateChat, "invite", "can_join"),
            (Preset::TrustedPrivateChat, "invite", "can_join"),
            (Preset::PublicChat, "public", "forbidden"),
        ] {
            let phone = Phone::new(1);
            let (ana, ben) = (phone.user("ana"), phone.user("ben"));
            let mut new = NewRoom::new(ana.clone(), preset);
            new.version = version.clone();
            new.invites = vec![ben.clone(), far()];
            let room = create(&phone.home, new).await.unwrap();
            let shown = format!("{version} {preset:?}");
            assert_eq!(content(&phone, &room, "m.room.join_rules", "")["join_rule"], json!(rule), "{shown}");
            assert_eq!(content(&phone, &room, "m.room.guest_access", "")["guest_access"], json!(guests), "{shown}");
            let visibility = content(&phone, &room, "m.room.history_visibility", "");
            assert_eq!(visibility["history_visibility"], json!("shared"), "{shown}");
            assert_eq!(content(&phone, &room, "m.room.member", ben.as_str())["membership"], json!("invite"), "{shown}");
            assert_eq!(content(&phone, &room, "m.room.member", far().as_str()), Value::Null, "{shown}");
            check_power(&phone, &room, &version, preset, &ana, &ben);
        }
    }
}

/// Who has the creator's power, where the version keeps it, and by what id the room goes.
fn check_power(phone: &Phone, room: &RoomId, version: &RoomVersionId, preset: Preset, ana: &UserId, ben: &UserId) {
    let shown = format!("{version} {preset:?}");
    let (levels, made) = (content(phone, room, "m.room.power_levels", ""), content(phone, room, "m.room.create", ""));
    let trusted = preset == Preset::TrustedPrivateChat;
    let privileged = *version == RoomVersionId::V12;
    let creators = if trusted && privileged { json!([ben, far()]) } else { Value::Null };
    assert_eq!(made["additional_creators"], creators, "{shown}");
    let users = match (privileged, trusted) {
        (true, _) => json!({}),
        (false, true) => json!({ ana.as_str(): 100, ben.as_str(): 100, far().as_str(): 100 }),
        (false, false) => json!({ ana.as_str(): 100 }),
    };
    assert_eq!(levels["users"], users, "{shown}");
    assert_eq!(levels["events"]["m.room.tombstone"], json!(if privileged { 150 } else { 100 }), "{shown}");
    assert_eq!(made["room_version"], json!(version), "{shown}");
    let names_creator = matches!(*version, RoomVersionId::V6 | RoomVersionId::V10);
    assert_eq!(made.get("creator").is_some(), names_creator, "{shown}");
    let view = phone.home.store.snapshot().unwrap();
    let found = Room::find(&view, room).unwrap().unwrap();
    let create = found.current_event(&view, &StateEventType::RoomCreate, "").unwrap().unwrap().pdu;
    assert_eq!(room.as_str() == create.event_id.as_str().replace('$', "!"), privileged, "{shown}");
    assert_eq!(room.server_name().is_none(), privileged, "{shown}");
}

#[tokio::test]
async fn creators_of_version_12_are_named_once_and_have_no_number() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.user("ana"), phone.user("ben"));
    let mut new = NewRoom::new(ana.clone(), Preset::TrustedPrivateChat);
    new.creation_content = object(json!({ "additional_creators": [far(), ben] }));
    new.invites = vec![ben.clone()];
    let room = create(&phone.home, new.clone()).await.unwrap();
    assert_eq!(content(&phone, &room, "m.room.create", "")["additional_creators"], json!([far(), ben]));
    for creator in [&ana, &ben, &far()] {
        new.power_override = object(json!({ "users": { creator.as_str(): 100 } }));
        assert!(matches!(create(&phone.home, new.clone()).await, Err(RoomError::Invalid(_))), "{creator}");
    }
    // Where creators have numbers, the same override is anyone's to make.
    new.version = RoomVersionId::V11;
    new.power_override = object(json!({ "users": { ana.as_str(): 110 }, "invite": 60 }));
    let room = create(&phone.home, new).await.unwrap();
    let levels = content(&phone, &room, "m.room.power_levels", "");
    assert_eq!((&levels["users"], &levels["invite"]), (&json!({ ana.as_str(): 110 }), &json!(60)));
    assert_eq!(levels["ban"], json!(50));
}

#[tokio::test]
async fn a_room_that_fails_half_way_leaves_nothing() {
    for version in VERSIONS {
        let phone = Phone::new(1);
        let ana = phone.user("ana");
        create(&phone.home, NewRoom::new(ana.clone(), Preset::PrivateChat)).await.unwrap();
        let before = traces(&phone);
        let mut new = NewRoom::new(ana.clone(), Preset::PrivateChat);
        new.version = version.clone();
        new.alias = Some(ruma::RoomAliasId::parse(format!("#half:{}", phone.home.server_name())).unwrap());
        let kind = StateEventType::from("org.example.fine");
        let fine = InitialEvent { kind, state_key: "k".into(), content: object(json!({ "x": 1 })) };
        // Belongs to somebody else, so the rules refuse it, after a dozen events that they took.
        let foreign = InitialEvent { state_key: far().to_string(), ..fine.clone() };
        new.initial_state = vec![fine, foreign];
        let refused = create(&phone.home, new.clone()).await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{version}: {refused:?}");
        assert_eq!(traces(&phone), before, "{version}");
        // The name is still free.
        new.initial_state.truncate(1);
        let room = create(&phone.home, new.clone()).await.unwrap();
        assert_eq!(content(&phone, &room, "org.example.fine", "k"), json!({ "x": 1 }));
        let again = create(&phone.home, new).await;
        assert!(matches!(again, Err(RoomError::InUse(_))), "{again:?}");
    }
}

#[tokio::test]
async fn every_first_event_is_signed_on_the_one_before() {
    let phone = Phone::new(1);
    let room = create(&phone.home, NewRoom::new(phone.user("ana"), Preset::PublicChat)).await.unwrap();
    let view = phone.home.store.snapshot().unwrap();
    let room = Room::find(&view, &room).unwrap().unwrap();
    assert_eq!((room.record.heads.len(), room.record.joined, room.record.joined_local), (1, 1, 1));
    let mut last = None;
    let mut count = 0;
    let range = (std::ops::Bound::Included((room.key.0, 0)), std::ops::Bound::Included((room.key.0, u64::MAX)));
    for row in view.tl().unwrap().between(range.0, range.1).unwrap() {
        let pdu = Stored::must(&view, row.unwrap().1.value()).unwrap().pdu;
        assert_eq!(pdu.prev_events, last.into_iter().collect::<Vec<_>>());
        let checked = crate::event::verify(&phone.home.local, pdu.json(), &room.id, &room.version).unwrap();
        assert_eq!(checked.event_id, pdu.event_id);
        last = Some(pdu.event_id);
        count += 1;
    }
    assert_eq!(count, 6);
}

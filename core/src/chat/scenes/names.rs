//! Names of rooms and people, so that nobody passes for somebody else.

use serde_json::json;

use super::world::{Net, Phone, pair, saying, settle, three};
use crate::{
    chat::{names::RoomName, room::NewRoom, room_list::RoomKind},
    rooms::membership,
    users::profiles,
};

/// Gives somebody another name, in all of their rooms.
async fn rename(phone: &Phone, name: &str) {
    let (home, user) = (phone.server.home().clone(), phone.user.clone());
    let name = json!(name);
    home.store
        .write(move |tx| {
            let key = crate::store::UserKey::find(tx, &user)?.unwrap();
            profiles::set(tx, key, "displayname", Some(name.clone())).map(drop)
        })
        .await
        .unwrap();
    membership::refresh_profile(&home, &phone.user).await.unwrap();
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_room_is_called_by_its_name_its_address_or_its_people() {
    let (_net, alice, bob, carol, room) = three().await;
    let name = async |phone: &Phone| phone.summary(&room).await.name;
    assert_eq!(name(&alice).await, RoomName::People { names: vec!["Bob".into(), "Carol".into()], others: 0 });
    assert_eq!(name(&bob).await.to_string(), "Alice and Carol");
    alice.room(&room).set_name("The den").await.unwrap();
    settle().await;
    assert_eq!(name(&bob).await, RoomName::Given("The den".into()));
    // A name of nothing is no name.
    alice.room(&room).set_name(" \u{200b} ").await.unwrap();
    settle().await;
    assert_eq!(name(&bob).await.to_string(), "Alice and Carol");
    carol.room(&room).leave(None).await.unwrap();
    bob.room(&room).leave(None).await.unwrap();
    settle().await;
    let RoomName::Empty { were } = name(&alice).await else { panic!() };
    assert_eq!(were.len(), 2);
    assert_eq!(RoomName::Empty { were }.to_string(), "Empty room (was Carol and Bob)");
    assert_eq!(RoomName::Empty { were: Vec::new() }.to_string(), "Empty room");
    let many = RoomName::People { names: vec!["A".into(), "B".into()], others: 3 };
    assert_eq!(many.to_string(), "A, B and 3 others");
}

#[tokio::test(start_paused = true)]
async fn a_room_of_many_is_called_by_five_and_the_number_of_the_others() {
    let net = Net::new();
    let alice = Phone::new(&net, 1, "alice").await;
    let others: Vec<_> = (0..8).map(|n| ruma::UserId::parse(format!("@p{n}:elsewhere.example")).unwrap()).collect();
    let room = alice.create(NewRoom::default()).await;
    let state = crate::rooms::NewEvent::state;
    for user in &others {
        // Invited users count, whether or not they can be reached.
        let content = json!({ "membership": "invite", "displayname": user.localpart() });
        let content = serde_json::from_value(content).unwrap();
        let invite = state(&room, &alice.user, "m.room.member".into(), user.as_str(), content);
        crate::rooms::send(alice.server.home(), invite).await.unwrap();
    }
    let name = alice.summary(&room).await.name;
    assert_eq!(name.to_string(), "p0, p1, p2, p3, p4 and 3 others");
}

#[tokio::test(start_paused = true)]
async fn two_of_one_name_are_told_apart_and_one_alone_is_not() {
    let (_net, alice, bob, carol, room) = three().await;
    alice.say(&room, "from alice").await;
    carol.say(&room, "from carol").await;
    settle().await;
    let shown = async |phone: &Phone, body: &str| saying(&phone.items(&room).await, body).sender_name.clone();
    assert_eq!(shown(&bob, "from alice").await, "Alice");
    for twin in ["Alice", "Al\u{200b}ice", " Alice\u{202e}"] {
        rename(&carol, twin).await;
        assert_eq!(shown(&bob, "from alice").await, format!("Alice ({})", alice.user), "{twin:?}");
        let hers = shown(&bob, "from carol").await;
        assert!(hers.ends_with(&format!("({})", carol.user)), "{hers}");
    }
    // Once there is no other, the name stands alone again.
    rename(&carol, "Carol").await;
    assert_eq!(shown(&bob, "from alice").await, "Alice");
    // Who has left is still told apart from who is here.
    rename(&carol, "Alice").await;
    carol.room(&room).leave(None).await.unwrap();
    settle().await;
    assert_eq!(shown(&bob, "from alice").await, "Alice");
    assert_eq!(shown(&bob, "from carol").await, format!("Alice ({})", carol.user));
    // A name that is somebody's id is shown with the real one.
    rename(&alice, bob.user.as_str()).await;
    assert_eq!(shown(&bob, "from alice").await, format!("{} ({})", bob.user, alice.user));
    rename(&alice, "\u{200b}").await;
    assert_eq!(shown(&bob, "from alice").await, alice.user.as_str());
}

#[tokio::test(start_paused = true)]
async fn an_invite_says_who_asks_and_what_the_room_shows() {
    let net = Net::new();
    let (alice, bob) = (Phone::new(&net, 1, "alice").await, Phone::new(&net, 2, "bob").await);
    net.link(&alice, &bob);
    let invite = vec![bob.user.clone()];
    let den =
        alice.create(NewRoom { name: Some("The den".into()), invite: invite.clone(), ..NewRoom::default() }).await;
    let talk = alice.create(NewRoom { direct: true, invite, ..NewRoom::default() }).await;
    settle().await;
    let summary = bob.summary(&den).await;
    let RoomKind::Invited(invite) = &summary.kind else { panic!("{summary:?}") };
    assert_eq!((&invite.by, invite.name.as_str()), (&alice.user, "Alice"));
    assert_eq!((summary.name.to_string().as_str(), summary.direct, summary.encrypted), ("The den", false, true));
    let summary = bob.summary(&talk).await;
    assert_eq!((summary.name.to_string().as_str(), summary.direct), ("Alice", true));
    bob.join(&talk).await;
    settle().await;
    let summary = bob.summary(&talk).await;
    assert_eq!((summary.kind, summary.direct, summary.name.to_string().as_str()), (RoomKind::Joined, true, "Alice"));
    assert!(alice.summary(&talk).await.direct);
    bob.room(&den).leave(None).await.unwrap();
    settle().await;
    assert!(bob.rooms().await.iter().all(|summary| summary.room_id != den));
}

#[tokio::test(start_paused = true)]
async fn a_member_list_names_power_and_standing() {
    let (_net, alice, bob, room) = pair().await;
    let stranger = ruma::user_id!("@zoe:elsewhere.example").to_owned();
    drop(alice.room(&room).invite(&stranger).await);
    let members = alice.room(&room).members().unwrap();
    let told: Vec<_> = members.iter().map(|member| (member.user.clone(), member.name.as_str(), member.power)).collect();
    assert_eq!(told[..2], [(alice.user.clone(), "Alice", None), (bob.user.clone(), "Bob", Some(0))]);
    let info = bob.room(&room).info().unwrap();
    assert_eq!((info.name.to_string().as_str(), info.joined, info.encrypted), ("Alice", 2, true));
    assert_eq!((info.may.send, info.may.kick, info.may.name, info.join_rule.as_str()), (true, false, false, "invite"));
    assert!(alice.room(&room).info().unwrap().may.kick);
}

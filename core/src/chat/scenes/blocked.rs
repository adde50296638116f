//! What somebody who is blocked says is not shown, and neither is that they say it.

use super::world::{Listed, Net, Phone, pair, settle, texts, three};
use crate::chat::{
    message::{Mentions, TextMessage},
    room::NewRoom,
    room_list::RoomKind,
};

#[tokio::test(start_paused = true)]
async fn a_timeline_is_without_them_and_has_it_all_again_once_they_are_not_blocked() {
    let (_net, alice, bob, room) = pair().await;
    alice.say(&room, "mine").await;
    bob.say(&room, "spam").await;
    settle().await;
    let timeline = alice.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    let before = texts(&list.rows);
    assert_eq!(before.len(), 2);
    alice.chat.set_blocked(&bob.user, true).await.unwrap();
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), ["mine"]);
    bob.say(&room, "more spam").await;
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), ["mine"]);
    assert_eq!(alice.texts(&room).await, ["mine"]);
    alice.chat.set_blocked(&bob.user, false).await.unwrap();
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), [before, vec!["more spam".to_owned()]].concat());
}

#[tokio::test(start_paused = true)]
async fn the_list_shows_what_others_said_last() {
    let (_net, alice, bob, carol, room) = three().await;
    carol.say(&room, "a word").await;
    settle().await;
    bob.say(&room, "spam").await;
    settle().await;
    let feed = alice.chat.rooms();
    let mut list = Listed::new();
    list.keep_rooms(&feed).await;
    let before = list.rows.clone();
    let last = |list: &Listed<_>| {
        let row: &crate::chat::RoomSummary = &list.rows[0];
        row.last.clone().map(|last| last.preview.text)
    };
    assert_eq!(last(&list).as_deref(), Some("spam"));
    alice.chat.set_blocked(&bob.user, true).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(last(&list).as_deref(), Some("a word"));
    alice.chat.set_blocked(&carol.user, true).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(last(&list), None);
    for user in [&bob.user, &carol.user] {
        alice.chat.set_blocked(user, false).await.unwrap();
    }
    list.keep_rooms(&feed).await;
    assert_eq!(list.rows, before);
}

#[tokio::test(start_paused = true)]
async fn what_they_said_is_not_unread() {
    for public in [false, true] {
        let (_net, alice, bob, carol, _) = three().await;
        let invite = vec![bob.user.clone(), carol.user.clone()];
        let room = alice.create(NewRoom { invite, public, ..NewRoom::default() }).await;
        settle().await;
        bob.join(&room).await;
        carol.join(&room).await;
        settle().await;
        let feed = alice.chat.rooms();
        let mut list = Listed::new();
        let counts = async |list: &mut Listed<crate::chat::RoomSummary>| {
            list.keep_rooms(&feed).await;
            let row = list.rows.iter().find(|row| row.room_id == room).unwrap();
            (row.unread, row.highlights)
        };
        let calling = || TextMessage {
            mentions: Mentions { users: [alice.user.clone()].into(), room: false },
            ..TextMessage::plain("alice!")
        };
        bob.room(&room).timeline().send_text(calling()).await.unwrap();
        carol.say(&room, "hello").await;
        settle().await;
        assert_eq!(counts(&mut list).await, (2, 1), "public: {public}");
        alice.chat.set_blocked(&bob.user, true).await.unwrap();
        assert_eq!(counts(&mut list).await, (1, 0), "public: {public}");
        bob.room(&room).timeline().send_text(calling()).await.unwrap();
        assert_eq!(counts(&mut list).await, (1, 0), "public: {public}");
        assert_eq!(alice.summary(&room).await.unread, 1);
        alice.chat.set_blocked(&bob.user, false).await.unwrap();
        // What came meanwhile was not counted, and is not counted later.
        assert_eq!(counts(&mut list).await, (2, 1), "public: {public}");
    }
}

#[tokio::test(start_paused = true)]
async fn their_typing_is_not_told() {
    let (_net, alice, bob, room) = pair().await;
    let feed = alice.room(&room).typing();
    assert_eq!(feed.next().await.unwrap(), []);
    bob.room(&room).set_typing(true).unwrap();
    assert_eq!(feed.next().await.unwrap().len(), 1);
    alice.chat.set_blocked(&bob.user, true).await.unwrap();
    assert_eq!(feed.next().await.unwrap(), [], "it ends at once");
    assert_eq!(alice.room(&room).typing().next().await.unwrap(), []);
    alice.chat.set_blocked(&bob.user, false).await.unwrap();
    assert_eq!(feed.next().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn their_invites_are_not_shown() {
    let net = Net::new();
    let (alice, bob) = (Phone::new(&net, 1, "alice").await, Phone::new(&net, 2, "bob").await);
    net.link(&alice, &bob);
    let feed = alice.chat.rooms();
    let mut list = Listed::new();
    list.keep_rooms(&feed).await;
    let invite = async || bob.create(NewRoom { invite: vec![alice.user.clone()], ..NewRoom::default() }).await;
    let first = invite().await;
    list.keep_rooms(&feed).await;
    assert!(matches!(&list.rows[0].kind, RoomKind::Invited(invite) if invite.by == bob.user), "{:?}", list.rows);
    alice.chat.set_blocked(&bob.user, true).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(list.rows, []);
    let second = invite().await;
    list.keep_rooms(&feed).await;
    assert_eq!((list.rows.len(), alice.rooms().await.len()), (0, 0));
    alice.chat.set_blocked(&bob.user, false).await.unwrap();
    list.keep_rooms(&feed).await;
    let mut shown: Vec<_> = list.rows.iter().map(|row| row.room_id.clone()).collect();
    let mut both = [first, second];
    both.sort();
    shown.sort();
    assert_eq!(shown, both);
}

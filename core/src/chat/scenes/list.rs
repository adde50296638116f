//! The list of rooms: order, last messages, what is unread, and that a quiet room costs nothing.

use super::world::{Listed, Net, Phone, pair, settle, three};
use crate::chat::{
    feed::Diff,
    message::{Mentions, TextMessage},
    preview::PreviewKind,
    room::NewRoom,
    room_list::{RoomKind, RoomSummary},
};

fn ids(rows: &[RoomSummary]) -> Vec<&str> {
    rows.iter().map(|room| room.room_id.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn invites_come_first_and_then_who_spoke_last() {
    let (_net, alice, bob, first) = pair().await;
    let second = alice.create(NewRoom { invite: vec![bob.user.clone()], ..NewRoom::default() }).await;
    settle().await;
    let feed = bob.chat.rooms();
    let mut list = Listed::new();
    list.keep_rooms(&feed).await;
    assert_eq!(ids(&list.rows), [second.as_str(), first.as_str()]);
    assert!(matches!(list.diffs.as_slice(), [Diff::Reset(_)]), "one batch is enough: {:?}", list.diffs);
    alice.say(&first, "old room").await;
    list.keep_rooms(&feed).await;
    assert_eq!(ids(&list.rows), [second.as_str(), first.as_str()], "an invite stays on top");
    bob.join(&second).await;
    list.keep_rooms(&feed).await;
    alice.say(&first, "again").await;
    list.keep_rooms(&feed).await;
    assert_eq!(ids(&list.rows), [first.as_str(), second.as_str()]);
    list.news();
    alice.say(&second, "new room").await;
    list.keep_rooms(&feed).await;
    assert_eq!(ids(&list.rows), [second.as_str(), first.as_str()]);
    let last = list.rows[0].last.clone().unwrap();
    assert_eq!((last.sender_name.as_str(), last.preview.text.as_str(), last.mine), ("Alice", "new room", false));
    // A name or a reaction moves nothing.
    let before = list.rows.clone();
    alice.room(&first).set_topic("x").await.unwrap();
    let timeline = alice.room(&first).timeline();
    let item =
        super::world::items_of(&timeline).await.into_iter().rev().find(|item| item.mine && item.event_id.is_some());
    timeline.react(&item.unwrap().id, "👍").await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(list.rows, before);
    feed.stop();
    assert_eq!(feed.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_last_message_is_what_it_says_now() {
    let (_net, alice, bob, room) = pair().await;
    let timeline = alice.room(&room).timeline();
    let last = async || bob.summary(&room).await.last;
    assert_eq!(last().await, None, "nobody has said anything");
    let one = timeline.send_text(TextMessage::plain("one")).await.unwrap();
    settle().await;
    super::world::items_of(&timeline).await;
    timeline.edit(&one, TextMessage::plain("two")).await.unwrap();
    settle().await;
    assert_eq!(last().await.unwrap().preview.text, "two");
    timeline.redact(&one, None).await.unwrap();
    settle().await;
    assert_eq!(last().await.unwrap().preview.kind, PreviewKind::Redacted);
}

#[tokio::test(start_paused = true)]
async fn what_stands_out_in_an_encrypted_room_is_found_by_its_members_own_rules() {
    let (_net, alice, bob, carol, room) = three().await;
    let feed = bob.chat.rooms();
    let mut list = Listed::new();
    list.keep_rooms(&feed).await;
    let counts = |list: &Listed<RoomSummary>| (list.rows[0].unread, list.rows[0].highlights);
    assert_eq!(counts(&list), (0, 0));
    let timeline = alice.room(&room).timeline();
    timeline.send_text(TextMessage::plain("hello all")).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(counts(&list), (1, 0));
    let mentions = |users: Vec<_>, room| Mentions { users: users.into_iter().collect(), room };
    let for_bob = TextMessage { mentions: mentions(vec![bob.user.clone()], false), ..TextMessage::plain("bob!") };
    let sent = timeline.send_text(for_bob).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(counts(&list), (2, 1));
    // Everybody is called by who may.
    let for_all = TextMessage { mentions: mentions(Vec::new(), true), ..TextMessage::plain("all!") };
    timeline.send_text(for_all.clone()).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(counts(&list), (3, 2));
    carol.room(&room).timeline().send_text(for_all).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(counts(&list), (4, 2), "carol may not call everybody");
    // An edit is no news.
    super::world::items_of(&timeline).await;
    timeline.edit(&sent, TextMessage::plain("bob?")).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(counts(&list), (4, 2));
    // The same counts after a fresh look at everything.
    let fresh = bob.summary(&room).await;
    assert_eq!((fresh.unread, fresh.highlights), (4, 2));
    bob.room(&room).timeline().mark_read(true).await.unwrap();
    list.keep_rooms(&feed).await;
    assert_eq!(counts(&list), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_happens_in_one_room_touches_only_its_row() {
    let net = Net::new();
    let alice = Phone::new(&net, 1, "alice").await;
    let mut rooms = Vec::new();
    for n in 0..20 {
        let room = alice.create(NewRoom { name: Some(format!("room {n}")), ..NewRoom::default() }).await;
        alice.say(&room, &format!("hello {n}")).await;
        rooms.push(room);
    }
    settle().await;
    let feed = alice.chat.rooms();
    let mut list = Listed::new();
    list.keep_rooms(&feed).await;
    assert_eq!(list.rows.len(), 20);
    list.news();
    alice.say(&rooms[3], "news").await;
    list.keep_rooms(&feed).await;
    let news = list.news();
    assert!(news.len() <= 2, "a row moves up: {news:?}");
    assert_eq!(list.rows[0].room_id, rooms[3]);
    assert!(list.rows.iter().all(|row| row.kind == RoomKind::Joined));
    assert_eq!(alice.rooms().await, list.rows);
}

//! What stands beside a message about its sender, and messages whose keys come late.

use std::time::Duration;

use super::world::{Listed, Net, Phone, pair, saying, settle};
use crate::chat::{
    Trust,
    crypto::testing::new_identity,
    feed::Diff,
    message::TextMessage,
    preview::PreviewKind,
    room::{NewRoom, Typist},
    timeline::ItemContent,
};

/// Two people compare emoji.
async fn verify(alice: &Phone, bob: &Phone) {
    let hers = alice.chat.request_verification(&bob.user, None).await.unwrap();
    settle().await;
    let his = match bob.chat.verifications().next().await.unwrap().as_slice() {
        [Diff::Reset(flows)] => bob.chat.verification(&flows.last().unwrap().id).unwrap(),
        other => panic!("the first batch is one reset: {other:?}"),
    };
    his.accept().await.unwrap();
    settle().await;
    hers.start_sas().await.unwrap();
    settle().await;
    hers.confirm().await.unwrap();
    his.confirm().await.unwrap();
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn trust_in_old_messages_follows_what_is_known_of_their_sender() {
    let (_net, alice, bob, room) = pair().await;
    bob.say(&room, "it is me").await;
    settle().await;
    let timeline = alice.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    assert_eq!(saying(&list.rows, "it is me").trust, Some(Trust::Unverified));
    verify(&alice, &bob).await;
    list.keep(&timeline).await;
    assert_eq!(saying(&list.rows, "it is me").trust, Some(Trust::Verified));
    assert!(
        list.rows.iter().all(|item| !matches!(&item.content, ItemContent::Unsupported { .. })),
        "what the phones said to one another is no message: {:#?}",
        list.rows
    );
    new_identity(&bob.chat).await;
    settle().await;
    list.keep(&timeline).await;
    assert_eq!(saying(&list.rows, "it is me").trust, Some(Trust::Changed));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_says_so_and_heals_in_its_row_and_in_the_list() {
    let net = Net::new();
    let (alice, bob) = (Phone::new(&net, 1, "alice").await, Phone::new(&net, 2, "bob").await);
    net.link(&alice, &bob);
    *net.lost.lock().unwrap() = Some("/user/keys/claim");
    let room = alice.create(NewRoom { invite: vec![bob.user.clone()], ..NewRoom::default() }).await;
    settle().await;
    bob.join(&room).await;
    let calling = TextMessage {
        mentions: crate::chat::message::Mentions { users: [bob.user.clone()].into(), room: false },
        ..TextMessage::plain("late")
    };
    alice.room(&room).timeline().send_text(calling).await.unwrap();
    settle().await;
    let (timeline, feed) = (bob.room(&room).timeline(), bob.chat.rooms());
    let (mut list, mut rooms) = (Listed::new(), Listed::new());
    list.keep(&timeline).await;
    rooms.keep_rooms(&feed).await;
    let row = list.rows.last().unwrap().clone();
    assert!(matches!(row.content, ItemContent::Undecryptable { waiting: true, .. }), "{row:?}");
    assert_eq!(rooms.rows[0].last.clone().unwrap().preview.kind, PreviewKind::Undecryptable);
    assert_eq!((rooms.rows[0].unread, rooms.rows[0].highlights), (1, 0));
    list.news();
    *net.lost.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(60)).await;
    list.keep(&timeline).await;
    rooms.keep_rooms(&feed).await;
    let news = list.news();
    assert!(news.iter().all(|diff| matches!(diff, Diff::Set { item, .. } if item.id == row.id)), "{news:#?}");
    assert_eq!(saying(&list.rows, "late").id, row.id);
    assert_eq!(rooms.rows[0].last.clone().unwrap().preview.text, "late");
    assert_eq!((rooms.rows[0].unread, rooms.rows[0].highlights), (1, 1), "what calls stands out once it can be read");
}

#[tokio::test(start_paused = true)]
async fn who_types_is_told_by_name_until_they_stop() {
    let (_net, alice, bob, room) = pair().await;
    let feed = alice.room(&room).typing();
    assert_eq!(feed.next().await.unwrap(), []);
    alice.room(&room).set_typing(true).unwrap();
    let next = tokio::spawn(async move { (feed.next().await, feed) });
    settle().await;
    assert!(!next.is_finished(), "one's own typing is no news");
    bob.room(&room).set_typing(true).unwrap();
    let (typists, feed) = next.await.unwrap();
    assert_eq!(typists.unwrap(), [Typist { user: bob.user.clone(), name: "Bob".into() }]);
    bob.room(&room).set_typing(false).unwrap();
    assert_eq!(feed.next().await.unwrap(), []);
    feed.stop();
    assert_eq!(feed.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn feeds_end_with_the_client_and_run_on_any_thread() {
    let (_net, alice, _bob, room) = pair().await;
    let (timeline, rooms, typing) = (alice.room(&room).timeline(), alice.chat.rooms(), alice.room(&room).typing());
    let waiting = tokio::spawn(async move {
        timeline.next().await.unwrap();
        rooms.next().await.unwrap();
        typing.next().await.unwrap();
        (timeline.next().await, rooms.next().await, typing.next().await)
    });
    settle().await;
    alice.chat.stop().await;
    assert_eq!(waiting.await.unwrap(), (None, None, None));
}

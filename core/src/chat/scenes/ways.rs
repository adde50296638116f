//! How a message stands with each person: never more than is proven, and in the end all of it.

use std::time::Duration;

use ruma::{OwnedUserId, RoomId};

use super::world::{Phone, items_of, pair, saying, settle, three};
use crate::chat::{
    delivery::{Reach, Recipient, SendState},
    message::TextMessage,
    room::NewRoom,
};

async fn reach(phone: &Phone, room: &RoomId, body: &str) -> Vec<(OwnedUserId, Reach)> {
    match &saying(&phone.items(room).await, body).state {
        Some(SendState::Sent { recipients }) => {
            let mut recipients: Vec<_> =
                recipients.iter().map(|Recipient { user, reach }| (user.clone(), reach.clone())).collect();
            recipients.sort_by_key(|(user, _)| user.localpart().to_owned());
            recipients
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_queued_then_there_then_read_for_each_person() {
    let (net, alice, bob, carol, room) = three().await;
    net.cut(&alice, &carol);
    net.cut(&bob, &carol);
    alice.say(&room, "hello").await;
    settle().await;
    let (b, c) = (bob.user.clone(), carol.user.clone());
    assert_eq!(reach(&alice, &room, "hello").await, [(b.clone(), Reach::OnTheirPhone), (c.clone(), Reach::Queued)]);
    bob.room(&room).timeline().mark_read(false).await.unwrap();
    settle().await;
    assert_eq!(reach(&alice, &room, "hello").await, [(b.clone(), Reach::Read), (c.clone(), Reach::Queued)]);
    tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
    assert_eq!(reach(&alice, &room, "hello").await[1].1, Reach::Queued, "a month later it still waits");
    net.link(&alice, &carol);
    settle().await;
    assert_eq!(reach(&alice, &room, "hello").await, [(b.clone(), Reach::Read), (c.clone(), Reach::OnTheirPhone)]);
    // Speaking does not say that one has read: carol may have written this before she looked.
    carol.say(&room, "back").await;
    settle().await;
    assert_eq!(reach(&alice, &room, "hello").await, [(b.clone(), Reach::Read), (c.clone(), Reach::OnTheirPhone)]);
    carol.room(&room).timeline().mark_read(false).await.unwrap();
    settle().await;
    assert_eq!(reach(&alice, &room, "hello").await, [(b, Reach::Read), (c, Reach::Read)]);
    let items = alice.items(&room).await;
    let told: Vec<_> = items.iter().filter(|item| item.state.is_some()).map(super::world::text).collect();
    assert_eq!(told, [Some("hello".to_owned())], "only what we said is told of");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_while_apart_proves_nothing_of_what_was_written_meanwhile() {
    // Alice and carol are apart. Carol reads what bob says, which comes to lie below alice's message on alice's phone.
    let (net, alice, bob, carol, room) = three().await;
    net.cut(&alice, &bob);
    net.cut(&alice, &carol);
    alice.say(&room, "from the other side").await;
    settle().await;
    bob.say(&room, "from this side").await;
    settle().await;
    carol.room(&room).timeline().mark_read(false).await.unwrap();
    settle().await;
    net.cut(&bob, &carol);
    // Bob alone comes back, with what he said and what carol read of it; then carol, who has not looked since.
    net.link(&alice, &bob);
    settle().await;
    net.link(&alice, &carol);
    settle().await;
    let stands = reach(&alice, &room, "from the other side").await;
    assert_eq!(stands, [(bob.user.clone(), Reach::OnTheirPhone), (carol.user.clone(), Reach::OnTheirPhone)]);
    carol.room(&room).timeline().mark_read(false).await.unwrap();
    settle().await;
    // Her last event is bob's or alice's; she reads on once something new is said.
    alice.say(&room, "together").await;
    settle().await;
    carol.room(&room).timeline().mark_read(false).await.unwrap();
    settle().await;
    let stands = reach(&alice, &room, "from the other side").await;
    assert_eq!(stands[1], (carol.user.clone(), Reach::Read));
}

#[tokio::test(start_paused = true)]
async fn an_edit_has_a_way_of_its_own() {
    let (net, alice, bob, room) = pair().await;
    let sent = alice.say(&room, "teh").await;
    settle().await;
    assert_eq!(reach(&alice, &room, "teh").await, [(bob.user.clone(), Reach::OnTheirPhone)]);
    net.cut(&alice, &bob);
    let timeline = alice.room(&room).timeline();
    items_of(&timeline).await;
    timeline.edit(&sent, TextMessage::plain("the")).await.unwrap();
    settle().await;
    assert_eq!(reach(&alice, &room, "the").await, [(bob.user.clone(), Reach::Queued)], "bob has the old words");
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(reach(&alice, &room, "the").await, [(bob.user.clone(), Reach::OnTheirPhone)]);
}

#[tokio::test(start_paused = true)]
async fn who_came_later_was_not_meant_and_who_left_is_not_waited_for() {
    let (net, alice, bob, carol, room) = three().await;
    carol.room(&room).leave(None).await.unwrap();
    settle().await;
    alice.say(&room, "just us").await;
    settle().await;
    assert_eq!(reach(&alice, &room, "just us").await, [(bob.user.clone(), Reach::OnTheirPhone)]);
    alice.room(&room).invite(&carol.user).await.unwrap();
    settle().await;
    carol.join(&room).await;
    settle().await;
    assert_eq!(reach(&alice, &room, "just us").await, [(bob.user.clone(), Reach::OnTheirPhone)]);
    net.cut(&alice, &carol);
    let alone = alice.create(NewRoom::default()).await;
    alice.say(&alone, "note to self").await;
    settle().await;
    assert_eq!(reach(&alice, &alone, "note to self").await, []);
}

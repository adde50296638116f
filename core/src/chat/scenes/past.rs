//! What was said before: windows, gaps, and other phones that have what is missing.

use super::world::{Listed, Net, Phone, items_of, pair, saying, settle, texts};
use crate::chat::{ChatError, message::TextMessage, room::NewRoom};

async fn chatter(phone: &Phone, room: &ruma::RoomId, from: usize, to: usize) {
    for n in from..to {
        phone.say(room, &format!("{n}")).await;
        // In a room of its own pace, so that the queue is never long.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    settle().await;
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_timeline_shows_the_newest_and_goes_back_on_demand() {
    let net = Net::new();
    let alice = Phone::new(&net, 1, "alice").await;
    let room = alice.create(NewRoom::default()).await;
    chatter(&alice, &room, 0, 120).await;
    let timeline = alice.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), numbers(70, 120));
    assert!(!timeline.paginate_backwards(40).await.unwrap());
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), numbers(30, 120));
    assert!(timeline.paginate_backwards(100).await.unwrap(), "the room begins here");
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), numbers(0, 120));
    assert!(timeline.paginate_backwards(10).await.unwrap());
    // A window that grew stays as long as was asked for; one that nobody extended is cut after a while.
    let live = alice.room(&room).timeline();
    let mut short = Listed::new();
    short.keep(&live).await;
    chatter(&alice, &room, 120, 160).await;
    short.keep(&live).await;
    assert_eq!(texts(&short.rows), numbers(70, 160), "nothing moves under a reader");
    chatter(&alice, &room, 160, 200).await;
    short.keep(&live).await;
    assert_eq!(texts(&short.rows), numbers(150, 200));
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), numbers(0, 200));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_one_came_is_fetched_from_those_who_were_there() {
    let net = Net::new();
    let (alice, bob) = (Phone::new(&net, 1, "alice").await, Phone::new(&net, 2, "bob").await);
    net.link(&alice, &bob);
    let public = NewRoom { public: true, ..NewRoom::default() };
    let room = alice.create(public).await;
    chatter(&alice, &room, 0, 130).await;
    bob.chat.join(room.clone().into(), vec![alice.name()]).await.unwrap();
    settle().await;
    alice.say(&room, "welcome").await;
    settle().await;
    let timeline = bob.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), ["welcome"]);
    let first = list.rows.first().unwrap();
    assert!(first.gap_before, "something is missing, and that is said: {first:?}");

    net.cut(&alice, &bob);
    assert!(matches!(timeline.paginate_backwards(20).await, Err(ChatError::Network(_))));
    net.link(&alice, &bob);
    settle().await;
    assert!(!timeline.paginate_backwards(20).await.unwrap());
    list.keep(&timeline).await;
    let shown = texts(&list.rows);
    assert_eq!(shown[shown.len() - 21..], [numbers(110, 130), vec!["welcome".to_owned()]].concat());
    assert!(timeline.paginate_backwards(500).await.unwrap());
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), [numbers(0, 130), vec!["welcome".to_owned()]].concat());
    assert!(list.rows.iter().all(|item| !item.gap_before));
    assert_eq!(list.rows, items_after_pages(&bob, &room).await, "as a fresh look has it");
}

/// All of a room, by a timeline of its own.
async fn items_after_pages(phone: &Phone, room: &ruma::RoomId) -> Vec<crate::chat::timeline::TimelineItem> {
    let timeline = phone.room(room).timeline();
    timeline.paginate_backwards(1_000).await.unwrap();
    items_of(&timeline).await
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_middle_is_shown_and_what_is_known_beyond_it_too() {
    let (net, alice, bob, _) = pair().await;
    let room = alice.create(NewRoom { public: true, ..NewRoom::default() }).await;
    bob.chat.join(room.clone().into(), vec![alice.name()]).await.unwrap();
    chatter(&alice, &room, 0, 5).await;
    bob.room(&room).leave(None).await.unwrap();
    settle().await;
    chatter(&alice, &room, 5, 40).await;
    bob.chat.join(room.clone().into(), vec![alice.name()]).await.unwrap();
    settle().await;
    alice.say(&room, "again").await;
    settle().await;
    net.cut(&alice, &bob);
    let timeline = bob.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    // Out of reach of everybody, what is here is shown all the same.
    drop(timeline.paginate_backwards(100).await);
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), [numbers(0, 5), vec!["again".to_owned()]].concat());
    let gaps: Vec<_> = list.rows.iter().filter(|item| item.gap_before).map(|item| item.id.clone()).collect();
    assert!(!gaps.is_empty());
    let gap = gaps.last().unwrap();
    assert!(matches!(timeline.fill(gap).await, Err(ChatError::Network(_))));
    net.link(&alice, &bob);
    settle().await;
    assert!(timeline.fill(gap).await.unwrap());
    list.keep(&timeline).await;
    let shown = texts(&list.rows);
    assert!(shown.ends_with(&[numbers(5, 40), vec!["again".to_owned()]].concat()), "{shown:?}");
    assert!(!list.rows.iter().any(|item| item.id == *gap && item.gap_before));
}

#[tokio::test(start_paused = true)]
async fn a_thread_goes_back_too() {
    let net = Net::new();
    let alice = Phone::new(&net, 1, "alice").await;
    let room = alice.create(NewRoom::default()).await;
    alice.say(&room, "root").await;
    settle().await;
    let root = saying(&alice.items(&room).await, "root").event_id.clone().unwrap();
    let thread = alice.room(&room).thread(root.clone());
    for n in 0..80 {
        thread.send_text(TextMessage::plain(format!("{n}"))).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    settle().await;
    let thread = alice.room(&room).thread(root);
    let mut list = Listed::new();
    list.keep(&thread).await;
    assert_eq!(texts(&list.rows), numbers(30, 80));
    assert!(!thread.paginate_backwards(10).await.unwrap());
    assert!(thread.paginate_backwards(100).await.unwrap());
    list.keep(&thread).await;
    assert_eq!(texts(&list.rows), [vec!["root".to_owned()], numbers(0, 80)].concat());
    assert_eq!(saying(&alice.items(&room).await, "root").thread.clone().unwrap().count, 80);
}

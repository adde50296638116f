//! The queue: order, failure with a reason, second thoughts, files.

use ruma::OwnedRoomId;

use super::world::{Listed, Phone, items_of, pair, saying, settle, text, texts};
use crate::chat::{
    ChatError,
    attachment::{FileInfo, Kind, Source},
    delivery::SendState,
    feed::Diff,
    message::TextMessage,
    room::NewRoom,
    timeline::{ItemContent, TimelineItem},
};

fn failed(item: &TimelineItem) -> Option<bool> {
    match &item.state {
        Some(SendState::Failed { reason, retryable }) => {
            assert!(!reason.is_empty());
            Some(*retryable)
        }
        _ => None,
    }
}

/// A room in which bob is silenced until alice lets him speak.
async fn silenced() -> (Phone, Phone, OwnedRoomId, impl AsyncFn(&Phone, i64)) {
    let (_net, alice, bob, room) = pair().await;
    let target = room.clone();
    let lets_speak_from = async move |alice: &Phone, power: i64| {
        let content = serde_json::json!({ "events_default": power, "users": {} });
        let content = serde_json::from_value(content).unwrap();
        let levels = crate::rooms::NewEvent::state(&target, &alice.user, "m.room.power_levels".into(), "", content);
        crate::rooms::send(alice.server.home(), levels).await.unwrap();
        settle().await;
    };
    lets_speak_from(&alice, 10).await;
    (alice, bob, room, lets_speak_from)
}

#[tokio::test(start_paused = true)]
async fn many_at_once_arrive_in_order() {
    let (_net, alice, bob, room) = pair().await;
    let timeline = alice.room(&room).timeline();
    let said: Vec<String> = (0..30).map(|n| format!("message {n}")).collect();
    for body in &said {
        timeline.send_text(TextMessage::plain(body.as_str())).await.unwrap();
    }
    let shown = texts(&items_of(&timeline).await);
    assert_eq!(shown, said, "all are shown at once, in order");
    settle().await;
    assert_eq!(alice.texts(&room).await, said);
    assert_eq!(bob.texts(&room).await, said);
}

#[tokio::test(start_paused = true)]
async fn what_the_room_forbids_fails_with_its_reason_and_can_be_tried_again() {
    let (alice, bob, room, lets_speak_from) = silenced().await;
    let timeline = bob.room(&room).timeline();
    let mut list = Listed::new();
    let one = timeline.send_text(TextMessage::plain("may I?")).await.unwrap();
    let two = timeline.send_text(TextMessage::plain("and I?")).await.unwrap();
    list.keep(&timeline).await;
    assert_eq!(failed(saying(&list.rows, "may I?")), Some(true));
    assert_eq!(failed(saying(&list.rows, "and I?")), Some(true), "it does not wait behind the other");
    timeline.cancel(&two).await.unwrap();
    lets_speak_from(&alice, 0).await;
    list.keep(&timeline).await;
    assert_eq!(failed(saying(&list.rows, "may I?")), Some(true), "nothing is sent behind a person's back");
    list.news();
    timeline.retry(&one).await.unwrap();
    list.keep(&timeline).await;
    assert!(
        list.news().iter().all(|diff| matches!(diff, Diff::Set { item, .. } if item.id == one)),
        "one row, in place"
    );
    assert!(matches!(saying(&list.rows, "may I?").state, Some(SendState::Sent { .. })));
    settle().await;
    assert_eq!(alice.texts(&room).await, ["may I?"]);
    assert!(matches!(timeline.retry(&one).await, Err(ChatError::NotFound(_))));
    assert!(matches!(timeline.cancel(&one).await, Err(ChatError::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_edit_says_so_at_its_message_and_a_forbidden_reaction_goes() {
    let (_net, alice, bob, room) = pair().await;
    bob.say(&room, "before").await;
    settle().await;
    alice.room(&room).kick(&bob.user, None).await.unwrap();
    settle().await;
    let timeline = bob.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    let item = saying(&list.rows, "before").id.clone();
    timeline.edit(&item, TextMessage::plain("after")).await.unwrap();
    timeline.react(&item, "👍").await.unwrap();
    list.keep(&timeline).await;
    let row = saying(&list.rows, "after");
    assert_eq!((failed(row), row.reactions.len(), &row.id), (Some(true), 0, &item));
    timeline.cancel(&item).await.unwrap();
    list.keep(&timeline).await;
    assert!(failed(saying(&list.rows, "before")).is_none(), "the message is as it was");
}

#[tokio::test(start_paused = true)]
async fn what_waits_can_be_changed_and_taken_back() {
    let (_alice, bob, room, _) = silenced().await;
    let timeline = bob.room(&room).timeline();
    let one = timeline.send_text(TextMessage::plain("draft")).await.unwrap();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    timeline.edit(&one, TextMessage::plain("better")).await.unwrap();
    let batch = timeline.next().await.unwrap();
    let [Diff::Set { item, .. }] = batch.as_slice() else { panic!("{batch:#?}") };
    assert_eq!((text(item).as_deref(), item.edited), (Some("better"), false), "nobody has seen the draft");
    crate::chat::feed::apply(&mut list.rows, &batch);
    list.keep(&timeline).await;
    assert_eq!(failed(saying(&list.rows, "better")), Some(true), "it is tried, and refused again");
    timeline.redact(&one, None).await.unwrap();
    list.keep(&timeline).await;
    assert_eq!(texts(&list.rows), Vec::<String>::new());
    assert!(bob.chat.inner.queue.of_room(&room).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_no_event_can_hold_is_refused_before_it_is_queued() {
    let (_net, alice, _bob, room) = pair().await;
    let timeline = alice.room(&room).timeline();
    let long = TextMessage::plain("x".repeat(crate::types::limits::MESSAGE_BYTES_MAX + 1));
    assert!(matches!(timeline.send_text(long).await, Err(ChatError::TooLarge(_))));
    assert!(matches!(timeline.send_text(TextMessage::plain(" \n")).await, Err(ChatError::Invalid(_))));
    let largest = TextMessage::plain("x".repeat(crate::types::limits::MESSAGE_BYTES_MAX - 100));
    timeline.send_text(largest).await.unwrap();
    settle().await;
    let items = alice.items(&room).await;
    assert!(matches!(items.last().unwrap().state, Some(SendState::Sent { .. })), "what is taken fits, encrypted");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_becomes_encrypted_never_sees_another_word_in_clear() {
    let (_net, alice, bob, _) = pair().await;
    let room = alice.create(NewRoom { public: true, ..NewRoom::default() }).await;
    bob.chat.join(room.clone().into(), vec![alice.name()]).await.unwrap();
    let timeline = alice.room(&room).timeline();
    let plain = timeline.send_text(TextMessage::plain("in clear")).await.unwrap();
    settle().await;
    let encryption = serde_json::from_value(serde_json::json!({ "algorithm": "m.megolm.v1.aes-sha2" })).unwrap();
    let on = crate::rooms::NewEvent::state(&room, &alice.user, "m.room.encryption".into(), "", encryption);
    crate::rooms::send(alice.server.home(), on).await.unwrap();
    timeline.send_text(TextMessage::plain("sealed")).await.unwrap();
    settle().await;
    let items = items_of(&timeline).await;
    assert!(saying(&items, "in clear").trust.is_none() && saying(&items, "sealed").trust.is_some());
    // What was said in clear can still be changed, and both can read that.
    timeline.edit(&plain, TextMessage::plain("was in clear")).await.unwrap();
    settle().await;
    let items = bob.items(&room).await;
    assert_eq!(texts(&items), ["was in clear", "sealed"]);
    assert!(saying(&items, "was in clear").trust.is_some());
    assert!(bob.summary(&room).await.encrypted);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_shown_while_it_is_read_and_keeps_its_place() {
    let (_net, alice, bob, room) = pair().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "hello").unwrap();
    let timeline = alice.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    list.news();
    alice.chat.end_tasks().await;
    let info = FileInfo { mime: Some("text/plain".into()), ..FileInfo::new("notes.txt", Kind::File) };
    let (sent, _) = timeline.send_file(Source::Path(path), info, None).await.unwrap();
    timeline.send_text(TextMessage::plain("did you get it?")).await.unwrap();
    let batch = timeline.next().await.unwrap();
    let Some(Diff::Insert { item, .. }) = batch.first() else { panic!("{batch:#?}") };
    assert!(matches!(&item.content, ItemContent::Media(file) if file.name == "notes.txt"), "{item:?}");
    assert!(matches!(item.state, Some(SendState::Sending { progress: Some(_) })));
    assert_eq!(item.id, sent);
    crate::chat::feed::apply(&mut list.rows, &batch);
    alice.chat.start();
    list.keep(&timeline).await;
    let theirs = bob.items(&room).await;
    let last: Vec<_> = theirs.iter().rev().take(2).map(|item| &item.content).collect();
    assert!(matches!(last[..], [ItemContent::Text { .. }, ItemContent::Media(_)]), "in the order of sending: {last:?}");
    // A file that is not there fails, and the next message goes on.
    let gone = Source::Path(folder.path().join("gone"));
    timeline.send_file(gone, FileInfo::new("gone", Kind::File), None).await.unwrap();
    timeline.send_text(TextMessage::plain("never mind")).await.unwrap();
    list.keep(&timeline).await;
    assert_eq!(list.rows.iter().filter(|item| failed(item) == Some(false)).count(), 1);
    assert!(bob.texts(&room).await.contains(&"never mind".to_owned()));
}

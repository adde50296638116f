//! What a person is told of while they do not look: the right things, in order, until they were handled.

use std::time::Duration;

use super::world::{Net, Phone, items_of, pair, saying, settle};
use crate::{
    chat::{
        Mentions, Notice, NoticeKind, TextMessage, attachment::FileInfo, attachment::Kind, attachment::Source,
        preview::PreviewKind, room::NewRoom,
    },
    store::{Backend, CrashDisk, StoreConfig, Threading},
};

/// All that is to be told of now, each handled; in short words.
async fn told(phone: &Phone) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(notice) = next(phone).await {
        told.push(short(&notice));
        phone.chat.notice_handled(notice.id).await.unwrap();
    }
    told
}

async fn next(phone: &Phone) -> Option<Notice> {
    tokio::time::timeout(Duration::from_secs(20), phone.chat.next_notice()).await.unwrap_or_default()
}

fn short(notice: &Notice) -> String {
    match &notice.kind {
        NoticeKind::Message { sender_name, preview, highlight, .. } => {
            let loud = if *highlight { "!" } else { "" };
            format!("{sender_name}: {}{loud}", preview.text)
        }
        NoticeKind::Invited(invite) => format!("{} invites", invite.name),
    }
}

#[tokio::test(start_paused = true)]
async fn messages_and_invites_come_in_order_and_what_was_read_or_deleted_does_not() {
    let (_net, alice, bob, room) = pair().await;
    // Bob was asked into this room, and is in it by now.
    assert_eq!(told(&bob).await, [""; 0]);
    bob.say(&room, "of his own").await;
    alice.say(&room, "one").await;
    alice.say(&room, "a mistake").await;
    settle().await;
    let mentions = Mentions { users: [bob.user.clone()].into(), room: false };
    let timeline = alice.room(&room).timeline();
    timeline.send_text(TextMessage { mentions, ..TextMessage::plain("bob?") }).await.unwrap();
    settle().await;
    let items = items_of(&timeline).await;
    // Neither a reaction nor a change is a thing to be told of.
    timeline.react(&saying(&items, "bob?").id, "!").await.unwrap();
    timeline.edit(&saying(&items, "one").id, TextMessage::plain("number one")).await.unwrap();
    timeline.redact(&saying(&items, "a mistake").id, None).await.unwrap();
    settle().await;
    let named = NewRoom { name: Some("Trip".into()), invite: vec![bob.user.clone()], ..NewRoom::default() };
    let trip = alice.create(named).await;
    settle().await;

    let first = next(&bob).await.unwrap();
    assert_eq!((short(&first), &first.room_id), ("Alice: number one".to_owned(), &room));
    assert_eq!(next(&bob).await.unwrap(), first, "the same one until it is handled");
    assert_eq!(told(&bob).await, ["Alice: number one", "Alice: bob?!", "Alice invites"]);
    assert_eq!(told(&alice).await, [""; 0], "who speaks has read what was said before");

    alice.say(&room, "read at once").await;
    settle().await;
    bob.room(&room).timeline().mark_read(true).await.unwrap();
    alice.say(&room, "not read").await;
    settle().await;
    assert_eq!(told(&bob).await, ["Alice: not read"]);
    // An invite that was taken back, or accepted, is none.
    let other = alice.create(NewRoom { invite: vec![bob.user.clone()], ..NewRoom::default() }).await;
    settle().await;
    alice.room(&other).kick(&bob.user, None).await.unwrap();
    settle().await;
    assert_eq!(told(&bob).await, [""; 0]);
    bob.join(&trip).await;
    settle().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let source = Source::Path(file.path().to_owned());
    let info = FileInfo::new("map.pdf", Kind::File);
    alice.room(&trip).timeline().send_file(source, info, None).await.unwrap();
    settle().await;
    let notice = next(&bob).await.unwrap();
    assert_eq!((notice.room_name.to_string().as_str(), notice.direct), ("Trip", false));
    assert!(matches!(notice.kind, NoticeKind::Message { preview, .. } if preview.kind == PreviewKind::File));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_at_once_and_nobody_is_told_of_those_whom_they_block() {
    let (_net, alice, bob, room) = pair().await;
    let chat = bob.chat.clone();
    let waiting = tokio::spawn(async move { chat.next_notice().await });
    settle().await;
    assert!(!waiting.is_finished());
    alice.say(&room, "hello").await;
    settle().await;
    let notice = waiting.await.unwrap().unwrap();
    assert_eq!(short(&notice), "Alice: hello");
    bob.chat.set_blocked(&alice.user, true).await.unwrap();
    alice.create(NewRoom { invite: vec![bob.user.clone()], ..NewRoom::default() }).await;
    settle().await;
    assert_eq!(told(&bob).await, [""; 0]);
    let chat = bob.chat.clone();
    let waiting = tokio::spawn(async move { chat.next_notice().await });
    settle().await;
    bob.chat.stop().await;
    assert_eq!(waiting.await.unwrap(), None, "the end of the client ends the wait");
}

#[tokio::test(start_paused = true)]
async fn a_killed_phone_tells_again_what_was_not_handled() {
    let net = Net::new();
    let disk = CrashDisk::new();
    let on = |disk: &CrashDisk| StoreConfig {
        backend: Backend::Crash(disk.clone()),
        threading: Threading::Inline,
        ..StoreConfig::memory()
    };
    let (alice, bob) = (Phone::new(&net, 1, "alice").await, Phone::on(&net, 2, "bob", on(&disk)).await);
    net.link(&alice, &bob);
    let room = alice.create(NewRoom { invite: vec![bob.user.clone()], ..NewRoom::default() }).await;
    settle().await;
    bob.join(&room).await;
    settle().await;
    for text in ["one", "two", "three"] {
        alice.say(&room, text).await;
    }
    settle().await;
    let one = next(&bob).await.unwrap();
    bob.chat.notice_handled(one.id).await.unwrap();
    let two = next(&bob).await.unwrap();
    assert_eq!(short(&two), "Alice: two");
    disk.crash();
    bob.kill().await;

    let bob = Phone::on(&net, 2, "bob", on(&disk)).await;
    net.link(&alice, &bob);
    assert_eq!(next(&bob).await.unwrap(), two);
    assert_eq!(told(&bob).await, ["Alice: two", "Alice: three"]);
    // A number that no event has yet hides nothing.
    bob.chat.notice_handled(u64::MAX).await.unwrap();
    alice.say(&room, "four").await;
    settle().await;
    assert_eq!(told(&bob).await, ["Alice: four"]);
}

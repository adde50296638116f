//! The phone dies at any moment, and what its person sent is sent, once.

use super::world::{Net, Phone, settle, texts};
use crate::{
    chat::{
        attachment::{FileInfo, Kind, Source},
        delivery::SendState,
        message::TextMessage,
        room::NewRoom,
        send::{self, What},
    },
    store::{Backend, CrashDisk, StoreConfig, Threading},
};

fn on(disk: &CrashDisk) -> StoreConfig {
    StoreConfig { backend: Backend::Crash(disk.clone()), threading: Threading::Inline, ..StoreConfig::memory() }
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_before_a_kill_is_sent_after_it_in_order_and_once() {
    let net = Net::new();
    let disk = CrashDisk::new();
    let alice = Phone::on(&net, 1, "alice", on(&disk)).await;
    let bob = Phone::new(&net, 2, "bob").await;
    net.link(&alice, &bob);
    let room = alice.create(NewRoom { invite: vec![bob.user.clone()], ..NewRoom::default() }).await;
    settle().await;
    bob.join(&room).await;
    settle().await;
    // The task that sends is ended first, so that everything is still in the queue when the plug is pulled.
    let timeline = alice.room(&room).timeline();
    timeline.send_text(TextMessage::plain("sent before")).await.unwrap();
    settle().await;
    alice.chat.end_tasks().await;
    for body in ["one", "two", "three"] {
        timeline.send_text(TextMessage::plain(body)).await.unwrap();
    }
    let ids: Vec<_> = super::world::items_of(&timeline).await.into_iter().rev().take(3).map(|item| item.id).collect();
    disk.crash();
    alice.kill().await;

    let alice = Phone::on(&net, 1, "alice", on(&disk)).await;
    net.link(&alice, &bob);
    settle().await;
    let items = alice.items(&room).await;
    assert_eq!(texts(&items), ["sent before", "one", "two", "three"]);
    assert_eq!(items.iter().rev().take(3).map(|item| item.id.clone()).collect::<Vec<_>>(), ids, "under the same ids");
    assert!(items.iter().rev().take(3).all(|item| matches!(item.state, Some(SendState::Sent { .. }))));
    assert_eq!(bob.texts(&room).await, ["sent before", "one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_moment_leaves_each_message_in_one_place() {
    // The disk loses its power after another number of steps of the runtime each time.
    for steps in 0..40 {
        let net = Net::new();
        let disk = CrashDisk::new();
        let alice = Phone::on(&net, 1, "alice", on(&disk)).await;
        let room = alice.create(NewRoom::default()).await;
        settle().await;
        let timeline = alice.room(&room).timeline();
        let sent = timeline.send_text(TextMessage::plain("once")).await.is_ok();
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        disk.crash();
        alice.kill().await;
        let alice = Phone::on(&net, 1, "alice", on(&disk)).await;
        settle().await;
        assert!(sent);
        assert_eq!(alice.texts(&room).await, ["once"], "after {steps} steps");
        assert!(alice.chat.inner.queue.of_room(&room).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_is_not_sent_by_the_next_start_and_what_failed_still_says_why() {
    let net = Net::new();
    let disk = CrashDisk::new();
    let alice = Phone::on(&net, 1, "alice", on(&disk)).await;
    let room = alice.create(NewRoom::default()).await;
    alice.chat.end_tasks().await;
    let timeline = alice.room(&room).timeline();
    let regretted = timeline.send_text(TextMessage::plain("regretted")).await.unwrap();
    timeline.cancel(&regretted).await.unwrap();
    // An open file does not outlive the process; a path does.
    let file = tempfile::tempfile().unwrap();
    timeline.send_file(Source::File(file), FileInfo::new("open", Kind::File), None).await.unwrap();
    let elsewhere = ruma::room_id!("!nowhere:example.org").to_owned();
    let content = serde_json::value::to_raw_value(&serde_json::json!({ "msgtype": "m.text", "body": "lost" })).unwrap();
    send::put(&alice.chat.inner, elsewhere.clone(), What::message("m.room.message", content)).await.unwrap();
    disk.crash();
    alice.kill().await;

    let alice = Phone::on(&net, 1, "alice", on(&disk)).await;
    settle().await;
    let items = alice.items(&room).await;
    assert_eq!(texts(&items), Vec::<String>::new());
    let Some(SendState::Failed { retryable: false, .. }) = items.last().unwrap().state else { panic!("{items:#?}") };
    let lost = alice.chat.inner.queue.of_room(&elsewhere);
    assert!(matches!(lost[0].state(), SendState::Failed { retryable: true, .. }));
}

//! Room keys that come after the backup was made, and a backup that is not ours any more.

use ruma::OwnedRoomId;
use serde_json::json;

use super::other::{Other, on};
use crate::{
    chat::{
        Recovery,
        crypto::testing::{Net, Phone, people, settle},
        recovery::Turn,
    },
    keys::backup,
};

/// Says something with a new key.
async fn say_anew(phone: &Phone, room: &OwnedRoomId, text: &str) -> ruma::OwnedEventId {
    phone.chat.renew_keys(room).await.unwrap();
    let event = phone.say(room, text).await;
    settle().await;
    event
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_made_or_come_later_go_into_the_backup_by_themselves_also_after_a_restart() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    let written = alice.chat.make_recovery_key().await.unwrap();
    assert_eq!(on(&alice.chat).await, ("1".into(), 0, 0));
    let mut events = vec![say_anew(&alice, &room, "ours").await, say_anew(&bob, &room, "theirs").await];
    assert_eq!(on(&alice.chat).await, ("1".into(), 2, 2));
    let alice = alice.reboot().await;
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(on(&alice.chat).await, ("1".into(), 2, 2));
    events.push(say_anew(&bob, &room, "after a restart").await);
    assert_eq!(on(&alice.chat).await, ("1".into(), 3, 3));
    let alice = alice.crash().await;
    net.link(&alice, &bob);
    settle().await;
    events.push(say_anew(&alice, &room, "after a crash").await);
    assert_eq!(on(&alice.chat).await, ("1".into(), 4, 4));

    let element = Other::new(&alice, "ELEMENT").await;
    let key = element.unlock(alice.home(), written.as_str()).await.unwrap();
    assert_eq!(element.restore(alice.home(), &key).await, 4);
    let mut read = Vec::new();
    for event in &events {
        read.push(element.reads(alice.home(), &room, event).await.unwrap());
    }
    assert_eq!(read, ["ours", "theirs", "after a restart", "after a crash"]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_step_of_the_loop_looks_at_no_room_key() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    alice.say(&room, "hello").await;
    alice.chat.make_recovery_key().await.unwrap();
    settle().await;
    let crypto = &alice.chat.inner.crypto;
    assert!(crypto.backup_lacks_nothing());
    alice.say(&room, "with the same key").await;
    assert!(crypto.backup_lacks_nothing());
    alice.chat.renew_keys(&room).await.unwrap();
    alice.say(&room, "with another").await;
    assert!(!crypto.backup_lacks_nothing(), "until the loop has had its turn");
    settle().await;
    assert!(crypto.backup_lacks_nothing());
    assert_eq!(on(&alice.chat).await.1, 2);
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_one_step_takes_get_there_all_the_same() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    alice.chat.make_recovery_key().await.unwrap();
    let room = alice.create("shared").await;
    alice.chat.inner.recovery.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    for number in 0..450 {
        alice.chat.renew_keys(&room).await.unwrap();
        alice.say(&room, &format!("{number}")).await;
    }
    settle().await;
    assert_eq!(on(&alice.chat).await, ("1".into(), 0, 450));
    alice.chat.inner.recovery.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
    let alice = alice.reboot().await;
    settle().await;
    assert_eq!(on(&alice.chat).await, ("1".into(), 450, 450));
    let info = backup::info(&alice.home().store.snapshot().unwrap(), &alice.me(), None).unwrap();
    assert_eq!(info.state.count, 450_u32.into());
}

#[tokio::test(start_paused = true)]
async fn keys_that_came_while_somebody_worked_on_the_backup_get_there_once_they_are_done() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    alice.chat.make_recovery_key().await.unwrap();
    settle().await;
    let turn = Turn::take(&alice.chat.inner).await;
    say_anew(&alice, &room, "meanwhile").await;
    assert_eq!(on(&alice.chat).await, ("1".into(), 0, 1), "the loop waits for nobody");
    drop(turn);
    settle().await;
    assert_eq!(on(&alice.chat).await, ("1".into(), 1, 1));
}

/// A room key may come from another client's backup with as much in it as that client likes.
#[tokio::test(start_paused = true)]
async fn a_room_key_that_no_backup_can_hold_keeps_no_other_one_out() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    alice.say(&room, "hello").await;
    let store = alice.chat.inner.crypto.machine.store();
    let exported = store.export_room_keys(|_| true).await.unwrap();
    let mut large = serde_json::to_value(&exported[0]).unwrap();
    let long = "x".repeat(crate::types::limits::BACKUP_KEY_BYTES_MAX);
    large["sender_claimed_keys"][long] = json!("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopo");
    large["room_id"] = json!("!elsewhere:example.org");
    let large = serde_json::from_value(large).unwrap();
    assert_eq!(store.import_exported_room_keys(vec![large], |_, _| {}).await.unwrap().imported_count, 1);
    alice.chat.make_recovery_key().await.unwrap();
    say_anew(&alice, &room, "later").await;
    let info = backup::info(&alice.home().store.snapshot().unwrap(), &alice.me(), None).unwrap();
    assert_eq!(info.state.count, 2_u32.into());
}

/// Checks that nothing goes into a backup that is not ours, and that a new recovery key makes it ours again.
async fn is_replaced(alice: Phone, room: &OwnedRoomId, in_it: u32) {
    assert_eq!(alice.chat.recovery().await.unwrap(), Recovery::Replaced);
    say_anew(&alice, room, "for no backup").await;
    let count = |alice: &Phone| {
        let found = backup::info(&alice.home().store.snapshot().unwrap(), &alice.me(), None);
        found.map_or(0, |found| u64::from(found.state.count))
    };
    assert_eq!(count(&alice), u64::from(in_it), "what is not ours stays as it is");
    let alice = alice.reboot().await;
    settle().await;
    assert_eq!(alice.chat.recovery().await.unwrap(), Recovery::Replaced, "a restart does not forget it");
    assert_eq!(count(&alice), u64::from(in_it));
    let written = alice.chat.make_recovery_key().await.unwrap();
    let (_, backed_up, total) = on(&alice.chat).await;
    assert_eq!((backed_up, count(&alice)), (total, total));
    say_anew(&alice, room, "for the new one").await;
    assert_eq!(on(&alice.chat).await.1, total + 1);
    let element = Other::new(&alice, "LATER").await;
    let key = element.unlock(alice.home(), written.as_str()).await.unwrap();
    assert_eq!(element.restore(alice.home(), &key).await as u64, total + 1);
}

async fn backed_up() -> (Phone, OwnedRoomId) {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    alice.say(&room, "hello").await;
    alice.chat.make_recovery_key().await.unwrap();
    settle().await;
    (alice, room)
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_another_client_put_another_one_after_gets_no_more_keys_from_us() {
    let (alice, room) = backed_up().await;
    let element = Other::new(&alice, "ELEMENT").await;
    element.new_backup(alice.home()).await;
    is_replaced(alice, &room, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_another_client_deleted_is_not_made_again_by_itself() {
    let (alice, room) = backed_up().await;
    backup::delete(alice.home(), &alice.me(), "1").await.unwrap();
    is_replaced(alice, &room, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_backup_whose_key_another_client_exchanged_under_the_same_version_is_not_ours() {
    let (alice, room) = backed_up().await;
    let foreign = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {
        "public_key": "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopo", "signatures": {},
    } });
    let foreign = ruma::serde::Raw::from_json(serde_json::value::to_raw_value(&foreign).unwrap());
    backup::update(alice.home(), &alice.me(), "1", &foreign).await.unwrap();
    is_replaced(alice, &room, 1).await;
}

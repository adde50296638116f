//! The phone dies while a recovery key is made. Either the old key opens everything then, or the new one does.

use std::{ops::Bound, pin::pin, task::Poll};

use super::other::{Other, on};
use crate::{
    chat::crypto::testing::{Net, Phone, people, settle},
    keys::backup,
    store::View,
};

/// Room keys in the store's table of backups, whoever's they are.
fn rows(phone: &Phone) -> usize {
    let view = phone.home().store.snapshot().unwrap();
    view.bk().unwrap().between(Bound::Unbounded, Bound::Unbounded).unwrap().count()
}

/// Polls a future so many times and then gives it up. Answers what it had come to.
async fn begun<T>(work: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut work = pin!(work);
    for _ in 0..polls {
        if let Poll::Ready(done) = futures::poll!(&mut work) {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// A person with room keys for several batches, and a first recovery key.
async fn prepared(messages: usize) -> (Phone, ruma::OwnedRoomId, ruma::OwnedEventId, String) {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    let event = alice.say(&room, "hello").await;
    for number in 1..messages {
        alice.chat.renew_keys(&room).await.unwrap();
        alice.say(&room, &format!("{number}")).await;
    }
    let first = alice.chat.make_recovery_key().await.unwrap().as_str().to_owned();
    settle().await;
    (alice, room, event, first)
}

#[tokio::test(start_paused = true)]
async fn a_kill_while_a_key_is_made_leaves_the_old_one_or_the_new_one_in_force() {
    const KEYS: usize = 120;
    let (mut drafts, mut finished) = (0, false);
    let (mut alice, room, event, mut in_force) = prepared(KEYS).await;
    for polls in 0.. {
        let made = begun(alice.chat.make_recovery_key(), polls).await;
        drafts += usize::from(made.is_none() && rows(&alice) > KEYS);
        alice = alice.crash().await;
        if let Some(made) = made {
            in_force = made.unwrap().as_str().to_owned();
            finished = true;
        }
        // Right after the start, before the loop has done anything.
        let element = Other::new(&alice, &format!("D{polls}")).await;
        let key = element.unlock(alice.home(), &in_force).await;
        let key = key.unwrap_or_else(|| panic!("after {polls} polls the key that was handed out last opens nothing"));
        assert_eq!(element.restore(alice.home(), &key).await, KEYS, "after {polls} polls");
        assert_eq!(element.reads(alice.home(), &room, &event).await.as_deref(), Some("hello"));
        settle().await;
        let (version, backed_up, total) = on(&alice.chat).await;
        assert_eq!((version, backed_up, total), (element.latest(alice.home()).0, KEYS as u64, KEYS as u64));
        if finished {
            break;
        }
    }
    assert!(drafts > 0, "no kill hit a draft");
    assert_eq!(rows(&alice), KEYS, "and nothing is left of the drafts");
}

#[tokio::test(start_paused = true)]
async fn whoever_calls_it_off_keeps_the_old_key_and_its_backup_goes_on() {
    let (alice, room, _, first) = prepared(120).await;
    let (mut polls, version) = (0, on(&alice.chat).await.0);
    while rows(&alice) <= 120 {
        polls += 1;
        assert!(begun(alice.chat.make_recovery_key(), polls).await.is_none(), "it was done before a draft was seen");
    }
    // No client sees the draft, or may write to it.
    let view = alice.home().store.snapshot().unwrap();
    assert_eq!(backup::info(&view, &alice.me(), None).unwrap().version, version);
    for number in 0..100_u32 {
        let found = backup::info(&view, &alice.me(), Some(&number.to_string()));
        assert!(found.is_err() || number.to_string() == version, "{found:?}");
    }
    drop(view);
    alice.chat.renew_keys(&room).await.unwrap();
    let event = alice.say(&room, "later").await;
    settle().await;
    assert_eq!(on(&alice.chat).await, (version, 121, 121));
    let element = Other::new(&alice, "ELEMENT").await;
    let key = element.unlock(alice.home(), &first).await.unwrap();
    element.restore(alice.home(), &key).await;
    assert_eq!(element.reads(alice.home(), &room, &event).await.as_deref(), Some("later"));
    alice.chat.make_recovery_key().await.unwrap();
    assert_eq!(rows(&alice), 121, "the next one sweeps what was left");
}

/// Another client may make a version while ours is a draft with a lower number. It must not hide ours.
#[tokio::test(start_paused = true)]
async fn a_version_that_came_while_ours_was_filled_does_not_outlive_it() {
    let (alice, _, _, _) = prepared(120).await;
    let element = Other::new(&alice, "ELEMENT").await;
    let mut work = pin!(alice.chat.make_recovery_key());
    let mut meanwhile = None;
    let written = loop {
        if let Poll::Ready(done) = futures::poll!(&mut work) {
            break done.unwrap();
        }
        if meanwhile.is_none() && rows(&alice) > 120 {
            meanwhile = Some(element.new_backup(alice.home()).await.0);
        }
        tokio::task::yield_now().await;
    };
    let (version, _, _) = on(&alice.chat).await;
    assert!(meanwhile.unwrap().parse::<u64>().unwrap() > version.parse().unwrap());
    let key = element.unlock(alice.home(), written.as_str()).await.unwrap();
    assert_eq!(element.restore(alice.home(), &key).await, 120);
}

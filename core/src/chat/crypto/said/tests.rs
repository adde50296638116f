//! What is kept of the sessions that were handed out, and of what is owed.

use std::collections::BTreeSet;

use super::*;
use crate::store::{Store, StoreConfig, StoreError};

const ME: Said = Said(UserKey(1));
const ROOM: RoomKey = RoomKey(7);

fn store() -> Store {
    let local = crate::types::LocalServer::new(&[1; 32]);
    Store::open(&StoreConfig::memory(), &local.name).unwrap()
}

async fn write<T: Send + 'static>(store: &Store, job: impl FnMut(&mut WriteTx<'_>) -> Result<T> + Send + 'static) -> T {
    store.write::<T, StoreError, _>(job).await.unwrap()
}

fn session(name: &str, made: u64, users: &[u32]) -> SaidRecord {
    SaidRecord { session: name.into(), made, users: users.to_vec(), shared: true }
}

fn users(users: &[u32]) -> BTreeSet<UserKey> {
    users.iter().copied().map(UserKey).collect()
}

#[tokio::test]
async fn readers_only_grow_and_each_is_settled_once() {
    let store = store();
    let first = write(&store, |tx| ME.say(tx, ROOM, &session("s", 5, &[2, 3]))).await;
    assert_eq!(first, (5, users(&[2, 3])));
    write(&store, |tx| ME.settle(tx, ROOM, "s", &[(UserKey(3), vec!["A".into()])])).await;
    assert_eq!(write(&store, |tx| ME.say(tx, ROOM, &session("s", 9, &[2]))).await, (5, users(&[])), "nothing is new");
    assert_eq!(write(&store, |tx| ME.say(tx, ROOM, &session("s", 9, &[2, 4]))).await, (5, users(&[4])));
    let view = store.snapshot().unwrap();
    assert_eq!(ME.find(&view, ROOM, "s").unwrap().unwrap().users, [2, 3, 4]);
    assert_eq!(ME.find(&view, ROOM, "t").unwrap(), None);
    assert_eq!(Said(UserKey(8)).find(&view, ROOM, "s").unwrap(), None, "another account's are others");
}

#[tokio::test]
async fn a_session_that_was_cut_off_is_owed_to_all_its_readers() {
    let store = store();
    write(&store, |tx| ME.say(tx, ROOM, &session("s", 5, &[2, 3]))).await;
    assert!(ME.is_unsettled(&store.snapshot().unwrap()).unwrap());
    // The next message of the same session settles them all again.
    assert_eq!(write(&store, |tx| ME.say(tx, ROOM, &session("s", 5, &[2, 3, 4]))).await.1, users(&[2, 3, 4]));
    assert!(write(&store, |tx| ME.settle_all(tx)).await);
    let view = store.snapshot().unwrap();
    assert!(!ME.is_unsettled(&view).unwrap());
    assert_eq!(ME.creditors(&view).unwrap(), [UserKey(2), UserKey(3), UserKey(4)]);
    let debts = ME.debts(&view, UserKey(3), 10).unwrap();
    assert_eq!((debts.len(), debts[0].session.as_str()), (1, "s"));
    write(&store, move |tx| debts.iter().try_for_each(|debt| ME.strike(tx, debt))).await;
    assert_eq!(ME.creditors(&store.snapshot().unwrap()).unwrap(), [UserKey(2), UserKey(4)]);
}

#[tokio::test]
async fn newcomers_are_welcome_to_what_was_said_openly_and_only_to_that() {
    let store = store();
    write(&store, |tx| {
        ME.say(tx, ROOM, &session("open", 1, &[2]))?;
        ME.say(tx, ROOM, &SaidRecord { shared: false, ..session("closed", 2, &[2]) })?;
        ME.settle(tx, ROOM, "open", &[])?;
        ME.settle(tx, ROOM, "closed", &[])
    })
    .await;
    assert!(!ME.has_newcomers(&store.snapshot().unwrap(), ROOM, &users(&[2])).unwrap());
    assert!(ME.has_newcomers(&store.snapshot().unwrap(), ROOM, &users(&[2, 5])).unwrap());
    assert_eq!(write(&store, |tx| ME.welcome(tx, ROOM, &users(&[2, 5]))).await, users(&[5]));
    let view = store.snapshot().unwrap();
    assert_eq!(ME.find(&view, ROOM, "open").unwrap().unwrap().users, [2, 5]);
    assert_eq!(ME.find(&view, ROOM, "closed").unwrap().unwrap().users, [2]);
    assert_eq!(ME.debts(&view, UserKey(5), 10).unwrap().len(), 1);
    assert!(!ME.has_newcomers(&view, ROOM, &users(&[2, 5])).unwrap());
}

#[tokio::test]
async fn a_room_keeps_so_many_sessions_and_forgets_the_oldest_with_what_is_owed_of_it() {
    let store = store();
    for number in 0..=SESSIONS_SAID_MAX as u64 {
        write(&store, move |tx| {
            let name = format!("s{number}");
            ME.say(tx, ROOM, &session(&name, number, &[2]))?;
            ME.settle(tx, ROOM, &name, &[(UserKey(2), Vec::new())])
        })
        .await;
    }
    let view = store.snapshot().unwrap();
    assert_eq!(ME.find(&view, ROOM, "s0").unwrap(), None);
    assert!(ME.find(&view, ROOM, "s1").unwrap().is_some());
    assert_eq!(ME.debts(&view, UserKey(2), usize::MAX).unwrap().len(), SESSIONS_SAID_MAX);
    drop(view);
    // A clock that was set back makes the newest session look the oldest; it stays all the same.
    write(&store, |tx| ME.say(tx, ROOM, &session("late", 0, &[2]))).await;
    assert!(ME.find(&store.snapshot().unwrap(), ROOM, "late").unwrap().is_some());
}

//! The store's own promises: group commit, abandoned batches, crashes, files of others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use ruma::server_name;

use super::*;
use crate::types::LocalServer;

fn row(room: u32) -> LogRow {
    LogRow { kind: LogKind::State, room, user: 0, esn: 0 }
}

fn logged(store: &Store) -> Vec<u32> {
    let snapshot = store.snapshot().unwrap();
    let rows = snapshot.log().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap();
    rows.map(|row| LogRow::decode(row.unwrap().1.value()).unwrap().room).collect()
}

fn file_store(dir: &tempfile::TempDir) -> Result<Store, OpenError> {
    Store::open(&StoreConfig::file(dir.path().join("hearth.redb")), &LocalServer::new(&[1; 32]).name)
}

#[tokio::test]
async fn a_job_that_fails_after_writing_takes_nobody_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = file_store(&dir).unwrap();
    let mut tasks = Vec::new();
    for number in 0..200_u32 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            store
                .write(move |tx| -> Result<u32> {
                    tx.log(&row(number))?;
                    match number % 10 {
                        3 => Err(StoreError::Corrupt("asked for".into())),
                        7 => panic!("asked for"),
                        _ => Ok(number),
                    }
                })
                .await
        }));
    }
    let mut kept = Vec::new();
    for (number, task) in (0..200_u32).zip(tasks) {
        match (number % 10, task.await.unwrap()) {
            (3, Err(StoreError::Corrupt(_))) | (7, Err(StoreError::Panicked(_))) => {}
            (_, Ok(answer)) if answer == number => kept.push(number),
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    let mut logged = logged(&store);
    logged.sort_unstable();
    assert_eq!(logged, kept);
}

#[tokio::test]
async fn the_file_is_let_go_of_when_the_last_reader_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = file_store(&dir).unwrap();
    let reader = store.snapshot().unwrap();
    store.close().unwrap();
    let soon = std::time::Duration::from_millis(20);
    assert!(tokio::time::timeout(soon, store.released()).await.is_err(), "somebody reads");
    drop(reader);
    store.released().await.unwrap();
    file_store(&dir).unwrap();
}

#[tokio::test]
async fn the_watch_moves_after_the_commit_and_only_for_the_log() {
    let store = Store::open(&StoreConfig::memory(), server_name!("a.example")).unwrap();
    let mut watch = store.log_watch();
    watch.mark_unchanged();
    store.write(|tx| RoomKey::intern(tx, ruma::room_id!("!a:a.example"))).await.unwrap();
    assert!(!watch.has_changed().unwrap());
    let n = store.write(|tx| tx.log(&row(1))).await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(*watch.borrow_and_update(), n);
    assert_eq!(logged(&store), [1]);
}

#[tokio::test]
async fn a_crash_keeps_what_was_answered_and_no_position_is_given_twice() {
    let disk = CrashDisk::new();
    let config = StoreConfig { backend: Backend::Crash(disk.clone()), ..StoreConfig::memory() };
    let name = server_name!("a.example");
    let store = Store::open(&config, name).unwrap();
    let durable = store.write(|tx| tx.log(&row(1))).await.unwrap();
    let lost = store.write_soon(|tx| tx.log(&row(2))).await.unwrap();
    assert!(lost > durable);
    // The power goes first: dropping the database would still write what it holds.
    disk.crash();
    store.kill();
    let store = Store::open(&config, name).unwrap();
    assert_eq!(logged(&store), [1], "the soft commit is gone, the durable one is not");
    let next = store.write(|tx| tx.log(&row(3))).await.unwrap();
    assert!(next > lost, "{next} would be a second meaning of a position that a client may hold");
    store.close().unwrap();
    let store = Store::open(&config, name).unwrap();
    assert_eq!(store.write(|tx| tx.log(&row(4))).await.unwrap(), next + 1, "after a clean end nothing is skipped");
}

#[tokio::test]
async fn a_flush_makes_soft_commits_durable() {
    let disk = CrashDisk::new();
    let config = StoreConfig { backend: Backend::Crash(disk.clone()), ..StoreConfig::memory() };
    let store = Store::open(&config, server_name!("a.example")).unwrap();
    store.write_soon(|tx| tx.log(&row(1))).await.unwrap();
    store.flush().await.unwrap();
    disk.crash();
    store.kill();
    let store = Store::open(&config, server_name!("a.example")).unwrap();
    assert_eq!(logged(&store), [1]);
}

#[tokio::test]
async fn names_keep_their_numbers_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = file_store(&dir).unwrap();
    let intern = |name: &'static str| {
        move |tx: &mut WriteTx<'_>| -> Result<RoomKey> { RoomKey::intern(tx, &ruma::RoomId::parse(name).unwrap()) }
    };
    let first = store.write(intern("!a:x.example")).await.unwrap();
    store.close().unwrap();
    assert!(matches!(store.snapshot(), Err(StoreError::Closed)));
    let store = file_store(&dir).unwrap();
    let second = store.write(intern("!b:x.example")).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(store.write(intern("!a:x.example")).await.unwrap(), first);
    assert_eq!(first.id(&store.snapshot().unwrap()).unwrap(), "!a:x.example");
}

#[tokio::test]
async fn files_of_others_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hearth.redb");
    let store = file_store(&dir).unwrap();
    assert!(matches!(file_store(&dir), Err(OpenError::Locked)));
    store.close().unwrap();
    let other = Store::open(&StoreConfig::file(path.clone()), &LocalServer::new(&[2; 32]).name);
    assert!(matches!(other, Err(OpenError::OtherServer { .. })), "{other:?}");
    std::fs::write(&path, b"this is no database at all, but a text of some length").unwrap();
    let foreign = file_store(&dir);
    assert!(matches!(foreign, Err(OpenError::Foreign(_))), "{foreign:?}");
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hearth.redb");
    let old = redb::Database::create(&path).unwrap();
    let txn = old.begin_write().unwrap();
    let meta = redb::TableDefinition::<u8, &[u8]>::new("meta");
    txn.open_table(meta).unwrap().insert(1, 1_u32.to_le_bytes().as_slice()).unwrap();
    txn.commit().unwrap();
    drop(old);
    let refused = file_store(&dir);
    assert!(matches!(refused, Err(OpenError::Older)), "{refused:?}");
    let kept = redb::Database::open(&path).unwrap();
    let rows = redb::ReadableDatabase::begin_read(&kept).unwrap().open_table(meta).unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&rows).unwrap(), 1);
}

#[tokio::test]
async fn states_differ_by_their_patches_and_places() {
    let store = Store::open(&StoreConfig::memory(), server_name!("a.example")).unwrap();
    let room = RoomKey(1);
    store
        .write(move |tx| -> Result<()> {
            let mut record = RoomRecord {
                version: "12".into(),
                heads: vec![],
                seq: 0,
                next_patch: 1,
                next_node: 0,
                last_pos: 0,
                depth: 0,
                dset: 0,
                next_dset: 0,
                joined: 0,
                invited: 0,
                joined_local: 0,
                last_n: 0,
            };
            let change = |ssk: u32, esn: u64| Overrides::from([(Ssk(ssk), (esn != 0).then_some(esn))]);
            record.advance(tx, room, &change(1, 10))?;
            record.advance(tx, room, &change(2, 20))?;
            let old = record.current();
            record.advance(tx, room, &change(1, 11))?;
            let new = record.current();
            assert_eq!(old.entry(tx, room, Ssk(1))?, Some(10));
            assert_eq!(new.entry(tx, room, Ssk(1))?, Some(11));
            assert_eq!(old.difference(new, tx, room)?.len(), 1);
            let fork = old.patched(tx, room, &mut record, &change(2, 0))?;
            assert_eq!(fork.entry(tx, room, Ssk(2))?, None);
            assert_eq!(fork.all(tx, room)?.len(), 1);
            assert_eq!(fork.difference(new, tx, room)?.len(), 2);
            // Taking the change back leads to the mainline again, without a patch.
            assert_eq!(fork.patched(tx, room, &mut record, &change(2, 20))?, old);
            Ok(())
        })
        .await
        .unwrap();
}

//! Files as their sender and their receiver see them, and a client that is wiped while it runs.

use std::fs;

use super::world::{Listed, Net, Phone, items_of, pair, settle};
use crate::{
    chat::{
        ChatError,
        attachment::{Attachment, FileInfo, Kind, Source},
        delivery::SendState,
        room::NewRoom,
        timeline::{ItemContent, TimelineItem},
        vault::{StoreKey, Vault, VaultError},
        wipe::{Targets, wipe},
        work::Progress,
    },
    server::MediaConfig,
    store::{StoreConfig, Threading},
};

fn file_of(items: &[TimelineItem]) -> (&TimelineItem, &Attachment) {
    let file = items.iter().find_map(|item| match &item.content {
        ItemContent::Media(attachment) => Some((item, attachment)),
        _ => None,
    });
    file.unwrap_or_else(|| panic!("there is no file in {items:#?}"))
}

#[tokio::test(start_paused = true)]
async fn a_file_is_sent_and_opened_and_what_it_is_called_is_for_the_room_alone() {
    let (_net, alice, bob, room) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let bytes = b"a letter".repeat(50_000);
    fs::write(dir.path().join("letter.txt"), &bytes).unwrap();
    let timeline = alice.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    let source = Source::Path(dir.path().join("letter.txt"));
    let (id, progress) = timeline.send_file(source, FileInfo::new("letter.txt", Kind::File), None).await.unwrap();
    let event = timeline.until_sent(&id).await.unwrap();
    list.keep(&timeline).await;
    assert_eq!(progress.at(), (bytes.len() as u64, bytes.len() as u64));
    let (item, mine) = file_of(&list.rows);
    assert_eq!((&item.id, mine.encrypted), (&id, true));
    assert_eq!(item.event_id, Some(event));
    assert!(matches!(item.state, Some(SendState::Sent { .. })), "{:?}", item.state);
    assert_eq!(list.rows.iter().filter(|row| matches!(row.content, ItemContent::Media(_))).count(), 1);

    let items = bob.items(&room).await;
    let (_, theirs) = file_of(&items);
    assert_eq!((theirs.name.as_str(), theirs.size), ("letter.txt", Some(bytes.len() as u64)));
    let to = dir.path().join("got");
    bob.chat.download(theirs, &to, &Progress::new()).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), bytes);
    // In the room's events, as every server on the way has them, there is no name and no key.
    let event = item.event_id.clone().unwrap();
    let view = bob.server.home().store.snapshot().unwrap();
    let stored = crate::store::Stored::by_id(&view, &event).unwrap().unwrap();
    assert!(!stored.pdu.content.get().contains("letter") && !stored.pdu.content.get().contains("mxc"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_fails_with_the_reason() {
    let (_net, alice, _bob, room) = pair().await;
    let timeline = alice.room(&room).timeline();
    let source = Source::Path("/there/is/no/such/file".into());
    let (id, _) = timeline.send_file(source, FileInfo::new("a.txt", Kind::File), None).await.unwrap();
    let told = timeline.until_sent(&id).await;
    assert!(matches!(&told, Err(ChatError::Invalid(reason)) if reason.contains("read")), "{told:?}");
    let items = items_of(&timeline).await;
    let state = items.last().unwrap().state.clone();
    assert!(matches!(&state, Some(SendState::Failed { reason, .. }) if reason.contains("read")), "{state:?}");
    assert_eq!(alice.server.home().repository.blobs.count(), (0, 0));
    timeline.cancel(&id).await.unwrap();
    assert!(matches!(timeline.until_sent(&id).await, Err(ChatError::Cancelled)));
}

/// The panic wipe of a client that runs, holds its files open, and is in the middle of a conversation.
#[tokio::test(start_paused = true)]
async fn a_running_client_is_wiped() {
    let dir = tempfile::tempdir().unwrap();
    let (data, key) = (dir.path().join("data"), dir.path().join("data/key"));
    fs::create_dir(&data).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    let store = StoreConfig { threading: Threading::Inline, ..StoreConfig::file(data.join("hearth.redb")) };
    let net = Net::new();
    let media = MediaConfig::folder(data.join("media"));
    let alice = Phone::with(&net, 1, "alice", store.clone(), media).await;
    let room = alice.create(NewRoom::default()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "x".repeat(100_000)).unwrap();
    let timeline = alice.room(&room).timeline();
    let source = Source::Path(file.path().to_owned());
    timeline.send_file(source, FileInfo::new("a.txt", Kind::File), None).await.unwrap();
    settle().await;
    assert_eq!(alice.server.home().repository.blobs.count(), (1, 0));

    let targets = Targets { keys: vec![key], trees: vec![data.clone()] };
    alice.chat.destroy_keys().await;
    let vault = Vault::open_or_create(&alice.server.home().store, &StoreKey::new([1; 32])).await;
    assert!(matches!(vault, Err(VaultError::Destroyed)), "{vault:?}");
    assert!(wipe(&targets).left.is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    // What runs on must not bring anything back, and the end of the node must not fail over files that are gone.
    let source = Source::Path(file.path().to_owned());
    let sent = timeline.send_file(source, FileInfo::new("a.txt", Kind::File), None).await;
    assert!(matches!(sent, Err(ChatError::Crypto(_))), "{sent:?}");
    settle().await;
    alice.chat.stop().await;
    alice.server.stop().await.unwrap();
    assert!(wipe(&targets).left.is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

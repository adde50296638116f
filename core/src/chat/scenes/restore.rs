//! A whole phone moved to another one by an archive, in the middle of a conversation.

use std::{path::Path, sync::Arc};

use super::world::{Net, Phone, pair, settle};
use crate::{
    chat::{
        archive::{self, Layout, Passphrase, Secrets},
        vault::StoreKey,
        work::Progress,
    },
    server::MediaConfig,
    store::{StoreConfig, Threading},
};

const FILE: &str = "everything.hearth";

async fn export(phone: &Phone, seed: u8, dir: &Path) {
    let secrets = Secrets::new([seed; 32], StoreKey::new([seed; 32]));
    let passphrase = Passphrase::new("a passphrase").unwrap();
    archive::export(phone.server.home(), secrets, passphrase, &dir.join(FILE), dir, &Progress::new()).await.unwrap();
}

async fn import(net: &Arc<Net>, seed: u8, name: &str, dir: &Path) -> Phone {
    let layout = Layout { directory: dir.join("data"), database: "hearth.redb".into(), media: "media".into() };
    let passphrase = Passphrase::new("a passphrase").unwrap();
    let imported = archive::import(&dir.join(FILE), passphrase, &layout, &Progress::new()).await.unwrap();
    assert_eq!(imported.secrets.store_key.as_bytes(), &[seed; 32]);
    imported.put_in_place().unwrap();
    let store = StoreConfig { threading: Threading::Inline, ..StoreConfig::file(dir.join("data/hearth.redb")) };
    Phone::with(net, seed, name, store, MediaConfig::folder(dir.join("data/media"))).await
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_moved_reads_its_past_and_both_go_on() {
    let (net, alice, bob, room) = pair().await;
    bob.say(&room, "before the move").await;
    settle().await;
    alice.say(&room, "me too").await;
    settle().await;
    let dir = tempfile::tempdir().unwrap();
    export(&alice, 1, dir.path()).await;
    let identity = alice.chat.identity();
    net.cut(&alice, &bob);
    alice.kill().await;
    bob.say(&room, "while it moved").await;
    settle().await;

    let alice = import(&net, 1, "alice", dir.path()).await;
    assert_eq!(alice.chat.identity(), identity);
    assert_eq!(alice.texts(&room).await, ["before the move", "me too"]);
    net.link(&alice, &bob);
    settle().await;
    alice.say(&room, "after the move").await;
    bob.say(&room, "welcome back").await;
    settle().await;
    let all = ["before the move", "me too", "while it moved", "after the move", "welcome back"];
    for phone in [&alice, &bob] {
        let mut texts = phone.texts(&room).await;
        texts.sort_by_key(|text| all.iter().position(|wanted| wanted == text));
        assert_eq!(texts, all);
    }
}

/// An archive is older than what was said after it. The restored phone must not say something else with the keys that it
/// said that with: its friends would take one of the two for a replay, and could not read it.
#[tokio::test(start_paused = true)]
async fn a_phone_that_went_back_in_time_is_understood_all_the_same() {
    let (net, alice, bob, room) = pair().await;
    alice.say(&room, "one").await;
    settle().await;
    let dir = tempfile::tempdir().unwrap();
    export(&alice, 1, dir.path()).await;
    alice.say(&room, "two, and lost").await;
    settle().await;
    net.cut(&alice, &bob);
    alice.kill().await;

    let alice = import(&net, 1, "alice", dir.path()).await;
    alice.say(&room, "another two").await;
    net.link(&alice, &bob);
    settle().await;
    bob.say(&room, "three").await;
    settle().await;
    for phone in [&alice, &bob] {
        let texts = phone.texts(&room).await;
        for text in ["one", "another two", "three"] {
            assert!(texts.iter().any(|said| said == text), "{} lacks {text}: {texts:?}", phone.user);
        }
    }
    assert!(bob.texts(&room).await.iter().any(|text| text == "two, and lost"));
}

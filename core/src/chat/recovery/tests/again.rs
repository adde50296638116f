//! A person makes another recovery key: because they lost the first, or because another client of theirs made one.

use serde_json::json;

use super::other::{Other, account_data_of, on, set_account_data};
use crate::{
    chat::crypto::testing::{Net, Phone, people, settle},
    keys::backup,
    users::account_data,
};

/// The types of account data that describe keys of secret storage.
fn keys_of(phone: &Phone) -> Vec<String> {
    let view = phone.home().store.snapshot().unwrap();
    let all = account_data::changed_since(&view, phone.me().user_key, None, 0).unwrap();
    all.into_iter().map(|data| data.kind).filter(|kind| kind.starts_with("m.secret_storage.key.")).collect()
}

#[tokio::test(start_paused = true)]
async fn another_key_takes_the_place_of_the_first_and_so_does_its_backup() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    let event = alice.say(&room, "hello").await;
    let first = alice.chat.make_recovery_key().await.unwrap();
    let second = alice.chat.make_recovery_key().await.unwrap();
    assert_ne!(first.as_str(), second.as_str());
    assert_eq!(on(&alice.chat).await, ("2".into(), 1, 1));
    let element = Other::new(&alice, "ELEMENT").await;
    assert!(element.unlock(alice.home(), first.as_str()).await.is_none(), "the first one opens nothing any more");
    let key = element.unlock(alice.home(), second.as_str()).await.unwrap();
    element.restore(alice.home(), &key).await;
    assert_eq!(element.reads(alice.home(), &room, &event).await.as_deref(), Some("hello"));
    let gone = backup::info(&alice.home().store.snapshot().unwrap(), &alice.me(), Some("1"));
    assert!(matches!(gone, Err(crate::keys::KeysError::NotFound(_))), "{gone:?}");
    assert_eq!(keys_of(&alice).len(), 1, "what describes the first key is gone as well");
}

#[tokio::test(start_paused = true)]
async fn the_recovery_key_of_another_client_is_replaced_and_its_other_secrets_stay() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let element = Other::new(&alice, "ELEMENT").await;
    let home = alice.home();
    let theirs = element.new_storage(home, None).await;
    element.new_backup(home).await;
    let default = account_data_of(home, &alice.me(), "m.secret_storage.default_key").unwrap();
    let old = default["key"].as_str().unwrap().to_owned();
    let secret = json!({ "encrypted": { old.as_str(): { "iv": "AA", "ciphertext": "AA", "mac": "AA" } } });
    set_account_data(home, &alice.me(), "org.example.secret", secret.clone()).await;

    let ours = alice.chat.make_recovery_key().await.unwrap();
    let default = account_data_of(home, &alice.me(), "m.secret_storage.default_key").unwrap();
    assert_ne!(default["key"], old.as_str());
    assert!(element.unlock(home, &theirs).await.is_none());
    assert!(element.unlock(home, ours.as_str()).await.is_some());
    assert_eq!(account_data_of(home, &alice.me(), "org.example.secret"), Some(secret));
    assert!(account_data_of(home, &alice.me(), &format!("m.secret_storage.key.{old}")).is_some());
    let (version, _, _) = on(&alice.chat).await;
    assert_eq!(element.latest(home).0, version);
}

/// A key that only another client had would be lost with the old backup, if the new one were made of what is here alone.
#[tokio::test(start_paused = true)]
async fn what_only_the_old_backup_has_is_in_the_new_one_too() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    alice.say(&room, "hello").await;
    let first = alice.chat.make_recovery_key().await.unwrap();
    let element = Other::new(&alice, "ELEMENT").await;
    let key = element.unlock(alice.home(), first.as_str()).await.unwrap();
    let event = element.whisper(alice.home(), &room, "whispered").await;
    element.use_backup(alice.home(), &key).await;
    settle().await;
    assert_eq!(alice.texts(&room).await, ["hello", "?"]);

    let second = alice.chat.make_recovery_key().await.unwrap();
    assert_eq!(alice.texts(&room).await, ["hello", "whispered"]);
    let later = Other::new(&alice, "LATER").await;
    let key = later.unlock(alice.home(), second.as_str()).await.unwrap();
    assert_eq!(later.restore(alice.home(), &key).await, 2);
    assert_eq!(later.reads(alice.home(), &room, &event).await.as_deref(), Some("whispered"));
}

//! Another client of the account was first, and its person has its recovery key.

use serde_json::json;

use super::other::{Other, account_data_of, on, set_account_data};
use crate::chat::{
    ChatError, ItemContent, Recovered, Recovery,
    crypto::testing::{Net, Phone, people, settle},
    feed::Diff,
};

/// Alice's phone, in a room where her other client said something that the phone cannot read, and what that client showed her.
async fn behind() -> (Phone, Other, ruma::OwnedRoomId, String) {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    let element = Other::new(&alice, "ELEMENT").await;
    element.whisper(alice.home(), &room, "whispered").await;
    let shown = element.sets_up(alice.home()).await;
    settle().await;
    (alice, element, room, shown)
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_client_showed_brings_the_identity_and_the_past_and_goes_on() {
    let (alice, element, room, shown) = behind().await;
    let own = alice.chat.own_trust().await.unwrap();
    assert!(!own.has_private_keys && !own.is_verified, "{own:?}");
    let timeline = alice.chat.room(&room).unwrap().timeline();
    let first = timeline.next().await.unwrap();
    let [Diff::Reset(items)] = first.as_slice() else { panic!("{first:#?}") };
    assert!(matches!(items.last().unwrap().content, ItemContent::Undecryptable { waiting: true, .. }), "{items:#?}");
    assert_eq!(alice.chat.recovery().await.unwrap(), Recovery::Off);

    let recovered = alice.chat.recover(&format!("  {} ", shown.replace(' ', "\n"))).await.unwrap();
    assert_eq!(recovered, Recovered { is_verified: true, room_keys: 1 });
    let own = alice.chat.own_trust().await.unwrap();
    assert!(own.has_private_keys && own.is_verified, "{own:?}");
    let healed = tokio::time::timeout(std::time::Duration::from_secs(5), timeline.next()).await.unwrap().unwrap();
    let [Diff::Set { item, .. }] = healed.as_slice() else { panic!("one message changed: {healed:#?}") };
    assert!(matches!(&item.content, ItemContent::Text { body, .. } if body == "whispered"), "{item:#?}");

    // The other client's backup is the one that goes on.
    assert_eq!(account_data_of(alice.home(), &alice.me(), "m.key_backup"), Some(json!({ "enabled": true })));
    let (version, before, _) = on(&alice.chat).await;
    assert_eq!(version, element.latest(alice.home()).0);
    let event = alice.say(&room, "from the phone").await;
    settle().await;
    assert_eq!(on(&alice.chat).await, (version, before + 1, before + 1));
    let later = Other::new(&alice, "LATER").await;
    let key = later.unlock(alice.home(), &shown).await.unwrap();
    later.restore(alice.home(), &key).await;
    assert_eq!(later.reads(alice.home(), &room, &event).await.as_deref(), Some("from the phone"));
    let alice = alice.reboot().await;
    settle().await;
    assert_eq!(on(&alice.chat).await.1, before + 1, "also after a restart");
}

#[tokio::test(start_paused = true)]
async fn many_keys_come_in_pages() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let room = alice.create("shared").await;
    let element = Other::new(&alice, "ELEMENT").await;
    for number in 0..250 {
        element.renew(&room).await;
        element.whisper(alice.home(), &room, &format!("{number}")).await;
    }
    let shown = element.sets_up(alice.home()).await;
    let recovered = alice.chat.recover(&shown).await.unwrap();
    assert_eq!(recovered, Recovered { is_verified: true, room_keys: 250 });
    assert_eq!(alice.texts(&room).await, (0..250).map(|number| number.to_string()).collect::<Vec<_>>());
    let again = alice.chat.recover(&shown).await.unwrap();
    assert_eq!(again.room_keys, 0, "nothing is new the second time");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_a_slip_of_the_pen_and_an_account_without_any_are_told_apart_and_change_nothing() {
    let (alice, _, room, shown) = behind().await;
    let wrong = matrix_sdk_crypto::secret_storage::SecretStorageKey::new().to_base58();
    let refused = alice.chat.recover(&wrong).await.unwrap_err();
    assert!(matches!(&refused, ChatError::Crypto(_)), "{refused:?}");
    assert!(!refused.to_string().contains(&wrong[..9]), "what was typed is not repeated: {refused}");
    let mut slip: Vec<char> = shown.chars().collect();
    slip[20] = if slip[20] == 'x' { 'y' } else { 'x' };
    let slip: String = slip.into_iter().collect();
    let cut = &shown[..shown.len() - 5];
    let long = shown.repeat(1_000);
    for malformed in ["", "a passphrase", "0OIl 0OIl", &slip, cut, &format!("{shown} {shown}"), &long] {
        let refused = alice.chat.recover(malformed).await.unwrap_err();
        assert!(matches!(refused, ChatError::Invalid(_)), "{malformed}: {refused:?}");
    }
    assert_eq!(alice.chat.recovery().await.unwrap(), Recovery::Off);
    assert!(!alice.chat.own_trust().await.unwrap().has_private_keys);
    assert_eq!(alice.texts(&room).await, ["?"]);

    let net = Net::new();
    let [bob] = people(&net, ["bob"]).await;
    let refused = bob.chat.recover(&shown).await.unwrap_err();
    assert!(matches!(refused, ChatError::NotFound(_)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_was_replaced_since_is_not_taken_and_the_room_keys_are() {
    let (alice, _, room, shown) = behind().await;
    Other::new(&alice, "THIRD").await.new_identity(alice.home()).await;
    settle().await;
    let recovered = alice.chat.recover(&shown).await.unwrap();
    assert_eq!(recovered, Recovered { is_verified: false, room_keys: 1 });
    assert!(!alice.chat.own_trust().await.unwrap().has_private_keys);
    assert_eq!(alice.texts(&room).await, ["whispered"]);
}

#[tokio::test(start_paused = true)]
async fn secret_storage_that_does_not_fit_the_backup_or_is_damaged_is_refused() {
    let (alice, element, room, shown) = behind().await;
    let (home, me) = (alice.home(), alice.me());
    let good = account_data_of(home, &me, "m.megolm_backup.v1").unwrap();
    let id = good["encrypted"].as_object().unwrap().keys().next().unwrap().clone();
    let mut damaged = vec![good.clone(), good.clone(), good.clone()];
    damaged[0]["encrypted"][&id]["mac"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    damaged[1]["encrypted"][&id]["iv"] = json!("AAAA");
    damaged[2]["encrypted"][&id] = json!("nonsense");
    for content in damaged {
        set_account_data(home, &me, "m.megolm_backup.v1", content).await;
        let refused = alice.chat.recover(&shown).await.unwrap_err();
        assert!(matches!(refused, ChatError::Crypto(_)), "{refused:?}");
    }
    set_account_data(home, &me, "m.megolm_backup.v1", good).await;
    element.new_backup(home).await;
    let refused = alice.chat.recover(&shown).await.unwrap_err();
    assert!(matches!(&refused, ChatError::Crypto(why) if why.contains("backup")), "{refused:?}");
    assert!(!alice.chat.own_trust().await.unwrap().has_private_keys, "all or nothing");
    assert_eq!(alice.texts(&room).await, ["?"]);
    // Without a check of the key, which the specification allows, the secrets tell.
    let kind = format!("m.secret_storage.key.{id}");
    set_account_data(home, &me, &kind, json!({ "algorithm": "m.secret_storage.v1.aes-hmac-sha2" })).await;
    let wrong = matrix_sdk_crypto::secret_storage::SecretStorageKey::new().to_base58();
    let refused = alice.chat.recover(&wrong).await.unwrap_err();
    assert!(matches!(&refused, ChatError::Crypto(why) if why.contains("not the recovery key")), "{refused:?}");
    set_account_data(home, &me, &kind, json!({ "algorithm": "org.example.other" })).await;
    assert!(matches!(alice.chat.recover(&shown).await, Err(ChatError::Crypto(_))));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_key_in_the_backup_does_not_hold_up_the_others() {
    let (alice, element, room, shown) = behind().await;
    let (version, _) = element.latest(alice.home());
    let nonsense = json!({ "first_message_index": 0, "forwarded_count": 0, "is_verified": false,
        "session_data": { "ephemeral": "AAAA", "ciphertext": "AAAA", "mac": "AAAA" } });
    let nonsense = ruma::serde::Raw::from_json(serde_json::value::to_raw_value(&nonsense).unwrap());
    let keys = [(room.clone(), [("a".to_owned(), nonsense.clone()), ("~".to_owned(), nonsense)].into())].into();
    crate::keys::backup::add(alice.home(), &element.me, &version, keys).await.unwrap();
    let recovered = alice.chat.recover(&shown).await.unwrap();
    assert_eq!(recovered.room_keys, 1);
    assert_eq!(alice.texts(&room).await, ["whispered"]);
}

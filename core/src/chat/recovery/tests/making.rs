//! A person makes a recovery key, and another client of theirs is given that and nothing else.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use matrix_sdk_crypto::backups::SignatureState;
use serde_json::json;

use super::other::{Other, account_data_of, on};
use crate::chat::{
    ChatError, Recovery,
    crypto::testing::{Net, people, settle},
};

#[tokio::test(start_paused = true)]
async fn a_recovery_key_makes_another_client_a_verified_device_that_reads_the_whole_history() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    let ours = alice.say(&room, "hello").await;
    let theirs = bob.say(&room, "hello to you").await;
    settle().await;
    assert_eq!(alice.chat.recovery().await.unwrap(), Recovery::Off);
    let written = alice.chat.make_recovery_key().await.unwrap();
    assert_eq!(on(&alice.chat).await, ("1".into(), 2, 2), "it is all there when the key is handed out");

    let element = Other::new(&alice, "ELEMENT").await;
    let home = alice.home();
    assert_eq!(element.reads(home, &room, &ours).await, None);
    let key = element.unlock(home, written.as_str()).await.expect("the key opens the secret storage");
    let (identity, _) = element.signatures(home).await;
    assert_eq!(identity, SignatureState::ValidAndTrusted, "the backup is signed by the person's own identity");
    assert_eq!(element.restore(home, &key).await, 2);
    assert_eq!(element.reads(home, &room, &ours).await.as_deref(), Some("hello"));
    assert_eq!(element.reads(home, &room, &theirs).await.as_deref(), Some("hello to you"));

    element.sign_itself(home).await;
    // The other one is the master key's, which is no device.
    let (_, devices) = element.signatures(home).await;
    assert!(devices.len() == 2 && devices.contains(&SignatureState::ValidAndTrusted), "and by the phone: {devices:?}");
    settle().await;
    for phone in [&alice, &bob] {
        let devices = phone.chat.devices(&alice.user).await.unwrap();
        let other = devices.into_iter().find(|device| device.device_id == "ELEMENT");
        // Bob hears of devices by the list of those whom he writes to.
        assert!(other.is_some_and(|other| other.is_signed), "{} sees whose device it is", phone.user);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_account_data_is_what_the_specification_says() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let written = alice.chat.make_recovery_key().await.unwrap();
    let (home, me) = (alice.home(), alice.me());
    let groups: Vec<&str> = written.as_str().split(' ').collect();
    assert_eq!(groups.len(), 12);
    assert!(groups.iter().all(|group| group.len() == 4), "48 characters in groups of four");
    assert!(written.as_str().starts_with("Es"), "which is how every key begins");
    assert_eq!(format!("{written:?}"), "RecoveryKey");

    let default = account_data_of(home, &me, "m.secret_storage.default_key").unwrap();
    let id = default["key"].as_str().unwrap();
    assert_eq!(default, json!({ "key": id }));
    let described = account_data_of(home, &me, &format!("m.secret_storage.key.{id}")).unwrap();
    assert_eq!(described["algorithm"], "m.secret_storage.v1.aes-hmac-sha2");
    let bytes = |value: &serde_json::Value| STANDARD_NO_PAD.decode(value.as_str().unwrap()).unwrap();
    assert_eq!((bytes(&described["iv"]).len(), bytes(&described["mac"]).len()), (16, 32));
    assert_eq!(described.get("passphrase"), None);
    let secrets = ["m.cross_signing.master", "m.cross_signing.self_signing", "m.cross_signing.user_signing"];
    for name in [secrets.as_slice(), &["m.megolm_backup.v1"]].concat() {
        let secret = account_data_of(home, &me, name).unwrap();
        assert_eq!(secret.as_object().unwrap().len(), 1, "{name}");
        let sealed = secret["encrypted"].as_object().unwrap();
        assert_eq!(sealed.keys().collect::<Vec<_>>(), [id], "{name} is under the new key alone");
        let iv = bytes(&sealed[id]["iv"]);
        assert_eq!((iv.len(), iv[8] & 0x80), (16, 0), "bit 63 of {name}'s iv is not set");
        // 32 bytes in unpadded base64, encrypted by a stream.
        assert_eq!((bytes(&sealed[id]["ciphertext"]).len(), bytes(&sealed[id]["mac"]).len()), (43, 32), "{name}");
    }
    assert_eq!(account_data_of(home, &me, "m.key_backup").unwrap(), json!({ "enabled": true }));
}

#[tokio::test(start_paused = true)]
async fn a_device_without_the_private_keys_cannot_make_a_recovery_key_and_says_why() {
    let net = Net::new();
    let [alice] = people(&net, ["alice"]).await;
    let element = Other::new(&alice, "ELEMENT").await;
    element.new_identity(alice.home()).await;
    settle().await;
    let refused = alice.chat.make_recovery_key().await.unwrap_err();
    assert!(matches!(&refused, ChatError::Crypto(why) if why.contains("verify this device")), "{refused:?}");
    assert_eq!(alice.chat.recovery().await.unwrap(), Recovery::Off);
    assert_eq!(account_data_of(alice.home(), &alice.me(), "m.secret_storage.default_key"), None);
}

//! Phones that are switched off, and batteries that fall out.

use super::super::{
    Crypto,
    testing::{Net, Phone, open_chat, people, settle},
};
use crate::{
    chat::{account, vault::StoreKey, vault::Vault},
    keys,
};

async fn published(phone: &Phone) -> (usize, bool, usize) {
    let mut request = ruma::api::client::keys::get_keys::v3::Request::new();
    request.device_keys.insert(phone.user.clone(), Vec::new());
    let told = keys::query(phone.home(), &phone.me(), request).await.unwrap();
    let devices = &told.device_keys[&phone.user];
    let signatures = devices.values().next().map_or(0, |keys| {
        keys.deserialize().unwrap().signatures.get(&phone.user).map_or(0, |signatures| signatures.len())
    });
    (devices.len(), told.master_keys.contains_key(&phone.user), signatures)
}

#[tokio::test(start_paused = true)]
async fn a_second_start_finds_the_account_the_device_and_their_keys() {
    let net = Net::new();
    let alice = Phone::new(&net, "alice").await;
    let identity = alice.chat.identity();
    assert_eq!(published(&alice).await, (1, true, 2), "one device, signed by itself and by its user");
    let alice = alice.reboot().await;
    assert_eq!(alice.chat.identity(), identity);
    let alice = alice.crash().await;
    assert_eq!(alice.chat.identity(), identity);
    assert_eq!(published(&alice).await, (1, true, 2));
    let own = alice.chat.own_trust().await.unwrap();
    assert!(own.has_identity && own.has_private_keys && own.is_verified, "{own:?}");
}

#[tokio::test(start_paused = true)]
async fn a_first_start_that_was_cut_off_is_finished_by_the_next() {
    let net = Net::new();
    let alice = Phone::new(&net, "alice").await;
    let home = alice.home().clone();
    // Bruno's account on the same homeserver: the process ends after the account, and then after the keys were made.
    let config = crate::chat::ChatConfig {
        store_key: StoreKey::new([9; 32]),
        localpart: "bruno".into(),
        display_name: None,
        device_name: None,
    };
    let vault =
        std::sync::Arc::new(Vault::open_or_create(&home.store, &StoreKey::new([alice_seed(); 32])).await.unwrap());
    let me = account::open(&home, &config).await.unwrap();
    let cut = Crypto::load(&home, &vault, &me).await.unwrap();
    let fingerprint = cut.fingerprint();
    drop(cut);
    let chat = open_chat(&home, alice_seed(), "bruno").await;
    assert_eq!(chat.identity().fingerprint, fingerprint);
    let own = chat.own_trust().await.unwrap();
    assert!(own.has_identity && own.has_private_keys && own.is_verified, "{own:?}");
}

/// The seed that a phone of that name has: its store key is made of it.
fn alice_seed() -> u8 {
    "alice".bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_outlives_a_battery_that_falls_out() {
    let net = Net::new();
    let [mut alice, mut bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    net.cut(&alice, &bob);
    let mut said = Vec::new();
    for number in 0..4 {
        said.push(format!("number {number}"));
        alice.say(&room, &said[number]).await;
        alice = alice.crash().await;
    }
    bob = bob.crash().await;
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.texts(&room).await, said);
    bob.say(&room, "thank you").await;
    settle().await;
    said.push("thank you".into());
    assert_eq!(alice.texts(&room).await, said);
}

#[tokio::test(start_paused = true)]
async fn a_kill_between_the_readers_and_their_keys_leaves_nobody_out() {
    use crate::{chat::crypto::said::Said, rooms::Room, store::UserKey};
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    *net.lost.lock().unwrap() = Some("/send/");
    alice.say(&room, "sent, and then the battery fell out").await;
    // As if the process had ended before it was written down who has the key: everybody counts as owed.
    let session = {
        let crypto = &alice.chat.inner.crypto;
        use matrix_sdk_crypto::store::CryptoStore;
        crypto.store.get_outbound_group_session(&room).await.unwrap().unwrap().session_id().to_owned()
    };
    let me = alice.me().user_key;
    let key = Room::find(&alice.home().store.snapshot().unwrap(), &room).unwrap().unwrap().key;
    let job = move |tx: &mut crate::store::WriteTx<'_>| Said(me).owe(tx, UserKey(0), key, &session, Vec::new());
    alice.home().store.write::<_, crate::store::StoreError, _>(job).await.unwrap();
    let alice = alice.crash().await;
    assert!(alice.debts() > 0);
    *net.lost.lock().unwrap() = None;
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.texts(&room).await, ["sent, and then the battery fell out"]);
    assert_eq!(alice.debts(), 0);
}

//! What the crypto store promises beyond the suite: nothing lies in clear, a crash loses no answered save, what others can
//! make us write is bounded, and a whole session can be handed out later.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod backup;
mod suite;

use assert_matches::assert_matches;
use matrix_sdk_crypto::{
    EncryptionSettings, OlmMachine,
    store::types::DeviceChanges,
    types::{events::room_key_request::MegolmV1AesSha2Content, requests::ToDeviceRequest},
};
use ruma::{
    TransactionId, device_id, owned_room_id, room_id, serde::Raw, server_name, to_device::DeviceIdOrAllDevices, user_id,
};
use serde_json::value::to_raw_value;
use vodozemac::megolm::{MegolmMessage, SessionConfig};

use super::*;
use crate::{
    chat::vault::StoreKey,
    store::{Backend, CrashDisk, StoreConfig, View},
    types::{
        Millis,
        limits::{OLM_SESSIONS_PER_DEVICE_MAX, ORIGINAL_KEYS_PER_ROOM_MAX},
    },
};

/// The clock on the wall: the suite sleeps until leases run out.
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Millis(since.as_millis() as u64)
    }
}

/// A database on a disk that can lose its power, and the crypto store in it.
pub(super) struct Desk {
    pub(super) db: Store,
    pub(super) disk: CrashDisk,
    pub(super) store: RedbCryptoStore,
}

impl Desk {
    pub(super) async fn new() -> Self {
        Self::on(CrashDisk::new(), alice(), device_id!("ALICEDEVICE")).await
    }

    async fn on(disk: CrashDisk, user: &UserId, device: &DeviceId) -> Self {
        let config = StoreConfig { backend: Backend::Crash(disk.clone()), ..StoreConfig::memory() };
        let db = Store::open(&config, server_name!("example.org")).unwrap();
        let store = Self::open(&db, user, device).await;
        Self { db, disk, store }
    }

    async fn open(db: &Store, user: &UserId, device: &DeviceId) -> RedbCryptoStore {
        let vault = Arc::new(Vault::open_or_create(db, &StoreKey::new([7; 32])).await.unwrap());
        RedbCryptoStore::open(db.clone(), Arc::new(Wall), vault, user, device).await.unwrap()
    }

    /// The plug is pulled, and the phone starts again.
    async fn restart(self) -> Self {
        self.disk.crash();
        self.db.kill();
        let Self { disk, store, .. } = self;
        let (user, device) = (store.user.clone(), store.device.clone());
        Self::on(disk, &user, &device).await
    }

    /// A new account with its own device, saved.
    async fn account(&self) -> Account {
        let account = Account::with_device_id(&self.store.user, &self.store.device);
        let new = vec![DeviceData::from_account(&account)];
        self.save(Changes { devices: DeviceChanges { new, ..Default::default() }, ..Default::default() }).await;
        self.store.save_pending_changes(PendingChanges { account: Some(account.deep_clone()) }).await.unwrap();
        account
    }

    async fn save(&self, changes: Changes) {
        self.store.save_changes(changes).await.unwrap();
    }

    /// All keys and values of our tables.
    fn raw(&self) -> Vec<u8> {
        let view = self.db.snapshot().unwrap();
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let mut bytes = Vec::new();
        for row in view.crypto().unwrap().between(all.0, all.1).unwrap() {
            let (key, value) = row.unwrap();
            bytes.extend_from_slice(key.value().2);
            bytes.push(0);
            bytes.extend_from_slice(value.value());
            bytes.push(0);
        }
        for row in view.vault().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap() {
            bytes.extend_from_slice(row.unwrap().1.value());
        }
        bytes
    }
}

fn alice() -> &'static UserId {
    user_id!("@alice:example.org")
}

fn room() -> &'static RoomId {
    room_id!("!kitchen:example.org")
}

async fn pair(account: &Account, room: &RoomId) -> (OutboundGroupSession, InboundGroupSession) {
    account.create_group_session_pair_with_defaults(room).await
}

fn outbound(session: &OutboundGroupSession) -> Changes {
    Changes { outbound_group_sessions: vec![session.clone()], ..Default::default() }
}

async fn encrypt(session: &OutboundGroupSession, body: &str) -> MegolmMessage {
    let content = Raw::from_json(to_raw_value(&serde_json::json!({ "body": body, "msgtype": "m.text" })).unwrap());
    let encrypted = session.encrypt("m.room.message", &content).await.content;
    MegolmMessage::from_base64(&encrypted.get_field::<String>("ciphertext").unwrap().unwrap()).unwrap()
}

/// A session with bob's device, as a new one each time.
fn olm_session(account: &Account, bob: &mut Account) -> Session {
    bob.generate_one_time_keys(1);
    let key = *bob.one_time_keys().values().next().unwrap();
    bob.mark_keys_as_published();
    let identity = bob.identity_keys().curve25519;
    account.create_outbound_session_helper(Default::default(), identity, key, false, account.device_keys()).unwrap()
}

fn request(info: &SecretInfo) -> GossipRequest {
    let request_id = TransactionId::new();
    GossipRequest { request_recipient: alice().to_owned(), request_id, info: info.clone(), sent_out: false }
}

#[tokio::test]
async fn no_name_and_no_key_lies_in_clear() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (ours, room_key) = pair(&account, room()).await;
    let mut bob = Account::with_device_id(user_id!("@bob:example.org"), device_id!("BOBDEVICE"));
    let session = olm_session(&account, &mut bob);
    let message = Raw::from_json(to_raw_value(&serde_json::json!({})).unwrap());
    let share = ToDeviceRequest::new(bob.user_id(), DeviceIdOrAllDevices::AllDevices, "m.dummy", message);
    ours.add_request(TransactionId::new(), share.into(), Default::default());
    let key = ours.session_key().await;
    let info = MegolmV1AesSha2Content {
        room_id: room().to_owned(),
        sender_key: Some(bob.identity_keys().curve25519),
        session_id: ours.session_id().to_owned(),
    };
    let identity = PrivateCrossSigningIdentity::new(alice().to_owned());
    let exported = room_key.export().await.session_key.to_bytes();
    desk.save(Changes {
        private_identity: Some(identity),
        sessions: vec![session.clone()],
        inbound_group_sessions: vec![room_key],
        outbound_group_sessions: vec![ours.clone()],
        key_requests: vec![request(&info.into())],
        devices: DeviceChanges { new: vec![DeviceData::from_account(&bob)], ..Default::default() },
        next_batch_token: Some("token-of-the-sync".into()),
        room_settings: HashMap::from([(room().to_owned(), RoomSettings::default())]),
        room_key_backups_fully_downloaded: [room().to_owned()].into(),
        message_hashes: vec![OlmMessageHash { sender_key: "sender-of-olm".into(), hash: "hash-of-olm".into() }],
        ..Default::default()
    })
    .await;
    desk.store.save_tracked_users(&[(bob.user_id(), true)]).await.unwrap();
    desk.store.set_custom_value("name-of-value", b"bytes-of-value".to_vec()).await.unwrap();
    desk.store.try_take_leased_lock(10, "name-of-lock", "name-of-holder").await.unwrap();

    let raw = desk.raw();
    let contains = |secret: &[u8]| raw.windows(secret.len()).any(|part| part == secret);
    assert!(raw.len() > 4_000, "all of it is there");
    for text in [
        "kitchen",
        "alice",
        "ALICEDEVICE",
        "bob",
        "BOBDEVICE",
        "example.org",
        "megolm",
        "curve25519",
        "ed25519",
        "token-of-the-sync",
        "sender-of-olm",
        "hash-of-olm",
        "name-of-value",
        "bytes-of-value",
        "name-of-lock",
        "name-of-holder",
        ours.session_id(),
        session.session_id(),
        &bob.identity_keys().curve25519.to_base64(),
    ] {
        assert!(!contains(text.as_bytes()), "{text} lies in clear");
    }
    // The ratchet of the session key, and public keys as bytes.
    let ratchet = &exported[5..37];
    assert!(key.to_bytes().windows(32).any(|part| part == ratchet), "this is the secret of the session");
    for bytes in [ratchet, bob.identity_keys().curve25519.as_bytes(), account.identity_keys().ed25519.as_bytes()] {
        assert!(!contains(bytes));
    }
}

#[tokio::test]
async fn nothing_is_read_or_written_once_the_vault_is_destroyed() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (ours, room_key) = pair(&account, room()).await;
    desk.save(Changes { inbound_group_sessions: vec![room_key], ..outbound(&ours) }).await;
    desk.store.owner.vault.destroy(&desk.db).await.unwrap();
    assert_matches!(desk.store.load_account().await, Err(CryptoStoreError::Backend(_)));
    assert_matches!(desk.store.get_inbound_group_sessions().await, Err(CryptoStoreError::Backend(_)));
    assert_matches!(desk.store.original_key(room(), ours.session_id()), Err(CryptoStoreError::Backend(_)));
    let before = desk.raw();
    assert_matches!(desk.store.save_changes(outbound(&ours)).await, Err(CryptoStoreError::Backend(_)));
    assert_eq!(desk.raw(), before);
}

#[tokio::test]
async fn a_crash_keeps_the_whole_last_answered_save() {
    let mut desk = Desk::new().await;
    let account = desk.account().await;
    let mut bob = Account::with_device_id(user_id!("@bob:example.org"), device_id!("BOBDEVICE"));
    let bobs_key = bob.identity_keys().curve25519.to_base64();
    for step in 1..=5 {
        let (ours, room_key) = pair(&account, room()).await;
        let inbound_group_sessions = vec![room_key];
        let sessions = vec![olm_session(&account, &mut bob)];
        let message_hashes = vec![OlmMessageHash { sender_key: bobs_key.clone(), hash: format!("{step}") }];
        desk.save(Changes { sessions, inbound_group_sessions, message_hashes, ..outbound(&ours) }).await;
        desk = desk.restart().await;
        let store = &desk.store;
        assert!(store.load_account().await.unwrap().is_some());
        assert_eq!(store.get_sessions(&bobs_key).await.unwrap().unwrap().len(), step);
        assert_eq!(store.get_inbound_group_sessions().await.unwrap().len(), step);
        assert!(store.get_inbound_group_session(room(), ours.session_id()).await.unwrap().is_some());
        assert_eq!(store.get_outbound_group_session(room()).await.unwrap().unwrap().session_id(), ours.session_id());
        assert!(store.original_key(room(), ours.session_id()).unwrap().is_some());
        let hash = OlmMessageHash { sender_key: bobs_key.clone(), hash: format!("{step}") };
        assert!(store.is_message_known(&hash).await.unwrap());
    }
}

#[tokio::test]
async fn a_save_that_fails_leaves_nothing_behind() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (_, key) = pair(&account, room()).await;
    let broken = request(&SecretName::RecoveryKey.into());
    let owner = desk.store.owner.clone();
    let row = owner.key(Kind::KeyRequest, &broken.request_id).unwrap();
    let job = move |tx: &mut WriteTx<'_>| owner.put(tx, Kind::KeyRequest, &row, b"no record");
    desk.db.write::<_, StoreError, _>(job).await.unwrap();
    let changes = Changes { inbound_group_sessions: vec![key], key_requests: vec![broken], ..Default::default() };
    assert_matches!(desk.store.save_changes(changes).await, Err(CryptoStoreError::Backend(_)));
    assert!(desk.store.get_inbound_group_sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_machine_goes_on_after_a_crash_and_its_sessions_are_kept_whole() {
    let device = device_id!("ALICEDEVICE");
    let desk = Desk::new().await;
    let store = Arc::new(Desk::open(&desk.db, alice(), device).await);
    let machine = OlmMachine::with_store(alice(), device, store.clone(), None).await.unwrap();
    let keys = machine.identity_keys();
    machine.share_room_key(room(), std::iter::empty(), EncryptionSettings::default()).await.unwrap();
    let content = Raw::from_json(to_raw_value(&serde_json::json!({ "body": "hello" })).unwrap());
    let sent = machine.encrypt_room_event_raw(room(), "m.room.message", &content).await.unwrap();
    let session = sent.content.get_field::<String>("session_id").unwrap().unwrap();

    let desk = desk.restart().await;
    assert!(desk.store.original_key(room(), &session).unwrap().is_some());
    let store = Arc::new(Desk::open(&desk.db, alice(), device).await);
    let again = OlmMachine::with_store(alice(), device, store.clone(), None).await.unwrap();
    assert_eq!(again.identity_keys().curve25519, keys.curve25519);
    let ours = store.get_outbound_group_session(room()).await.unwrap().unwrap();
    assert_eq!((ours.session_id(), ours.message_index().await), (session.as_str(), 1));
    let other = OlmMachine::with_store(alice(), device_id!("OTHER"), desk.store, None).await;
    assert_matches!(other, Err(CryptoStoreError::MismatchedAccount { .. }));
}

#[tokio::test]
async fn a_whole_session_can_be_handed_out_after_its_messages_were_sent() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (ours, _) = pair(&account, room()).await;
    desk.save(outbound(&ours)).await;
    let first = encrypt(&ours, "for those who come late").await;
    desk.save(outbound(&ours)).await;
    encrypt(&ours, "and another").await;
    desk.save(outbound(&ours)).await;

    let desk = desk.restart().await;
    let original = desk.store.original_key(room(), ours.session_id()).unwrap().unwrap();
    let mut late = vodozemac::megolm::InboundGroupSession::new(&original.session_key, SessionConfig::version_1());
    assert_eq!(late.session_id(), ours.session_id());
    let plain = late.decrypt(&first).unwrap();
    assert_eq!(plain.message_index, 0);
    assert!(String::from_utf8(plain.plaintext).unwrap().contains("for those who come late"));
    assert_eq!(original.algorithm.as_str(), "m.megolm.v1.aes-sha2");
    assert_eq!(original.created, ours.pickle().await.creation_time);
    assert!(original.shared_history, "the default is a history that later members may read");
    assert!(desk.store.original_key(room_id!("!other:example.org"), ours.session_id()).unwrap().is_none());

    // One that is seen only after its first message gives nothing away as if it were whole.
    let (used, _) = pair(&account, room()).await;
    encrypt(&used, "nobody kept the key").await;
    desk.save(outbound(&used)).await;
    assert!(desk.store.original_key(room(), used.session_id()).unwrap().is_none());
}

#[tokio::test]
async fn the_oldest_of_too_many_original_keys_are_forgotten() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let other = room_id!("!other:example.org");
    let (elsewhere, _) = pair(&account, other).await;
    desk.save(outbound(&elsewhere)).await;
    let mut made = Vec::new();
    for _ in 0..ORIGINAL_KEYS_PER_ROOM_MAX + 2 {
        let (ours, _) = pair(&account, room()).await;
        made.push(ours.session_id().to_owned());
        desk.save(outbound(&ours)).await;
        desk.save(outbound(&ours)).await;
    }
    let kept = |room: &RoomId, session: &str| desk.store.original_key(room, session).unwrap().is_some();
    let gone: Vec<_> = made.iter().filter(|session| !kept(room(), session)).collect();
    assert_eq!(gone, [&made[0], &made[1]]);

    assert!(kept(other, elsewhere.session_id()), "another room's keys stay");
}

#[tokio::test]
async fn the_least_recently_used_of_too_many_olm_sessions_goes() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let mut bob = Account::with_device_id(user_id!("@bob:example.org"), device_id!("BOBDEVICE"));
    let mut carol = Account::with_device_id(user_id!("@carol:example.org"), device_id!("CAROLDEVICE"));
    let session = async |bob: &mut Account, used: u32| {
        let mut pickle = olm_session(&account, bob).pickle().await;
        pickle.last_use_time = ruma::SecondsSinceUnixEpoch(used.into());
        Session::from_pickle(account.device_keys(), pickle).unwrap()
    };
    desk.save(Changes { sessions: vec![session(&mut carol, 1).await], ..Default::default() }).await;
    let oldest = session(&mut bob, 10).await;
    let mut sessions = Vec::new();
    for used in 0..OLM_SESSIONS_PER_DEVICE_MAX as u32 {
        sessions.push(session(&mut bob, 100 - used).await);
    }
    sessions.insert(20, oldest.clone());
    desk.save(Changes { sessions, ..Default::default() }).await;
    let left = desk.store.get_sessions(&bob.identity_keys().curve25519.to_base64()).await.unwrap().unwrap();
    assert_eq!(left.len(), OLM_SESSIONS_PER_DEVICE_MAX);
    assert!(!left.contains(&oldest));
    let carols = desk.store.get_sessions(&carol.identity_keys().curve25519.to_base64()).await.unwrap();
    assert_eq!(carols.unwrap().len(), 1, "another device's sessions stay");
}

#[tokio::test]
async fn a_backup_of_another_version_has_none_of_the_keys() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (_, key) = pair(&account, room()).await;
    key.mark_as_backed_up();
    desk.store.save_inbound_group_sessions(vec![key.clone()], Some("1")).await.unwrap();
    let missing = async |version| desk.store.inbound_group_sessions_for_backup(version, 9).await.unwrap().len();
    let counts = async |version| desk.store.inbound_group_session_counts(Some(version)).await.unwrap().backed_up;
    assert_eq!((missing("1").await, counts("1").await), (0, 1));
    assert_eq!((missing("2").await, counts("2").await), (1, 0));

    // What is learnt about its sender takes it out of no backup; another ratchet, which is in none, does.
    desk.save(Changes { inbound_group_sessions: vec![key.clone()], ..Default::default() }).await;
    assert_eq!(missing("1").await, 0);
    key.reset_backup_state();
    desk.save(Changes { inbound_group_sessions: vec![key], ..Default::default() }).await;
    assert_eq!(missing("1").await, 1);
}

#[tokio::test]
async fn a_second_request_for_one_thing_replaces_the_first() {
    let desk = Desk::new().await;
    let info: SecretInfo = SecretName::RecoveryKey.into();
    let other: SecretInfo = MegolmV1AesSha2Content {
        room_id: owned_room_id!("!kitchen:example.org"),
        sender_key: None,
        session_id: "session".into(),
    }
    .into();
    let (first, second, third) = (request(&info), request(&info), request(&other));
    let key_requests = vec![first.clone(), third.clone(), second.clone()];
    desk.save(Changes { key_requests, ..Default::default() }).await;
    let store = &desk.store;
    assert_eq!(store.get_outgoing_secret_requests(&first.request_id).await.unwrap(), None);
    assert_eq!(store.get_secret_request_by_info(&info).await.unwrap(), Some(second.clone()));
    assert_eq!(store.get_unsent_secret_requests().await.unwrap().len(), 2);
    store.delete_outgoing_secret_requests(&first.request_id).await.unwrap();
    assert_eq!(store.get_secret_request_by_info(&info).await.unwrap(), Some(second));
    assert_eq!(store.get_secret_request_by_info(&other).await.unwrap(), Some(third));
}

#[tokio::test]
async fn accounts_of_one_database_see_nothing_of_each_other() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (ours, key) = pair(&account, room()).await;
    desk.save(Changes { inbound_group_sessions: vec![key], ..outbound(&ours) }).await;
    let other = Desk::open(&desk.db, user_id!("@bob:example.org"), device_id!("ALICEDEVICE")).await;
    assert!(other.load_account().await.unwrap().is_none());
    assert!(other.get_inbound_group_sessions().await.unwrap().is_empty());
    assert!(other.get_device(alice(), device_id!("ALICEDEVICE")).await.unwrap().is_none());
    assert!(other.original_key(room(), ours.session_id()).unwrap().is_none());
    assert_eq!(other.get_size().await.unwrap(), Some(0));
    let size = desk.store.get_size().await.unwrap().unwrap();
    assert!(size > 1_000 && size <= desk.raw().len() + 1_000, "{size} bytes");
}

#[tokio::test]
async fn many_rows_are_read_page_by_page_and_none_is_missed() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let mut sessions = Vec::new();
    for _ in 0..200 {
        sessions.push(pair(&account, room()).await.1);
    }
    sessions.push(pair(&account, room_id!("!other:example.org")).await.1);
    let names = |sessions: Vec<InboundGroupSession>| -> std::collections::BTreeSet<String> {
        sessions.iter().map(|session| session.session_id().to_owned()).collect()
    };
    desk.save(Changes { inbound_group_sessions: sessions.clone(), ..Default::default() }).await;
    assert_eq!(names(desk.store.get_inbound_group_sessions().await.unwrap()), names(sessions.clone()));
    sessions.pop();
    let of_room = desk.store.get_inbound_group_sessions_by_room_id(room()).await.unwrap();
    assert_eq!(names(of_room), names(sessions));
    assert_eq!(desk.store.inbound_group_session_counts(None).await.unwrap().total, 201);
    assert_eq!(desk.store.inbound_group_sessions_for_backup("1", 150).await.unwrap().len(), 150);
}

#[tokio::test]
async fn a_closed_store_refuses_until_it_is_opened_again() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (ours, _) = pair(&account, room()).await;
    desk.store.close().await.unwrap();
    assert_matches!(desk.store.load_account().await, Err(CryptoStoreError::Backend(_)));
    assert_matches!(desk.store.save_changes(outbound(&ours)).await, Err(CryptoStoreError::Backend(_)));
    desk.store.reopen().await.unwrap();
    assert!(desk.store.get_outbound_group_session(room()).await.unwrap().is_none());
    assert!(desk.store.load_account().await.unwrap().is_some());
}

//! Another client of the same account, which has the encryption machine and nothing of ours: it reads account data and backups as
//! the specification says, and sets them up where a test wants that.

use matrix_sdk_crypto::{
    DecryptionSettings, EncryptionSettings, OlmMachine, RoomEventDecryptionResult, TrustRequirement,
    backups::SignatureState,
    olm::ExportedRoomKey,
    secret_storage::{AesHmacSha2EncryptedData, SecretStorageKey},
    store::types::{BackupDecryptionKey, CrossSigningKeyExport},
    types::{RoomKeyBackupInfo, requests::AnyOutgoingRequest},
};
use ruma::{
    OwnedEventId, RoomId, TransactionId,
    api::client::{
        backup::KeyBackupData,
        keys::{get_keys, upload_signing_keys},
    },
    events::{
        EventContentFromType, TimelineEventType, secret::request::SecretName,
        secret_storage::key::SecretStorageKeyEventContent,
    },
    serde::Raw,
};
use serde_json::{Value, json, value::to_raw_value};

use crate::{
    chat::{Chat, crypto::testing::Phone},
    event::{ClientFormat, client_event},
    home::Home,
    keys::{self, Actor, backup, backup::Part},
    rooms::{self, NewEvent},
    store::{StoreError, Stored},
    types::Millis,
    users::{account_data, sessions},
};

const SETTINGS: DecryptionSettings =
    DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };

pub(super) struct Other {
    machine: OlmMachine,
    pub(super) me: Actor,
}

/// Account data of a type, as a client gets it.
pub(super) fn account_data_of(home: &Home, me: &Actor, kind: &str) -> Option<Value> {
    let content = account_data::get(&home.store.snapshot().unwrap(), me.user_key, None, kind).unwrap();
    content.map(|content| serde_json::from_str(content.get()).unwrap())
}

/// Writes account data, as a client does.
pub(super) async fn set_account_data(home: &Home, me: &Actor, kind: &str, content: Value) {
    let (user, kind, content) = (me.user_key, kind.to_owned(), content.to_string());
    home.store.write(move |tx| account_data::set(tx, user, None, &kind, &content)).await.unwrap();
}

impl Other {
    /// Signs in as another device of a phone's person, and publishes its keys.
    pub(super) async fn new(phone: &Phone, device: &str) -> Self {
        let home = phone.home();
        let me = Actor { device: device.into(), ..phone.me() };
        let (user, name) = (me.user_key, device.to_owned());
        let job = move |tx: &mut crate::store::WriteTx<'_>| {
            sessions::add_device(tx, user, &name, None, Millis(1))
                .map_err(|error| StoreError::Corrupt(error.to_string()))
        };
        home.store.write::<_, StoreError, _>(job).await.unwrap();
        let machine = OlmMachine::new(&me.user, &me.device).await;
        for request in machine.outgoing_requests().await.unwrap() {
            if let AnyOutgoingRequest::KeysUpload(upload) = request.request() {
                let response = keys::upload(home, &me, upload.clone()).await.unwrap();
                machine.mark_request_as_sent(request.request_id(), &response).await.unwrap();
            }
        }
        let other = Self { machine, me };
        other.look(home).await;
        other
    }

    /// Asks who its own user is.
    async fn look(&self, home: &Home) {
        let mut request = get_keys::v3::Request::new();
        request.device_keys.insert(self.me.user.clone(), Vec::new());
        let known = keys::query(home, &self.me, request).await.unwrap();
        self.machine.mark_request_as_sent(&TransactionId::new(), &known).await.unwrap();
    }

    /// Opens secret storage with what the person wrote down, and answers the backup's key. `None` if the key is another one.
    pub(super) async fn unlock(&self, home: &Home, written: &str) -> Option<BackupDecryptionKey> {
        let default = account_data_of(home, &self.me, "m.secret_storage.default_key")?;
        let kind = format!("m.secret_storage.key.{}", default["key"].as_str().unwrap());
        let content = to_raw_value(&account_data_of(home, &self.me, &kind)?).unwrap();
        let content = SecretStorageKeyEventContent::from_parts(&kind, &content).unwrap();
        let key = SecretStorageKey::from_account_data(written, content).ok()?;
        let secret = |name: SecretName| {
            let sealed = account_data_of(home, &self.me, name.as_str()).unwrap();
            let sealed = sealed["encrypted"][key.key_id()].clone();
            let sealed: AesHmacSha2EncryptedData = serde_json::from_value(sealed).unwrap();
            String::from_utf8(key.decrypt(&sealed, &name).unwrap()).unwrap()
        };
        self.look(home).await;
        let mut keys = CrossSigningKeyExport::default();
        keys.master_key = Some(secret(SecretName::CrossSigningMasterKey));
        keys.self_signing_key = Some(secret(SecretName::CrossSigningSelfSigningKey));
        keys.user_signing_key = Some(secret(SecretName::CrossSigningUserSigningKey));
        assert!(self.machine.import_cross_signing_keys(keys).await.unwrap().is_complete());
        Some(BackupDecryptionKey::from_base64(&secret(SecretName::RecoveryKey)).unwrap())
    }

    /// Signs its own device by the person's keys, for everybody to see.
    pub(super) async fn sign_itself(&self, home: &Home) {
        let requests = self.machine.bootstrap_cross_signing(false).await.unwrap();
        let response = keys::upload_signatures(home, &self.me, requests.upload_signatures_req).await.unwrap();
        assert!(response.failures.is_empty(), "{response:?}");
    }

    /// The latest backup: its version, and how its keys are encrypted.
    pub(super) fn latest(&self, home: &Home) -> (String, RoomKeyBackupInfo) {
        let found = backup::info(&home.store.snapshot().unwrap(), &self.me, None).unwrap();
        (found.version, serde_json::from_str(found.algorithm.json().get()).unwrap())
    }

    /// Whether it would write into the latest backup: whether somebody whom it trusts has signed that, and who.
    pub(super) async fn signatures(&self, home: &Home) -> (SignatureState, Vec<SignatureState>) {
        let (_, info) = self.latest(home);
        let found = self.machine.backup_machine().verify_backup(info, true).await.unwrap();
        (found.user_identity_signature, found.other_signatures.into_values().collect())
    }

    /// Takes all room keys out of the latest backup, and answers how many there were.
    pub(super) async fn restore(&self, home: &Home, key: &BackupDecryptionKey) -> usize {
        let (version, info) = self.latest(home);
        assert!(key.backup_key_matches(&info), "the secret is the latest backup's");
        let kept = backup::keys(&home.store.snapshot().unwrap(), &self.me, &version, &Part::All).unwrap();
        let mut keys = Vec::new();
        for (room, sessions) in kept {
            for (session, sealed) in sessions {
                let sealed: KeyBackupData = sealed.deserialize().unwrap();
                let opened = key.decrypt_session_data(sealed.session_data).unwrap();
                keys.push(ExportedRoomKey::from_backed_up_room_key(room.clone(), session, opened));
            }
        }
        let count = keys.len();
        self.machine.store().import_room_keys(keys, Some(&version), |_, _| {}).await.unwrap();
        count
    }

    /// What it reads in an event, if it can.
    pub(super) async fn reads(&self, home: &Home, room: &RoomId, event: &OwnedEventId) -> Option<String> {
        let stored = Stored::by_id(&home.store.snapshot().unwrap(), event).unwrap().unwrap();
        let raw = Raw::from_json(client_event(&stored.pdu, &ClientFormat::default()));
        match self.machine.try_decrypt_room_event(&raw, room, &SETTINGS).await.unwrap() {
            RoomEventDecryptionResult::Decrypted(clear) => {
                let clear: Value = serde_json::from_str(clear.event.json().get()).unwrap();
                Some(clear["content"]["body"].as_str().unwrap().to_owned())
            }
            RoomEventDecryptionResult::UnableToDecrypt(_) => None,
        }
    }

    /// Says something with a key that it gives to nobody.
    pub(super) async fn whisper(&self, home: &Home, room: &RoomId, text: &str) -> OwnedEventId {
        let nobody = std::iter::empty::<&ruma::UserId>();
        self.machine.share_room_key(room, nobody, EncryptionSettings::default()).await.unwrap();
        let content = json!({ "msgtype": "m.text", "body": text });
        let content = Raw::from_json(to_raw_value(&content).unwrap());
        let sealed = self.machine.encrypt_room_event_raw(room, "m.room.message", &content).await.unwrap();
        let new = NewEvent {
            room: room.to_owned(),
            sender: self.me.user.clone(),
            kind: TimelineEventType::RoomEncrypted,
            state_key: None,
            content: serde_json::from_str(sealed.content.json().get()).unwrap(),
            redacts: None,
            txn: None,
            timestamp: None,
        };
        rooms::send(home, new).await.unwrap()
    }

    /// Ends the key that it says things with in a room.
    pub(super) async fn renew(&self, room: &RoomId) {
        self.machine.discard_room_key(room).await.unwrap();
    }

    /// Begins anew with an identity of its own making.
    pub(super) async fn new_identity(&self, home: &Home) {
        let made = self.machine.bootstrap_cross_signing(true).await.unwrap();
        let mut request = upload_signing_keys::v3::Request::new();
        request.master_key = made.upload_signing_keys_req.master_key.map(|key| key.to_raw());
        request.self_signing_key = made.upload_signing_keys_req.self_signing_key.map(|key| key.to_raw());
        request.user_signing_key = made.upload_signing_keys_req.user_signing_key.map(|key| key.to_raw());
        keys::upload_signing_keys(home, &self.me, request).await.unwrap();
        keys::upload_signatures(home, &self.me, made.upload_signatures_req).await.unwrap();
        self.look(home).await;
    }

    /// Makes a version of the backup with a key of its own, and puts its room keys into it.
    pub(super) async fn new_backup(&self, home: &Home) -> (String, BackupDecryptionKey) {
        let key = BackupDecryptionKey::new();
        let mut info = key.to_backup_info();
        let machine = self.machine.backup_machine();
        machine.sign_backup(&mut info).await.unwrap();
        let version = backup::create(home, &self.me, &Raw::new(&info).unwrap().cast()).await.unwrap();
        let public = key.megolm_v1_public_key();
        public.set_version(version.clone());
        machine.disable_backup().await.unwrap();
        machine.enable_backup_v1(public).await.unwrap();
        self.back_up(home).await;
        (version, key)
    }

    /// Puts the room keys that are not in its backup into it.
    pub(super) async fn back_up(&self, home: &Home) {
        let machine = self.machine.backup_machine();
        while let Some((id, request)) = machine.backup().await.unwrap() {
            let rooms = request.rooms.into_iter().map(|(room, keys)| (room, keys.sessions)).collect();
            backup::add(home, &self.me, &request.version, rooms).await.unwrap();
            let done = ruma::api::client::backup::add_backup_keys::v3::Response::new("0".into(), 0_u32.into());
            self.machine.mark_request_as_sent(&id, &done).await.unwrap();
        }
    }

    /// Goes on with a backup that somebody else made.
    pub(super) async fn use_backup(&self, home: &Home, key: &BackupDecryptionKey) {
        let public = key.megolm_v1_public_key();
        public.set_version(self.latest(home).0);
        self.machine.backup_machine().enable_backup_v1(public).await.unwrap();
        self.back_up(home).await;
    }

    /// Makes secret storage as the default one, with its cross-signing keys and a backup's key, and answers what it shows its
    /// person.
    pub(super) async fn new_storage(&self, home: &Home, backup: Option<&BackupDecryptionKey>) -> String {
        let key = SecretStorageKey::new();
        let description = serde_json::to_value(key.event_content()).unwrap();
        set_account_data(home, &self.me, &format!("m.secret_storage.key.{}", key.key_id()), description).await;
        let keys = self.machine.export_cross_signing_keys().await.unwrap();
        let keys = keys.unwrap_or_default();
        let secrets = [
            (SecretName::CrossSigningMasterKey, keys.master_key.clone()),
            (SecretName::CrossSigningSelfSigningKey, keys.self_signing_key.clone()),
            (SecretName::CrossSigningUserSigningKey, keys.user_signing_key.clone()),
            (SecretName::RecoveryKey, backup.map(BackupDecryptionKey::to_base64)),
        ];
        for (name, secret) in secrets {
            let Some(secret) = secret else { continue };
            let sealed = key.encrypt(secret.into_bytes(), &name);
            let content = json!({ "encrypted": { key.key_id(): sealed } });
            set_account_data(home, &self.me, name.as_str(), content).await;
        }
        let default = json!({ "key": key.key_id() });
        set_account_data(home, &self.me, "m.secret_storage.default_key", default).await;
        key.to_base58()
    }

    /// All that a client does that is the account's first one for a person: an identity, a backup, and a recovery key.
    pub(super) async fn sets_up(&self, home: &Home) -> String {
        self.new_identity(home).await;
        let (_, key) = self.new_backup(home).await;
        self.new_storage(home, Some(&key)).await
    }
}

/// How many of its room keys a client's backup has, and how many it has in all. Panics unless there is a backup.
pub(super) async fn on(chat: &Chat) -> (String, u64, u64) {
    match chat.recovery().await.unwrap() {
        crate::chat::Recovery::On { version, backed_up, total } => (version, backed_up, total),
        other => panic!("there is no backup: {other:?}"),
    }
}

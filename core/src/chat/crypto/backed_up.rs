//! What the backup of room keys asks of encryption: the keys that it lacks, the marks of those that it has, and a way in for
//! those that were read from one.

use matrix_sdk_crypto::{
    olm::{ExportedRoomKey, InboundGroupSession},
    store::{
        CryptoStore,
        types::{BackupDecryptionKey, RoomKeyCounts},
    },
};
use ruma::RoomId;

use super::{Crypto, CryptoError, publish};
use crate::{
    chat::crypto_store::{BackupKeyRows, Marks},
    home::Home,
    keys::Actor,
};

impl Crypto {
    /// Publishes what is missing of our keys, and makes the machine see what is published.
    pub(in crate::chat) async fn publish(&self, home: &Home, me: &Actor) -> Result<(), CryptoError> {
        publish::publish(home, me, &self.machine).await
    }

    /// At most `sessions_max` room keys that a version of the backup lacks, and the marks that it has them.
    pub(in crate::chat) async fn not_backed_up(
        &self,
        version: &str,
        sessions_max: usize,
    ) -> Result<(Vec<InboundGroupSession>, Marks), CryptoError> {
        Ok(self.store.not_backed_up(version, sessions_max).await?)
    }

    /// The rows that make a backup the one that room keys go into.
    pub(in crate::chat) async fn backup_key_rows(
        &self,
        key: &BackupDecryptionKey,
        version: &str,
    ) -> Result<BackupKeyRows, CryptoError> {
        Ok(self.store.backup_key_rows(key, version).await?)
    }

    /// Whether it is known that the backup has every room key.
    pub(in crate::chat) fn backup_lacks_nothing(&self) -> bool {
        self.store.lacks_nothing()
    }

    /// Forgets what is known of that.
    pub(in crate::chat) fn forget_backed_up(&self) {
        self.store.forget_backed_up();
    }

    /// How many room keys there are, and how many of them are in a version of the backup.
    pub(in crate::chat) async fn room_keys_in(&self, version: &str) -> Result<RoomKeyCounts, CryptoError> {
        Ok(self.store.inbound_group_session_counts(Some(version)).await?)
    }

    /// The first message that the key of a session opens, if there is such a key.
    pub(in crate::chat) async fn first_index(&self, room: &RoomId, session: &str) -> Result<Option<u32>, CryptoError> {
        let known = self.store.get_inbound_group_session(room, session).await?;
        Ok(known.map(|known| known.first_known_index()))
    }

    /// Takes room keys that were in a version of the backup, and answers how many were better than what was here. Nobody is
    /// asked for them any more.
    pub(in crate::chat) async fn take_room_keys(
        &self,
        keys: Vec<ExportedRoomKey>,
        version: &str,
    ) -> Result<u64, CryptoError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let taken = self.machine.store().import_room_keys(keys, Some(version), |_, _| {}).await?;
        for (room, devices) in &taken.keys {
            for session in devices.values().flatten() {
                self.asks.arrived(room, session);
            }
        }
        Ok(taken.imported_count as u64)
    }
}

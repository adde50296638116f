//! What the client's own backup needs of the store beyond the encryption machine's interface: writes that commit together with
//! rows of the homeserver's, so that what is marked as being in the backup is in it.

use matrix_sdk_crypto::{
    olm::InboundGroupSession,
    store::{
        CryptoStoreError, Result,
        types::{BackupDecryptionKey, Changes},
    },
};

use super::{
    RedbCryptoStore,
    changes::Batch,
    room_keys::{self, Marks},
    rows::Owner,
};
use crate::store::WriteTx;

/// The rows of a backup's key and version, to be written.
pub(crate) struct BackupKeyRows {
    owner: Owner,
    batch: Batch,
}

impl BackupKeyRows {
    /// Writes them.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn apply(&self, tx: &mut WriteTx<'_>) -> Result<(), CryptoStoreError> {
        self.batch.apply(&self.owner, tx)
    }
}

impl RedbCryptoStore {
    /// The rows that make a backup the one that room keys go into.
    pub(crate) async fn backup_key_rows(&self, key: &BackupDecryptionKey, version: &str) -> Result<BackupKeyRows> {
        let changes = Changes {
            backup_decryption_key: Some(key.clone()),
            backup_version: Some(version.to_owned()),
            ..Changes::default()
        };
        Ok(BackupKeyRows { owner: self.owner.clone(), batch: Batch::of(&self.owner, changes).await? })
    }

    /// At most `sessions_max` room keys that a version of the backup lacks, and the marks that it has them.
    pub(crate) async fn not_backed_up(
        &self,
        version: &str,
        sessions_max: usize,
    ) -> Result<(Vec<InboundGroupSession>, Marks)> {
        let version = room_keys::version(&self.owner, version)?;
        let found = self.lacking.page(&self.owner, &self.store, version, sessions_max).await?;
        let (sessions, rows): (Vec<_>, Vec<_>) =
            found.into_iter().map(|found| (found.session, (found.row, found.sealed))).unzip();
        Ok((sessions, Marks::read(&self.owner, version, rows.into_iter())))
    }

    /// Whether the backup that was asked for last lacks no room key. Looks at no row.
    pub(crate) fn lacks_nothing(&self) -> bool {
        self.lacking.is_nothing()
    }

    /// Forgets which room keys are in the backup, so that the next look for those that are not is at all of them.
    pub(crate) fn forget_backed_up(&self) {
        self.lacking.forget();
    }
}

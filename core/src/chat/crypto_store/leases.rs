//! Locks that run out: who writes to the crypto store, when there are several who could.
//!
//! One process has this database, so they settle at most what two clients in it may do at once. A lease that is forgotten in
//! a crash had no holder any more, so their writes wait for no disk.

use matrix_sdk_crypto::store::CryptoStoreError;

use super::{
    RedbCryptoStore,
    rows::{Kind, Owner},
};
use crate::store::{LeaseRecord, Record, Result, WriteTx};

impl RedbCryptoStore {
    /// Takes or extends the lease of `name` for `holder`, and answers its generation; `None` while somebody else has it.
    pub(super) async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        lease_ms: u32,
    ) -> Result<Option<u64>, CryptoStoreError> {
        let owner = self.owner.clone();
        let (key, holder) = (owner.key(Kind::Lease, name)?, owner.hash(Kind::Lease, holder)?);
        let now = self.clock.now().0;
        let lease = (now, now + u64::from(lease_ms));
        self.store.write_soon(move |tx| Ok(take(&owner, tx, &key, holder, lease)?)).await
    }
}

fn take(
    owner: &Owner,
    tx: &mut WriteTx<'_>,
    key: &[u8],
    holder: [u8; 16],
    (now, until): (u64, u64),
) -> Result<Option<u64>> {
    let generation = match owner.record::<LeaseRecord>(tx, Kind::Lease, key)? {
        None => 1,
        Some(lease) if lease.holder == holder => lease.generation,
        Some(lease) if lease.until < now => lease.generation + 1,
        Some(_) => return Ok(None),
    };
    owner.put(tx, Kind::Lease, key, &LeaseRecord { holder, until, generation }.encode()?)?;
    Ok(Some(generation))
}

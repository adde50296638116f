//! Rows that others can make us write: at most so many of a kind, and the oldest goes.
//!
//! A second kind of row numbers them in the order in which they came. They are removed in no other way, so the numbers have no
//! gaps, and the first and the last of them tell how many there are.

use super::rows::{Kind, Owner};
use crate::{
    store::{Result, StoreError, WriteTx},
    types::limits::{KEY_BUNDLES_MAX, OLM_HASHES_MAX, WITHHELD_KEYS_MAX},
};

/// A kind of row that is bounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounded {
    rows: Kind,
    order: Kind,
    rows_max: u64,
}

pub(super) const OLM_HASHES: Bounded =
    Bounded { rows: Kind::OlmHash, order: Kind::OlmHashOrder, rows_max: OLM_HASHES_MAX };
pub(super) const WITHHELD: Bounded =
    Bounded { rows: Kind::Withheld, order: Kind::WithheldOrder, rows_max: WITHHELD_KEYS_MAX };
pub(super) const BUNDLES: Bounded = Bounded { rows: Kind::Bundle, order: Kind::BundleOrder, rows_max: KEY_BUNDLES_MAX };

impl Bounded {
    /// Writes a row. One that is there already keeps its place in the order.
    pub(super) fn put(self, owner: &Owner, tx: &mut WriteTx<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        let Self { rows, order, rows_max } = self;
        let is_new = owner.bytes(tx, rows, key)?.is_none();
        owner.put(tx, rows, key, value)?;
        if !is_new {
            return Ok(());
        }
        let place = match owner.last_key(tx, order)? {
            Some(last) => number(&last)? + 1,
            None => 0,
        };
        owner.put(tx, order, &place.to_be_bytes(), key)?;
        let Some((first, oldest)) = owner.page(tx, order, &[], None, 1)?.into_iter().next() else { return Ok(()) };
        if place - number(&first)? >= rows_max {
            owner.remove(tx, rows, &oldest)?;
            owner.remove(tx, order, &first)?;
        }
        Ok(())
    }
}

fn number(key: &[u8]) -> Result<u64> {
    let bytes = key.try_into().map_err(|_| StoreError::Corrupt("a place in an order is no number".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::chat::crypto_store::tests::Desk;

    #[tokio::test]
    async fn the_oldest_goes_and_what_comes_again_keeps_its_place() {
        let desk = Desk::new().await;
        let owner = desk.store.owner.clone();
        let bounded = Bounded { rows_max: 3, ..OLM_HASHES };
        for key in [b"a", b"b", b"c", b"a", b"d", b"e"] {
            let owner = owner.clone();
            desk.db.write::<_, StoreError, _>(move |tx| bounded.put(&owner, tx, key, &[])).await.unwrap();
        }
        let view = desk.db.snapshot().unwrap();
        let keys = |kind| -> Vec<Vec<u8>> {
            owner.page(&view, kind, &[], None, 9).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(Kind::OlmHash), [b"c", b"d", b"e"]);
        assert_eq!(keys(Kind::OlmHashOrder).len(), 3);
    }
}

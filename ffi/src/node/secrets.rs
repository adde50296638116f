//! The store key, which the platform's keystore holds and nobody else.

use std::sync::Arc;

use hearth_core::{chat::vault::StoreKey, ports::Random};
use hearth_p2p::host::SystemRandom;

use crate::{error::NodeError, platform::Platform, watch::call_out};

/// Under which name the keystore holds it.
const NAME: &str = "hearth.store-key";

/// The key that everything on the disk is sealed with; made the first time.
pub(crate) async fn store_key(platform: Arc<dyn Platform>) -> Result<StoreKey, NodeError> {
    call_out(move || {
        if let Some(kept) = platform.keystore_get(NAME.to_owned())? {
            let bytes: [u8; 32] = kept.try_into().map_err(|kept: Vec<u8>| NodeError::Crypto {
                reason: format!("the keystore holds {} bytes where the key has 32", kept.len()),
            })?;
            return Ok(StoreKey::new(bytes));
        }
        let mut bytes = [0; 32];
        SystemRandom.fill(&mut bytes);
        platform.keystore_put(NAME.to_owned(), bytes.to_vec())?;
        Ok(StoreKey::new(bytes))
    })
    .await?
}

/// Keeps the key of an imported node.
pub(crate) async fn keep(platform: Arc<dyn Platform>, key: &StoreKey) -> Result<(), NodeError> {
    let bytes = key.as_bytes().to_vec();
    call_out(move || platform.keystore_put(NAME.to_owned(), bytes)).await?.map_err(NodeError::from)
}

/// Destroys the key.
pub(super) async fn destroy(platform: Arc<dyn Platform>) -> Result<(), NodeError> {
    call_out(move || platform.keystore_delete(NAME.to_owned())).await?.map_err(NodeError::from)
}

//! Waiting until what was sent is in its room.

use ruma::{OwnedEventId, TransactionId};

use super::{ItemId, Timeline, no_item};
use crate::{
    chat::{ChatError, Inner, delivery::SendState},
    store::{StoreError, Stored, WriteTx, txns},
};

impl Timeline {
    /// Waits until an item is in its room, from where it goes to the others by itself, and answers its event's id.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] with the reason when it cannot be sent as it is; it stays in the list and may be tried again.
    /// [`ChatError::Cancelled`] when it was taken back.
    pub async fn until_sent(&self, item: &ItemId) -> Result<OwnedEventId, ChatError> {
        if let Some(event) = item.event() {
            return Ok(event);
        }
        let txn = item.txn().ok_or_else(|| no_item(item))?;
        loop {
            // Taken before the queue is looked at, so that what comes later is noticed.
            let seen = self.inner.seen();
            match self.inner.queue.find(&txn).map(|echo| echo.state()) {
                Some(SendState::Failed { reason, .. }) => return Err(ChatError::Invalid(reason)),
                Some(_) => self.inner.changed_after(seen).await?,
                None => return became(&self.inner, &txn).await?.ok_or(ChatError::Cancelled),
            }
        }
    }
}

/// The event that a transaction of this device became.
async fn became(inner: &Inner, txn: &TransactionId) -> Result<Option<OwnedEventId>, ChatError> {
    let (user, device, txn) = (inner.me.user_key, inner.me.device.clone(), txn.to_owned());
    // Looked up where the memory of transactions is; nothing is written.
    let look = move |tx: &mut WriteTx<'_>| {
        let Some(esn) = txns::find(tx, user, device.as_str(), txn.as_str())? else { return Ok(None) };
        Ok::<_, StoreError>(Some(Stored::must(tx, esn)?.pdu.event_id))
    };
    Ok(inner.home.store.write_soon(look).await?)
}

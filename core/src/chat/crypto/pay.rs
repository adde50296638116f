//! Paying debts: giving the readers of our sessions the keys that they have not got yet.
//!
//! Each device of a reader gets the session's original key, encrypted for it alone. A debt ends when all devices that the
//! reader surely has were served. What a device gets twice does no harm, so a kill costs a repeat.

use std::collections::{BTreeMap, BTreeSet};

use matrix_sdk_crypto::{CollectStrategy, Device, OlmError, types::requests::ToDeviceRequest};
use ruma::{OwnedDeviceId, RoomId, TransactionId, UserId, events::ToDeviceEventType, to_device::DeviceIdOrAllDevices};
use serde_json::{Value, json};

use super::{
    CryptoError, identity,
    rounds::Rounds,
    said::{Debt, Said},
    send,
};
use crate::{
    chat::crypto_store::originals::OriginalKey,
    store::{StoreError, UserKey, WriteTx},
    types::limits::DEBTS_AT_ONCE_MAX,
};

/// What became of one debt.
enum Paid {
    /// Every device that is known has the key, or is not to have it.
    All,
    /// There is no session with some device.
    Partly,
}

impl Rounds {
    /// Gives everybody who can be served now what they are owed.
    pub(super) async fn pay_due(&mut self) -> Result<(), CryptoError> {
        for user in std::mem::take(&mut self.due) {
            let asked = self.dirty.contains(&user) || self.refresh.contains(&user);
            // Whoever is out of reach is served when they return; whose devices are being asked for, after the answer.
            if asked || !self.inner.crypto.is_reachable(&self.inner, user.server_name()) {
                continue;
            }
            if self.pay(&user).await? {
                self.due.insert(user);
            }
        }
        if !self.due.is_empty() {
            // There is more, and others come first.
            self.inner.crypto.wishes.ring();
        }
        Ok(())
    }

    /// Pays some of what a user is owed. Answers whether to go on with them.
    async fn pay(&mut self, user: &UserId) -> Result<bool, CryptoError> {
        let said = Said(self.inner.me.user_key);
        let debts = {
            let view = self.inner.home.store.snapshot()?;
            let Some(key) = UserKey::find(&view, user)? else { return Ok(false) };
            said.debts(&view, key, DEBTS_AT_ONCE_MAX)?
        };
        let machine = self.inner.crypto.machine.clone();
        if debts.is_empty() || identity::is_withheld(&machine, user).await? {
            return Ok(false);
        }
        let devices = machine.get_user_devices(user, None).await?;
        let devices = devices.devices().filter(|device| !device.is_our_own_device() && !device.is_deleted());
        let devices: Vec<Device> = devices.collect();
        let many = debts.len() == DEBTS_AT_ONCE_MAX;
        let mut struck = 0;
        for mut debt in debts {
            let paid = self.pay_one(user, &mut debt, &devices).await?;
            let served: BTreeSet<OwnedDeviceId> = debt.served.iter().map(|device| device.as_str().into()).collect();
            let done = matches!(paid, Paid::All) && self.inner.crypto.has_all(&self.inner, user, &served).await?;
            let job = move |tx: &mut WriteTx<'_>| match done {
                true => said.strike(tx, &debt),
                false => said.owe(tx, debt.user, debt.room, &debt.session, debt.served.clone()),
            };
            self.inner.home.store.write_soon::<_, StoreError, _>(job).await?;
            struck += usize::from(done);
            if matches!(paid, Paid::Partly) {
                self.wish(BTreeSet::from([user.to_owned()]));
            }
        }
        Ok(many && struck > 0)
    }

    /// Sends a session's original key to the devices of a user that were not served yet.
    async fn pay_one(&self, user: &UserId, debt: &mut Debt, devices: &[Device]) -> Result<Paid, CryptoError> {
        let crypto = &self.inner.crypto;
        let room = debt.room.id(&self.inner.home.store.snapshot()?)?;
        let new = |device: &&Device| !debt.served.iter().any(|served| *served == *device.device_id());
        let new: Vec<&Device> = devices.iter().filter(new).collect();
        if new.is_empty() {
            return Ok(Paid::All);
        }
        let Some(original) = crypto.store.original_key(&room, &debt.session)? else {
            tracing::warn!(session = debt.session, "a key that is owed is not kept any more");
            debt.served.extend(new.iter().map(|device| device.device_id().to_string()));
            return Ok(Paid::All);
        };
        let content = room_key(&room, &debt.session, &original);
        let (mut messages, mut paid) = (BTreeMap::new(), Paid::All);
        for device in new {
            let id = device.device_id().to_owned();
            match device.encrypt_event_raw("m.room_key", &content, CollectStrategy::AllDevices).await {
                Ok(content) => {
                    messages.insert(DeviceIdOrAllDevices::DeviceId(id.clone()), content.cast());
                    debt.served.push(id.into());
                }
                // A device that is not to have keys is owed none.
                Err(OlmError::Withheld(_)) => debt.served.push(id.into()),
                Err(OlmError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, %user, "a device cannot be given a key yet");
                    paid = Paid::Partly;
                }
            }
        }
        if !messages.is_empty() {
            let messages = BTreeMap::from([(user.to_owned(), messages)]);
            let (event_type, txn_id) = (ToDeviceEventType::RoomEncrypted, TransactionId::new());
            send::to_device(&self.inner, &ToDeviceRequest { event_type, txn_id, messages }).await?;
        }
        Ok(paid)
    }
}

/// The content of an `m.room_key` for a whole session.
fn room_key(room: &RoomId, session: &str, original: &OriginalKey) -> Value {
    json!({
        "algorithm": original.algorithm,
        "room_id": room,
        "session_id": session,
        "session_key": original.session_key.to_base64(),
        "shared_history": original.shared_history,
        // The name that the field had in the proposal, which the machine reads.
        "m.shared_history": original.shared_history,
    })
}

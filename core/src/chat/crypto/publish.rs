//! The first start: the device's keys and the person's cross-signing keys are made and published.
//!
//! It looks at what is published, not at what it remembers, so a start that was cut off anywhere is finished by the next one,
//! and keys that were lost with a logged-out device are put up again. A person who has an identity from another client keeps
//! that one; this device is then verified by that client.

use matrix_sdk_crypto::{OlmMachine, types::requests::AnyOutgoingRequest};
use ruma::{
    TransactionId,
    api::client::keys::{get_keys, upload_keys},
    encryption::DeviceKeys,
    serde::Raw,
};

use super::{CryptoError, send};
use crate::{
    home::Home,
    keys::{self, Actor},
};

/// Publishes what is missing of our keys.
pub(super) async fn publish(home: &Home, me: &Actor, machine: &OlmMachine) -> Result<(), CryptoError> {
    let known = published(home, me).await?;
    let has_identity = known.master_keys.contains_key(&me.user);
    // Without the private keys the identity is another client's.
    if !has_identity || machine.cross_signing_status().await.has_self_signing {
        let is_signed = device(&known, me).is_some_and(|keys| signatures(&keys, me) > 1);
        if !has_identity || !is_signed {
            bootstrap(home, me, machine).await?;
        }
    }
    if device(&published(home, me).await?, me).is_none() {
        let own = machine.store().get_own_device().await?;
        let request = upload(Some(own.as_device_keys().to_raw()));
        keys::upload(home, me, request).await?;
    }
    // The machine sees what everybody sees from the start, not when the loop comes to it.
    let known = published(home, me).await?;
    machine.mark_request_as_sent(&TransactionId::new(), &known).await?;
    Ok(())
}

/// Our own keys as everybody sees them. They are in our own store: nobody is asked.
async fn published(home: &Home, me: &Actor) -> Result<get_keys::v3::Response, CryptoError> {
    let mut request = get_keys::v3::Request::new();
    request.device_keys.insert(me.user.clone(), Vec::new());
    Ok(keys::query(home, me, request).await?)
}

fn device(known: &get_keys::v3::Response, me: &Actor) -> Option<DeviceKeys> {
    known.device_keys.get(&me.user)?.get(&me.device)?.deserialize().ok()
}

fn signatures(keys: &DeviceKeys, me: &Actor) -> usize {
    keys.signatures.get(&me.user).map_or(0, |signatures| signatures.len())
}

fn upload(device_keys: Option<Raw<DeviceKeys>>) -> upload_keys::v3::Request {
    let mut request = upload_keys::v3::Request::new();
    request.device_keys = device_keys;
    request
}

/// Makes the cross-signing keys, if there are none, and publishes them with the signatures that bind them to the device.
async fn bootstrap(home: &Home, me: &Actor, machine: &OlmMachine) -> Result<(), CryptoError> {
    let requests = machine.bootstrap_cross_signing(false).await?;
    if let Some(upload) = requests.upload_keys_req
        && let AnyOutgoingRequest::KeysUpload(keys) = upload.request()
    {
        let response = keys::upload(home, me, keys.clone()).await?;
        machine.mark_request_as_sent(upload.request_id(), &response).await?;
    }
    let response = send::signing_keys(home, me, requests.upload_signing_keys_req).await?;
    let signing = matrix_sdk_crypto::types::requests::AnyIncomingResponse::SigningKeysUpload(&response);
    machine.mark_request_as_sent(&TransactionId::new(), signing).await?;
    let response = keys::upload_signatures(home, me, requests.upload_signatures_req).await?;
    for failures in response.failures.values() {
        tracing::warn!(failures = failures.len(), "signatures on our own keys were not taken");
    }
    Ok(())
}

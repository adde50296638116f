//! Carrying what the machine wants sent to our own homeserver. Nothing here leaves the phone: what is for others waits in the
//! outbox, and is durable before the machine hears that it went.

use matrix_sdk_crypto::types::requests::{
    AnyOutgoingRequest, OutgoingRequest, OutgoingVerificationRequest, ToDeviceRequest, UploadSigningKeysRequest,
};
use ruma::{
    api::client::{
        keys::{upload_signatures, upload_signing_keys},
        message::send_message_event,
        to_device::send_event_to_device,
    },
    events::key::verification::VerificationMethod,
};

use super::CryptoError;
use crate::{
    chat::{Inner, verification},
    keys::{self, Actor, KeysError},
    ports::BoxFuture,
};

/// What became of a request of the machine's.
pub(super) enum Sent {
    /// It was done, and reported back.
    Done,
    /// It needs other servers: who is to be asked for.
    Elsewhere(OutgoingRequest),
}

/// The ways of verifying that this client has: comparing emoji, and showing and scanning codes.
pub(in crate::chat) fn verification_methods() -> Vec<VerificationMethod> {
    vec![
        VerificationMethod::SasV1,
        VerificationMethod::QrCodeShowV1,
        VerificationMethod::QrCodeScanV1,
        VerificationMethod::ReciprocateV1,
    ]
}

/// Does what a request of the machine's asks for, and tells it so.
pub(super) async fn request(inner: &Inner, request: OutgoingRequest) -> Result<Sent, CryptoError> {
    let (home, me, machine) = (&inner.home, &inner.me, &inner.crypto.machine);
    let id = request.request_id();
    match request.request() {
        AnyOutgoingRequest::KeysUpload(keys) => {
            let response = keys::upload(home, me, keys.clone()).await?;
            machine.mark_request_as_sent(id, &response).await?;
        }
        AnyOutgoingRequest::ToDeviceRequest(messages) => {
            tolerate("a to-device message", to_device(inner, messages).await)?;
            machine.mark_request_as_sent(id, &send_event_to_device::v3::Response::new()).await?;
        }
        AnyOutgoingRequest::SignatureUpload(signatures) => {
            let response = self::signatures(inner, signatures.clone()).await;
            let response = tolerate("signatures", response)?.unwrap_or_default();
            machine.mark_request_as_sent(id, &response).await?;
        }
        AnyOutgoingRequest::RoomMessage(message) => {
            let sent = verification::send_in_room(inner, message).await;
            if let Some(event) = tolerate("a message of a verification", sent)? {
                machine.mark_request_as_sent(id, &send_message_event::v3::Response::new(event)).await?;
            }
        }
        AnyOutgoingRequest::KeysQuery(_) | AnyOutgoingRequest::KeysClaim(_) => return Ok(Sent::Elsewhere(request)),
    }
    Ok(Sent::Done)
}

/// What our own server refuses it will refuse again. The store's failures are another matter: those are repeated.
fn tolerate<T>(what: &str, outcome: Result<T, CryptoError>) -> Result<Option<T>, CryptoError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(CryptoError::Store(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, what, "our own homeserver did not take what the encryption machine sent");
            Ok(None)
        }
    }
}

/// Sends a to-device message of the machine's. A repeat of it changes nothing.
pub(in crate::chat) async fn to_device(inner: &Inner, request: &ToDeviceRequest) -> Result<(), CryptoError> {
    let ToDeviceRequest { event_type, txn_id, messages } = request.clone();
    let request = send_event_to_device::v3::Request::new_raw(event_type, txn_id, messages);
    Ok(keys::send_to_device(&inner.home, &inner.me, request).await?)
}

/// Publishes signatures, on our own keys and on other people's.
pub(in crate::chat) async fn signatures(
    inner: &Inner,
    request: upload_signatures::v3::Request,
) -> Result<upload_signatures::v3::Response, CryptoError> {
    // Boxed, as the compiler does not see through so many layers that it may move between threads.
    let upload: BoxFuture<'_, _> = Box::pin(keys::upload_signatures(&inner.home, &inner.me, request));
    let response = upload.await?;
    for (user, failures) in &response.failures {
        tracing::warn!(%user, failures = failures.len(), "signatures were not taken");
    }
    // Whoever was signed is verified once their keys are read again, with the signature on them.
    inner.crypto.wishes.ring();
    Ok(response)
}

/// Sends what a verification wants sent.
pub(in crate::chat) async fn verification(
    inner: &Inner,
    request: OutgoingVerificationRequest,
) -> Result<(), CryptoError> {
    match request {
        OutgoingVerificationRequest::ToDevice(request) => to_device(inner, &request).await,
        OutgoingVerificationRequest::InRoom(request) => verification::send_in_room(inner, &request).await.map(drop),
    }
}

/// The client's form of the machine's cross-signing keys.
pub(super) async fn signing_keys(
    home: &crate::home::Home,
    me: &Actor,
    keys: UploadSigningKeysRequest,
) -> Result<upload_signing_keys::v3::Response, KeysError> {
    let mut request = upload_signing_keys::v3::Request::new();
    request.master_key = keys.master_key.map(|key| key.to_raw());
    request.self_signing_key = keys.self_signing_key.map(|key| key.to_raw());
    request.user_signing_key = keys.user_signing_key.map(|key| key.to_raw());
    keys::upload_signing_keys(home, me, request).await.map(|_| upload_signing_keys::v3::Response::new())
}

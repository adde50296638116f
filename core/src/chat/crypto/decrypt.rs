//! Reading an encrypted message: its clear content and how far its sender is known, or why it cannot be read.
//!
//! Messages are read whoever sent them, and shown with the trust that their sender deserves. A message whose key is missing
//! may become readable at any time; its sender is asked for the key by and by ([`super::asks`]).

use matrix_sdk_common::deserialized_responses::{
    AlgorithmInfo, EncryptionInfo, UnableToDecryptInfo, UnableToDecryptReason, VerificationLevel, VerificationState,
    WithheldCode,
};
use matrix_sdk_crypto::{
    DecryptionSettings, RoomEventDecryptionResult, TrustRequirement, types::events::room::encrypted::EncryptedEvent,
};
use ruma::{OwnedDeviceId, RoomId, UserId, serde::Raw};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Crypto, CryptoError, asks::Missing, identity};
use crate::{
    event::{ClientFormat, client_event},
    store::{StoreError, Stored},
};

/// Whoever sent it, it is shown; the trust is shown beside it.
pub(super) const SETTINGS: DecryptionSettings =
    DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };

/// How far the sender of a message is known to be who they seem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The person was verified, and the device is theirs.
    Verified,
    /// The person was not verified, or did not vouch for the device.
    Unverified,
    /// The person has another identity than before: someone else may be writing.
    Changed,
    /// It is not known which device wrote it.
    Unknown,
}

/// What became of an encrypted message.
#[derive(Clone, Debug)]
pub(crate) enum Clear {
    /// It can be read.
    Event {
        /// `type`.
        kind: String,
        /// `content`.
        content: Box<RawValue>,
        /// How far its sender is known.
        trust: Trust,
    },
    /// Its key is not here. It may come.
    Waiting {
        /// A sentence for a person.
        reason: String,
    },
    /// Nobody will ever read it here.
    Never {
        /// A sentence for a person.
        reason: String,
    },
}

impl Clear {
    fn never(reason: impl Into<String>) -> Self {
        Self::Never { reason: reason.into() }
    }

    fn waiting(reason: impl Into<String>) -> Self {
        Self::Waiting { reason: reason.into() }
    }
}

/// What we read of an encrypted event, beside what the machine reads.
#[derive(Deserialize)]
struct Outside {
    device_id: Option<OwnedDeviceId>,
}

#[derive(Deserialize)]
struct Inside<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl Crypto {
    /// Reads an encrypted event of a room.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn decrypt(&self, room: &RoomId, event: &Stored) -> Result<Clear, StoreError> {
        if event.pdu.is_state() {
            return Ok(Clear::never("encrypted state is not understood"));
        }
        let raw: Raw<EncryptedEvent> = Raw::from_json(client_event(&event.pdu, &ClientFormat::default()));
        let outcome = self.machine.try_decrypt_room_event(&raw, room, &SETTINGS).await.map_err(into_store)?;
        let decrypted = match outcome {
            RoomEventDecryptionResult::Decrypted(decrypted) => decrypted,
            RoomEventDecryptionResult::UnableToDecrypt(info) => {
                if info.reason.is_missing_room_key() {
                    self.miss(room, event, &info);
                }
                return Ok(unreadable(&info.reason));
            }
        };
        let Some(trust) = self.trust(&event.pdu.sender, &decrypted.encryption_info).await.map_err(into_store)? else {
            return Ok(Clear::never("the message was made with somebody else's key"));
        };
        Ok(match serde_json::from_str::<Inside<'_>>(decrypted.event.json().get()) {
            Ok(Inside { kind, content }) => Clear::Event { kind, content: content.to_owned(), trust },
            Err(_) => Clear::never("what was encrypted is no message"),
        })
    }

    /// Remembers that a key is missing, so that its sender is asked for it.
    fn miss(&self, room: &RoomId, event: &Stored, info: &UnableToDecryptInfo) {
        let Some(session) = info.session_id.clone() else { return };
        let device = event.pdu.content_as::<Outside>().ok().and_then(|content| content.device_id);
        let partial = matches!(info.reason, UnableToDecryptReason::UnknownMegolmMessageIndex);
        let missing = Missing { sender: event.pdu.sender.clone(), device, partial };
        if self.asks.note((room.to_owned(), session), missing) {
            self.wishes.ring();
        }
    }

    /// How far a sender is known; `None` when the session is somebody else's.
    async fn trust(&self, sender: &UserId, info: &EncryptionInfo) -> Result<Option<Trust>, CryptoError> {
        Ok(Some(match &info.verification_state {
            VerificationState::Verified => Trust::Verified,
            VerificationState::Unverified(level) => match level {
                VerificationLevel::MismatchedSender => return Ok(None),
                VerificationLevel::VerificationViolation => Trust::Changed,
                VerificationLevel::None(_) => Trust::Unknown,
                // What the machine knows of a session's sender is from when the key came.
                VerificationLevel::UnverifiedIdentity if self.is_verified_by_now(sender, info).await? => {
                    Trust::Verified
                }
                VerificationLevel::UnverifiedIdentity | VerificationLevel::UnsignedDevice => {
                    match identity::is_changed(&self.machine, sender).await? {
                        true => Trust::Changed,
                        false => Trust::Unverified,
                    }
                }
            },
        }))
    }

    /// Whether the device that a session came from is one of somebody who was verified since.
    async fn is_verified_by_now(&self, sender: &UserId, info: &EncryptionInfo) -> Result<bool, CryptoError> {
        let AlgorithmInfo::MegolmV1AesSha2 { curve25519_key, .. } = &info.algorithm_info else { return Ok(false) };
        let Some(device) = &info.sender_device else { return Ok(false) };
        let device = self.machine.get_device(sender, device, None).await?;
        Ok(device.is_some_and(|device| {
            device.curve25519_key().is_some_and(|key| key.to_base64() == *curve25519_key)
                && device.is_cross_signing_trusted()
        }))
    }
}

fn unreadable(reason: &UnableToDecryptReason) -> Clear {
    use UnableToDecryptReason as R;
    match reason {
        R::MissingMegolmSession { withheld_code: Some(code) } => withheld(code),
        R::MissingMegolmSession { withheld_code: None } => {
            Clear::waiting("the key of this message has not arrived yet")
        }
        R::UnknownMegolmMessageIndex => Clear::waiting("the key that is here begins after this message"),
        R::MalformedEncryptedEvent => Clear::never("the encrypted message is malformed"),
        R::MegolmDecryptionFailure => Clear::never("the message is damaged, or is not from its sender"),
        R::MismatchedIdentityKeys => Clear::never("the key of this message is not its sender's"),
        R::PayloadDeserializationFailure => Clear::never("what was encrypted is no message"),
        _ => Clear::never("the message cannot be decrypted"),
    }
}

fn withheld(code: &WithheldCode) -> Clear {
    match code {
        // Said by a device that could not reach ours with a key. It sends the key once it can.
        WithheldCode::NoOlm | WithheldCode::Unavailable => {
            Clear::waiting("the sender had no way to send the key of this message; it follows once there is one")
        }
        WithheldCode::Blacklisted => Clear::never("the sender gives this device no keys"),
        WithheldCode::Unverified => Clear::waiting("the sender gives keys to verified devices only"),
        _ => Clear::never("you may not read this message"),
    }
}

/// The store's error out of the machine's. What else the machine reports here is a damaged store as well.
fn into_store(error: impl Into<CryptoError>) -> StoreError {
    match error.into() {
        CryptoError::Store(error) => error,
        other => StoreError::Corrupt(other.to_string()),
    }
}

//! How far people and devices are known, for a UI.

use matrix_sdk_crypto::UserIdentity;
use ruma::{OwnedDeviceId, UserId};

use crate::chat::{
    Chat, ChatError,
    crypto::{CryptoError, identity},
};

/// How far a person is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserTrust {
    /// They were verified, and have the same identity still.
    Verified,
    /// They have the identity that they had when we first heard of them.
    Unverified,
    /// They have another identity than before. Accept it with [`Chat::accept_identity`], or verify them.
    Changed,
    /// They have no identity, or it is not known here.
    Unknown,
}

/// A device of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// The name that its user gave it.
    pub display_name: Option<String>,
    /// Its ed25519 key in base64.
    pub fingerprint: Option<String>,
    /// Its user vouches for it.
    pub is_signed: bool,
    /// It is known to be its user's: signed by a user who was verified, or verified itself.
    pub is_verified: bool,
    /// It is this device.
    pub is_own: bool,
}

/// How this device stands to its own user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnTrust {
    /// The user has a cross-signing identity.
    pub has_identity: bool,
    /// Its private keys are on this device, so that it can verify others.
    pub has_private_keys: bool,
    /// The identity vouches for this device. If not, verify it with another device of yours.
    pub is_verified: bool,
}

impl Chat {
    /// How far somebody is known.
    ///
    /// # Errors
    /// The store's.
    pub async fn trust_of(&self, user: &UserId) -> Result<UserTrust, ChatError> {
        let known = self.inner.crypto.machine.get_identity(user, None).await.map_err(CryptoError::from)?;
        Ok(match known {
            None => UserTrust::Unknown,
            Some(known) if known.is_verified() => UserTrust::Verified,
            Some(known) if identity::changed(&known) => UserTrust::Changed,
            Some(_) => UserTrust::Unverified,
        })
    }

    /// Somebody's devices, by id.
    ///
    /// # Errors
    /// The store's.
    pub async fn devices(&self, user: &UserId) -> Result<Vec<DeviceInfo>, ChatError> {
        let known = self.inner.crypto.machine.get_user_devices(user, None).await.map_err(CryptoError::from)?;
        let known = known.devices().filter(|device| !device.is_deleted());
        let mut devices: Vec<DeviceInfo> = known
            .map(|device| DeviceInfo {
                device_id: device.device_id().to_owned(),
                display_name: device.display_name().map(str::to_owned),
                fingerprint: device.ed25519_key().map(|key| key.to_base64()),
                is_signed: device.is_cross_signed_by_owner(),
                is_verified: device.is_verified(),
                is_own: device.is_our_own_device(),
            })
            .collect();
        devices.sort_by(|a, b| a.device_id.cmp(&b.device_id));
        Ok(devices)
    }

    /// How this device stands to its own user.
    ///
    /// # Errors
    /// The store's.
    pub async fn own_trust(&self) -> Result<OwnTrust, ChatError> {
        let (machine, me) = (&self.inner.crypto.machine, &self.inner.me);
        let known = machine.get_identity(&me.user, None).await.map_err(CryptoError::from)?;
        let device = machine.get_device(&me.user, &me.device, None).await.map_err(CryptoError::from)?;
        let has_private_keys = machine.cross_signing_status().await.is_complete();
        let is_verified = device.is_some_and(|device| device.is_cross_signed_by_owner());
        Ok(OwnTrust { has_identity: known.is_some(), has_private_keys, is_verified })
    }

    /// Accepts the identity that somebody has now. They count as unverified, and get keys again.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for somebody without an identity; the store's.
    pub async fn accept_identity(&self, user: &UserId) -> Result<(), ChatError> {
        let crypto = &self.inner.crypto;
        let known = crypto.machine.get_identity(user, None).await.map_err(CryptoError::from)?;
        let known = known.ok_or_else(|| ChatError::NotFound(format!("{user} has no identity that is known here")))?;
        let accepted = match &known {
            UserIdentity::Other(other) if other.has_verification_violation() => known.withdraw_verification().await,
            _ => known.pin().await,
        };
        accepted.map_err(CryptoError::from)?;
        crypto.accept(user);
        self.inner.changes.ring();
        Ok(())
    }
}

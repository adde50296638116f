//! Verification: two people, or two devices of one, make sure that nobody sits between them.
//!
//! They compare seven emoji, or one scans a code that the other shows. The machine runs the protocol; this module carries its
//! messages, in a room that the two share or from device to device, and shows where each flow stands. Whoever is verified is
//! signed, and stays verified for all devices of both.
//!
//! A flow lives in memory alone, as long as two people look at their phones: after ten minutes it times out, and a restart
//! forgets it. What came of it is signed and kept. Client-server API, "Key verification framework".

mod feed;
mod flow;
mod room;
mod trust;

pub use self::{
    feed::VerificationFeed,
    flow::{SasEmoji, Verification, VerificationInfo, VerificationState},
    trust::{DeviceInfo, OwnTrust, UserTrust},
};
pub(super) use self::{
    flow::{Flows, tend},
    room::{Look, look, send_in_room},
};

use matrix_sdk_crypto::{UserIdentity, VerificationRequest, types::requests::OutgoingVerificationRequest};
use ruma::{DeviceId, UserId, events::room::message::RoomMessageEventContent};

use super::{
    Chat, ChatError, Inner,
    crypto::{
        CryptoError,
        send::{self, verification_methods},
    },
};

impl Chat {
    /// Asks somebody to verify each other, in a room of the two if there is one; or one of their devices, or another device of
    /// one's own.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] while nothing is known of them: their phone must be within reach once; the store's.
    pub async fn request_verification(
        &self,
        user: &UserId,
        device: Option<&DeviceId>,
    ) -> Result<Verification, ChatError> {
        let inner = &self.inner;
        let crypto = &inner.crypto;
        crypto.machine.update_tracked_users([user]).await.map_err(CryptoError::from)?;
        crypto.prepare(inner, &[user]).await?;
        let request = match device {
            Some(device) => ask_device(inner, user, device).await?,
            None => ask_user(inner, user).await?,
        };
        crypto.flows.add(request.clone());
        inner.changes.ring();
        Ok(Verification::new(inner.clone(), request))
    }

    /// A verification by its id.
    pub fn verification(&self, id: &str) -> Option<Verification> {
        let request = self.inner.crypto.flows.find(id)?;
        Some(Verification::new(self.inner.clone(), request))
    }

    /// The verifications under way, with the requests that came in, and those that ended lately.
    pub fn verifications(&self) -> VerificationFeed {
        VerificationFeed::new(self.inner.clone())
    }
}

fn unknown(user: &UserId) -> CryptoError {
    CryptoError::NotFound(format!("nothing is known of {user} yet: their phone must be within reach once"))
}

async fn ask_device(inner: &Inner, user: &UserId, device: &DeviceId) -> Result<VerificationRequest, CryptoError> {
    let device = inner.crypto.machine.get_device(user, device, None).await?.ok_or_else(|| unknown(user))?;
    let (request, ask) = device.request_verification_with_methods(verification_methods());
    send::verification(inner, ask).await?;
    Ok(request)
}

async fn ask_user(inner: &Inner, user: &UserId) -> Result<VerificationRequest, CryptoError> {
    let identity = inner.crypto.machine.get_identity(user, None).await?.ok_or_else(|| unknown(user))?;
    let other = match identity {
        UserIdentity::Own(own) => {
            let (request, ask) = own.request_verification_with_methods(verification_methods()).await?;
            send::verification(inner, ask).await?;
            return Ok(request);
        }
        UserIdentity::Other(other) => other,
    };
    let Some(room) = room::of_two(inner, user)? else {
        // Without a room of the two, a device is asked; what it answers with proves the person as well.
        let devices = inner.crypto.machine.get_user_devices(user, None).await?;
        let device = devices
            .devices()
            .filter(|device| !device.is_dehydrated())
            .max_by_key(|device| (device.is_cross_signed_by_owner(), std::cmp::Reverse(device.device_id().to_owned())));
        let device = device.ok_or_else(|| unknown(user))?;
        return ask_device(inner, user, device.device_id()).await;
    };
    let methods = Some(verification_methods());
    let content = RoomMessageEventContent::new(other.verification_request_content(methods.clone()));
    let event = room::send(inner, &room, content.into(), None).await?;
    Ok(other.request_verification(&room, &event, methods))
}

/// Sends what a step of a verification wants sent, in its order.
async fn send_all(
    inner: &Inner,
    requests: impl IntoIterator<Item = OutgoingVerificationRequest>,
) -> Result<(), CryptoError> {
    for request in requests {
        send::verification(inner, request).await?;
    }
    // The UI that asked sees the new state, and so do others.
    inner.changes.ring();
    inner.crypto.wishes.ring();
    Ok(())
}

#[cfg(test)]
mod tests;

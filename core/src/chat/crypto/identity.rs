//! Who people are: their cross-signing identities as the machine knows them, and what the user decided about them.
//!
//! An identity is pinned when it is first seen. If another one takes its place, or one that the user had verified is no longer
//! signed by them, it is *changed*: what comes from it is shown so. One that was verified gets no keys of ours until the user
//! accepts or verifies it: its owner is owed them, and others are not held up.

use matrix_sdk_crypto::{OlmMachine, UserIdentity};
use ruma::UserId;

use super::CryptoError;

/// Whether a user has another identity than the user last accepted.
pub(super) async fn is_changed(machine: &OlmMachine, user: &UserId) -> Result<bool, CryptoError> {
    Ok(machine.get_identity(user, None).await?.is_some_and(|identity| changed(&identity)))
}

/// Whether an identity is another one than the user last accepted.
pub(in crate::chat) fn changed(identity: &UserIdentity) -> bool {
    match identity {
        UserIdentity::Own(_) => false,
        UserIdentity::Other(other) => other.has_verification_violation() || other.identity_needs_user_approval(),
    }
}

/// Whether a user was verified and is not any more, so that they get no keys.
pub(super) async fn is_withheld(machine: &OlmMachine, user: &UserId) -> Result<bool, CryptoError> {
    let identity = machine.get_identity(user, None).await?;
    Ok(identity
        .is_some_and(|identity| matches!(&identity, UserIdentity::Other(other) if other.has_verification_violation())))
}

//! Passwords: argon2id in PHC format, one at a time, and the same work whether the user exists or not.
//!
//! The parameters are the smallest that OWASP recommends for argon2id (19 MiB, two passes, one lane): some 30 ms on a
//! phone. A hash is computed off the async threads where the runtime has others, and in place where it has one, as in
//! simulation, so that a run stays repeatable.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::{self, SaltString},
};

use crate::{home::Home, types::limits};

/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19 * 1_024;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Bytes of a salt: what the PHC string format recommends.
const SALT_BYTES: usize = 16;

/// Why a password could not be hashed or checked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// No password at all.
    #[error("the password is empty")]
    Empty,
    /// Longer than anyone types.
    #[error("the password is longer than {} bytes", limits::PASSWORD_BYTES_MAX)]
    TooLong,
    /// The hash could not be computed.
    #[error("the password could not be hashed: {0}")]
    Failed(String),
}

/// The hash of a new password, in PHC format.
///
/// # Errors
/// See [`PasswordError`].
pub async fn hash(home: &Home, password: String) -> Result<String, PasswordError> {
    check(&password)?;
    let mut salt = [0; SALT_BYTES];
    home.ports.random.fill(&mut salt);
    heavy(home, move || hash_with(&password, &salt)).await
}

/// Whether a password is the one of a hash. Without a hash (an unknown user, an account without password) it is not, after
/// the same work.
///
/// # Errors
/// [`PasswordError::Failed`], when the hash could not be computed.
pub async fn verify(home: &Home, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
    // Too long or empty is wrong, and says nothing about anybody.
    if check(&password).is_err() {
        return Ok(false);
    }
    heavy(home, move || match hash {
        Some(hash) => verify_with(&password, &hash),
        None => hash_with(&password, &[0; SALT_BYTES]).map(|_| false),
    })
    .await
}

fn check(password: &str) -> Result<(), PasswordError> {
    match password.len() {
        0 => Err(PasswordError::Empty),
        1..=limits::PASSWORD_BYTES_MAX => Ok(()),
        _ => Err(PasswordError::TooLong),
    }
}

/// Hashing takes megabytes and milliseconds.
async fn heavy<T: Send + 'static>(
    home: &Home,
    work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
) -> Result<T, PasswordError> {
    home.heavily(work).await.map_err(|error| PasswordError::Failed(error.to_string()))?
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| PasswordError::Failed(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_with(password: &str, salt: &[u8]) -> Result<String, PasswordError> {
    let failed = |error: password_hash::Error| PasswordError::Failed(error.to_string());
    let salt = SaltString::encode_b64(salt).map_err(failed)?;
    Ok(hasher()?.hash_password(password.as_bytes(), &salt).map_err(failed)?.to_string())
}

fn verify_with(password: &str, hash: &str) -> Result<bool, PasswordError> {
    let failed = |error: password_hash::Error| PasswordError::Failed(error.to_string());
    let hash = PasswordHash::new(hash).map_err(failed)?;
    // The hash carries its own parameters, so those of older hashes keep working when ours grow.
    match hasher()?.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::Password) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

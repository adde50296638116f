//! Tokens that let one client in, once and soon: made by the person's own app for a Matrix client beside it.
//!
//! They live in memory alone, as their hashes. Client-server API, "Token-based user login".

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use crate::{
    ports::Random,
    store::UserKey,
    types::{
        Millis,
        limits::{LOGIN_TOKEN_LIFETIME, LOGIN_TOKENS_MAX},
    },
};

/// Characters of a token: 190 bits.
const TOKEN_CHARS: usize = 32;

/// The tokens that nobody has used yet: whose, and until when.
#[derive(Debug, Default)]
pub(super) struct LoginTokens(Mutex<BTreeMap<[u8; 32], (UserKey, Millis)>>);

impl LoginTokens {
    /// A new token for a user. Beyond the limit the one that ends first goes.
    pub(super) fn make(&self, user: UserKey, now: Millis, random: &dyn Random) -> String {
        let token = random.token(TOKEN_CHARS);
        let lifetime = u64::try_from(LOGIN_TOKEN_LIFETIME.as_millis()).unwrap_or(u64::MAX);
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (_, until)| *until > now);
        if tokens.len() >= LOGIN_TOKENS_MAX {
            let first = tokens.iter().min_by_key(|(_, (_, until))| *until).map(|(hash, _)| *hash);
            first.and_then(|hash| tokens.remove(&hash));
        }
        tokens.insert(hash(&token), (user, Millis(now.0.saturating_add(lifetime))));
        token
    }

    /// Whom a token lets in. It lets nobody in after this.
    pub(super) fn take(&self, token: &str, now: Millis) -> Option<UserKey> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(token));
        taken.filter(|(_, until)| *until > now).map(|(user, _)| user)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

//! Positions: wall-clock milliseconds and the token that a sync hands out.

use std::{fmt, str::FromStr};

/// Milliseconds since the Unix epoch, as `origin_server_ts` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// A place in the one log: everything up to and including row `0.0` has been seen.
///
/// On the wire it is `s` and the decimal number. Clients treat it as opaque; so must we, except here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncToken(pub u64);

/// The text is no token that this server made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{0}` is not a sync token of this server; leave `since` out to start anew")]
pub struct SyncTokenError(String);

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl FromStr for SyncToken {
    type Err = SyncTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('s')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| SyncTokenError(text.chars().take(64).collect()))
    }
}

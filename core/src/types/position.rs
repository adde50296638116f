//! Positions: wall-clock milliseconds and the token that a sync hands out.

use std::{fmt, str::FromStr};

/// Milliseconds since the Unix epoch, as `origin_server_ts` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// A place in the one log: everything up to and including row `0.0` has been seen.
///
/// On the wire it is `s` and the decimal number, and may be the first part of a [`SyncPlace`]. Clients treat it as opaque; so
/// must we, except here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncToken(pub u64);

/// What a `/sync` hands out: how far its client has seen the log, how far the inbox of its device, and who is typing.
///
/// The inbox's place is the log's unless the inbox held more than one answer may. Then it stands behind: `s20_i7` has seen all
/// up to row 20 but for the messages after row 7, so the next sync begins with those, and none of them counts as
/// acknowledged. `_t` and a number is the last change of who is typing that the client has seen, if it knows of anybody who
/// does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncPlace {
    /// The log.
    pub log: SyncToken,
    /// The inbox: not after the log.
    pub inbox: SyncToken,
    /// The serial of the last change of who is typing.
    pub typing: Option<u64>,
}

/// The text is no token that this server made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{0}` is not a sync token of this server; leave `since` out to start anew")]
pub struct SyncTokenError(String);

impl From<SyncToken> for SyncPlace {
    fn from(token: SyncToken) -> Self {
        Self { log: token, inbox: token, typing: None }
    }
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for SyncPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)?;
        if self.inbox != self.log {
            write!(f, "_i{}", self.inbox.0)?;
        }
        self.typing.map_or(Ok(()), |typing| write!(f, "_t{typing}"))
    }
}

impl FromStr for SyncToken {
    type Err = SyncTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<SyncPlace>().map(|place| place.log)
    }
}

impl FromStr for SyncPlace {
    type Err = SyncTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| SyncTokenError(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<SyncPlace> {
    let number = |digits: &str| -> Option<u64> {
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let mut parts = text.strip_prefix('s')?.split('_').peekable();
    let mut place = SyncPlace::from(SyncToken(number(parts.next()?)?));
    if let Some(inbox) = parts.next_if(|part| part.starts_with('i')) {
        place.inbox = SyncToken(number(inbox.strip_prefix('i')?)?);
    }
    if let Some(typing) = parts.next_if(|part| part.starts_with('t')) {
        place.typing = Some(number(typing.strip_prefix('t')?)?);
    }
    (parts.next().is_none() && place.inbox <= place.log).then_some(place)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_number_and_what_differs_from_it_and_nothing_else() {
        for text in ["s0", "s17", "s17_i3", "s17_i0", "s17_t9", "s17_i3_t0"] {
            assert_eq!(text.parse::<SyncPlace>().unwrap().to_string(), text);
        }
        assert_eq!("s17_i3_t4".parse::<SyncToken>().unwrap(), SyncToken(17));
        assert_eq!("s17_i17".parse::<SyncPlace>().unwrap().to_string(), "s17");
        for text in ["", "s", "17", "s_i3", "s17_", "s3_i17", "s+1", "s1_i+0", "s1_t1_i0", "s1_t1_t1", "s1_3", "t5"] {
            assert!(text.parse::<SyncPlace>().is_err(), "{text}");
        }
    }
}

//! How much a node may spend on being within reach.
//!
//! A message always goes out at once, and whoever calls is always answered: a mode only changes what is done while nothing
//! is said. What costs a phone its battery then is being woken: by the keep-alive of every connection, by the questions that
//! a search of the local network repeats, and by dialling those who are away.

use std::time::Duration;

/// What a node does while nothing is said. Ordered from the most to the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// Somebody looks at it: it searches the local network, keeps its connections, and tries again at short pauses.
    #[default]
    Foreground,
    /// Nobody looks: it announces itself and keeps its connections, but searches no more and tries those who are away only
    /// now and then.
    Background,
    /// As little as possible: connections end a moment after they were used, and nobody is dialled unless there is something
    /// to say. It tells its peers that it rests, so that they call only with something to say, too.
    Low,
}

impl Power {
    /// Whether the local network is searched.
    pub(crate) fn searches(self) -> bool {
        self == Self::Foreground
    }

    /// Whether connections end when they are not used.
    pub(crate) fn rests(self) -> bool {
        self == Self::Low
    }

    /// The longest pause between two attempts to reach a peer that is away; `None` when only those are dialled to whom
    /// something is to be said.
    pub(crate) fn redial_max(self) -> Option<Duration> {
        match self {
            Self::Foreground => Some(Duration::from_secs(60)),
            Self::Background => Some(Duration::from_secs(15 * 60)),
            Self::Low => None,
        }
    }
}

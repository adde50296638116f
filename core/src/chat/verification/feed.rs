//! The list of verifications that a UI watches.

use std::sync::Arc;

use super::VerificationInfo;
use crate::chat::{
    Inner,
    feed::{Diff, between},
};

/// The verifications under way and those that ended lately, the oldest first.
pub struct VerificationFeed {
    inner: Arc<Inner>,
    shown: Option<Vec<VerificationInfo>>,
}

impl VerificationFeed {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, shown: None }
    }

    /// The next changes: first the whole list, then what differs from what was shown. `None` once the client has ended.
    pub async fn next(&mut self) -> Option<Vec<Diff<VerificationInfo>>> {
        loop {
            let seen = self.inner.seen();
            let now = self.inner.crypto.flows.all();
            let diffs = match &self.shown {
                None => vec![Diff::Reset(now.clone())],
                Some(shown) => between(shown, &now),
            };
            if !diffs.is_empty() {
                self.shown = Some(now);
                return Some(diffs);
            }
            self.inner.changed_after(seen).await.ok()?;
        }
    }
}

impl std::fmt::Debug for VerificationFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerificationFeed").field("shown", &self.shown).finish_non_exhaustive()
    }
}

//! Which servers something waits for, and when each is tried next. A state machine: no I/O but reading the store.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use ruma::{OwnedServerName, ServerName};
use tokio::time::Instant;

use super::{batch, letters, sender::Outcome};
use crate::{
    home::Home,
    store::{Result, ServerKey, View},
    types::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN},
};

/// All pending queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pending: BTreeMap<OwnedServerName, Queue>,
    /// The rows up to here were given to their queues.
    noticed: u64,
}

#[derive(Debug)]
struct Queue {
    sending: bool,
    /// New rows came while a batch was on its way.
    more: bool,
    failures: u32,
    next_try: Instant,
    /// The contact during which the last try began: a later one is a reason to try at once.
    contact: u64,
}

impl Queues {
    /// Gives new rows to their queues.
    pub(super) fn notice(&mut self, home: &Home) -> Result<()> {
        let view = home.store.snapshot()?;
        let mut groups: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let mut last = self.noticed;
        for row in view_rows(&view, self.noticed)? {
            let (n, room, version) = row?;
            groups.insert((room, version), n);
            last = n;
        }
        let mut newest: BTreeMap<ServerKey, u64> = BTreeMap::new();
        for ((room, version), n) in groups {
            for server in batch::servers(&view, room, version)? {
                let entry = newest.entry(server).or_default();
                *entry = n.max(*entry);
            }
        }
        for (server, n) in newest {
            let name = server.name(&view)?;
            if home.is_local(&name) || batch::cursor(&view, server)? >= n {
                continue;
            }
            let queue = self.pending.entry(name).or_insert_with(Queue::new);
            queue.more = true;
        }
        self.noticed = last;
        self.notice_letters(home, &view)
    }

    /// Letters are taken away once they are acknowledged, so whoever has some has something to be sent.
    fn notice_letters(&mut self, home: &Home, view: &dyn View) -> Result<()> {
        for server in letters::addressees(view)? {
            let name = server.name(view)?;
            if !home.is_local(&name) {
                self.pending.entry(name).or_insert_with(Queue::new).more = true;
            }
        }
        Ok(())
    }

    /// A server whose turn it is, marked as being sent to.
    pub(super) fn take_ready(&mut self, home: &Home, now: Instant) -> Option<OwnedServerName> {
        let (server, queue) = self.pending.iter_mut().find(|(server, queue)| {
            let contact = home.contact(server);
            !queue.sending && (queue.next_try <= now || (contact != 0 && contact != queue.contact))
        })?;
        queue.sending = true;
        queue.more = false;
        queue.contact = home.contact(server);
        Some(server.clone())
    }

    /// What came of sending to a server.
    pub(super) fn finished(&mut self, home: &Home, server: &ServerName, outcome: Outcome) {
        let Some(queue) = self.pending.get_mut(server) else { return };
        queue.sending = false;
        match outcome {
            Outcome::Empty if !queue.more => {
                self.pending.remove(server);
            }
            Outcome::Empty => {
                queue.failures = 0;
                queue.next_try = Instant::now();
            }
            Outcome::Failed { progressed } => {
                queue.failures = if progressed { 1 } else { queue.failures.saturating_add(1) };
                queue.next_try = Instant::now() + pause(queue.failures, home.ports.random.next_u64());
            }
        }
    }

    /// When the next queue wants to be tried, if no contact comes before.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.pending.values().filter(|queue| !queue.sending).map(|queue| queue.next_try).min()
    }

    pub(super) fn failures(&self) -> BTreeMap<OwnedServerName, u32> {
        self.pending.iter().map(|(server, queue)| (server.clone(), queue.failures)).collect()
    }
}

impl Queue {
    fn new() -> Self {
        Self { sending: false, more: false, failures: 0, next_try: Instant::now(), contact: 0 }
    }
}

/// The pause before the next try: doubled with each failure, and between half and all of that, so that servers which lost
/// sight of one another together do not return together.
fn pause(failures: u32, random: u64) -> Duration {
    let doubled = RETRY_PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY_PAUSE_MAX);
    let half = doubled / 2;
    let jitter = random % u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(jitter)
}

fn view_rows(view: &dyn View, after: u64) -> Result<impl Iterator<Item = Result<(u64, u32, u32)>> + '_> {
    let rows = view.out_log()?.between(Bound::Excluded(after), Bound::Unbounded)?;
    Ok(rows.map(|row| {
        let (n, value) = row?;
        let (_, room, version) = value.value();
        Ok((n.value(), room, version))
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_no_further() {
        let mut last = Duration::ZERO;
        for failures in 1..40 {
            let (shortest, longest) = (pause(failures, 0), pause(failures, u64::MAX));
            assert!(shortest >= last || shortest == RETRY_PAUSE_MAX / 2, "{failures}");
            assert!(longest <= RETRY_PAUSE_MAX, "{failures}: {longest:?}");
            last = shortest;
        }
        assert!(pause(1, 0) >= RETRY_PAUSE_MIN / 2);
        assert!(pause(1, u64::MAX) <= RETRY_PAUSE_MIN);
    }
}

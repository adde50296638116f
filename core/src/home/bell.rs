//! A count that can be waited on, and that wakes its waiters in the order in which they came.
//!
//! tokio's `watch` wakes its receivers in an order that it draws by lot. Two tasks that a contact wakes would then run in
//! another order in another run of the same seed.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A count of rings.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    count: AtomicU64,
    waiters: Notify,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.waiters.notify_waiters();
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until the count is beyond `seen`. Nothing is lost when the wait is given up.
    pub(crate) async fn after(&self, seen: u64) {
        loop {
            // Listening before looking: a ring in between is heard.
            let ring = self.waiters.notified();
            tokio::pin!(ring);
            ring.as_mut().enable();
            if self.count() > seen {
                return;
            }
            ring.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_before_the_wait_is_heard_and_waiters_come_in_order() {
        let bell = Bell::default();
        bell.ring();
        bell.after(0).await;
        let order = std::cell::RefCell::new(Vec::new());
        let wait = |name: u8| {
            let (bell, order) = (&bell, &order);
            async move {
                bell.after(1).await;
                order.borrow_mut().push(name);
            }
        };
        let waits: futures::stream::FuturesUnordered<_> = (0..20).map(wait).collect();
        let ring = async {
            tokio::task::yield_now().await;
            bell.ring();
        };
        futures::join!(futures::StreamExt::collect::<Vec<()>>(waits), ring);
        assert_eq!(*order.borrow(), (0..20).collect::<Vec<u8>>());
    }
}

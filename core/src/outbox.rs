//! Durable queues to other servers. An event that others must hear of is one row of `out_log`, whoever and how many they
//! are; what a server has acknowledged is one cursor. A message costs O(1) however large the room is. What is no event has a
//! row for each server (`letters`).
//!
//! One loop owns all queues. A queue is *pending* while something waits for its server, *sending* while a transaction is on
//! its way, and otherwise costs nothing: no task, no timer. A try that failed is repeated after a pause that grows and has
//! jitter, for ever, and at once when the server comes within reach.
//!
//! Invariants: order is kept for each server. A row is passed only when the server acknowledged it or refused it for good.
//! The same rows make the same transaction id, so a repeated transaction is known to its receiver.

mod batch;
mod delivery;
mod letters;
mod queues;
mod request;
mod sender;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream::FuturesUnordered};
use ruma::OwnedServerName;
use tokio::time::Instant;

use self::queues::Queues;
pub use self::{
    batch::pending,
    delivery::{Delivery, deliveries},
    letters::{letters_pending, post, post_invite},
    request::FederationError,
};
pub(crate) use self::{
    letters::tell_now,
    request::{request, request_soon, request_state, stream},
};
use crate::{home::Home, store::StoreError, types::limits::OUTBOX_SENDERS_MAX};

/// What the outbox shows of itself: for each server that something waits for, the tries that failed since the last success.
#[derive(Debug, Default)]
pub struct Outbox {
    failures: Mutex<BTreeMap<OwnedServerName, u32>>,
}

impl Outbox {
    /// The servers that something waits for, each with the tries that failed since the last success.
    pub fn failures(&self) -> BTreeMap<OwnedServerName, u32> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OwnedServerName, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what waits, until the store closes.
pub async fn run(home: Arc<Home>, outbox: Arc<Outbox>) {
    let mut rows = home.store.outbox_watch();
    let mut queues = Queues::default();
    let mut sending = FuturesUnordered::new();
    loop {
        // Marked as seen before the tables are read: what comes later wakes the loop again.
        rows.borrow_and_update();
        let contacts = home.contacts();
        match queues.notice(&home) {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "the outbox could not be read"),
        }
        while sending.len() < OUTBOX_SENDERS_MAX
            && let Some(server) = queues.take_ready(&home, Instant::now())
        {
            sending.push(sender::drain(&home, server));
        }
        *outbox.lock() = queues.failures();
        let wake = queues.next_try();
        tokio::select! {
            biased;
            Some((server, outcome)) = sending.next(), if !sending.is_empty() => queues.finished(&home, &server, outcome),
            changed = rows.changed() => if changed.is_err() { return },
            () = home.contact_after(contacts) => {}
            () = at(wake) => {}
        }
    }
}

/// Waits for a moment, or for ever.
pub(crate) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

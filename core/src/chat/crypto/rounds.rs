//! The loop of encryption: one state machine that every source of work wakes.
//!
//! It wakes for a row of the log (messages, devices, members), for a server that comes within reach, for the answer of one that
//! was asked, for a wish of somebody who encrypts, and for its own few timers: a server near that failed is asked again after a
//! growing pause, a sender is asked for a missing key after a moment. With nothing of that it sleeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use ruma::{OneTimeKeyAlgorithm, OwnedServerName, OwnedUserId, UInt, events::AnyToDeviceEvent, serde::Raw};
use tokio::time::{Duration, Instant};

use super::{
    CryptoError,
    fetch::{Answers, Server},
    reach::Board,
    send::{self, Sent},
};
use crate::{
    chat::{Inner, recovery, verification},
    outbox::at,
    ports::BoxFuture,
    store::{Esn, StoreError, View},
    types::SyncToken,
};

/// Times that the machine's requests are looked at in one step: a request can beget another one, but not for ever.
const SENDING_ROUNDS_MAX: usize = 8;
/// Rows of the log that may be read again after a restart, so that not every message costs a write.
const PLACE_LAG_MAX: u64 = 256;
/// Users whose devices we want to know anew at one time.
const REFRESHED_MAX: usize = 1_000;
/// The pause after a step that failed for a reason that is not the store's end.
const STUMBLE_PAUSE: Duration = Duration::from_secs(5);

/// Keys of ours that nobody has claimed yet.
pub(super) type Counts = (BTreeMap<OneTimeKeyAlgorithm, UInt>, Vec<OneTimeKeyAlgorithm>);

/// A message that may belong to a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It has no key yet.
    Locked,
    /// Its sender's device was asked for.
    Stranger,
}

/// What the loop knows.
pub(super) struct Rounds {
    pub(super) inner: Arc<Inner>,
    /// Messages and device lists were heard up to here; `None` before the first time.
    pub(super) place: Option<SyncToken>,
    /// What of `place` is on disk.
    kept: Option<SyncToken>,
    /// Members and messages were looked at up to here; `None` before the first time.
    pub(super) followed: Option<SyncToken>,
    /// What the machine was last told of our keys.
    pub(super) counts: Option<Counts>,
    /// The servers within reach, and those that are asked.
    pub(super) servers: BTreeMap<OwnedServerName, Server>,
    /// Users whose devices the machine wants to know.
    pub(super) dirty: BTreeSet<OwnedUserId>,
    /// Users whose devices we want to know anew.
    pub(super) refresh: BTreeSet<OwnedUserId>,
    /// Users whose devices changed since they were last asked for.
    pub(super) changed: BTreeSet<OwnedUserId>,
    /// Users who may be given what they are owed.
    pub(super) due: BTreeSet<OwnedUserId>,
    /// Verification requests from devices that are not known yet.
    pub(super) held: Vec<Raw<AnyToDeviceEvent>>,
    /// Messages that may be verification requests and cannot be read yet.
    pub(super) unread: BTreeMap<Esn, Unread>,
}

/// Runs until the client or the store ends.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut rounds = match Rounds::new(inner.clone()) {
        Ok(rounds) => rounds,
        Err(error) => return tracing::error!(%error, "encryption cannot begin"),
    };
    let (home, crypto) = (&inner.home, &inner.crypto);
    let mut ended = inner.ended.subscribe();
    let mut answers: Answers = FuturesUnordered::new();
    loop {
        // Where everything stands is noted before the tables are read: what comes later wakes the loop again.
        let (mut log, contacts, wishes) = (home.store.log_watch(), home.contacts(), crypto.wishes.count());
        log.borrow_and_update();
        let wake = match guarded(Box::pin(rounds.step(&mut answers, wishes))).await {
            Ok(()) => rounds.next_wake(),
            Err(CryptoError::Store(StoreError::Closed)) => return,
            // Whoever destroyed the keys wants no more encryption, and knows.
            Err(_) if inner.vault.is_destroyed() => return,
            Err(error) => {
                tracing::error!(%error, "a step of encryption failed");
                Some(Instant::now() + STUMBLE_PAUSE)
            }
        };
        let answer = tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => return,
            Some(answer) = answers.next(), if !answers.is_empty() => Some(answer),
            changed = log.changed() => if changed.is_err() { return } else { None },
            () = home.contact_after(contacts) => None,
            () = crypto.wishes.after(wishes) => None,
            () = at(wake) => None,
        };
        if let Some(answer) = answer
            && let Err(error) = guarded(Box::pin(rounds.take(answer))).await
        {
            tracing::error!(%error, "the answer of a server could not be used");
        }
    }
}

/// What others send goes through the machine; should it panic over something, that must not end encryption.
async fn guarded(work: BoxFuture<'_, Result<(), CryptoError>>) -> Result<(), CryptoError> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(CryptoError::Failed("the encryption machine gave up on its input".into())))
}

impl Rounds {
    pub(super) fn new(inner: Arc<Inner>) -> Result<Self, StoreError> {
        let me = inner.me.user_key;
        let place = inner.home.store.snapshot()?.chat_place()?.row(me.0)?.map(|row| SyncToken(row.value()));
        Ok(Self {
            inner,
            place,
            kept: place,
            followed: None,
            counts: None,
            servers: BTreeMap::new(),
            dirty: BTreeSet::new(),
            refresh: BTreeSet::new(),
            changed: BTreeSet::new(),
            due: BTreeSet::new(),
            held: Vec::new(),
            unread: BTreeMap::new(),
        })
    }

    /// Does all that can be done now, and asks those who must be asked.
    async fn step(&mut self, answers: &mut Answers, wishes: u64) -> Result<(), CryptoError> {
        let wanted = self.inner.crypto.take_wanted();
        self.hear().await?;
        self.follow().await?;
        self.meet()?;
        self.wish(wanted);
        self.due.extend(self.inner.crypto.take_accepted());
        for _ in 0..SENDING_ROUNDS_MAX {
            if !self.send_out().await? {
                break;
            }
        }
        // Those who are served next are judged by what is known now.
        self.publish(wishes);
        self.pay_due().await?;
        self.ask_senders().await?;
        for user in verification::tend(&self.inner).await? {
            // Their identity bears our signature by now.
            self.refresh(user);
        }
        self.ask(answers).await?;
        self.publish(wishes);
        // After all that could bring room keys in this step.
        recovery::keep_up(&self.inner).await?;
        self.keep_place().await
    }

    /// Does what the machine asks for. Answers whether something was done that may have begotten more.
    async fn send_out(&mut self) -> Result<bool, CryptoError> {
        let mut did = false;
        self.dirty.clear();
        for request in self.inner.crypto.machine.outgoing_requests().await? {
            match send::request(&self.inner, request).await? {
                Sent::Done => did = true,
                Sent::Elsewhere(request) => self.note_wanted(&request),
            }
        }
        Ok(did)
    }

    /// Wants a user's devices known anew.
    pub(super) fn refresh(&mut self, user: OwnedUserId) {
        // Whoever writes to us can name users, who are asked for; a server that is away could make that a long list.
        if self.refresh.len() < REFRESHED_MAX {
            self.refresh.insert(user);
        }
    }

    /// Tells those who encrypt where the loop stands.
    fn publish(&self, heard: u64) {
        let stale = self.dirty.union(&self.refresh).cloned().collect();
        self.inner.crypto.reach.publish(Board { stale, busy: self.busy(), heard });
    }

    /// When the loop wants to wake by itself.
    fn next_wake(&self) -> Option<Instant> {
        let crypto = &self.inner.crypto;
        [self.next_try(), crypto.asks.next(), crypto.flows.next_timeout()].into_iter().flatten().min()
    }

    /// Keeps how far the log was heard, if much would be heard again otherwise.
    async fn keep_place(&mut self) -> Result<(), CryptoError> {
        let Some(place) = self.place else { return Ok(()) };
        if self.kept.is_some_and(|kept| place.0.saturating_sub(kept.0) < PLACE_LAG_MAX) {
            return Ok(());
        }
        let me = self.inner.me.user_key;
        let job = move |tx: &mut crate::store::WriteTx<'_>| {
            tx.write().chat_place.insert(me.0, place.0)?;
            Ok(())
        };
        self.inner.home.store.write_soon::<_, StoreError, _>(job).await?;
        self.kept = Some(place);
        Ok(())
    }
}

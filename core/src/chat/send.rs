//! What a person sent and is not in its room yet: a queue on disk, sealed, in order for each room.
//!
//! A message is durable here before the person's tap is answered, and is shown at once. The queue's task encrypts it and puts
//! it into the room, in one transaction with its removal from here, so it is in one place or the other whenever the process
//! is killed. From the room the outbox takes it to the others. Nothing here waits for a network, except for what
//! [`Crypto::encrypt`](super::crypto::Crypto) may wait for keys, which is bounded.
//!
//! Invariants: order is kept for each room. A message that is cancelled before it is in its room never gets there. What fails
//! for good is kept with its reason until the person has seen to it.

mod entry;
mod run;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedRoomId, OwnedTransactionId, RoomId, TransactionId};

pub(crate) use self::{
    entry::{About, Entry, Failure, What},
    run::was_ever_encrypted,
};
use super::{
    ChatError, Inner,
    attachment::{self, Source},
    delivery::SendState,
    vault::Vault,
    work::Progress,
};
use crate::{
    home::{Bell, Home},
    keys::Actor,
    store::{StoreError, UserKey, View, WriteTx},
    types::limits::UNSENT_MAX,
};

/// The name of the table, under which its rows are sealed.
const TABLE: &str = "unsent";
/// Characters of a transaction id: 71 bits.
const TXN_CHARS: usize = 12;

/// The queue of one person's device.
#[derive(Debug)]
pub(crate) struct Queue {
    user: UserKey,
    held: Mutex<Held>,
    /// Rung when there may be something to do.
    work: Bell,
}

#[derive(Debug, Default)]
struct Held {
    slots: BTreeMap<u64, Slot>,
    last: u64,
}

/// A message in the queue.
#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    about: Arc<About>,
    /// Whether its row is on disk. Nobody is shown it before.
    is_kept: bool,
    /// How far its file is.
    progress: Progress,
    /// The open file that it is made of, which no row can hold.
    source: Option<Source>,
}

/// A message on its way, as lists show it.
#[derive(Clone, Debug)]
pub(crate) struct Echo {
    pub(crate) entry: Arc<Entry>,
    pub(crate) about: Arc<About>,
    progress: Progress,
}

impl Queue {
    /// The queue as the disk has it. A row that does not open belongs to a vault that is gone, and is passed over.
    pub(crate) fn open(home: &Home, vault: &Vault, me: &Actor) -> Result<Self, ChatError> {
        let mut held = Held::default();
        let (from, to) = ((me.user_key.0, 0), (me.user_key.0, u64::MAX));
        for row in home.store.snapshot()?.unsent()?.between(Bound::Included(from), Bound::Included(to))? {
            let (key, value) = row.map_err(StoreError::from)?;
            let seq = key.value().1;
            held.last = seq;
            match Entry::open(vault, value.value()) {
                Ok(entry) => drop(held.slots.insert(seq, Slot::new(entry, true))),
                Err(error) => tracing::warn!(%error, "an unsent message cannot be read"),
            }
        }
        Ok(Self { user: me.user_key, held: Mutex::new(held), work: Bell::default() })
    }

    /// What is on its way into a room, in order.
    pub(crate) fn of_room(&self, room: &RoomId) -> Vec<Echo> {
        let held = self.held();
        let slots = held.slots.values().filter(|slot| slot.is_kept && slot.entry.room == room);
        slots.map(Slot::echo).collect()
    }

    /// A message by its transaction.
    pub(crate) fn find(&self, txn: &TransactionId) -> Option<Echo> {
        self.held().slots.values().find(|slot| slot.is_kept && slot.entry.txn == txn).map(Slot::echo)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place_of(&self, txn: &TransactionId) -> Option<u64> {
        self.held().slots.iter().find(|(_, slot)| slot.entry.txn == txn).map(|(seq, _)| *seq)
    }

    fn take(&self, seq: u64) {
        self.held().slots.remove(&seq);
    }
}

/// Puts a message into the queue. It is on disk when this answers, and goes on its way also if nobody waits for the answer.
///
/// # Errors
/// [`ChatError::TooLarge`] when too much waits already; the store's.
pub(crate) async fn put(inner: &Arc<Inner>, room: OwnedRoomId, what: What) -> Result<OwnedTransactionId, ChatError> {
    put_with(inner, room, what, None, Progress::new()).await
}

/// As [`put`], with an open file.
pub(crate) async fn put_with(
    inner: &Arc<Inner>,
    room: OwnedRoomId,
    what: What,
    source: Option<Source>,
    progress: Progress,
) -> Result<OwnedTransactionId, ChatError> {
    let txn = OwnedTransactionId::from(inner.home.ports.random.token(TXN_CHARS));
    let entry = Entry { room, txn: txn.clone(), at: inner.home.now().0, what, failure: None };
    let sealed = entry.seal(&inner.vault)?;
    let mut slot = Slot::new(entry, false);
    (slot.source, slot.progress) = (source, progress);
    let seq = {
        let mut held = inner.queue.held();
        if held.slots.len() >= UNSENT_MAX {
            return Err(ChatError::TooLarge(format!("{UNSENT_MAX} messages wait to be sent already")));
        }
        held.last += 1;
        let seq = held.last;
        held.slots.insert(seq, slot);
        seq
    };
    // A task of its own: a caller who gives up must not leave a message behind that is neither kept nor gone.
    let inner = inner.clone();
    let kept = tokio::spawn(async move { keep(&inner, seq, sealed).await }).await;
    kept.map_err(|_| ChatError::Closed)??;
    Ok(txn)
}

async fn keep(inner: &Inner, seq: u64, sealed: Vec<u8>) -> Result<(), StoreError> {
    let written = write_row(inner, seq, sealed, false).await;
    match &written {
        Ok(()) => {
            if let Some(slot) = inner.queue.held().slots.get_mut(&seq) {
                slot.is_kept = true;
            }
        }
        Err(_) => inner.queue.take(seq),
    }
    inner.queue.work.ring();
    inner.changes.ring();
    written
}

/// Writes a row; with `only_if_there`, only over one that was not cancelled or sent meanwhile.
async fn write_row(inner: &Inner, seq: u64, sealed: Vec<u8>, only_if_there: bool) -> Result<(), StoreError> {
    let key = (inner.queue.user.0, seq);
    inner
        .home
        .store
        .write(move |tx| {
            if !only_if_there || tx.unsent()?.row(key)?.is_some() {
                tx.write().unsent.insert(key, sealed.as_slice())?;
            }
            Ok(())
        })
        .await
}

/// Takes a row away, as the last step of a transaction that sends what it holds. Answers whether it was there.
fn take_row(tx: &mut WriteTx<'_>, key: (u32, u64)) -> Result<bool, StoreError> {
    Ok(tx.write().unsent.remove(key)?.is_some())
}

/// Tries again what failed.
///
/// # Errors
/// [`ChatError::NotFound`] for what is not in the queue; [`ChatError::Invalid`] for what can never work.
pub(crate) async fn retry(inner: &Inner, txn: &TransactionId) -> Result<(), ChatError> {
    let now = inner.home.now().0;
    change(inner, txn, |entry| match &entry.failure {
        Some(Failure { retryable: false, reason }) => Err(ChatError::Invalid(reason.clone())),
        _ => Ok(Entry { at: now, failure: None, ..entry.clone() }),
    })
    .await
}

/// Changes a message that is not in its room yet.
///
/// # Errors
/// [`ChatError::NotFound`] when it is by now, or never was in the queue.
pub(crate) async fn change(
    inner: &Inner,
    txn: &TransactionId,
    how: impl FnOnce(&Entry) -> Result<Entry, ChatError>,
) -> Result<(), ChatError> {
    let gone = || ChatError::NotFound("the message is not waiting to be sent".into());
    let seq = inner.queue.place_of(txn).ok_or_else(gone)?;
    let entry = inner.queue.held().slots.get(&seq).map(|slot| slot.entry.clone()).ok_or_else(gone)?;
    let changed = how(&entry)?;
    let sealed = changed.seal(&inner.vault)?;
    write_row(inner, seq, sealed, true).await?;
    if let Some(slot) = inner.queue.held().slots.get_mut(&seq) {
        slot.put(changed);
    }
    inner.queue.work.ring();
    inner.changes.ring();
    Ok(())
}

/// Takes a message back that is not in its room yet.
///
/// # Errors
/// [`ChatError::NotFound`] when it is by now, or never was in the queue.
pub(crate) async fn cancel(inner: &Inner, txn: &TransactionId) -> Result<(), ChatError> {
    let gone = || ChatError::NotFound("the message is not waiting to be sent".into());
    let seq = inner.queue.place_of(txn).ok_or_else(gone)?;
    let key = (inner.queue.user.0, seq);
    // The row decides: who takes it first, we or the transaction that sends it, wins.
    let was_there = inner.home.store.write::<_, StoreError, _>(move |tx| take_row(tx, key)).await?;
    let slot = inner.queue.held().slots.remove(&seq);
    if let Some(slot) = &slot {
        slot.progress.cancel();
    }
    inner.queue.work.ring();
    inner.changes.ring();
    if !was_there {
        return Err(gone());
    }
    // A file that was read for this message alone lies in the media store, where nobody will ask for it.
    if let Some(What::Message { content, own_file: true, .. }) = slot.map(|slot| slot.entry.what.clone()) {
        attachment::discard(inner, &content).await?;
    }
    Ok(())
}

impl Slot {
    fn new(entry: Entry, is_kept: bool) -> Self {
        let about = Arc::new(About::of(&entry.what));
        Self { entry: Arc::new(entry), about, is_kept, progress: Progress::new(), source: None }
    }

    fn put(&mut self, entry: Entry) {
        self.about = Arc::new(About::of(&entry.what));
        self.entry = Arc::new(entry);
    }

    fn echo(&self) -> Echo {
        Echo { entry: self.entry.clone(), about: self.about.clone(), progress: self.progress.clone() }
    }
}

impl Echo {
    /// How it is getting on.
    pub(crate) fn state(&self) -> SendState {
        match &self.entry.failure {
            Some(Failure { reason, retryable }) => SendState::Failed { reason: reason.clone(), retryable: *retryable },
            None => {
                let is_file = matches!(self.entry.what, What::File { .. });
                SendState::Sending { progress: is_file.then(|| self.progress.at()) }
            }
        }
    }
}

impl Held {
    /// The first message of each room that is not busy and may be tried.
    fn ready(&self, busy: &BTreeSet<OwnedRoomId>) -> Vec<u64> {
        let mut rooms = busy.clone();
        let mut ready = Vec::new();
        for (seq, slot) in &self.slots {
            if slot.entry.failure.is_none() && rooms.insert(slot.entry.room.clone()) && slot.is_kept {
                ready.push(*seq);
            }
        }
        ready
    }
}

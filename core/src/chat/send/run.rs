//! The task of the queue: what waits is encrypted and put into its room, room by room in order, several rooms at once.
//!
//! What can never work fails with its reason, and does not hold up what comes behind it. What may work later (a full disk, a
//! crypto store that is busy) stays and is tried again after a pause that grows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, stream::FuturesUnordered};
use ruma::{
    CanonicalJsonObject, OwnedRoomId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Echo, Entry, Failure, Queue, Source, What, change, take_row};
use crate::{
    chat::{
        Inner,
        attachment::{self, AttachmentError},
        crypto::CryptoError,
        reading::ENCRYPTED,
    },
    outbox::at,
    rooms::{self, ClientTxn, NewEvent, RoomError},
    store::{RoomKey, Ssk, StoreError, View},
    types::{
        Millis,
        limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN, SENDING_ROOMS_MAX},
    },
};

/// How a try ended.
enum Outcome {
    /// It is in its room, or was taken back.
    Done,
    /// It is another message by now, and its turn comes again.
    Again,
    /// It can never work as it is.
    Failed(Failure),
    /// It may work later.
    Later(String),
    /// Nothing works any more.
    Closed,
}

/// When rooms are tried again, and after how many tries.
#[derive(Default)]
struct Pauses(BTreeMap<OwnedRoomId, (u32, Instant)>);

impl Queue {
    /// Sends what waits, until the store closes.
    pub(crate) async fn run(inner: Arc<Inner>) {
        let mut busy = BTreeSet::new();
        let mut pauses = Pauses::default();
        let mut sending = FuturesUnordered::new();
        loop {
            let seen = inner.queue.work.count();
            let resting = pauses.resting(Instant::now());
            let not_now = busy.union(&resting).cloned().collect();
            let ready = inner.queue.held().ready(&not_now);
            for seq in ready {
                if sending.len() >= SENDING_ROOMS_MAX {
                    break;
                }
                let Some((echo, source)) = inner.queue.start(seq) else { continue };
                busy.insert(echo.entry.room.clone());
                sending.push(send(&inner, seq, echo, source));
            }
            let wake = pauses.next();
            tokio::select! {
                biased;
                Some((seq, room, outcome)) = sending.next(), if !sending.is_empty() => {
                    busy.remove(&room);
                    if finish(&inner, seq, room, outcome, &mut pauses).await {
                        return;
                    }
                }
                () = inner.queue.work.after(seen) => {}
                () = at(wake) => {}
            }
        }
    }

    fn start(&self, seq: u64) -> Option<(Echo, Option<Source>)> {
        let mut held = self.held();
        let slot = held.slots.get_mut(&seq)?;
        Some((slot.echo(), slot.source.take()))
    }
}

/// Takes note of how a try ended. Answers whether it was the last one.
async fn finish(inner: &Inner, seq: u64, room: OwnedRoomId, outcome: Outcome, pauses: &mut Pauses) -> bool {
    match outcome {
        Outcome::Done => {
            inner.queue.take(seq);
            pauses.0.remove(&room);
            inner.changes.ring();
        }
        Outcome::Again => {}
        Outcome::Failed(failure) => fail(inner, seq, failure).await,
        Outcome::Later(why) => {
            tracing::warn!(%room, why, "a message could not be sent yet");
            pauses.rest(room);
        }
        Outcome::Closed => return true,
    }
    false
}

/// Keeps why a message cannot be sent. What is not shown as a message has nowhere to say it, and is dropped.
async fn fail(inner: &Inner, seq: u64, failure: Failure) {
    let Some(echo) = inner.queue.held().slots.get(&seq).map(super::Slot::echo) else { return };
    let kept = if echo.is_shown() {
        change(inner, &echo.entry.txn, |entry| Ok(Entry { failure: Some(failure.clone()), ..entry.clone() })).await
    } else {
        tracing::warn!(room = %echo.entry.room, reason = failure.reason, "a reaction or deletion was refused");
        super::cancel(inner, &echo.entry.txn).await
    };
    if let Err(error) = kept {
        tracing::debug!(%error, "a failed message was gone already");
    }
}

async fn send(inner: &Inner, seq: u64, echo: Echo, source: Option<Source>) -> (u64, OwnedRoomId, Outcome) {
    let room = echo.entry.room.clone();
    let outcome = match &echo.entry.what {
        What::Redaction { target, reason } => {
            let mut content = CanonicalJsonObject::new();
            if let Some(reason) = reason {
                content.insert("reason".into(), reason.as_str().into());
            }
            let mut new = event(inner, &echo.entry, TimelineEventType::RoomRedaction, content);
            new.redacts = Some(target.clone());
            put_in_room(inner, seq, new, false).await
        }
        What::Message { kind, content, .. } => message(inner, seq, &echo.entry, kind, content).await,
        What::File { path, info, relates_to } => {
            let source = source.or_else(|| path.clone().map(Source::Path));
            file(inner, &echo, source, info.info(), relates_to.as_deref()).await
        }
    };
    (seq, room, outcome)
}

fn event(inner: &Inner, entry: &Entry, kind: TimelineEventType, content: CanonicalJsonObject) -> NewEvent {
    NewEvent {
        room: entry.room.clone(),
        sender: inner.me.user.clone(),
        kind,
        state_key: None,
        content,
        redacts: None,
        txn: Some(ClientTxn { device: inner.me.device.clone(), id: entry.txn.clone() }),
        // When it was written: it does not become newer by waiting.
        timestamp: Some(Millis(entry.at)),
    }
}

async fn message(inner: &Inner, seq: u64, entry: &Entry, kind: &str, content: &RawValue) -> Outcome {
    // A reaction's key stands in `m.relates_to`, which is never encrypted, so encrypting one would hide nothing; and clients
    // of the field look for them in clear.
    let encrypted = match is_encrypted(inner, &entry.room) {
        Ok(encrypted) => encrypted && kind != "m.reaction",
        Err(error) => return store_failed(error),
    };
    let (kind, content) = if encrypted {
        match inner.crypto.encrypt(inner, &entry.room, kind, content).await {
            Ok(content) => (ENCRYPTED.to_owned(), content),
            Err(error) => return crypto_failed(error),
        }
    } else {
        (kind.to_owned(), content.to_owned())
    };
    let Ok(content) = serde_json::from_str::<CanonicalJsonObject>(content.get()) else {
        return never("the content cannot be put into an event: numbers must be whole and not too large".into());
    };
    let new = event(inner, entry, kind.into(), content);
    put_in_room(inner, seq, new, encrypted).await
}

/// Puts an event into its room and takes it out of the queue, or does neither.
async fn put_in_room(inner: &Inner, seq: u64, new: NewEvent, encrypted: bool) -> Outcome {
    let (local, now, key) = (inner.home.local.clone(), inner.home.now(), (inner.queue.user.0, seq));
    let may_be_plain = encrypted || new.redacts.is_some() || new.kind == TimelineEventType::Reaction;
    let sent = inner.home.store.write(move |tx| {
        if tx.unsent()?.row(key)?.is_none() {
            // Taken back meanwhile.
            return Ok(None);
        }
        if !may_be_plain
            && let Some(room) = RoomKey::find(tx, &new.room)?
            && was_ever_encrypted(tx, room)?
        {
            return Ok(Some(false));
        }
        rooms::send_in(tx, &local, now, &new)?;
        take_row(tx, key)?;
        Ok::<_, RoomError>(Some(true))
    });
    match sent.await {
        Ok(None | Some(true)) => Outcome::Done,
        Ok(Some(false)) => Outcome::Later("the room was encrypted at this moment".into()),
        Err(RoomError::Store(error)) => store_failed(error),
        Err(error @ (RoomError::Forbidden(_) | RoomError::UnknownRoom(_))) => {
            Outcome::Failed(Failure { reason: error.to_string(), retryable: true })
        }
        Err(error) => never(error.to_string()),
    }
}

/// Puts a file into the media store, and then what tells of it into its place in the queue.
async fn file(
    inner: &Inner,
    echo: &Echo,
    source: Option<Source>,
    info: attachment::FileInfo,
    relates_to: Option<&RawValue>,
) -> Outcome {
    let Some(source) = source else {
        return never("the app was closed before the file was read: send it again".into());
    };
    let encrypted = match is_encrypted(inner, &echo.entry.room) {
        Ok(encrypted) => encrypted,
        Err(error) => return store_failed(error),
    };
    let progress = echo.progress.clone();
    let work = attachment::prepare(inner, encrypted, source, info, progress.clone());
    tokio::pin!(work);
    let mut seen = progress.at();
    let prepared = loop {
        tokio::select! {
            biased;
            prepared = &mut work => break prepared,
            further = progress.after(seen) => {
                seen = further;
                inner.changes.ring();
            }
        }
    };
    let content = match prepared {
        Ok(content) => with_relation(&content, relates_to),
        Err(AttachmentError::Store(error)) => return store_failed(error),
        Err(AttachmentError::Cancelled(_)) => return Outcome::Done,
        Err(error) => return never(error.to_string()),
    };
    let Some(content) = content else { return never("the file's description cannot be put into an event".into()) };
    let what = What::Message { kind: "m.room.message".into(), content, own_file: true };
    // The row stays where it is, so the order does; the queue comes back to it at once.
    match change(inner, &echo.entry.txn, |entry| Ok(Entry { what, ..entry.clone() })).await {
        Ok(()) => Outcome::Again,
        Err(_) => Outcome::Done,
    }
}

fn with_relation(content: &RawValue, relates_to: Option<&RawValue>) -> Option<Box<RawValue>> {
    let mut content: serde_json::Map<String, serde_json::Value> = serde_json::from_str(content.get()).ok()?;
    if let Some(relates_to) = relates_to {
        content.insert("m.relates_to".into(), serde_json::from_str(relates_to.get()).ok()?);
    }
    serde_json::value::to_raw_value(&content).ok()
}

/// Whether messages into a room must be encrypted.
fn is_encrypted(inner: &Inner, room: &ruma::RoomId) -> Result<bool, StoreError> {
    let view = inner.home.store.snapshot()?;
    match RoomKey::find(&view, room)? {
        Some(room) => was_ever_encrypted(&view, room),
        None => Ok(false),
    }
}

/// Whether a room is encrypted, or ever was as far as we know. Encryption once begun is never given up, whatever a later
/// state says: whoever could take the event away could read what follows.
pub(crate) fn was_ever_encrypted(view: &dyn View, room: RoomKey) -> Result<bool, StoreError> {
    use std::ops::Bound::Included;
    let Some(ssk) = Ssk::find(view, &StateEventType::RoomEncryption, "")? else { return Ok(false) };
    let range = (Included((room.0, ssk.0, 0)), Included((room.0, ssk.0, u64::MAX)));
    for row in view.st()?.between(range.0, range.1)? {
        if row?.1.value() != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn never(reason: String) -> Outcome {
    Outcome::Failed(Failure { reason, retryable: false })
}

fn store_failed(error: StoreError) -> Outcome {
    match error {
        StoreError::Closed => Outcome::Closed,
        error => Outcome::Later(error.to_string()),
    }
}

fn crypto_failed(error: CryptoError) -> Outcome {
    match error {
        CryptoError::Store(error) => store_failed(error),
        CryptoError::Failed(why) => Outcome::Later(why),
        error => Outcome::Failed(Failure { reason: error.to_string(), retryable: true }),
    }
}

impl Echo {
    /// Whether a timeline shows it, as itself or as what it makes of another message.
    fn is_shown(&self) -> bool {
        !matches!(*self.about, super::About::Reaction(..) | super::About::Other(_))
    }
}

impl Pauses {
    fn rest(&mut self, room: OwnedRoomId) {
        let (tries, until) = self.0.entry(room).or_insert((0, Instant::now()));
        let pause = RETRY_PAUSE_MIN.saturating_mul(1_u32.checked_shl(*tries).unwrap_or(u32::MAX)).min(RETRY_PAUSE_MAX);
        *tries += 1;
        *until = Instant::now() + pause;
    }

    fn resting(&self, now: Instant) -> BTreeSet<OwnedRoomId> {
        self.0.iter().filter(|(_, (_, until))| *until > now).map(|(room, _)| room.clone()).collect()
    }

    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        self.0.values().map(|(_, until)| *until).filter(|until| *until > now).min()
    }
}

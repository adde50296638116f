//! PDUs of a transaction: sorted by room, verified, and handed to the room engine; what they build on is fetched.
//!
//! Invariant: an event is either judged, or refused by name in the answer, or the whole transaction fails and its sender
//! keeps it. Nothing is dropped silently. No lock is held while the network is asked: two transactions for one room may
//! fetch the same events, and the engine takes each of them once.

use std::{collections::BTreeMap, panic::resume_unwind, sync::Arc};

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, ServerName, events::room::member::MembershipState,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{acl, catch_up::CatchUp, rescind};
use crate::{
    event::{Pdu, verify},
    home::Home,
    rooms::{Applied, ApplyError, Incoming, Past, Room, apply},
    store::{StoreError, View},
    types::limits::ENGINE_BATCH_JOBS_MAX,
};

/// Events that are not worth a thread: starting one costs about as much as verifying one.
const VERIFIED_ALONE: usize = 8;
/// Threads that verify one answer or transaction.
const VERIFIERS_MAX: usize = 4;

/// Why nothing can be said about a transaction yet. Its sender must keep it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Our store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the events build on could not be fetched now.
    #[error("{0}")]
    Unavailable(String),
}

/// What a transaction's answer says of each event: nothing, or why it was not taken.
pub(crate) type Verdicts = BTreeMap<OwnedEventId, Result<(), String>>;

/// A room as the receiving side needs it.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) room: OwnedRoomId,
    pub(crate) version: RoomVersionId,
    /// A local user is joined. If not, only what is about a local user is taken, and nothing is fetched.
    pub(crate) inside: bool,
}

impl Door {
    /// The door of a room that we know.
    pub(crate) fn of(view: &dyn View, room: &RoomId) -> Result<Option<Self>, StoreError> {
        let room = Room::find(view, room)?;
        Ok(room.map(|room| Self { inside: room.record.joined_local > 0, version: room.version, room: room.id }))
    }

    /// The events of an answer or a transaction that hold up; the others are named in the log.
    pub(crate) fn verified(&self, home: &Home, from: &ServerName, raws: &[Box<RawValue>]) -> Vec<Pdu> {
        let check = |raw: &RawValue| match verify(&home.local, raw, &self.room, &self.version) {
            Ok(pdu) => Some(pdu),
            Err(error) => {
                tracing::warn!(%error, %from, room = %self.room, "an event is dropped");
                None
            }
        };
        if raws.len() < 2 * VERIFIED_ALONE {
            return raws.iter().filter_map(|raw| check(raw)).collect();
        }
        // A signature takes longer than all the rest of an event, and each stands alone: they share the cores, in order.
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(VERIFIERS_MAX);
        let share = raws.len().div_ceil(cores).max(VERIFIED_ALONE);
        std::thread::scope(|scope| {
            let checking: Vec<_> = raws
                .chunks(share)
                .map(|raws| scope.spawn(move || raws.iter().filter_map(|raw| check(raw)).collect::<Vec<_>>()))
                .collect();
            // A panic goes on where it would have gone without the threads: the request fails, and its sender keeps the events.
            let joined = checking.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            joined.flatten().collect()
        })
    }
}

#[derive(Deserialize)]
struct OfRoom {
    room_id: OwnedRoomId,
}

/// Takes the PDUs of a transaction of `from`.
pub(crate) async fn receive(
    home: &Home,
    from: &ServerName,
    raws: Vec<Box<RawValue>>,
) -> Result<Verdicts, ReceiveError> {
    let mut by_room: BTreeMap<OwnedRoomId, Vec<Box<RawValue>>> = BTreeMap::new();
    for raw in raws {
        match serde_json::from_str::<OfRoom>(raw.get()) {
            Ok(OfRoom { room_id }) => by_room.entry(room_id).or_default().push(raw),
            // Without a room there is no version, hence no event id to name it by in the answer.
            Err(error) => tracing::warn!(%error, %from, "an event without a room is dropped"),
        }
    }
    let mut verdicts = Verdicts::new();
    for (room, raws) in by_room {
        verdicts.extend(receive_room(home, from, &room, &raws).await?);
    }
    Ok(verdicts)
}

async fn receive_room(
    home: &Home,
    from: &ServerName,
    room: &RoomId,
    raws: &[Box<RawValue>],
) -> Result<Verdicts, ReceiveError> {
    let (door, shut) = {
        let view = home.store.snapshot()?;
        let door = Door::of(&view, room)?;
        (door, acl::is_shut_out(&view, room, from)?)
    };
    if home.is_entering(room) && door.as_ref().is_none_or(|door| !door.inside) {
        return Err(ReceiveError::Unavailable(format!("{room} is being joined; try again in a moment")));
    }
    let Some(door) = door else {
        return Ok(rescind::take_back(home, room, raws).await?);
    };
    let pdus = door.verified(home, from, raws);
    if shut {
        let why = || Err(format!("{from} is shut out of {room} by its access control list"));
        return Ok(pdus.into_iter().map(|pdu| (pdu.event_id, why())).collect());
    }
    if !door.inside {
        return at_the_door(home, pdus).await;
    }
    let ids: Vec<OwnedEventId> = pdus.iter().map(|pdu| pdu.event_id.clone()).collect();
    let verdicts = deliver(home, from, &door, pdus).await?;
    home.note_has(from, room, &ids);
    Ok(verdicts)
}

/// Events of a room that we know and are not in: a ban or an unban of a local user is worth knowing, the rest is not ours.
async fn at_the_door(home: &Home, pdus: Vec<Pdu>) -> Result<Verdicts, ReceiveError> {
    let (ours, others): (Vec<Pdu>, Vec<Pdu>) = pdus.into_iter().partition(|pdu| is_about_a_local_user(home, pdu));
    let refusal = || Err("this server is not in the room".to_owned());
    let mut verdicts: Verdicts = others.into_iter().map(|pdu| (pdu.event_id, refusal())).collect();
    let (ours, outdated) = {
        let view = home.store.snapshot()?;
        let mut current = Vec::new();
        let mut outdated = Vec::new();
        for pdu in ours {
            if rescind::is_before_invite(&view, &pdu)? { outdated.push(pdu) } else { current.push(pdu) }
        }
        (current, outdated)
    };
    verdicts.extend(outdated.into_iter().map(|pdu| (pdu.event_id, Ok(()))));
    for (pdu, judged) in apply_all(home, ours).await? {
        let verdict = match judged {
            Judged::Done(why) => why,
            Judged::Needs { .. } => refusal(),
        };
        verdicts.insert(pdu.event_id, verdict);
    }
    Ok(verdicts)
}

fn is_about_a_local_user(home: &Home, pdu: &Pdu) -> bool {
    let user = pdu.state_key.as_deref().and_then(|key| <&ruma::UserId>::try_from(key).ok());
    user.is_some_and(|user| home.is_local(user.server_name()))
        && pdu.membership().is_some_and(|membership| membership != MembershipState::Join)
}

/// Brings verified events of a room that we are in to its engine, fetching what they build on.
pub(crate) async fn deliver(
    home: &Home,
    from: &ServerName,
    door: &Door,
    pdus: Vec<Pdu>,
) -> Result<Verdicts, ReceiveError> {
    let mut verdicts = Verdicts::new();
    let mut waiting = BTreeMap::new();
    for (pdu, judged) in apply_all(home, parents_first(pdus)).await? {
        match judged {
            Judged::Done(verdict) => {
                verdicts.insert(pdu.event_id, verdict);
            }
            Judged::Needs { .. } => {
                waiting.insert(pdu.event_id.clone(), pdu);
            }
        }
    }
    if !waiting.is_empty() {
        let asked: Vec<OwnedEventId> = waiting.keys().cloned().collect();
        let judged = CatchUp::new(home, from, door, waiting)?.run().await?;
        for id in asked {
            let verdict = judged.get(&id).cloned().unwrap_or_else(|| Err("it could not be judged".to_owned()));
            verdicts.insert(id, verdict);
        }
    }
    Ok(verdicts)
}

/// What the engine said of an event.
#[derive(Debug)]
pub(crate) enum Judged {
    /// It is kept, or refused with a reason.
    Done(Result<(), String>),
    /// Events that it builds on are missing.
    Needs {
        /// Auth events; parents are found by looking at the events themselves.
        auth: Vec<OwnedEventId>,
    },
}

/// Applies events whose parents are here, in the given order, a batch in one engine job.
pub(crate) async fn apply_all(home: &Home, pdus: Vec<Pdu>) -> Result<Vec<(Pdu, Judged)>, StoreError> {
    let mut judged = Vec::with_capacity(pdus.len());
    for batch in pdus.chunks(ENGINE_BATCH_JOBS_MAX) {
        match apply_batch(home, batch).await {
            Ok(results) => judged.extend(batch.iter().cloned().zip(results)),
            // One of them trips the engine. It is found by itself, and the others are not held up by it.
            Err(StoreError::Panicked(_)) => {
                for pdu in batch {
                    let result = match apply_batch(home, std::slice::from_ref(pdu)).await {
                        Err(StoreError::Panicked(why)) => vec![Judged::Done(Err(format!("an internal error: {why}")))],
                        other => other?,
                    };
                    judged.extend(std::iter::once(pdu.clone()).zip(result));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(judged)
}

async fn apply_batch(home: &Home, pdus: &[Pdu]) -> Result<Vec<Judged>, StoreError> {
    let local = home.local.clone();
    let incoming: Arc<[Incoming]> =
        pdus.iter().map(|pdu| Incoming { pdu: pdu.clone(), past: Past::Prevs, relay: false }).collect();
    home.store
        .write(move |tx| {
            let mut judged = Vec::with_capacity(incoming.len());
            for incoming in incoming.iter() {
                // A missing past is found out before anything is written, so the batch goes on.
                judged.push(match apply(tx, &local, incoming) {
                    Ok(applied) => Judged::Done(verdict(applied)),
                    Err(ApplyError::Need { auth, .. }) => Judged::Needs { auth },
                    Err(ApplyError::NoRoom(room)) => Judged::Done(Err(format!("{room} is not known here"))),
                    Err(ApplyError::Store(error)) => return Err(error),
                });
            }
            Ok(judged)
        })
        .await
}

/// What is said of an event to the server that sent it. A soft-failed event was taken: it is nobody's fault.
pub(crate) fn verdict(applied: Applied) -> Result<(), String> {
    match applied {
        Applied::Known | Applied::Accepted { .. } | Applied::SoftFailed { .. } => Ok(()),
        Applied::Rejected { why, .. } => Err(why),
    }
}

/// Events with parents before children, and otherwise the shallower first.
pub(crate) fn parents_first(pdus: Vec<Pdu>) -> Vec<Pdu> {
    let mut waits: BTreeMap<OwnedEventId, usize> = BTreeMap::new();
    let mut children: BTreeMap<OwnedEventId, Vec<OwnedEventId>> = BTreeMap::new();
    let mut by_id: BTreeMap<OwnedEventId, Pdu> = pdus.into_iter().map(|pdu| (pdu.event_id.clone(), pdu)).collect();
    for pdu in by_id.values() {
        let mut prevs: Vec<&OwnedEventId> = pdu.prev_events.iter().filter(|id| by_id.contains_key(*id)).collect();
        prevs.sort_unstable();
        prevs.dedup();
        waits.insert(pdu.event_id.clone(), prevs.len());
        for prev in prevs {
            children.entry(prev.clone()).or_default().push(pdu.event_id.clone());
        }
    }
    let mut ready: std::collections::BTreeSet<(u64, OwnedEventId)> =
        by_id.values().filter(|pdu| waits.get(&pdu.event_id) == Some(&0)).map(rank).collect();
    let mut order = Vec::with_capacity(by_id.len());
    while let Some((_, id)) = ready.pop_first() {
        for child in children.remove(&id).unwrap_or_default() {
            if let Some(count) = waits.get_mut(&child) {
                *count -= 1;
                if *count == 0 {
                    ready.extend(by_id.get(&child).map(rank));
                }
            }
        }
        order.extend(by_id.remove(&id));
    }
    order
}

fn rank(pdu: &Pdu) -> (u64, OwnedEventId) {
    (pdu.depth, pdu.event_id.clone())
}

/// Whether an event is here as history: what lies before it is a matter of backfill.
pub(crate) fn is_history(view: &dyn View, id: &EventId) -> Result<bool, StoreError> {
    use crate::store::Stored;
    let Some(esn) = Stored::find(view, id)? else { return Ok(false) };
    Ok(Stored::header(view, esn)?.is_some_and(|header| header.flags.history))
}

/// Whether an event is here with its own past, so that others can build on it.
pub(crate) fn is_placed(view: &dyn View, id: &EventId) -> Result<bool, StoreError> {
    use crate::store::Stored;
    let Some(esn) = Stored::find(view, id)? else { return Ok(false) };
    Ok(Stored::header(view, esn)?.is_some_and(|header| !header.flags.outlier && !header.flags.history))
}

//! The receive pipeline inside the engine: an event is judged, then everything that it changes is written.
//!
//! Nothing is fetched here: what an event builds on and is missing is named, and the caller comes back with it.

use ruma::{OwnedEventId, RoomId, events::TimelineEventType};

use super::{
    error::ApplyError,
    fork, import,
    judge::{Verdict, judge},
    keep::{missing_auth, save},
    place::{Applied, Placed, place},
    read::Room,
};
use crate::{
    event::Pdu,
    store::{Esn, Result, Stored, View, WriteTx},
    types::LocalServer,
};

/// What is known of an event's past.
#[derive(Clone, Debug)]
pub enum Past {
    /// All `prev_events` are here, or else [`ApplyError::Need`] says which are not.
    Prevs,
    /// Its parents are not to be had. This is the state before it and that state's auth chain, verified, as a peer told
    /// them. A gap stays in the timeline before the event.
    State(Vec<Pdu>, Vec<Pdu>),
}

/// A verified event of another server.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The event.
    pub pdu: Pdu,
    /// What is known of its past.
    pub past: Past,
    /// We are the resident server of a join, leave or knock and must send it on to the room's other servers.
    pub relay: bool,
}

/// Judges an event and keeps it.
///
/// # Errors
/// [`ApplyError::Need`] when events that it builds on are not here; nothing is written then.
pub fn apply(tx: &mut WriteTx<'_>, local: &LocalServer, incoming: &Incoming) -> Result<Applied, ApplyError> {
    let pdu = &incoming.pdu;
    let Some(mut room) = Room::find(tx, &pdu.room_id)? else {
        return Err(ApplyError::NoRoom(pdu.room_id.clone()));
    };
    // The create event of a room that we came into later is an outlier for good: it has no past that it could come with.
    let is_create = pdu.kind == TimelineEventType::RoomCreate;
    if let Some(esn) = Stored::find(tx, &pdu.event_id)?
        && Stored::header(tx, esn)?.is_some_and(|header| !header.flags.outlier || is_create)
    {
        return Ok(Applied::Known);
    }
    let (prevs, missing_prev) = known_prevs(tx, pdu)?;
    let need_prev = matches!(incoming.past, Past::Prevs) && !missing_prev.is_empty();
    if let Past::State(state, chain) = &incoming.past {
        import::store_outliers(tx, &mut room, state.iter().chain(chain))?;
    }
    let missing_auth = missing_auth(tx, pdu)?;
    if need_prev || !missing_auth.is_empty() {
        let prev = if need_prev { missing_prev } else { Vec::new() };
        return Err(ApplyError::Need { prev, auth: missing_auth });
    }
    let before = match &incoming.past {
        Past::Prevs => fork::state_before(tx, &mut room, &prevs)?,
        Past::State(state, _) => import::told_state(tx, local, &mut room, state, pdu)?,
    };
    let verdict = judge(tx, &room, pdu, before)?;
    let send_out = incoming.relay && matches!(verdict, Verdict::Accept);
    let missing = if matches!(incoming.past, Past::State(..)) { missing_prev } else { Vec::new() };
    let placed = Placed { pdu, prevs: &prevs, before, verdict, missing, restart: false, txn: None, send_out };
    place(tx, local, &mut room, placed)
}

/// Stores verified events that are known only for their place in an auth chain or a state.
///
/// # Errors
/// [`ApplyError::Need`] when auth events of theirs are neither here nor among them.
pub fn apply_outliers(tx: &mut WriteTx<'_>, room: &RoomId, pdus: &[Pdu]) -> Result<(), ApplyError> {
    let Some(mut room) = Room::find(tx, room)? else { return Err(ApplyError::NoRoom(room.to_owned())) };
    import::store_outliers(tx, &mut room, pdus.iter())?;
    save(tx, &room)?;
    Ok(())
}

/// The parents that are here with their state, and the ids of those that are not.
fn known_prevs(view: &dyn View, pdu: &Pdu) -> Result<(Vec<Esn>, Vec<OwnedEventId>)> {
    let (mut known, mut missing) = (Vec::new(), Vec::new());
    for id in &pdu.prev_events {
        let esn = Stored::find(view, id)?;
        let header = esn.map(|esn| Stored::header(view, esn)).transpose()?.flatten();
        match (esn, header) {
            // History has no state of its own to build on.
            (Some(esn), Some(header)) if !header.flags.outlier && !header.flags.history => known.push(esn),
            _ => missing.push(id.clone()),
        }
    }
    Ok((known, missing))
}

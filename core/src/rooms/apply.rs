//! The receive pipeline inside the engine: an event is judged, then everything that it changes is written.
//!
//! Nothing is fetched here: what an event builds on and is missing is named, and the caller comes back with it.

use ruma::{
    OwnedEventId, RoomId,
    events::{StateEventType, TimelineEventType},
};

use super::{
    effects,
    error::ApplyError,
    fork, gap, import,
    judge::{Verdict, judge},
    read::Room,
    redact,
};
use crate::{
    event::Pdu,
    store::{
        AuthRecord, Esn, Flags, Header, LogKind, LogRow, Overrides, Record, Result, Ssk, StateRef, Stored, UserKey, View, WriteTx,
    },
    types::LocalServer,
};

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was here already.
    Known,
    /// It is part of the room.
    Accepted {
        /// Its number.
        esn: Esn,
    },
    /// It is allowed by its past, not by the present: kept, hidden.
    SoftFailed {
        /// Its number.
        esn: Esn,
        /// The rule that it breaks.
        why: String,
    },
    /// It breaks the room's rules: kept, so that it is not fetched again, and ignored.
    Rejected {
        /// Its number.
        esn: Esn,
        /// The rule that it breaks.
        why: String,
    },
}

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

/// An event whose place is known, ready to be written.
pub(super) struct Placed<'a> {
    pub(super) pdu: &'a Pdu,
    pub(super) prevs: &'a [Esn],
    pub(super) before: StateRef,
    pub(super) verdict: Verdict,
    /// Parents that are not here: a gap stays before the event.
    pub(super) missing: Vec<OwnedEventId>,
    /// It starts the room's graph anew (a join over federation): earlier heads are left behind.
    pub(super) restart: bool,
    pub(super) txn: Option<String>,
    pub(super) send_out: bool,
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

pub(super) fn missing_auth(view: &dyn View, pdu: &Pdu) -> Result<Vec<OwnedEventId>> {
    let mut missing = Vec::new();
    for id in &pdu.auth_events {
        if Stored::find(view, id)?.is_none() {
            missing.push(id.clone());
        }
    }
    Ok(missing)
}

/// Writes a judged event and all that follows from it.
pub(super) fn place(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    placed: Placed<'_>,
) -> Result<Applied, ApplyError> {
    let pdu = placed.pdu;
    let awaited = gap::take_awaited(tx, room.key, &pdu.event_id)?;
    let (esn, mut header) = numbered(tx, room, pdu)?;
    header.txn.clone_from(&placed.txn);
    header.before = placed.before;
    header.after = placed.before;
    header.flags = Flags {
        rejected: matches!(placed.verdict, Verdict::Reject(_)),
        soft_failed: matches!(placed.verdict, Verdict::SoftFail(_)),
        ..Flags::default()
    };
    if !header.flags.rejected {
        add_to_graph(tx, room, pdu, esn, &mut header)?;
    }
    match placed.verdict {
        Verdict::Reject(why) => {
            Stored::put(tx, esn, &header, pdu.json())?;
            save(tx, room)?;
            tracing::debug!(event = %pdu.event_id, room = %room.id, why, "rejected");
            Ok(Applied::Rejected { esn, why })
        }
        Verdict::SoftFail(why) => {
            if let Some(ssk) = header.ssk {
                let change = Overrides::from([(ssk, Some(esn))]);
                header.after = header.before.patched(tx, room.key, &mut room.record, &change)?;
            }
            Stored::put(tx, esn, &header, pdu.json())?;
            save(tx, room)?;
            tracing::debug!(event = %pdu.event_id, room = %room.id, why, "soft-failed");
            Ok(Applied::SoftFailed { esn, why })
        }
        Verdict::Accept => {
            let servers_before = room.record.dset;
            let changes = move_heads(tx, room, &placed, awaited, esn, &mut header)?;
            show(tx, room, &placed, esn, &mut header)?;
            Stored::put(tx, esn, &header, pdu.json())?;
            effects::state_changed(tx, local, room, &header, esn, &changes)?;
            redact::on_event(tx, room, esn, &header, pdu)?;
            if placed.send_out {
                effects::send_out(tx, local, room, servers_before, esn, pdu, header.n)?;
            }
            save(tx, room)?;
            Ok(Applied::Accepted { esn })
        }
    }
}

/// The event's number and header: those of the outlier that it was, or new ones.
pub(super) fn numbered(tx: &mut WriteTx<'_>, room: &Room, pdu: &Pdu) -> Result<(Esn, Header)> {
    if let Some(esn) = Stored::find(tx, &pdu.event_id)?
        && let Some(header) = Stored::header(tx, esn)?
    {
        return Ok((esn, header));
    }
    let sender = UserKey::intern(tx, &pdu.sender)?;
    let ssk = match &pdu.state_key {
        Some(key) => Some(Ssk::intern(tx, &StateEventType::from(pdu.kind.to_string()), key)?),
        None => None,
    };
    let header = Header::new(pdu, room.key, sender, ssk)?;
    let esn = Stored::number(tx, &header)?;
    Ok((esn, header))
}

/// Gives an accepted state event its node in the auth graph, if it has none yet.
pub(super) fn add_to_graph(
    tx: &mut WriteTx<'_>,
    room: &mut Room,
    pdu: &Pdu,
    esn: Esn,
    header: &mut Header,
) -> Result<()> {
    if header.node.is_some() || !pdu.is_state() {
        return Ok(());
    }
    let mut parents = Vec::new();
    for id in &pdu.auth_events {
        let parent = Stored::find(tx, id)?.map(|esn| Stored::header(tx, esn)).transpose()?.flatten();
        parents.extend(parent.and_then(|parent| parent.node));
    }
    parents.sort_unstable();
    parents.dedup();
    let node = room.record.next_node;
    room.record.next_node += 1;
    header.node = Some(node);
    let record = AuthRecord { esn, parents }.encode()?;
    tx.write().auth.insert((room.key.0, node), record.as_slice())?;
    Ok(())
}

/// A change of the current state: key, old event, new event.
pub(super) type Change = (Ssk, Option<Esn>, Option<Esn>);

/// Makes the event a head, and the current state that of the heads.
fn move_heads(
    tx: &mut WriteTx<'_>,
    room: &mut Room,
    placed: &Placed<'_>,
    awaited: bool,
    esn: Esn,
    header: &mut Header,
) -> Result<Vec<Change>, ApplyError> {
    let own = header.ssk.map(|ssk| Overrides::from([(ssk, Some(esn))])).unwrap_or_default();
    let mut heads = if placed.restart { Vec::new() } else { room.record.heads.clone() };
    heads.retain(|head| !placed.prevs.contains(head));
    if !awaited {
        heads.push(esn);
        room.record.depth = room.record.depth.max(placed.pdu.depth);
    }
    let alone = heads == [esn];
    let changes = if alone && header.before == room.record.current() {
        // The usual case: the room is one line, and the event continues it.
        room.record.advance(tx, room.key, &own)?
    } else {
        header.after = header.before.patched(tx, room.key, &mut room.record, &own)?;
        // Resolution may read the event itself. Its row is written again once its place is known.
        Stored::put(tx, esn, header, placed.pdu.json())?;
        let others: Vec<Esn> = heads.iter().copied().filter(|head| *head != esn).collect();
        let mut states = fork::states_after(tx, &others)?;
        if !awaited && !states.contains(&header.after) {
            states.push(header.after);
        }
        let changes = fork::changes_to_current(tx, room, &states)?;
        room.record.advance(tx, room.key, &changes)?
    };
    if alone {
        header.after = room.record.current();
    }
    room.record.heads = heads;
    Ok(changes)
}

/// Puts the event on the timeline and into the log.
fn show(tx: &mut WriteTx<'_>, room: &mut Room, placed: &Placed<'_>, esn: Esn, header: &mut Header) -> Result<()> {
    if placed.missing.is_empty() && !placed.restart {
        room.record.last_pos += 1;
    } else {
        room.record.last_pos += gap::CHUNK;
        gap::open(tx, room.key, room.record.last_pos, &placed.missing)?;
    }
    header.pos = room.record.last_pos;
    tx.write().tl.insert((room.key.0, header.pos), esn)?;
    let row = LogRow { kind: LogKind::Timeline, room: room.key.0, user: header.sender.0, esn };
    header.n = tx.log(&row)?;
    room.record.last_n = header.n;
    Ok(())
}

/// Writes the room's record.
pub(super) fn save(tx: &mut WriteTx<'_>, room: &Room) -> Result<()> {
    let bytes = room.record.encode()?;
    tx.write().room.insert(room.key.0, bytes.as_slice())?;
    Ok(())
}

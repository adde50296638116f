//! Entering a room through another server, and what is kept of rooms that we are only invited to.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedRoomId, RoomId, RoomVersionId, UserId, events::TimelineEventType};
use serde_json::value::RawValue;

use super::{
    effects,
    error::ApplyError,
    judge::{Verdict, allowed_by_auth_events, allowed_by_state},
    keep::{add_to_graph, numbered, save},
    place::{Applied, Placed, place},
    read::Room,
};
use crate::{
    event::{Pdu, rules_of},
    store::{
        Esn, Flags, Header, InviteRecord, LogKind, LogRow, MembRecord, Overrides, Record, Result, RoomKey, RoomRecord,
        Standing, StateRef, StoreError, Stored, UserKey, WriteTx,
    },
    types::LocalServer,
};

/// A room as another server handed it to us with our join. All events are verified.
#[derive(Clone, Debug)]
pub struct ImportedRoom {
    /// Its version.
    pub version: RoomVersionId,
    /// Its id.
    pub room: OwnedRoomId,
    /// The state before our event.
    pub state: Vec<Pdu>,
    /// That state's auth chain.
    pub auth_chain: Vec<Pdu>,
    /// Our join.
    pub event: Pdu,
}

/// Takes a room in: its state becomes the current one, our join the only head, and a gap lies before it.
///
/// # Errors
/// [`ApplyError::Need`] when the auth chain is incomplete.
pub(crate) fn import(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    imported: &ImportedRoom,
) -> Result<Applied, ApplyError> {
    let pdu = &imported.event;
    if let Some(esn) = Stored::find(tx, &pdu.event_id)?
        && Stored::header(tx, esn)?.is_some_and(|header| !header.flags.outlier)
    {
        return Ok(Applied::Known);
    }
    let mut room = match Room::find(tx, &imported.room)? {
        Some(room) => room,
        None => new_room(tx, &imported.room, &imported.version)?,
    };
    store_outliers(tx, &mut room, imported.auth_chain.iter().chain(&imported.state))?;
    let before = told_state(tx, local, &mut room, &imported.state, pdu)?;
    let verdict = match allowed_by_state(tx, &room, pdu, before)? {
        Ok(()) => Verdict::Accept,
        Err(why) => Verdict::Reject(why),
    };
    let mut missing = Vec::new();
    for id in &pdu.prev_events {
        let header = Stored::find(tx, id)?.map(|esn| Stored::header(tx, esn)).transpose()?.flatten();
        if header.is_none_or(|header| header.flags.outlier) {
            missing.push(id.clone());
        }
    }
    let placed = Placed { pdu, prevs: &[], before, verdict, missing, restart: true, txn: None, send_out: false };
    place(tx, local, &mut room, placed)
}

/// An empty room.
pub(super) fn new_room(tx: &mut WriteTx<'_>, id: &RoomId, version: &RoomVersionId) -> Result<Room, StoreError> {
    let rules = rules_of(version).ok_or_else(|| StoreError::Corrupt(format!("room version {version}")))?;
    let key = RoomKey::intern(tx, id)?;
    let record = RoomRecord {
        version: version.to_string(),
        heads: Vec::new(),
        seq: 0,
        next_patch: 1,
        next_node: 0,
        last_pos: super::gap::CHUNK,
        depth: 0,
        dset: 0,
        next_dset: 0,
        joined: 0,
        invited: 0,
        joined_local: 0,
        last_n: 0,
    };
    let room = Room { key, id: id.to_owned(), record, version: version.clone(), rules };
    save(tx, &room)?;
    Ok(room)
}

/// Stores events that are known only for their place in an auth chain, parents first. Those that break the rules by their
/// own auth events are kept as rejected.
pub(super) fn store_outliers<'a>(
    tx: &mut WriteTx<'_>,
    room: &mut Room,
    pdus: impl Iterator<Item = &'a Pdu>,
) -> Result<(), ApplyError> {
    let mut fresh: BTreeMap<&EventId, &Pdu> = BTreeMap::new();
    for pdu in pdus {
        if Stored::find(tx, &pdu.event_id)?.is_none() {
            fresh.insert(&pdu.event_id, pdu);
        }
    }
    let mut missing = Vec::new();
    for id in fresh.values().flat_map(|pdu| &pdu.auth_events) {
        if !fresh.contains_key(&**id) && Stored::find(tx, id)?.is_none() && !missing.contains(id) {
            missing.push(id.clone());
        }
    }
    if !missing.is_empty() {
        return Err(ApplyError::Need { prev: Vec::new(), auth: missing });
    }
    for pdu in parents_first(&fresh) {
        let (esn, mut header) = numbered(tx, room, pdu)?;
        let rejected = allowed_by_auth_events(tx, room, pdu, None)?.is_err();
        header.flags = Flags { rejected, outlier: true, ..Flags::default() };
        if !rejected {
            add_to_graph(tx, room, pdu, esn, &mut header)?;
        }
        Stored::put(tx, esn, &header, pdu.json())?;
    }
    Ok(())
}

/// Events in an order in which each comes after its auth events. Event ids are hashes, so there is no circle.
fn parents_first<'a>(pdus: &BTreeMap<&EventId, &'a Pdu>) -> Vec<&'a Pdu> {
    let mut children: BTreeMap<&EventId, Vec<&'a Pdu>> = BTreeMap::new();
    let mut waits: BTreeMap<&EventId, usize> = BTreeMap::new();
    let mut ready = Vec::new();
    for pdu in pdus.values() {
        let parents: std::collections::BTreeSet<&EventId> =
            pdu.auth_events.iter().map(|id| -> &EventId { id }).filter(|id| pdus.contains_key(id)).collect();
        if parents.is_empty() {
            ready.push(*pdu);
        }
        waits.insert(&pdu.event_id, parents.len());
        for parent in parents {
            children.entry(parent).or_default().push(pdu);
        }
    }
    // From room version 12 on nothing names the create event, and yet everything is authorised by it: it goes first.
    ready.sort_by_key(|pdu| pdu.kind == TimelineEventType::RoomCreate);
    let mut order = Vec::new();
    while let Some(pdu) = ready.pop() {
        order.push(pdu);
        for child in children.remove(&*pdu.event_id).unwrap_or_default() {
            if let Some(count) = waits.get_mut(&*child.event_id) {
                *count -= 1;
                if *count == 0 {
                    ready.push(child);
                }
            }
        }
    }
    order
}

/// A state that a peer told before an event: the stored, not rejected events of it, as a state of this room.
pub(super) fn told_state(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    state: &[Pdu],
    event: &Pdu,
) -> Result<StateRef, ApplyError> {
    let current = room.record.current();
    let mut changes: Overrides = current.all(tx, room.key)?.into_keys().map(|ssk| (ssk, None)).collect();
    for pdu in state {
        let Some(stored) = Stored::by_id(tx, &pdu.event_id)? else { continue };
        if let Some(ssk) = stored.header.ssk
            && stored.header.node.is_some()
        {
            changes.insert(ssk, Some(stored.esn));
        }
    }
    if room.record.heads.is_empty() {
        // A room that starts here: what was told is the mainline itself.
        let key = room.key;
        let changed = room.record.advance(tx, key, &changes)?;
        let sender = UserKey::intern(tx, &event.sender)?;
        let cause = Header::new(event, key, sender, None)?;
        effects::state_told(tx, local, room, &cause, &changed)?;
        return Ok(room.record.current());
    }
    let key = room.key;
    Ok(current.patched(tx, key, &mut room.record, &changes)?)
}

/// Keeps an invite that came over federation, or a knock that another server took: the event, and what the room shows of
/// itself.
///
/// # Errors
/// When the database fails.
pub(crate) fn keep_outside(
    tx: &mut WriteTx<'_>,
    room: &RoomId,
    version: &RoomVersionId,
    event: &Pdu,
    user: &UserId,
    stripped: &[Box<RawValue>],
    standing: Standing,
) -> Result<(), StoreError> {
    let (room, user_key) = (RoomKey::intern(tx, room)?, UserKey::intern(tx, user)?);
    let record = InviteRecord {
        event: event.json().get().to_owned(),
        event_id: event.event_id.to_string(),
        version: version.to_string(),
        state: stripped.iter().map(|event| event.get().to_owned()).collect(),
    };
    let bytes = record.encode()?;
    tx.write().inv.insert((user_key.0, room.0), bytes.as_slice())?;
    put_standing(tx, room, user_key, standing, 0, None)
}

/// Changes how a local user stands to a room without an event of a room that we are in.
///
/// # Errors
/// When the database fails.
pub(crate) fn set_standing(
    tx: &mut WriteTx<'_>,
    room: &RoomId,
    user: &UserId,
    standing: Standing,
) -> Result<(), StoreError> {
    let (room, user) = (RoomKey::intern(tx, room)?, UserKey::intern(tx, user)?);
    let old = super::read::standing(tx, user, room)?;
    let (esn, left_at) = old.map_or((0, None), |old| (old.esn, old.left_at));
    tx.write().inv.remove((user.0, room.0))?;
    put_standing(tx, room, user, standing, esn, left_at)
}

fn put_standing(
    tx: &mut WriteTx<'_>,
    room: RoomKey,
    user: UserKey,
    standing: Standing,
    esn: Esn,
    left_at: Option<(StateRef, u64)>,
) -> Result<(), StoreError> {
    let n = tx.log(&LogRow { kind: LogKind::Standing, room: room.0, user: user.0, esn })?;
    let record = MembRecord { standing, esn, n, forgotten: false, left_at };
    let bytes = record.encode()?;
    tx.write().memb.insert((user.0, room.0), bytes.as_slice())?;
    Ok(())
}

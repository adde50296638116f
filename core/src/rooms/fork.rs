//! States that differ: what resolution makes of several states of one room.
//!
//! Fast path first: heads that share one state need no resolution. Otherwise the differing keys are read off the mainline's
//! log and the patches, and `resolve` gets those alone.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{EventId, events::StateEventType};

use super::{
    error::ApplyError,
    graph::{self, RoomGraph},
    read::Room,
};
use crate::{
    event::Pdu,
    resolve::{self, Bits, Conflict, Node, StateKey},
    store::{Esn, Overrides, Result, RoomRecord, Ssk, StateRef, StoreError, Stored, View, WriteTx},
};

/// The state that several states resolve to: the first, or a place of the mainline and what is changed over it.
pub(super) struct Resolved {
    pub(super) base: StateRef,
    pub(super) changes: Overrides,
}

impl Resolved {
    /// As a state of its own.
    pub(super) fn into_ref(self, tx: &mut WriteTx<'_>, room: &mut Room) -> Result<StateRef> {
        let key = room.key;
        self.base.patched(tx, key, &mut room.record, &self.changes)
    }

    /// As changes over the current state.
    pub(super) fn over_current(&self, view: &dyn View, room: &Room) -> Result<Overrides> {
        let difference = room.record.current().difference(self.base, view, room.key)?;
        let mut changes: Overrides = difference.into_iter().map(|(ssk, (_, there))| (ssk, there)).collect();
        changes.extend(self.changes.iter().map(|(ssk, entry)| (*ssk, *entry)));
        Ok(changes)
    }
}

/// Resolves some states of a room. The order of `states` does not matter.
pub(super) fn resolve_states(tx: &mut WriteTx<'_>, room: &Room, states: &[StateRef]) -> Result<Resolved, ApplyError> {
    let states: BTreeSet<StateRef> = states.iter().copied().collect();
    // The latest place of the mainline is the likeliest to be near to the answer.
    let Some(base) = states.last().copied() else {
        return Ok(Resolved { base: StateRef::default(), changes: Overrides::new() });
    };
    let differing = differing_keys(tx, room, base, &states)?;
    if differing.is_empty() {
        return Ok(Resolved { base, changes: Overrides::new() });
    }
    let graph = graph::take(tx, room)?;
    let changes = resolve_keys(tx, room, &graph, base, &states, &differing);
    graph::put_back(tx, room.key, graph);
    Ok(Resolved { base, changes: changes? })
}

fn differing_keys(view: &dyn View, room: &Room, base: StateRef, states: &BTreeSet<StateRef>) -> Result<BTreeSet<Ssk>> {
    let mut keys = BTreeSet::new();
    for state in states {
        keys.extend(base.difference(*state, view, room.key)?.into_keys());
    }
    Ok(keys)
}

fn resolve_keys(
    view: &dyn View,
    room: &Room,
    graph: &RoomGraph,
    base: StateRef,
    states: &BTreeSet<StateRef>,
    differing: &BTreeSet<Ssk>,
) -> Result<Overrides, ApplyError> {
    let mut conflicts = Vec::new();
    for ssk in differing {
        let mut nodes = Vec::new();
        for state in states {
            nodes.push(state.entry(view, room.key, *ssk)?.map(|esn| must_have_node(graph, esn)).transpose()?);
        }
        conflicts.push(Conflict { key: ssk.names(view)?, nodes });
    }
    let shared = Shared::new(view, room, graph, base, differing)?;
    let resolved = resolve::resolve_fork(&graph.graph, &room.rules, &conflicts, &shared);
    if let Some(error) = shared.failed.into_inner() {
        return Err(error.into());
    }
    let resolved = resolved.map_err(|error| StoreError::Corrupt(format!("state of {}: {error}", room.id)))?;
    let mut changes = Overrides::new();
    for ((kind, key), node) in resolved {
        let ssk = Ssk::find(view, &kind, &key)?
            .ok_or_else(|| StoreError::Corrupt(format!("resolution made a key that no event has: {kind} {key}")))?;
        let esn = node.map(|node| graph.esn(node).ok_or_else(|| no_event(node))).transpose()?;
        changes.insert(ssk, esn);
    }
    Ok(changes)
}

fn must_have_node(graph: &RoomGraph, esn: Esn) -> Result<Node> {
    graph.node(esn).ok_or_else(|| StoreError::Corrupt(format!("state event {esn} is not in the auth graph")))
}

fn no_event(node: Node) -> StoreError {
    StoreError::Corrupt(format!("node {node} has no event"))
}

/// What all sides share, read when resolution asks for it.
struct Shared<'a> {
    view: &'a dyn View,
    room: &'a Room,
    graph: &'a RoomGraph,
    base: StateRef,
    differing: &'a BTreeSet<Ssk>,
    nodes: Bits,
    others: BTreeMap<Ssk, Esn>,
    pdus: RefCell<BTreeMap<Node, Arc<Pdu>>>,
    failed: RefCell<Option<StoreError>>,
}

impl<'a> Shared<'a> {
    fn new(
        view: &'a dyn View,
        room: &'a Room,
        graph: &'a RoomGraph,
        base: StateRef,
        differing: &'a BTreeSet<Ssk>,
    ) -> Result<Self> {
        let (mut nodes, mut others) = (graph.current.clone(), graph.others.clone());
        for (ssk, (current, there)) in room.record.current().difference(base, view, room.key)? {
            if let Some(node) = current.and_then(|esn| graph.node(esn)) {
                nodes.remove(node);
            }
            if let Some(node) = there.and_then(|esn| graph.node(esn)) {
                nodes.insert(node);
            }
            others.remove(&ssk);
            if let Some(esn) = there
                && ssk.names(view)?.0 != StateEventType::RoomMember
            {
                others.insert(ssk, esn);
            }
        }
        for ssk in differing {
            if let Some(node) = base.entry(view, room.key, *ssk)?.and_then(|esn| graph.node(esn)) {
                nodes.remove(node);
            }
            others.remove(ssk);
        }
        let (pdus, failed) = Default::default();
        Ok(Self { view, room, graph, base, differing, nodes, others, pdus, failed })
    }

    /// Keeps the first failure for the caller; resolution itself only knows "not there".
    fn noted<T>(&self, result: Result<Option<T>>) -> Option<T> {
        result.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            None
        })
    }

    fn load(&self, node: Node) -> Result<Option<Arc<Pdu>>> {
        let Some(esn) = self.graph.esn(node) else { return Ok(None) };
        Ok(Some(Arc::new(Stored::must(self.view, esn)?.pdu)))
    }

    fn shared_entry(&self, (kind, key): &StateKey) -> Result<Option<Node>> {
        let Some(ssk) = Ssk::find(self.view, kind, key)? else { return Ok(None) };
        if self.differing.contains(&ssk) {
            return Ok(None);
        }
        Ok(self.base.entry(self.view, self.room.key, ssk)?.and_then(|esn| self.graph.node(esn)))
    }
}

impl resolve::Room for Shared<'_> {
    fn pdu(&self, node: Node) -> Option<Arc<Pdu>> {
        if let Some(pdu) = self.pdus.borrow().get(&node) {
            return Some(pdu.clone());
        }
        let pdu = self.noted(self.load(node))?;
        self.pdus.borrow_mut().insert(node, pdu.clone());
        Some(pdu)
    }

    fn node(&self, id: &EventId) -> Option<Node> {
        self.noted(Stored::find(self.view, id)).and_then(|esn| self.graph.node(esn))
    }

    fn shared(&self, key: &StateKey) -> Option<Node> {
        self.noted(self.shared_entry(key))
    }

    fn shared_non_members(&self) -> Vec<(StateKey, Node)> {
        let entry = |(ssk, esn): (&Ssk, &Esn)| -> Result<Option<(StateKey, Node)>> {
            self.graph.node(*esn).map(|node| ssk.names(self.view).map(|names| (names, node))).transpose()
        };
        self.others.iter().filter_map(|row| self.noted(entry(row))).collect()
    }

    fn shared_nodes(&self) -> Bits {
        self.nodes.clone()
    }
}

/// The states after some events.
pub(super) fn states_after(view: &dyn View, events: &[Esn]) -> Result<Vec<StateRef>> {
    let mut states = Vec::new();
    for esn in events {
        let header = Stored::header(view, *esn)?;
        let header = header.ok_or_else(|| StoreError::Corrupt(format!("event {esn} is missing")))?;
        if !states.contains(&header.after) {
            states.push(header.after);
        }
    }
    Ok(states)
}

/// The state that an event with these parents is judged by.
pub(super) fn state_before(tx: &mut WriteTx<'_>, room: &mut Room, prevs: &[Esn]) -> Result<StateRef, ApplyError> {
    let states = states_after(tx, prevs)?;
    if let [state] = states.as_slice() {
        return Ok(*state);
    }
    let resolved = resolve_states(tx, room, &states)?;
    Ok(resolved.into_ref(tx, room)?)
}

/// What must change for the current state to be that of the heads. `heads` are the states after them.
pub(super) fn changes_to_current(
    tx: &mut WriteTx<'_>,
    room: &Room,
    heads: &[StateRef],
) -> Result<Overrides, ApplyError> {
    if heads == [RoomRecord::current(&room.record)] {
        return Ok(Overrides::new());
    }
    let resolved = resolve_states(tx, room, heads)?;
    Ok(resolved.over_current(tx, room)?)
}

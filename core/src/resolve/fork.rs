//! State resolution with reduced inputs.
//!
//! The algorithm is ruma's (v2, and v2.1 for room version 12). Given complete states and complete auth chains it costs time
//! with the number of members; what it looks at does not. It reads, per event of the full conflicted set, the places in
//! the state that decide about that event, and the power levels. So it gets:
//!
//! - as states: the conflicted keys of each side; before room version 12, which starts from an empty state, also the shared
//!   state that is not members, and those shared members who are sender, target or authoriser of an event in the full
//!   conflicted set;
//! - as auth chains: only what is not in all of them, since the algorithm subtracts the rest itself;
//! - as subgraph: a pass over the graph.
//!
//! The answer is laid over the shared state by the caller. A shared key never changes: resolution's last step puts the
//! unconflicted state back over everything.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId,
    events::StateEventType,
    room_version_rules::{RoomVersionRules, StateResolutionV2Rules},
    state_res::{self, StateMap, utils::event_id_set::EventIdSet},
};

use super::{
    StateKey, auth_keys,
    graph::{AuthGraph, Bits, Node},
};
use crate::event::Pdu;

/// A place in the state on which the sides differ.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// Which place.
    pub key: StateKey,
    /// What stands there on each side, the sides in the same order in every conflict.
    pub nodes: Vec<Option<Node>>,
}

/// What resolution asks of its caller. Each answer should be cheap; events are asked for once each.
pub trait Room {
    /// The event of a node. `None` for a node of the graph means a damaged store, and ends the resolution.
    fn pdu(&self, node: Node) -> Option<Arc<Pdu>>;
    /// The node of an event, if it is an accepted state event of this room.
    fn node(&self, id: &EventId) -> Option<Node>;
    /// What all sides have at this place.
    fn shared(&self, key: &StateKey) -> Option<Node>;
    /// Everything that all sides share, except members.
    fn shared_non_members(&self) -> Vec<(StateKey, Node)>;
    /// Everything that all sides share, members too.
    fn shared_nodes(&self) -> Bits;
}

/// Why a fork could not be resolved. None of these is a peer's doing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The conflicts speak of different numbers of sides.
    #[error("conflict over {key:?} has {found} sides instead of {expected}")]
    Sides {
        /// Which conflict.
        key: StateKey,
        /// How many it has.
        found: usize,
        /// How many the first has.
        expected: usize,
    },
    /// The graph knows a node whose event the store does not have.
    #[error("the event of auth graph node {0} is missing")]
    Missing(Node),
    /// The answer holds an event that the graph does not know.
    #[error("resolution chose {0}, which is not in the auth graph")]
    Unknown(OwnedEventId),
    /// Rooms of this version resolve by an algorithm that does not work here.
    #[error("room version without state resolution v2")]
    Version,
    /// The algorithm gave up.
    #[error("state resolution failed: {0}")]
    Algorithm(#[from] state_res::Error),
}

/// What the resolved state says about every conflicted key (`None`: the key is absent), and about any further key that no
/// side had and resolution brought in. Lay it over the shared state.
///
/// # Errors
/// When the caller's graph, store and conflicts do not fit together.
pub fn resolve_fork(
    graph: &AuthGraph,
    rules: &RoomVersionRules,
    conflicts: &[Conflict],
    room: &dyn Room,
) -> Result<BTreeMap<StateKey, Option<Node>>, ResolveError> {
    let Some(first) = conflicts.first() else { return Ok(BTreeMap::new()) };
    let sides = first.nodes.len();
    if let Some(odd) = conflicts.iter().find(|conflict| conflict.nodes.len() != sides) {
        let key = odd.key.clone();
        return Err(ResolveError::Sides { key, found: odd.nodes.len(), expected: sides });
    }
    let state_rules = rules.state_res.v2_rules().ok_or(ResolveError::Version)?;
    let inputs = Inputs::new(graph, state_rules, conflicts, sides, room);
    let events = Events::new(room);
    let states = states(rules, conflicts, sides, &inputs.full, &events)?;
    let chains = inputs.chains.iter().map(|chain| events.ids(chain)).collect::<Result<Vec<_>, _>>()?;
    let subgraph = events.ids(&inputs.subgraph)?;
    let resolved = state_res::resolve(
        &rules.authorization,
        state_rules,
        &states,
        chains,
        |id| events.fetch(id),
        |_| Some(subgraph.clone()),
    );
    if let Some(node) = events.missing.get() {
        return Err(ResolveError::Missing(node));
    }
    overlay(conflicts, resolved?, room)
}

/// The sets that the graph yields.
struct Inputs {
    /// Each side's auth chain without what is in all of them.
    chains: Vec<Bits>,
    /// From room version 12 on; empty before.
    subgraph: Bits,
    /// Conflicted events, auth difference and subgraph: what will be sorted and checked.
    full: Bits,
}

impl Inputs {
    fn new(
        graph: &AuthGraph,
        rules: &StateResolutionV2Rules,
        conflicts: &[Conflict],
        sides: usize,
        room: &dyn Room,
    ) -> Self {
        let on_side = |side: usize| conflicts.iter().filter_map(move |conflict| *conflict.nodes.get(side)?);
        let mut chains: Vec<Bits> = (0..sides).map(|side| graph.chain(&on_side(side).collect())).collect();
        subtract_common(graph, &mut chains, room);
        let conflicted: Bits = conflicts
            .iter()
            .filter(|conflict| conflict.nodes.iter().any(|node| Some(node) != conflict.nodes.first()))
            .flat_map(|conflict| conflict.nodes.iter().flatten().copied())
            .collect();
        let subgraph = match rules.consider_conflicted_state_subgraph {
            true => graph.subgraph(&conflicted),
            false => Bits::new(),
        };
        let mut full = conflicted;
        full.union_with(&subgraph);
        for chain in &chains {
            full.union_with(chain);
        }
        Self { chains, subgraph, full }
    }
}

/// Takes out of each side's chain what all sides have, be it through conflicted events or through the shared state.
fn subtract_common(graph: &AuthGraph, chains: &mut [Bits], room: &dyn Room) {
    let Some((first, others)) = chains.split_first() else { return };
    let mut common = first.clone();
    for chain in others {
        common.intersect_with(chain);
    }
    for chain in &mut *chains {
        chain.subtract(&common);
    }
    // The shared state's own chain only matters where a difference is left, and nothing older than that is asked for.
    let Some(oldest) = chains.iter().filter_map(|chain| chain.iter_ascending().next()).min() else { return };
    let shared = graph.chain_down_to(&room.shared_nodes(), oldest);
    for chain in chains {
        chain.subtract(&shared);
    }
}

/// One state per side: its conflicted keys, and of the shared state what resolution will look at.
fn states(
    rules: &RoomVersionRules,
    conflicts: &[Conflict],
    sides: usize,
    full: &Bits,
    events: &Events<'_>,
) -> Result<Vec<StateMap<OwnedEventId>>, ResolveError> {
    let starts_empty = rules.state_res.v2_rules().is_some_and(|v2| v2.begin_iterative_auth_checks_with_empty_state_map);
    // From room version 12 on the checks start from nothing, and the shared state only comes back in the last step.
    let shared = if starts_empty { StateMap::new() } else { shared_state(rules, full, events)? };
    let mut states = vec![shared; sides];
    for conflict in conflicts {
        for (state, node) in states.iter_mut().zip(&conflict.nodes) {
            if let Some(node) = node {
                state.insert(conflict.key.clone(), events.pdu(*node)?.event_id.clone());
            }
        }
    }
    Ok(states)
}

/// The shared state without the members whom no event of the full conflicted set depends on.
fn shared_state(
    rules: &RoomVersionRules,
    full: &Bits,
    events: &Events<'_>,
) -> Result<StateMap<OwnedEventId>, ResolveError> {
    let mut members = BTreeSet::new();
    for node in full.iter_ascending() {
        let pdu = events.pdu(node)?;
        // An event that the rules cannot read is passed over by the algorithm too.
        let keys = auth_keys(&rules.authorization, &pdu.kind, &pdu.sender, pdu.state_key.as_deref(), &pdu.content);
        members.extend(keys.into_iter().flatten().filter(|(kind, _)| *kind == StateEventType::RoomMember));
    }
    let mut shared = StateMap::new();
    for (key, node) in events.room.shared_non_members() {
        shared.insert(key, events.pdu(node)?.event_id.clone());
    }
    for key in members {
        if let Some(node) = events.room.shared(&key) {
            shared.insert(key, events.pdu(node)?.event_id.clone());
        }
    }
    Ok(shared)
}

/// Of the algorithm's answer, what the shared state does not say already.
fn overlay(
    conflicts: &[Conflict],
    resolved: StateMap<OwnedEventId>,
    room: &dyn Room,
) -> Result<BTreeMap<StateKey, Option<Node>>, ResolveError> {
    let mut answer: BTreeMap<_, _> = conflicts.iter().map(|conflict| (conflict.key.clone(), None)).collect();
    for (key, id) in resolved {
        // An old event of a shared key may be in the auth difference and pass its check. The shared one stands.
        if !answer.contains_key(&key) && room.shared(&key).is_some() {
            continue;
        }
        let node = room.node(&id).ok_or(ResolveError::Unknown(id))?;
        answer.insert(key, Some(node));
    }
    Ok(answer)
}

/// The room's events, each asked for once: the algorithm asks for the same ones again and again.
struct Events<'a> {
    room: &'a dyn Room,
    // Both are looked up and never walked, so their order reaches nobody.
    by_node: RefCell<HashMap<Node, Arc<Pdu>>>,
    by_id: RefCell<HashMap<OwnedEventId, Option<Arc<Pdu>>>>,
    /// A node whose event the store lacks, met while the algorithm ran and could not be told.
    missing: Cell<Option<Node>>,
}

impl<'a> Events<'a> {
    fn new(room: &'a dyn Room) -> Self {
        Self { room, by_node: RefCell::default(), by_id: RefCell::default(), missing: Cell::new(None) }
    }

    fn pdu(&self, node: Node) -> Result<Arc<Pdu>, ResolveError> {
        if let Some(pdu) = self.by_node.borrow().get(&node) {
            return Ok(pdu.clone());
        }
        let pdu = self.room.pdu(node).ok_or(ResolveError::Missing(node))?;
        self.by_node.borrow_mut().insert(node, pdu.clone());
        self.by_id.borrow_mut().insert(pdu.event_id.clone(), Some(pdu.clone()));
        Ok(pdu)
    }

    fn ids(&self, nodes: &Bits) -> Result<EventIdSet<OwnedEventId>, ResolveError> {
        nodes.iter_ascending().map(|node| Ok(self.pdu(node)?.event_id.clone())).collect()
    }

    /// What the algorithm sees: an event outside the graph cannot be verified and does not exist for it.
    fn fetch(&self, id: &EventId) -> Option<Arc<Pdu>> {
        if let Some(known) = self.by_id.borrow().get(id) {
            return known.clone();
        }
        let node = self.room.node(id);
        let pdu = node.and_then(|node| self.pdu(node).ok());
        if pdu.is_none() {
            self.missing.set(self.missing.get().or(node));
        }
        self.by_id.borrow_mut().insert(id.to_owned(), pdu.clone());
        pdu
    }
}

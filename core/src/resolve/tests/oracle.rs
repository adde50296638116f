//! Resolution as the specification words it: complete states, complete auth chains, a subgraph found by walking.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    OwnedEventId,
    state_res::{StateMap, resolve, utils::event_id_set::EventIdSet},
};

use super::history::{History, State};
use crate::resolve::{Bits, Conflict, Node, ResolveError, Room, StateKey, resolve_fork};

/// An event's auth events, theirs, and so on; without the event.
pub(super) fn chain_of(history: &History, id: &OwnedEventId) -> BTreeSet<OwnedEventId> {
    chain_of_all(history, [id])
}

/// The same for several events, walked at once: one by one it would take minutes in a large room.
pub(super) fn chain_of_all<'a>(
    history: &History,
    ids: impl IntoIterator<Item = &'a OwnedEventId>,
) -> BTreeSet<OwnedEventId> {
    let mut chain = BTreeSet::new();
    let mut open: Vec<OwnedEventId> = ids.into_iter().cloned().collect();
    while let Some(id) = open.pop() {
        for parent in &history.fetch(&id).unwrap().auth_events {
            if chain.insert(parent.clone()) {
                open.push(parent.clone());
            }
        }
    }
    chain
}

/// Whatever lies on a path from one of `conflicted` up to another, found by asking each event alone.
pub(super) fn subgraph_of(history: &History, conflicted: &BTreeSet<OwnedEventId>) -> BTreeSet<OwnedEventId> {
    let mut candidates = chain_of_all(history, conflicted);
    candidates.extend(conflicted.iter().cloned());
    candidates.retain(|id| conflicted.contains(id) || !chain_of(history, id).is_disjoint(conflicted));
    candidates
}

fn set(ids: BTreeSet<OwnedEventId>) -> EventIdSet<OwnedEventId> {
    ids.into_iter().collect()
}

/// Full resolution.
pub(super) fn full(history: &History, states: &[&State]) -> State {
    let maps: Vec<StateMap<OwnedEventId>> =
        states.iter().map(|state| state.iter().map(|(key, node)| (key.clone(), history.id(*node))).collect()).collect();
    let chains = maps.iter().map(|map| set(chain_of_all(history, map.values()))).collect();
    let resolved = resolve(
        &history.rules.authorization,
        history.rules.state_res.v2_rules().unwrap(),
        &maps,
        chains,
        |id| history.fetch(id),
        |conflicted| {
            let conflicted = conflicted.values().flatten().cloned().collect();
            Some(set(subgraph_of(history, &conflicted)))
        },
    )
    .unwrap();
    resolved.into_iter().map(|(key, id)| (key, history.nodes[&id])).collect()
}

/// What several states share, and where they differ.
pub(super) fn split(states: &[&State]) -> (State, Vec<Conflict>) {
    let keys: BTreeSet<&StateKey> = states.iter().flat_map(|state| state.keys()).collect();
    let mut shared = State::new();
    let mut conflicts = Vec::new();
    for key in keys {
        let nodes: Vec<Option<Node>> = states.iter().map(|state| state.get(key).copied()).collect();
        match nodes[0].filter(|first| nodes.iter().all(|node| *node == Some(*first))) {
            Some(node) => _ = shared.insert(key.clone(), node),
            None => conflicts.push(Conflict { key: key.clone(), nodes }),
        }
    }
    (shared, conflicts)
}

/// The history as the store would show it to resolution.
pub(super) struct Shared<'a> {
    pub(super) history: &'a History,
    pub(super) state: State,
}

impl Room for Shared<'_> {
    fn pdu(&self, node: Node) -> Option<std::sync::Arc<crate::event::Pdu>> {
        self.history.events.get(node as usize).cloned()
    }

    fn node(&self, id: &ruma::EventId) -> Option<Node> {
        self.history.nodes.get(id).copied()
    }

    fn shared(&self, key: &StateKey) -> Option<Node> {
        self.state.get(key).copied()
    }

    fn shared_non_members(&self) -> Vec<(StateKey, Node)> {
        let members = ruma::events::StateEventType::RoomMember;
        self.state.iter().filter(|(key, _)| key.0 != members).map(|(key, node)| (key.clone(), *node)).collect()
    }

    fn shared_nodes(&self) -> Bits {
        self.state.values().copied().collect()
    }
}

/// What `resolve_fork` says, as it is.
pub(super) fn answer(
    history: &History,
    states: &[&State],
) -> Result<(State, BTreeMap<StateKey, Option<Node>>), ResolveError> {
    let (state, conflicts) = split(states);
    let room = Shared { history, state };
    let answer = resolve_fork(&history.graph, &history.rules, &conflicts, &room)?;
    for conflict in &conflicts {
        assert!(answer.contains_key(&conflict.key), "no word about {:?}", conflict.key);
    }
    for key in answer.keys() {
        assert!(!room.state.contains_key(key), "shared key {key:?} was changed");
    }
    Ok((room.state, answer))
}

/// Reduced resolution, laid over the shared state.
pub(super) fn reduced(history: &History, states: &[&State]) -> State {
    let (mut state, answer) = answer(history, states).unwrap();
    state.extend(answer.into_iter().filter_map(|(key, node)| Some((key, node?))));
    state
}

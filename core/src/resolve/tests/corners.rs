//! Corners of resolution that random histories reach seldom or never.

use std::sync::Arc;

use ruma::{EventId, RoomVersionId, events::StateEventType};
use serde_json::json;

use super::{
    history::{History, State, user},
    oracle::{Shared, answer, full, reduced, split},
};
use crate::{
    event::Pdu,
    resolve::{Bits, Conflict, Node, ResolveError, Room, StateKey, resolve_fork},
};

fn key(kind: &str) -> StateKey {
    (StateEventType::from(kind), String::new())
}

/// Two branches: on the first a new topic, on the second new power levels and a topic that cites them.
fn forked(version: &RoomVersionId) -> History {
    let mut history = History::new(version, 3);
    history.tips.push(history.tips[0].clone());
    history.must(0, user(1), "m.room.topic", "", json!({ "topic": "tea" }));
    let levels = history.levels_with(1, "redact", 60);
    history.must(1, user(0), "m.room.power_levels", "", levels);
    history.must(1, user(1), "m.room.topic", "", json!({ "topic": "coffee" }));
    history
}

#[test]
fn a_key_that_no_side_has_can_come_back() {
    // Both branches lost the power levels, but an event of one of them cites some: resolution checks those and keeps them.
    for version in [RoomVersionId::V11, RoomVersionId::V12] {
        let mut history = forked(&version);
        for tip in &mut history.tips {
            tip.state.remove(&key("m.room.power_levels"));
        }
        let states: Vec<&State> = history.tips.iter().map(|tip| &tip.state).collect();
        let (_, answer) = answer(&history, &states).unwrap();
        let came_back = answer[&key("m.room.power_levels")].expect("the power levels");
        assert!(history.events[came_back as usize].content.get().contains("60"));
        assert_eq!(reduced(&history, &states), full(&history, &states));
    }
}

#[test]
fn who_let_somebody_in_counts_as_the_shared_state_has_him() {
    // Bob lets grace in on a branch that does not know that he left. All sides know it now, so in version 11 her join falls;
    // version 12 starts from nothing and believes what the join cites.
    for (version, stands) in [(RoomVersionId::V11, false), (RoomVersionId::V12, true)] {
        let mut history = History::new(&version, 0);
        let (bob, grace) = (user(1), user(6));
        history.must(0, user(0), "m.room.join_rules", "", json!({ "join_rule": "restricted", "allow": [] }));
        let late = history.tips[0].clone();
        history.must(0, bob.clone(), "m.room.member", bob.as_str(), json!({ "membership": "leave" }));
        let without = history.tips[0].clone();
        history.tips.push(late);
        let join = json!({ "membership": "join", "join_authorised_via_users_server": bob });
        history.must(1, grace.clone(), "m.room.member", grace.as_str(), join);
        let key = (StateEventType::RoomMember, grace.to_string());
        let mut with = without.clone();
        with.state.insert(key.clone(), history.tips[1].state[&key]);
        let states = [&with.state, &without.state];
        let (_, answer) = answer(&history, &states).unwrap();
        assert_eq!(answer[&key].is_some(), stands, "room version {version}");
        assert_eq!(reduced(&history, &states), full(&history, &states));
    }
}

#[test]
fn no_conflict_needs_no_resolution() {
    let history = forked(&RoomVersionId::V12);
    let states = [&history.tips[0].state, &history.tips[0].state];
    let (_, answer) = answer(&history, &states).unwrap();
    assert!(answer.is_empty());
}

#[test]
fn sides_that_agree_get_what_they_agree_on() {
    let history = forked(&RoomVersionId::V12);
    let state = history.tips[0].state.clone();
    let topic = state[&key("m.room.topic")];
    let mut shared = state;
    shared.remove(&key("m.room.topic"));
    let room = Shared { history: &history, state: shared };
    let conflicts = [Conflict { key: key("m.room.topic"), nodes: vec![Some(topic), Some(topic)] }];
    let answer = resolve_fork(&history.graph, &history.rules, &conflicts, &room).unwrap();
    assert_eq!(answer, [(key("m.room.topic"), Some(topic))].into());
}

/// A store that lost one event.
struct Torn<'a> {
    whole: Shared<'a>,
    lost: Node,
}

impl Room for Torn<'_> {
    fn pdu(&self, node: Node) -> Option<Arc<Pdu>> {
        (node != self.lost).then(|| self.whole.pdu(node)).flatten()
    }

    fn node(&self, id: &EventId) -> Option<Node> {
        self.whole.node(id)
    }

    fn shared(&self, key: &StateKey) -> Option<Node> {
        self.whole.shared(key)
    }

    fn shared_non_members(&self) -> Vec<(StateKey, Node)> {
        self.whole.shared_non_members()
    }

    fn shared_nodes(&self) -> Bits {
        self.whole.shared_nodes()
    }
}

#[test]
fn a_lost_event_ends_the_resolution_instead_of_bending_it() {
    let history = forked(&RoomVersionId::V12);
    let states: Vec<&State> = history.tips.iter().map(|tip| &tip.state).collect();
    let (shared, conflicts) = split(&states);
    let levels = history.tips[1].state[&key("m.room.power_levels")];
    // A conflicted event, and the create event, which only the algorithm itself asks for.
    for lost in [levels, 0] {
        let room = Torn { whole: Shared { history: &history, state: shared.clone() }, lost };
        let error = resolve_fork(&history.graph, &history.rules, &conflicts, &room).unwrap_err();
        assert!(matches!(error, ResolveError::Missing(node) if node == lost), "{error}");
    }
}

#[test]
fn conflicts_with_different_numbers_of_sides_are_refused() {
    let history = forked(&RoomVersionId::V11);
    let states: Vec<&State> = history.tips.iter().map(|tip| &tip.state).collect();
    let (state, mut conflicts) = split(&states);
    conflicts[1].nodes.push(None);
    let room = Shared { history: &history, state };
    let error = resolve_fork(&history.graph, &history.rules, &conflicts, &room).unwrap_err();
    assert!(matches!(error, ResolveError::Sides { found: 3, expected: 2, .. }), "{error}");
}

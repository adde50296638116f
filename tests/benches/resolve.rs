//! Resolving a fork in rooms of 2,000 and 20,000 members: two sides, 21 changes, room versions 11 and 12.
//!
//! Measures `resolve_fork` alone: the events are parsed and in memory, the shared state is a map. What the store adds is
//! measured where the store is.
//!
//! ```text
//! cargo bench -p hearth-tests --bench resolve
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use criterion::{Criterion, criterion_group, criterion_main};
use hearth_core::{
    event::{Draft, Pdu, rules_of},
    resolve::{AuthGraph, Bits, Conflict, Node, Room, StateKey, auth_keys, resolve_fork},
    types::Millis,
};
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json};

type State = BTreeMap<StateKey, Node>;

/// A room in memory, and the state before it forked.
struct Crowd {
    rules: RoomVersionRules,
    room_id: Option<OwnedRoomId>,
    graph: AuthGraph,
    events: Vec<Arc<Pdu>>,
    nodes: HashMap<OwnedEventId, Node>,
    shared: State,
    shared_nodes: Bits,
}

fn user(number: usize) -> OwnedUserId {
    UserId::parse(format!("@user{number}:server{}.example", number % 50)).unwrap()
}

impl Crowd {
    fn new(version: &RoomVersionId, members: usize) -> Self {
        let rules = rules_of(version).unwrap();
        let derived = rules.authorization.room_create_event_id_as_room_id;
        let mut crowd = Self {
            rules,
            room_id: (!derived).then(|| OwnedRoomId::try_from("!crowd:server0.example").unwrap()),
            graph: AuthGraph::new(),
            events: Vec::new(),
            nodes: HashMap::new(),
            shared: State::new(),
            shared_nodes: Bits::new(),
        };
        let mut state = State::new();
        crowd.send(&mut state, 0, "m.room.create", "", json!({ "room_version": version }));
        crowd.room_id = Some(crowd.events[0].room_id.clone());
        crowd.send(&mut state, 0, "m.room.member", user(0).as_str(), json!({ "membership": "join" }));
        crowd.send(&mut state, 0, "m.room.power_levels", "", crowd.levels(50));
        crowd.send(&mut state, 0, "m.room.join_rules", "", json!({ "join_rule": "public" }));
        for number in 1..members {
            crowd.send(&mut state, number, "m.room.member", user(number).as_str(), json!({ "membership": "join" }));
        }
        crowd.shared = state;
        crowd
    }

    fn levels(&self, redact: u8) -> Value {
        let mut levels = json!({ "users": { user(1): 100, user(2): 100 }, "redact": redact });
        if !self.rules.authorization.explicitly_privilege_room_creators {
            levels["users"][user(0).as_str()] = json!(100);
        }
        levels
    }

    fn send(&mut self, state: &mut State, sender: usize, kind: &str, state_key: &str, content: Value) {
        let sender = user(sender);
        let kind = TimelineEventType::from(kind);
        let raw = serde_json::value::to_raw_value(&content).unwrap();
        let keys = auth_keys(&self.rules.authorization, &kind, &sender, Some(state_key), &raw).unwrap();
        let parents: Vec<Node> = keys.iter().filter_map(|key| state.get(key)).copied().collect();
        let draft = Draft {
            room_id: self.room_id.clone(),
            sender,
            kind: kind.clone(),
            state_key: Some(state_key.to_owned()),
            content: serde_json::from_value(content).unwrap(),
            redacts: None,
            prev_events: self.events.last().map(|pdu| pdu.event_id.clone()).into_iter().collect(),
            auth_events: parents.iter().map(|node| self.events[*node as usize].event_id.clone()).collect(),
            depth: self.events.len() as u64,
            origin_server_ts: Millis(1_700_000_000_000 + self.events.len() as u64),
        };
        let pdu = Arc::new(Pdu::from_object(draft.to_object(&self.rules), &self.rules).unwrap());
        let node = self.graph.push(&parents);
        self.nodes.insert(pdu.event_id.clone(), node);
        self.events.push(pdu);
        state.insert((kind.to_string().into(), state_key.to_owned()), node);
    }

    /// Lets the room fork: eleven changes on one side, ten on the other.
    fn fork(&mut self) -> Vec<Conflict> {
        let mut sides = [self.shared.clone(), self.shared.clone()];
        for (side, state) in sides.iter_mut().enumerate() {
            let admin = 1 + side;
            self.send(state, admin, "m.room.power_levels", "", self.levels(60 + side as u8));
            self.send(state, admin, "m.room.topic", "", json!({ "topic": side }));
            self.send(state, admin, "m.room.name", "", json!({ "name": side }));
            for number in 0..3 {
                let target = user(100 + 10 * side + number);
                self.send(state, admin, "m.room.member", target.as_str(), json!({ "membership": "ban" }));
            }
            for number in 0..5 - side {
                let sender = 200 + number;
                let content = json!({ "membership": "join", "displayname": format!("side {side}") });
                self.send(state, sender, "m.room.member", user(sender).as_str(), content);
            }
        }
        let [one, other] = sides;
        let differing = one.keys().filter(|key| one.get(*key) != other.get(*key));
        let conflicts: Vec<Conflict> = differing
            .chain(other.keys().filter(|key| !one.contains_key(*key)))
            .map(|key| Conflict { key: key.clone(), nodes: vec![one.get(key).copied(), other.get(key).copied()] })
            .collect();
        self.shared.retain(|key, node| one.get(key) == Some(node) && other.get(key) == Some(node));
        self.shared_nodes = self.shared.values().copied().collect();
        conflicts
    }
}

impl Room for Crowd {
    fn pdu(&self, node: Node) -> Option<Arc<Pdu>> {
        self.events.get(node as usize).cloned()
    }

    fn node(&self, id: &EventId) -> Option<Node> {
        self.nodes.get(id).copied()
    }

    fn shared(&self, key: &StateKey) -> Option<Node> {
        self.shared.get(key).copied()
    }

    fn shared_non_members(&self) -> Vec<(StateKey, Node)> {
        let key = |kind: StateEventType| (kind, String::new());
        // Read by name, as a store does that keeps members apart.
        [StateEventType::RoomCreate, StateEventType::RoomJoinRules, StateEventType::RoomPowerLevels]
            .into_iter()
            .filter_map(|kind| Some((key(kind.clone()), *self.shared.get(&key(kind))?)))
            .collect()
    }

    fn shared_nodes(&self) -> Bits {
        self.shared_nodes.clone()
    }
}

fn forks(criterion: &mut Criterion) {
    for version in [RoomVersionId::V11, RoomVersionId::V12] {
        for members in [2_000, 20_000] {
            let mut crowd = Crowd::new(&version, members);
            let conflicts = crowd.fork();
            let answer = resolve_fork(&crowd.graph, &crowd.rules, &conflicts, &crowd).unwrap();
            assert!(answer.len() >= 14 && answer.values().all(Option::is_some), "{answer:?}");
            criterion.bench_function(&format!("resolve_fork/v{version}/{members}_members"), |bencher| {
                bencher.iter(|| resolve_fork(&crowd.graph, &crowd.rules, &conflicts, &crowd).unwrap());
            });
        }
    }
}

criterion_group!(benches, forks);
criterion_main!(benches);

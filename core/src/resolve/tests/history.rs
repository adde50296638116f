//! A room that grows at random in several branches, as it would on servers that do not see each other.
//!
//! Every event is checked as a receiving server would check it, so what enters the graph is what could enter a real one.
//! Signatures are left out: resolution does not look at them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json};

use crate::{
    event::{Draft, Pdu, rules_of},
    resolve::{AuthGraph, Node, StateKey, auth_keys, check_against, check_against_auth_events, check_auth_events},
    types::Millis,
};

pub(super) type State = BTreeMap<StateKey, Node>;

/// One end of the history: the heads and the state after them.
#[derive(Clone)]
pub(super) struct Tip {
    pub(super) heads: Vec<OwnedEventId>,
    pub(super) state: State,
}

/// One random thing that happens. The numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) what: u8,
    pub(super) tip: u8,
    pub(super) actor: u8,
    pub(super) target: u16,
    pub(super) time: u8,
}

/// An event that somebody would like to send.
struct Wish {
    sender: OwnedUserId,
    kind: &'static str,
    state_key: String,
    content: Value,
}

#[derive(Clone)]
pub(super) struct History {
    pub(super) rules: RoomVersionRules,
    pub(super) graph: AuthGraph,
    pub(super) events: Vec<Arc<Pdu>>,
    pub(super) nodes: HashMap<OwnedEventId, Node>,
    pub(super) tips: Vec<Tip>,
    pub(super) room_id: Option<OwnedRoomId>,
    people: u16,
}

/// Those who act. The first made the room, the next five are in it from the start, two are not.
const ACTORS: u16 = 8;
const START: u64 = 1_000_000;

pub(super) fn user(number: u16) -> OwnedUserId {
    let names = ["alice", "bob", "carol", "dan", "erin", "frank", "grace", "heidi"];
    let name = names.get(usize::from(number)).map_or_else(|| format!("guest{number}"), |name| (*name).to_owned());
    UserId::parse(format!("@{name}:s{}.example", number % 5)).unwrap()
}

impl History {
    /// A public room with six active people and `guests` others.
    pub(super) fn new(version: &RoomVersionId, guests: u16) -> Self {
        let rules = rules_of(version).unwrap();
        let derived = rules.authorization.room_create_event_id_as_room_id;
        let mut history = Self {
            rules,
            graph: AuthGraph::new(),
            events: Vec::new(),
            nodes: HashMap::new(),
            tips: vec![Tip { heads: Vec::new(), state: State::new() }],
            room_id: (!derived).then(|| OwnedRoomId::try_from("!room:s0.example").unwrap()),
            people: ACTORS + guests,
        };
        let mut create = json!({ "room_version": version });
        if !history.rules.authorization.use_room_create_sender {
            create["creator"] = json!(user(0));
        }
        history.must(0, user(0), "m.room.create", "", create);
        history.room_id = Some(history.events[0].room_id.clone());
        history.must(0, user(0), "m.room.member", user(0).as_str(), json!({ "membership": "join" }));
        let mut users = json!({ user(1): 100, user(2): 50, user(3): 50 });
        if !derived {
            users[user(0).as_str()] = json!(100);
        }
        history.must(0, user(0), "m.room.power_levels", "", json!({ "users": users, "invite": 0 }));
        history.must(0, user(0), "m.room.join_rules", "", json!({ "join_rule": "public" }));
        for number in (1..6).chain(ACTORS..ACTORS + guests) {
            history.must(0, user(number), "m.room.member", user(number).as_str(), json!({ "membership": "join" }));
        }
        history
    }

    pub(super) fn fetch(&self, id: &EventId) -> Option<Arc<Pdu>> {
        self.nodes.get(id).map(|node| self.events[*node as usize].clone())
    }

    pub(super) fn id(&self, node: Node) -> OwnedEventId {
        self.events[node as usize].event_id.clone()
    }

    /// One of the guests or actors, the actors more often.
    fn target(&self, number: u16) -> OwnedUserId {
        user(if number.is_multiple_of(4) { number / 4 % self.people } else { number / 4 % ACTORS })
    }

    /// Sends what the rules are known to allow.
    pub(super) fn must(
        &mut self,
        tip: usize,
        sender: OwnedUserId,
        kind: &'static str,
        state_key: &str,
        content: Value,
    ) {
        let wish = Wish { sender, kind, state_key: state_key.to_owned(), content };
        let time = START + self.events.len() as u64;
        assert!(self.send(tip, tip, wish, time), "{:?} was refused", self.events.len());
    }

    /// Lets one thing happen. Answers the tips that meet, if that is what happens.
    pub(super) fn step(&mut self, step: Step) -> Option<Vec<usize>> {
        let tips = self.tips.len();
        let tip = usize::from(step.tip) % tips;
        match step.what {
            0..=4 if tips < 6 => self.tips.push(self.tips[tip].clone()),
            0..=4 => {}
            5..=7 => {
                let sides = 2 + usize::from(step.time) % 3;
                return (tips > 1).then(|| (0..sides.min(tips)).map(|side| (tip + side) % tips).collect());
            }
            _ => {
                let wish = self.wish(tip, step);
                // Now and then somebody cites what only another branch has as current, which the rules allow.
                let cited = if step.time.is_multiple_of(5) { usize::from(step.time) % tips } else { tip };
                let time = START + 1_000 + u64::from(step.time);
                self.send(tip, cited, wish, time);
            }
        }
        None
    }

    fn wish(&self, tip: usize, step: Step) -> Wish {
        let sender = user(u16::from(step.actor) % ACTORS);
        // Admins act more often than others, or little would pass.
        let admin = user(u16::from(step.actor) % 4);
        let target = self.target(step.target);
        let flavour = usize::from(step.time) % 4;
        let member = |sender: &OwnedUserId, target: &OwnedUserId, content: Value| Wish {
            sender: sender.clone(),
            kind: "m.room.member",
            state_key: target.to_string(),
            content,
        };
        let other = |sender: &OwnedUserId, kind, state_key: String, content| Wish {
            sender: sender.clone(),
            kind,
            state_key,
            content,
        };
        match step.what % 16 {
            0 => member(&target, &target, json!({ "membership": "join" })),
            1 => member(&sender, &sender, json!({ "membership": "leave" })),
            2 | 3 => member(&admin, &target, json!({ "membership": "leave" })),
            4 | 5 => member(&admin, &target, json!({ "membership": "ban" })),
            6 => member(&sender, &target, json!({ "membership": "invite" })),
            7 => member(&target, &target, json!({ "membership": "join", "join_authorised_via_users_server": admin })),
            8..=10 => other(&admin, "m.room.power_levels", String::new(), self.levels(tip, &target, step)),
            11 => {
                let rule = [json!("public"), json!("invite"), json!("knock"), json!("restricted")][flavour].clone();
                other(&admin, "m.room.join_rules", String::new(), json!({ "join_rule": rule, "allow": [] }))
            }
            12 => other(&admin, "m.room.topic", String::new(), json!({ "topic": step.time })),
            13 => other(&admin, "m.room.name", String::new(), json!({ "name": step.time })),
            14 => other(&admin, "org.example.shelf", flavour.to_string(), json!({ "book": step.time })),
            _ => member(&sender, &sender, json!({ "membership": "join", "displayname": step.time.to_string() })),
        }
    }

    fn levels_at(&self, tip: usize) -> Value {
        let key = (StateEventType::RoomPowerLevels, String::new());
        let node = self.tips[tip].state.get(&key);
        node.map_or_else(|| json!({}), |node| serde_json::from_str(self.events[*node as usize].content.get()).unwrap())
    }

    /// The power levels at a tip with one number changed.
    pub(super) fn levels_with(&self, tip: usize, field: &str, level: u8) -> Value {
        let mut levels = self.levels_at(tip);
        levels[field] = json!(level);
        levels
    }

    /// The power levels at a tip with a random thing changed.
    fn levels(&self, tip: usize, target: &UserId, step: Step) -> Value {
        let mut levels = self.levels_at(tip);
        let level = [0, 50, 75, 100][usize::from(step.time / 4) % 4];
        match step.time % 8 {
            0 => levels["ban"] = json!(level),
            1 => levels["invite"] = json!(level),
            2 => levels["state_default"] = json!(level),
            _ => levels["users"][target.as_str()] = json!(level),
        }
        levels
    }

    /// Sends what is wished, if the rules allow it at the tip.
    fn send(&mut self, tip: usize, cited: usize, wish: Wish, time: u64) -> bool {
        let content = serde_json::from_value(wish.content).unwrap();
        let kind = TimelineEventType::from(wish.kind);
        let raw = serde_json::value::to_raw_value(&content).unwrap();
        let rules = self.rules.clone();
        let auth = &rules.authorization;
        let Ok(keys) = auth_keys(auth, &kind, &wish.sender, Some(&wish.state_key), &raw) else { return false };
        let basis = &self.tips[cited].state;
        let auth_events = keys.iter().filter_map(|key| basis.get(key)).map(|node| self.id(*node)).collect();
        let draft = Draft {
            room_id: self.room_id.clone(),
            sender: wish.sender,
            kind,
            state_key: Some(wish.state_key),
            content,
            redacts: None,
            prev_events: self.tips[tip].heads.clone(),
            auth_events,
            depth: self.events.len() as u64,
            origin_server_ts: Millis(time),
        };
        let pdu = Arc::new(Pdu::from_object(draft.to_object(&rules), &rules).unwrap());
        if self.nodes.contains_key(&pdu.event_id) || !self.allows(tip, &pdu) {
            return false;
        }
        self.accept(tip, pdu);
        true
    }

    fn allows(&self, tip: usize, pdu: &Pdu) -> bool {
        let state = |kind: &StateEventType, key: &str| {
            let node = self.tips[tip].state.get(&(kind.clone(), key.to_owned()))?;
            Some(self.events[*node as usize].clone())
        };
        check_auth_events(&self.rules, pdu, &|id| self.fetch(id)).is_ok()
            && check_against_auth_events(&self.rules, pdu, &|id| self.fetch(id)).is_ok()
            && check_against(&self.rules, pdu, &state).is_ok()
    }

    fn accept(&mut self, tip: usize, pdu: Arc<Pdu>) {
        let parents: Vec<Node> = pdu.auth_events.iter().map(|id| self.nodes[id]).collect();
        let node = self.graph.push(&parents);
        self.nodes.insert(pdu.event_id.clone(), node);
        let tip = &mut self.tips[tip];
        tip.heads = vec![pdu.event_id.clone()];
        tip.state.insert((pdu.kind.to_string().into(), pdu.state_key.clone().unwrap()), node);
        self.events.push(pdu);
    }

    /// Makes one tip of several.
    pub(super) fn merge(&mut self, mut meeting: Vec<usize>, state: State) {
        let heads = meeting.iter().flat_map(|tip| self.tips[*tip].heads.clone()).collect();
        meeting.sort_unstable();
        for tip in meeting.iter().rev() {
            self.tips.remove(*tip);
        }
        self.tips.push(Tip { heads, state });
    }
}

//! Each way to be refused by checks 4 and 5, in every room version that works here.

use std::{collections::HashMap, sync::Arc};

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json};

use super::history::{History, user};
use crate::{
    event::{Draft, Pdu, ROOM_VERSIONS},
    resolve::{AuthError, auth_keys, check_against, check_against_auth_events, check_auth_events},
    types::Millis,
};

/// A room and, beside its accepted events, whatever a test makes up.
struct Court {
    history: History,
    extra: HashMap<OwnedEventId, Arc<Pdu>>,
}

impl Court {
    fn new(version: &RoomVersionId) -> Self {
        Self { history: History::new(version, 0), extra: HashMap::new() }
    }

    fn rules(&self) -> &RoomVersionRules {
        &self.history.rules
    }

    fn derived(&self) -> bool {
        self.rules().authorization.room_create_event_id_as_room_id
    }

    fn state(&self, kind: &str, state_key: &str) -> Option<Arc<Pdu>> {
        let node = self.history.tips[0].state.get(&(StateEventType::from(kind), state_key.to_owned()))?;
        Some(self.history.events[*node as usize].clone())
    }

    fn id(&self, kind: &str, state_key: &str) -> OwnedEventId {
        self.state(kind, state_key).unwrap().event_id.clone()
    }

    /// What a message of bob must cite.
    fn cited_by_bob(&self) -> Vec<OwnedEventId> {
        let mut cited = vec![self.id("m.room.power_levels", ""), self.id("m.room.member", user(1).as_str())];
        if !self.derived() {
            cited.push(self.id("m.room.create", ""));
        }
        cited
    }

    fn event(&self, sender: OwnedUserId, kind: &str, content: Value, auth_events: Vec<OwnedEventId>) -> Draft {
        Draft {
            room_id: self.history.room_id.clone(),
            sender,
            kind: TimelineEventType::from(kind),
            state_key: None,
            content: serde_json::from_value(content).unwrap(),
            redacts: None,
            prev_events: self.history.tips[0].heads.clone(),
            auth_events,
            depth: 20,
            origin_server_ts: Millis(2_000_000),
        }
    }

    fn message(&self, auth_events: Vec<OwnedEventId>) -> Pdu {
        self.made(&self.event(user(1), "m.room.message", json!({ "body": "hi", "msgtype": "m.text" }), auth_events))
    }

    fn made(&self, draft: &Draft) -> Pdu {
        Pdu::from_object(draft.to_object(self.rules()), self.rules()).unwrap()
    }

    fn fetch(&self, id: &EventId) -> Option<Arc<Pdu>> {
        self.extra.get(id).cloned().or_else(|| self.history.fetch(id))
    }

    fn check_4(&self, pdu: &Pdu) -> Result<(), AuthError> {
        check_auth_events(self.rules(), pdu, &|id| self.fetch(id))
    }

    fn check_4_state(&self, pdu: &Pdu) -> Result<(), AuthError> {
        check_against_auth_events(self.rules(), pdu, &|id| self.fetch(id))
    }

    fn check_5(&self, pdu: &Pdu) -> Result<(), AuthError> {
        check_against(self.rules(), pdu, &|kind, key| self.state(&kind.to_string(), key))
    }

    /// Check 4 must refuse, and for this reason.
    fn refuses(&self, pdu: &Pdu, why: &str) {
        match self.check_4(pdu) {
            Err(AuthError::AuthEvents(reason)) => assert!(reason.contains(why), "{reason}, not {why}"),
            other => panic!("{other:?} instead of {why}"),
        }
    }
}

/// Runs a test in a room of every version.
fn everywhere(test: impl Fn(Court)) {
    for version in &ROOM_VERSIONS {
        println!("room version {version}");
        test(Court::new(version));
    }
}

#[test]
fn a_message_that_cites_what_it_must_passes() {
    everywhere(|court| {
        let message = court.message(court.cited_by_bob());
        assert_eq!(court.check_4(&message), Ok(()));
        assert_eq!(court.check_4_state(&message), Ok(()));
        assert_eq!(court.check_5(&message), Ok(()));
    });
}

#[test]
fn two_auth_events_of_one_place_reject() {
    everywhere(|mut court| {
        let cited = court.cited_by_bob();
        let levels = court.history.levels_with(0, "redact", 60);
        court.history.must(0, user(0), "m.room.power_levels", "", levels);
        let twice = [cited, vec![court.id("m.room.power_levels", "")]].concat();
        court.refuses(&court.message(twice), "duplicate");
    });
}

#[test]
fn an_auth_event_that_nobody_asked_for_rejects() {
    everywhere(|court| {
        let more = [court.cited_by_bob(), vec![court.id("m.room.join_rules", "")]].concat();
        court.refuses(&court.message(more), "unexpected");
    });
}

#[test]
fn a_rejected_auth_event_rejects() {
    everywhere(|mut court| {
        let mut levels = Pdu::clone(&court.state("m.room.power_levels", "").unwrap());
        levels.rejected = true;
        court.extra.insert(levels.event_id.clone(), Arc::new(levels));
        court.refuses(&court.message(court.cited_by_bob()), "rejected");
    });
}

#[test]
fn an_auth_event_of_another_room_rejects() {
    everywhere(|mut court| {
        let mut foreign = court.event(user(0), "m.room.power_levels", json!({}), vec![]);
        foreign.state_key = Some(String::new());
        let other = if court.derived() { "!0123456789012345678901234567890123456789012" } else { "!other:s0.example" };
        foreign.room_id = Some(OwnedRoomId::try_from(other).unwrap());
        let foreign = court.made(&foreign);
        let mut cited = court.cited_by_bob();
        cited[0] = foreign.event_id.clone();
        court.extra.insert(foreign.event_id.clone(), Arc::new(foreign));
        court.refuses(&court.message(cited), "not in the same room");
    });
}

#[test]
fn an_auth_event_that_is_no_state_rejects() {
    everywhere(|mut court| {
        let chatter = court.message(court.cited_by_bob());
        let more = [court.cited_by_bob(), vec![chatter.event_id.clone()]].concat();
        court.extra.insert(chatter.event_id.clone(), Arc::new(chatter));
        court.refuses(&court.message(more), "no `state_key`");
    });
}

#[test]
fn an_unknown_auth_event_is_no_rejection_yet() {
    everywhere(|court| {
        let unknown = EventId::parse("$0123456789012345678901234567890123456789012").unwrap();
        let more = court.message([court.cited_by_bob(), vec![unknown.clone()]].concat());
        assert_eq!(court.check_4(&more), Err(AuthError::Unknown(unknown.clone())));
        assert_eq!(court.check_4_state(&more), Err(AuthError::Unknown(unknown)));
    });
}

#[test]
fn the_create_event_is_listed_before_version_12_and_never_after() {
    everywhere(|mut court| {
        let create = court.history.events[0].event_id.clone();
        let mut cited = court.cited_by_bob();
        if court.derived() {
            let more = [cited.clone(), vec![create.clone()]].concat();
            assert!(matches!(court.check_4(&court.message(more)), Err(AuthError::AuthEvents(_))));
            let mut rejected = Pdu::clone(&court.history.events[0]);
            rejected.rejected = true;
            court.extra.insert(create, Arc::new(rejected));
            court.refuses(&court.message(cited), "rejected `m.room.create`");
        } else {
            cited.retain(|id| *id != create);
            court.refuses(&court.message(cited), "no `m.room.create`");
        }
    });
}

#[test]
fn a_create_event_must_be_one() {
    everywhere(|court| {
        let mut create = court.event(user(0), "m.room.create", json!({ "creator": user(0) }), vec![]);
        create.state_key = Some(String::new());
        let first_room = create.room_id.clone();
        court.refuses(&court.made(&create), "previous events");
        create.prev_events.clear();
        if court.derived() {
            court.refuses(&court.made(&create), "`room_id`");
            create.room_id = None;
            assert_eq!(court.check_4(&court.made(&create)), Ok(()));
            create.content.insert("additional_creators".into(), "not a list".into());
            assert!(court.check_4(&court.made(&create)).is_err());
            return;
        }
        assert_eq!(court.check_4(&court.made(&create)), Ok(()));
        create.room_id = Some(OwnedRoomId::try_from("!room:elsewhere.example").unwrap());
        court.refuses(&court.made(&create), "server name");
        create.room_id = first_room;
        create.content.clear();
        let creator_needed = !court.rules().authorization.use_room_create_sender;
        assert_eq!(court.check_4(&court.made(&create)).is_err(), creator_needed);
    });
}

#[test]
fn strangers_and_the_weak_are_refused() {
    everywhere(|court| {
        let denied = |draft: &Draft, why: &str| match court.check_5(&court.made(draft)) {
            Err(AuthError::NotAllowed(reason)) => assert!(reason.contains(why), "{reason}, not {why}"),
            other => panic!("{other:?} instead of {why}"),
        };
        denied(&court.event(user(6), "m.room.message", json!({}), vec![]), "membership");
        let mut topic = court.event(user(4), "m.room.topic", json!({ "topic": "mine" }), vec![]);
        topic.state_key = Some(String::new());
        denied(&topic, "power");
        let mut kick = court.event(user(4), "m.room.member", json!({ "membership": "leave" }), vec![]);
        kick.state_key = Some(user(1).to_string());
        denied(&kick, "power");
        let mut levels = court.event(user(2), "m.room.power_levels", json!({ "users": { user(2): 100 } }), vec![]);
        levels.state_key = Some(String::new());
        denied(&levels, "power");
    });
}

#[test]
fn what_an_event_cites_must_itself_allow_it() {
    // The state allows bob's message, but he does not cite that he joined.
    everywhere(|court| {
        let mut cited = court.cited_by_bob();
        cited.remove(1);
        let message = court.message(cited);
        assert_eq!(court.check_4(&message), Ok(()));
        assert_eq!(court.check_5(&message), Ok(()));
        assert!(matches!(court.check_4_state(&message), Err(AuthError::NotAllowed(_))));
    });
}

#[test]
fn the_places_that_decide_depend_on_the_version() {
    everywhere(|court| {
        let rules = &court.rules().authorization;
        let raw = |content: Value| serde_json::value::to_raw_value(&content).unwrap();
        let join = raw(json!({ "membership": "join", "join_authorised_via_users_server": user(2) }));
        let member = TimelineEventType::RoomMember;
        let keys = auth_keys(rules, &member, &user(6), Some(user(6).as_str()), &join).unwrap();
        let has = |kind: StateEventType, key: &str| keys.contains(&(kind, key.to_owned()));
        assert_eq!(has(StateEventType::RoomCreate, ""), !court.derived());
        assert_eq!(has(StateEventType::RoomMember, user(2).as_str()), rules.restricted_join_rule);
        assert!(has(StateEventType::RoomMember, user(6).as_str()));
        assert!(has(StateEventType::RoomJoinRules, "") && has(StateEventType::RoomPowerLevels, ""));
        for (state_key, content) in [(None, json!({ "membership": "join" })), (Some("@a:b.example"), json!({}))] {
            let refused = auth_keys(rules, &member, &user(6), state_key, &raw(content));
            assert!(matches!(refused, Err(AuthError::Malformed(_))), "{refused:?}");
        }
    });
}

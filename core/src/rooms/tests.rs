//! The room engine, held against small histories on two and three stores. No network: events are handed over by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    event::{Draft, Pdu, verify},
    store::{Store, StoreConfig, Stored, View, WriteTx},
    types::{LocalServer, Millis},
};

/// A server without network: a store, a key, one user.
struct Phone {
    local: LocalServer,
    store: Store,
    user: OwnedUserId,
}

fn object(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

impl Phone {
    fn new(name: &str, secret: u8) -> Self {
        let local = LocalServer::new(&[secret; 32]);
        let store = Store::open(&StoreConfig::memory(), &local.name).unwrap();
        let user = UserId::parse(format!("@{name}:{}", local.name)).unwrap();
        Self { local, store, user }
    }

    async fn job<T: Send + 'static>(
        &self,
        job: impl FnMut(&mut WriteTx<'_>, &LocalServer) -> Result<T, RoomError> + Send + 'static,
    ) -> Result<T, RoomError> {
        let local = self.local.clone();
        let mut job = job;
        self.store.write(move |tx| job(tx, &local)).await
    }

    async fn create(&self, version: RoomVersionId) -> OwnedRoomId {
        let creator = self.user.clone();
        let room = self
            .job(move |tx, local| {
                let content = object(json!({ "room_version": version, "creator": creator }));
                let fresh = ruma::RoomId::parse(format!("!fresh:{}", local.name)).unwrap();
                start_room(tx, local, Millis(1), &version, &creator, content, &fresh)
            })
            .await
            .unwrap();
        self.member(&room, &self.user, "join").await.unwrap();
        let levels = match self.version(&room) {
            RoomVersionId::V12 => json!({ "users": {} }),
            _ => json!({ "users": { self.user.as_str(): 100 } }),
        };
        self.state(&room, "m.room.power_levels", "", levels).await.unwrap();
        self.state(&room, "m.room.join_rules", "", json!({ "join_rule": "public" })).await.unwrap();
        room
    }

    fn version(&self, room: &ruma::RoomId) -> RoomVersionId {
        Room::find(&self.store.snapshot().unwrap(), room).unwrap().unwrap().version
    }

    async fn event(
        &self,
        room: &OwnedRoomId,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
        redacts: Option<OwnedEventId>,
    ) -> Result<OwnedEventId, RoomError> {
        let new = NewEvent {
            room: room.clone(),
            sender: self.user.clone(),
            kind: kind.into(),
            state_key: state_key.map(ToOwned::to_owned),
            content: object(content),
            redacts,
            txn: None,
            timestamp: None,
        };
        self.job(move |tx, local| send_in(tx, local, Millis(2), &new)).await
    }

    async fn state(
        &self,
        room: &OwnedRoomId,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<OwnedEventId, RoomError> {
        self.event(room, kind, Some(key), content, None).await
    }

    async fn member(&self, room: &OwnedRoomId, user: &UserId, to: &str) -> Result<OwnedEventId, RoomError> {
        self.state(room, "m.room.member", user.as_str(), json!({ "membership": to })).await
    }

    async fn say(&self, room: &OwnedRoomId, body: &str) -> OwnedEventId {
        self.event(room, "m.room.message", None, json!({ "msgtype": "m.text", "body": body }), None).await.unwrap()
    }

    fn pdu(&self, id: &ruma::EventId) -> Pdu {
        Stored::by_id(&self.store.snapshot().unwrap(), id).unwrap().unwrap().pdu
    }

    /// An event of `from`, through the wire's checks and then ours.
    async fn receive(&self, from: &Self, id: &ruma::EventId) -> Result<Applied, ApplyError> {
        self.receive_pdu(from.pdu(id), Past::Prevs).await
    }

    async fn receive_pdu(&self, pdu: Pdu, past: Past) -> Result<Applied, ApplyError> {
        let version = self.version(&pdu.room_id);
        let pdu = verify(&self.local, pdu.json(), &pdu.room_id, &version).unwrap();
        let (local, incoming) = (self.local.clone(), Incoming { pdu, past, relay: false });
        self.store.write(move |tx| apply(tx, &local, &incoming)).await
    }

    /// Joins a room of `host` as `make_join` and `send_join` do.
    async fn join(&self, host: &Self, room: &OwnedRoomId) {
        let snapshot = host.store.snapshot().unwrap();
        let there = Room::find(&snapshot, room).unwrap().unwrap();
        let new = NewEvent {
            room: room.clone(),
            sender: self.user.clone(),
            kind: TimelineEventType::RoomMember,
            state_key: Some(self.user.to_string()),
            content: object(json!({ "membership": "join" })),
            redacts: None,
            txn: None,
            timestamp: None,
        };
        let event = draft(&snapshot, &there, Millis(3), &new).unwrap().sign(&self.local, &there.rules).unwrap();
        let state: Vec<Pdu> = host.current(room).into_iter().map(|id| host.pdu(&id)).collect();
        let chain = host.auth_chain(&state);
        host.receive_pdu(event.clone(), Past::Prevs).await.unwrap();
        let imported =
            ImportedRoom { version: there.version.clone(), room: room.clone(), state, auth_chain: chain, event };
        let local = self.local.clone();
        let applied = self.store.write(move |tx| import(tx, &local, &imported)).await.unwrap();
        assert!(matches!(applied, Applied::Accepted { .. }), "{applied:?}");
    }

    fn auth_chain(&self, state: &[Pdu]) -> Vec<Pdu> {
        let mut chain: Vec<Pdu> = Vec::new();
        let mut open: Vec<OwnedEventId> = state.iter().flat_map(|pdu| pdu.auth_events.clone()).collect();
        while let Some(id) = open.pop() {
            if chain.iter().all(|pdu| pdu.event_id != id) {
                let pdu = self.pdu(&id);
                open.extend(pdu.auth_events.clone());
                chain.push(pdu);
            }
        }
        chain
    }

    /// The ids of the current state's events, sorted.
    fn current(&self, room: &OwnedRoomId) -> Vec<OwnedEventId> {
        let snapshot = self.store.snapshot().unwrap();
        let room = Room::find(&snapshot, room).unwrap().unwrap();
        let all = room.record.current().all(&snapshot, room.key).unwrap();
        let mut ids: Vec<_> = all.values().map(|esn| Stored::must(&snapshot, *esn).unwrap().pdu.event_id).collect();
        ids.sort();
        ids
    }

    fn heads(&self, room: &OwnedRoomId) -> usize {
        Room::find(&self.store.snapshot().unwrap(), room).unwrap().unwrap().record.heads.len()
    }

    fn topic(&self, room: &OwnedRoomId) -> Option<String> {
        let snapshot = self.store.snapshot().unwrap();
        let room = Room::find(&snapshot, room).unwrap().unwrap();
        let event = room.current_event(&snapshot, &StateEventType::RoomTopic, "").unwrap()?;
        event.pdu.content_as::<Value>().unwrap()["topic"].as_str().map(ToOwned::to_owned)
    }

    fn timeline(&self, room: &OwnedRoomId) -> Vec<OwnedEventId> {
        let snapshot = self.store.snapshot().unwrap();
        let room = Room::find(&snapshot, room).unwrap().unwrap();
        let range = (std::ops::Bound::Included((room.key.0, 0)), std::ops::Bound::Included((room.key.0, u64::MAX)));
        let rows = snapshot.tl().unwrap().between(range.0, range.1).unwrap();
        rows.map(|row| Stored::must(&snapshot, row.unwrap().1.value()).unwrap().pdu.event_id).collect()
    }
}

const VERSIONS: [RoomVersionId; 4] = [RoomVersionId::V6, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];

#[tokio::test]
async fn a_room_grows_on_one_server_and_refuses_strangers() {
    for version in VERSIONS {
        let alice = Phone::new("alice", 1);
        let room = alice.create(version.clone()).await;
        let first = alice.say(&room, "one").await;
        let second = alice.say(&room, "two").await;
        assert_eq!(alice.timeline(&room).last_chunk::<2>().unwrap(), &[first.clone(), second.clone()], "{version}");
        assert_eq!(alice.pdu(&second).prev_events, [first], "{version}");
        assert_eq!(alice.heads(&room), 1);
        let stranger = Phone { user: UserId::parse(format!("@eve:{}", alice.local.name)).unwrap(), ..alice };
        let refused = stranger.event(&room, "m.room.message", None, json!({ "body": "hi" }), None).await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{version}: {refused:?}");
        assert_eq!(room.as_str().contains(':'), version != RoomVersionId::V12, "{room}");
    }
}

#[tokio::test]
async fn a_transaction_sent_twice_is_one_event() {
    let alice = Phone::new("alice", 1);
    let room = alice.create(RoomVersionId::V12).await;
    let new = NewEvent {
        room: room.clone(),
        sender: alice.user.clone(),
        kind: TimelineEventType::RoomMessage,
        state_key: None,
        content: object(json!({ "body": "once" })),
        redacts: None,
        txn: Some(ClientTxn { device: "PHONE".into(), id: "t1".into() }),
        timestamp: None,
    };
    let before = alice.timeline(&room).len();
    let again = new.clone();
    let first = alice.job(move |tx, local| send_in(tx, local, Millis(5), &new)).await.unwrap();
    let second = alice.job(move |tx, local| send_in(tx, local, Millis(6), &again)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(alice.timeline(&room).len(), before + 1);
}

#[tokio::test]
async fn two_servers_fork_and_agree_again() {
    for version in VERSIONS {
        let (alice, bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        let room = alice.create(version.clone()).await;
        bob.join(&alice, &room).await;
        assert_eq!(alice.current(&room), bob.current(&room), "{version}");
        let levels = match version {
            RoomVersionId::V12 => json!({ "users": { bob.user.as_str(): 50 } }),
            _ => json!({ "users": { alice.user.as_str(): 100, bob.user.as_str(): 50 } }),
        };
        let levels = alice.state(&room, "m.room.power_levels", "", levels).await.unwrap();
        bob.receive(&alice, &levels).await.unwrap();

        // Cut off from one another, both change the topic and talk.
        let ours = [
            alice.state(&room, "m.room.topic", "", json!({ "topic": "alice's" })).await.unwrap(),
            alice.say(&room, "from alice").await,
        ];
        let theirs = [
            bob.state(&room, "m.room.topic", "", json!({ "topic": "bob's" })).await.unwrap(),
            bob.say(&room, "from bob").await,
        ];
        for id in &ours {
            assert!(matches!(bob.receive(&alice, id).await.unwrap(), Applied::Accepted { .. }), "{version}");
        }
        for id in &theirs {
            assert!(matches!(alice.receive(&bob, id).await.unwrap(), Applied::Accepted { .. }), "{version}");
        }
        assert_eq!((alice.heads(&room), bob.heads(&room)), (2, 2));
        assert_eq!(alice.current(&room), bob.current(&room), "{version}");
        assert_eq!(alice.topic(&room), bob.topic(&room), "{version}");
        let merge = alice.say(&room, "merged").await;
        assert_eq!(alice.pdu(&merge).prev_events.len(), 2);
        bob.receive(&alice, &merge).await.unwrap();
        assert_eq!((alice.heads(&room), bob.heads(&room)), (1, 1));
        assert_eq!(alice.current(&room), bob.current(&room), "{version}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_and_what_is_known_is_not_kept_twice() {
    let (alice, bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let room = alice.create(RoomVersionId::V12).await;
    bob.join(&alice, &room).await;
    let first = alice.say(&room, "first").await;
    let second = alice.say(&room, "second").await;
    let missing = bob.receive(&alice, &second).await.unwrap_err();
    assert!(matches!(&missing, ApplyError::Need { prev, auth } if *prev == [first.clone()] && auth.is_empty()));
    bob.receive(&alice, &first).await.unwrap();
    bob.receive(&alice, &second).await.unwrap();
    assert_eq!(bob.receive(&alice, &second).await.unwrap(), Applied::Known);
    assert_eq!(bob.timeline(&room).iter().filter(|id| **id == second).count(), 1);
}

#[tokio::test]
async fn a_banned_server_is_rejected_by_its_past_and_hidden_by_the_present() {
    let (alice, bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let room = alice.create(RoomVersionId::V11).await;
    bob.join(&alice, &room).await;
    let late = bob.say(&room, "sent before bob heard of the ban").await;
    let ban = alice.member(&room, &bob.user, "ban").await.unwrap();
    let applied = alice.receive(&bob, &late).await.unwrap();
    assert!(matches!(applied, Applied::SoftFailed { .. }), "{applied:?}");
    assert!(!alice.timeline(&room).contains(&late));
    assert_eq!(alice.heads(&room), 1);
    // Bob's server hears of the ban and lies about it: an event on top of the ban.
    bob.receive(&alice, &ban).await.unwrap();
    let snapshot = bob.store.snapshot().unwrap();
    let there = Room::find(&snapshot, &room).unwrap().unwrap();
    let new = NewEvent {
        room: room.clone(),
        sender: bob.user.clone(),
        kind: TimelineEventType::RoomMessage,
        state_key: None,
        content: object(json!({ "body": "still here" })),
        redacts: None,
        txn: None,
        timestamp: None,
    };
    let mut forged = draft(&snapshot, &there, Millis(9), &new).unwrap();
    forged.prev_events = vec![ban];
    let forged = forged.sign(&bob.local, &there.rules).unwrap();
    let applied = alice.receive_pdu(forged, Past::Prevs).await.unwrap();
    assert!(matches!(applied, Applied::Rejected { .. }), "{applied:?}");
}

#[tokio::test]
async fn a_room_begins_once() {
    let (alice, bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let room = alice.create(RoomVersionId::V10).await;
    bob.join(&alice, &room).await;
    let rules = crate::event::rules_of(&RoomVersionId::V10).unwrap();
    let second = Draft {
        room_id: Some(room.clone()),
        sender: alice.user.clone(),
        kind: TimelineEventType::RoomCreate,
        state_key: Some(String::new()),
        content: object(json!({ "creator": alice.user, "room_version": "10" })),
        redacts: None,
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: Millis(77),
    };
    let second = second.sign(&alice.local, &rules).unwrap();
    let applied = bob.receive_pdu(second, Past::Prevs).await.unwrap();
    assert!(matches!(applied, Applied::Rejected { .. }), "{applied:?}");
    assert_eq!(bob.heads(&room), 1);
}

#[tokio::test]
async fn a_redaction_takes_effect_before_and_after_its_target() {
    for version in VERSIONS {
        let (alice, bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
        let room = alice.create(version.clone()).await;
        bob.join(&alice, &room).await;
        let secret = alice.say(&room, "secret").await;
        let redaction = alice.event(&room, "m.room.redaction", None, json!({}), Some(secret.clone())).await.unwrap();
        assert!(!alice.pdu(&secret).content.get().contains("secret"), "{version}");
        bob.receive(&alice, &secret).await.unwrap();
        bob.receive(&alice, &redaction).await.unwrap();
        assert!(!bob.pdu(&secret).content.get().contains("secret"), "{version}");
        // Bob may not redact alice's event: his redaction is accepted into the room and does nothing.
        let kept = alice.say(&room, "kept").await;
        bob.receive(&alice, &kept).await.unwrap();
        let vain = bob.event(&room, "m.room.redaction", None, json!({}), Some(kept.clone())).await;
        if let Ok(vain) = vain {
            alice.receive(&bob, &vain).await.unwrap();
        }
        assert!(alice.pdu(&kept).content.get().contains("kept"), "{version}");
    }
}

#[tokio::test]
async fn history_fills_a_gap_from_below_and_closes_it() {
    let (alice, bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let room = alice.create(RoomVersionId::V12).await;
    let mut said = Vec::new();
    for number in 0..5 {
        said.push(alice.say(&room, &number.to_string()).await);
    }
    bob.join(&alice, &room).await;
    let key = Room::find(&bob.store.snapshot().unwrap(), &room).unwrap().unwrap().key;
    let gap = gaps(&bob.store.snapshot().unwrap(), key).unwrap();
    assert_eq!(gap.len(), 1);
    assert_eq!(gap[0].missing, [said[4].clone()]);
    let older: Vec<Pdu> = said[2..].iter().map(|id| alice.pdu(id)).collect();
    let (id, pos) = (room.clone(), gap[0].pos);
    let fresh = bob.store.write(move |tx| apply_backfill(tx, &id, pos, &older)).await.unwrap();
    assert_eq!(fresh, 3);
    assert_eq!(bob.timeline(&room)[..3], said[2..]);
    let gap = gaps(&bob.store.snapshot().unwrap(), key).unwrap();
    assert_eq!(gap[0].missing, [said[1].clone()]);
    let all: Vec<Pdu> = alice.timeline(&room).iter().map(|id| alice.pdu(id)).collect();
    let (id, pos) = (room.clone(), gap[0].pos);
    bob.store.write(move |tx| apply_backfill(tx, &id, pos, &all)).await.unwrap();
    assert!(gaps(&bob.store.snapshot().unwrap(), key).unwrap().is_empty());
    assert_eq!(bob.timeline(&room), alice.timeline(&room));
}

#[tokio::test]
async fn a_told_state_stands_in_for_parents_that_nobody_has() {
    let (alice, bob) = (Phone::new("alice", 1), Phone::new("bob", 2));
    let room = alice.create(RoomVersionId::V12).await;
    bob.join(&alice, &room).await;
    let lost = alice.state(&room, "m.room.topic", "", json!({ "topic": "while away" })).await.unwrap();
    let state: Vec<Pdu> = alice.current(&room).into_iter().map(|id| alice.pdu(&id)).collect();
    let after = alice.say(&room, "after").await;
    let chain = alice.auth_chain(&state);
    let applied = bob.receive_pdu(alice.pdu(&after), Past::State(state, chain)).await.unwrap();
    assert!(matches!(applied, Applied::Accepted { .. }), "{applied:?}");
    assert_eq!(bob.topic(&room).as_deref(), Some("while away"));
    assert!(bob.timeline(&room).contains(&after));
    assert!(!bob.timeline(&room).contains(&lost));
    // The missing parent turns up after all: it is shown, and is no head.
    bob.receive(&alice, &lost).await.unwrap();
    assert!(bob.timeline(&room).contains(&lost));
    assert_eq!(bob.current(&room), alice.current(&room));
}

#[tokio::test]
async fn a_snapshot_is_not_moved_by_later_writes() {
    let alice = Arc::new(Phone::new("alice", 1));
    let room = alice.create(RoomVersionId::V12).await;
    let snapshot = alice.store.snapshot().unwrap();
    let before = Room::find(&snapshot, &room).unwrap().unwrap().record.seq;
    alice.state(&room, "m.room.topic", "", json!({ "topic": "later" })).await.unwrap();
    let still = Room::find(&snapshot, &room).unwrap().unwrap();
    assert_eq!(still.record.seq, before);
    assert!(still.current_event(&snapshot, &StateEventType::RoomTopic, "").unwrap().is_none());
}

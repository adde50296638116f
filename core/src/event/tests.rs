//! Real signed events through build, wire and check, in every room version that works here; and what must not pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    canonical_json::redact, events::TimelineEventType,
};
use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::types::{LocalServer, Millis};

struct Scene {
    version: RoomVersionId,
    rules: RoomVersionRules,
    alice: LocalServer,
    bob: LocalServer,
}

impl Scene {
    fn user(&self) -> OwnedUserId {
        UserId::parse(format!("@alice:{}", self.alice.name)).unwrap()
    }

    fn room(&self) -> OwnedRoomId {
        match self.version {
            RoomVersionId::V12 => RoomId::parse(format!("!{}", "r".repeat(42) + "A")).unwrap(),
            _ => RoomId::parse(format!("!room:{}", self.alice.name)).unwrap(),
        }
    }

    fn draft(&self, kind: &str, content: Value) -> Draft {
        Draft {
            room_id: Some(self.room()),
            sender: self.user(),
            kind: TimelineEventType::from(kind),
            state_key: None,
            content: serde_json::from_value(content).unwrap(),
            redacts: None,
            prev_events: vec![event_id('p')],
            auth_events: vec![event_id('a'), event_id('b')],
            depth: 7,
            origin_server_ts: Millis(1_700_000_000_000),
        }
    }

    fn message(&self) -> Pdu {
        self.sign(&self.draft("m.room.message", json!({ "msgtype": "m.text", "body": "hello" })))
    }

    fn member(&self) -> Draft {
        let mut draft = self.draft("m.room.member", json!({ "membership": "join", "displayname": "Alice" }));
        draft.state_key = Some(self.user().to_string());
        draft
    }

    fn sign(&self, draft: &Draft) -> Pdu {
        draft.sign(&self.alice, &self.rules).unwrap()
    }

    /// Bob's server looks at what came over the wire.
    fn receive(&self, json: &Value) -> Result<Pdu, Unverified> {
        self.receive_raw(&json.to_string())
    }

    fn receive_raw(&self, json: &str) -> Result<Pdu, Unverified> {
        verify(&self.bob, &RawValue::from_string(json.to_owned()).unwrap(), &self.room(), &self.version)
    }

    fn bad_signature(&self, json: &Value) {
        let found = self.receive(json);
        assert!(matches!(found, Err(Unverified::Signature(_))), "{found:?} for {json}");
    }
}

fn event_id(letter: char) -> OwnedEventId {
    EventId::parse(format!("${}", letter.to_string().repeat(43))).unwrap()
}

fn value(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json().get()).unwrap()
}

fn everywhere(test: impl Fn(Scene)) {
    for version in ROOM_VERSIONS {
        println!("room version {version}");
        let rules = rules_of(&version).unwrap();
        test(Scene { version, rules, alice: LocalServer::new(&[1; 32]), bob: LocalServer::new(&[2; 32]) });
    }
}

#[test]
fn what_is_signed_here_verifies_there() {
    everywhere(|scene| {
        let sent = scene.message();
        let mut wire = value(&sent);
        wire["unsigned"] = json!({ "age": 5, "padding": "x".repeat(1_000) });
        let received = scene.receive(&wire).unwrap();
        assert_eq!(received.event_id, sent.event_id);
        assert_eq!(received.json().get(), sent.json().get());
        assert_eq!(received.room_id, scene.room());
        assert_eq!(received.content.get(), r#"{"body":"hello","msgtype":"m.text"}"#);
        assert_eq!((received.depth, received.origin_server_ts), (7, Millis(1_700_000_000_000)));
        assert!(!received.is_state() && !received.rejected);
        let stored = Pdu::from_stored(sent.event_id.clone(), sent.json().to_owned()).unwrap();
        assert_eq!(value(&stored), value(&sent));
    });
}

#[test]
fn changed_content_is_redacted_and_keeps_its_id() {
    everywhere(|scene| {
        let sent = scene.message();
        let mut wire = value(&sent);
        wire["content"]["body"] = json!("forged");
        let received = scene.receive(&wire).unwrap();
        assert_eq!(received.event_id, sent.event_id);
        assert_eq!(received.content.get(), "{}");

        let sent = scene.sign(&scene.member());
        let mut wire = value(&sent);
        wire["content"]["displayname"] = json!("Mallory");
        let received = scene.receive(&wire).unwrap();
        assert_eq!(received.event_id, sent.event_id);
        assert_eq!(received.content.get(), r#"{"membership":"join"}"#);
    });
}

#[test]
fn a_changed_key_that_redaction_keeps_breaks_the_signature() {
    everywhere(|scene| {
        let wire = value(&scene.sign(&scene.member()));
        for (key, forged) in [
            ("type", json!("m.room.other")),
            ("state_key", json!("@bob:example.org")),
            ("sender", json!(format!("@mallory:{}", scene.alice.name))),
            ("depth", json!(8)),
            ("origin_server_ts", json!(1)),
            ("prev_events", json!([event_id('q')])),
            ("auth_events", json!([])),
            ("room_id", json!(event_id('z').as_str().replace('$', "!"))),
        ] {
            let mut wire = wire.clone();
            wire[key] = forged;
            scene.bad_signature(&wire);
        }
        let mut wire = wire.clone();
        wire["content"]["membership"] = json!("leave");
        scene.bad_signature(&wire);
    });
}

#[test]
fn only_the_senders_server_can_sign() {
    everywhere(|scene| {
        let draft = scene.draft("m.room.message", json!({ "body": "as alice" }));
        // In bob's own name; in alice's name with bob's key; by nobody.
        let by_bob = draft.sign(&scene.bob, &scene.rules).unwrap();
        scene.bad_signature(&value(&by_bob));
        let impostor = LocalServer::with_name(&[2; 32], scene.alice.name.clone());
        scene.bad_signature(&value(&draft.sign(&impostor, &scene.rules).unwrap()));
        let mut unsigned = value(&scene.message());
        unsigned["signatures"] = json!({});
        scene.bad_signature(&unsigned);
    });
}

#[test]
fn a_dns_name_cannot_be_checked_from_its_name() {
    everywhere(|scene| {
        let gateway = LocalServer::with_name(&[3; 32], "gateway.example".try_into().unwrap());
        let mut draft = scene.draft("m.room.message", json!({ "body": "hi" }));
        draft.sender = UserId::parse("@carol:gateway.example").unwrap();
        let wire = value(&draft.sign(&gateway, &scene.rules).unwrap());
        scene.bad_signature(&wire);
        // The gateway knows its own key.
        let raw = RawValue::from_string(wire.to_string()).unwrap();
        assert!(verify(&gateway, &raw, &scene.room(), &scene.version).is_ok());
    });
}

#[test]
fn a_restricted_join_needs_the_authorisers_signature_too() {
    everywhere(|scene| {
        let mut draft = scene.member();
        let authoriser = format!("@bob:{}", scene.bob.name);
        draft.content.insert("join_authorised_via_users_server".into(), authoriser.into());
        let wire = value(&scene.sign(&draft));
        if !scene.rules.signatures.check_join_authorised_via_users_server {
            assert!(scene.receive(&wire).is_ok());
            return;
        }
        scene.bad_signature(&wire);
        let object: CanonicalJsonObject = serde_json::from_value(wire).unwrap();
        let both = sign_object(object, &scene.bob, &scene.rules).unwrap();
        assert_eq!(scene.receive(&value(&both)).unwrap().event_id, both.event_id);
    });
}

#[test]
fn too_large_is_neither_made_nor_taken() {
    everywhere(|scene| {
        let of = |body_bytes| scene.draft("m.room.message", json!({ "body": "x".repeat(body_bytes) }));
        let envelope = scene.sign(&of(0)).json().get().len();
        let too_large = |body_bytes| match of(body_bytes).sign(&scene.alice, &scene.rules) {
            Err(BuildError::TooLarge { limit: 65_536, .. }) => true,
            other => panic!("{body_bytes}: {other:?}"),
        };
        // Far beyond; beyond before it is signed; beyond only with its signature; just right.
        assert!(too_large(200_000) && too_large(65_536) && too_large(65_536 - envelope));
        let fits = scene.sign(&of(65_535 - envelope));
        assert_eq!(scene.receive(&value(&fits)).unwrap().event_id, fits.event_id);
        let mut long_key = scene.member();
        long_key.state_key = Some("k".repeat(256));
        let refused = long_key.sign(&scene.alice, &scene.rules);
        assert!(matches!(refused, Err(BuildError::TooLarge { bytes: 256, limit: 255 })), "{refused:?}");
        let mut wire = value(&scene.message());
        for body_bytes in [65_536, 300_000] {
            wire["content"]["body"] = json!("x".repeat(body_bytes));
            let found = scene.receive(&wire);
            assert!(matches!(found, Err(Unverified::Malformed(_))), "{body_bytes}: {found:?}");
        }
    });
}

#[test]
fn numbers_outside_canonical_json_are_malformed() {
    everywhere(|scene| {
        let wire = value(&scene.message()).to_string();
        for number in ["1.5", "9007199254740992", "1e3", "-9007199254740992"] {
            let forged = wire.replace(r#""hello""#, number);
            assert_ne!(forged, wire);
            let found = scene.receive_raw(&forged);
            assert!(matches!(found, Err(Unverified::Malformed(_))), "{number}: {found:?}");
        }
        for json in ["[]", "\"event\"", "{}", "null"] {
            assert!(matches!(scene.receive_raw(json), Err(Unverified::Malformed(_))), "{json}");
        }
    });
}

#[test]
fn another_rooms_event_and_another_worlds_version_are_refused() {
    everywhere(|scene| {
        let raw = scene.message().json().to_owned();
        let other = RoomId::parse("!other:example.org").unwrap();
        assert!(matches!(verify(&scene.bob, &raw, &other, &scene.version), Err(Unverified::OtherRoom(_))));
        for version in [RoomVersionId::V1, RoomVersionId::V5, RoomVersionId::try_from("org.example.x").unwrap()] {
            let found = verify(&scene.bob, &raw, &scene.room(), &version);
            assert!(matches!(found, Err(Unverified::Version(_))), "{version}: {found:?}");
        }
    });
}

#[test]
fn a_version_12_room_is_named_by_its_create_event() {
    everywhere(|scene| {
        let mut draft = scene.draft("m.room.create", json!({ "room_version": scene.version, "creator": scene.user() }));
        draft.state_key = Some(String::new());
        draft.prev_events.clear();
        draft.auth_events.clear();
        let derived = scene.rules.authorization.room_create_event_id_as_room_id;
        if derived {
            draft.room_id = None;
        }
        let create = scene.sign(&draft);
        let named = value(&create).get("room_id").is_some();
        assert_eq!(named, !derived);
        assert_eq!(ruma::state_res::Event::room_id(&create).is_some(), named);
        if derived {
            assert_eq!(create.room_id.as_str(), create.event_id.as_str().replace('$', "!"));
        }
        let received = verify(&scene.bob, create.json(), &create.room_id, &scene.version).unwrap();
        assert_eq!((received.event_id, received.room_id), (create.event_id.clone(), create.room_id.clone()));
        let other = RoomId::parse(format!("!{}", "o".repeat(42) + "A")).unwrap();
        assert!(matches!(verify(&scene.bob, create.json(), &other, &scene.version), Err(Unverified::OtherRoom(_))));
        // Nothing but a create event may leave its room out.
        let mut homeless = scene.draft("m.room.message", json!({}));
        homeless.room_id = None;
        assert!(homeless.sign(&scene.alice, &scene.rules).is_err());
    });
}

#[test]
fn redaction_keeps_the_id_and_drops_the_words() {
    everywhere(|scene| {
        for pdu in [scene.message(), scene.sign(&scene.member())] {
            let stripped = redacted(pdu.object().unwrap(), &scene.rules).unwrap();
            let again = redact(stripped.clone(), &scene.rules.redaction, None).unwrap();
            assert_eq!(stripped, again);
            let stripped = Pdu::from_object(stripped, &scene.rules).unwrap();
            assert_eq!(stripped.event_id, pdu.event_id);
            assert_ne!(stripped.content.get(), pdu.content.get());
            assert!(scene.receive(&value(&stripped)).is_ok(), "a redacted event still carries its signature");
        }
    });
}

#[test]
fn a_redactions_target_is_where_the_version_puts_it() {
    everywhere(|scene| {
        let mut draft = scene.draft("m.room.redaction", json!({ "reason": "spam" }));
        draft.redacts = Some(event_id('t'));
        let pdu = scene.sign(&draft);
        let inside = scene.rules.redaction.content_field_redacts;
        assert_eq!(value(&pdu)["content"].get("redacts").is_some(), inside);
        assert_eq!(value(&pdu).get("redacts").is_some(), !inside);
        assert_eq!(scene.receive(&value(&pdu)).unwrap().redacts, Some(event_id('t')));
        let shown: Value = serde_json::from_str(client_event(&pdu, &ClientFormat::default()).get()).unwrap();
        assert_eq!((&shown["redacts"], &shown["content"]["redacts"]), (&json!(event_id('t')), &json!(event_id('t'))));
    });
}

#[test]
fn a_stray_redacts_field_harms_nobody() {
    // A message whose `redacts` was a number used to be dropped here, and by no other server: a split room.
    everywhere(|scene| {
        for kind in ["m.room.message", "m.room.redaction"] {
            for stray in [json!(5), json!("no id"), json!(null), json!({})] {
                let mut object = scene.draft(kind, json!({ "body": "hi" })).to_object(&scene.rules);
                object.insert("redacts".into(), stray.clone().try_into().unwrap());
                let pdu = sign_object(object, &scene.alice, &scene.rules).unwrap();
                let received = scene.receive(&value(&pdu)).unwrap();
                assert_eq!(received.redacts, None, "{kind} {stray}");
            }
        }
    });
}

#[test]
fn a_client_sees_its_own_words_about_an_event() {
    everywhere(|scene| {
        let pdu = scene.message();
        let format = ClientFormat {
            now: Some(Millis(pdu.origin_server_ts.0 + 40)),
            transaction_id: Some("t1".into()),
            without_room_id: true,
            ..ClientFormat::default()
        };
        let shown: Value = serde_json::from_str(client_event(&pdu, &format).get()).unwrap();
        assert_eq!(shown["unsigned"], json!({ "age": 40, "transaction_id": "t1" }));
        assert!(shown.get("room_id").is_none() && shown.get("signatures").is_none() && shown.get("hashes").is_none());
        assert_eq!(shown["event_id"], json!(pdu.event_id));
        let member = scene.sign(&scene.member());
        let stripped: Value = serde_json::from_str(stripped_state(&member).get()).unwrap();
        assert_eq!(stripped.as_object().unwrap().len(), 4);
        assert_eq!(member.membership(), Some(ruma::events::room::member::MembershipState::Join));
    });
}

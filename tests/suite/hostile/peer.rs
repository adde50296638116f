//! The hostile peer: a key that a server used to be, and everything that can be signed with it.

use std::sync::Arc;

use axum::{Router, body::Body, response::IntoResponse};
use bytes::Bytes;
use hearth_core::{
    event::{Draft, Pdu, rules_of},
    types::{LocalServer, Millis},
};
use hearth_tests::sim::{
    World,
    history::{self, Copy},
    net::Net,
    person::Person,
    phone::Phone,
};
use http::{Method, Request, StatusCode};
use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, events::TimelineEventType,
};
use serde_json::{Value, json};

pub(super) struct Peer {
    pub(super) user: OwnedUserId,
    pub(super) local: LocalServer,
    pub(super) number: usize,
    pub(super) copy: Copy,
    version: RoomVersionId,
    room: OwnedRoomId,
    net: Arc<Net>,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Reply {
    #[track_caller]
    pub(super) fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["errcode"].as_str()), (status, Some(code)), "{}", self.body);
    }
}

impl Peer {
    /// Ends a person's homeserver and keeps its key. Until told otherwise it answers nothing.
    pub(super) fn take_over(world: &World, person: &Person, room: &RoomId, version: &str) -> Self {
        let copy = history::copy(&person.phone.server().unwrap(), room).unwrap();
        person.phone.kill();
        let peer = Self {
            user: person.user.clone(),
            local: person.phone.local.clone(),
            number: person.phone.number,
            copy,
            version: RoomVersionId::try_from(version).unwrap(),
            room: room.to_owned(),
            net: world.net.clone(),
        };
        peer.answers(|_, _| None);
        peer
    }

    /// From now on the peer answers so: path and body in, JSON out, or 404.
    pub(super) fn answers(&self, answer: impl Fn(&str, &Value) -> Option<Value> + Clone + Send + Sync + 'static) {
        let handler = move |request: Request<Body>| {
            let answer = answer.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let nothing = json!({ "errcode": "M_NOT_FOUND", "error": "ha ha" });
                match answer(&path, &body) {
                    Some(answer) => (StatusCode::OK, answer.to_string()).into_response(),
                    None => (StatusCode::NOT_FOUND, nothing.to_string()).into_response(),
                }
            }
        };
        self.net.up_impostor(self.number, Router::new().fallback(handler));
    }

    /// The `X-Matrix` header for a request, in the name of `origin` and with our key.
    pub(super) fn header(
        &self,
        origin: &str,
        method: &Method,
        uri: &str,
        to: &Phone,
        content: Option<&Value>,
    ) -> String {
        let mut object = json!({ "method": method.as_str(), "uri": uri, "origin": origin, "destination": to.name });
        if let Some(content) = content {
            object["content"] = content.clone();
        }
        let mut object: CanonicalJsonObject = serde_json::from_value(object).unwrap();
        self.local.sign_json(&mut object).unwrap();
        let object = serde_json::to_value(object).unwrap();
        let signature = object["signatures"][self.local.name.as_str()]["ed25519:1"].as_str().unwrap();
        format!(r#"X-Matrix origin="{origin}",destination="{}",key="ed25519:1",sig="{signature}""#, to.name)
    }

    /// A request that is signed as it should be.
    pub(super) async fn ask(&self, to: &Phone, method: Method, uri: &str, content: Option<&Value>) -> Reply {
        let header = self.header(self.local.name.as_str(), &method, uri, to, content);
        let body = content.map(|content| content.to_string().into_bytes()).unwrap_or_default();
        self.raw(to, method, uri, Some(header), body).await
    }

    /// Any request.
    pub(super) async fn raw(
        &self,
        to: &Phone,
        method: Method,
        uri: &str,
        header: Option<String>,
        body: Vec<u8>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let request = request.body(Bytes::from(body)).unwrap();
        let answer = self.net.inject(&self.local.name, to.number, request).await.expect("the server survives");
        let body = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        Reply { status: answer.status().as_u16(), body }
    }

    /// A transaction that is well-formed but for its PDUs and EDUs.
    pub(super) async fn transaction(&self, to: &Phone, id: &str, pdus: Vec<Value>, edus: Vec<Value>) -> Reply {
        let content = json!({ "origin": self.local.name, "origin_server_ts": 1, "pdus": pdus, "edus": edus });
        let uri = format!("/_matrix/federation/v1/send/{id}");
        self.ask(to, Method::PUT, &uri, Some(&content)).await
    }

    /// An event of the room, in our own name, on top of its heads.
    pub(super) fn draft(&self, kind: &str, state_key: Option<&str>, content: Value) -> Draft {
        let member = ("m.room.member".to_owned(), self.user.to_string());
        let key = |kind: &str| (kind.to_owned(), String::new());
        let mut auth = vec![member, key("m.room.power_levels")];
        if self.version != RoomVersionId::V12 {
            auth.push(key("m.room.create"));
        }
        Draft {
            room_id: Some(self.room.clone()),
            sender: self.user.clone(),
            kind: TimelineEventType::from(kind),
            state_key: state_key.map(str::to_owned),
            content: serde_json::from_value(content).unwrap(),
            redacts: None,
            prev_events: self.copy.heads.iter().cloned().collect(),
            auth_events: auth.iter().map(|key| self.copy.state[key].clone()).collect(),
            depth: 1_000,
            origin_server_ts: Millis(1_750_000_000_000),
        }
    }

    pub(super) fn message(&self, text: &str) -> Draft {
        self.draft("m.room.message", None, json!({ "msgtype": "m.text", "body": text }))
    }

    pub(super) fn sign(&self, draft: &Draft) -> Pdu {
        draft.sign(&self.local, &rules_of(&self.version).unwrap()).unwrap()
    }

    /// A chain of messages of which each builds on the one before, and the first on what nobody has.
    pub(super) fn chain(&self, length: usize) -> Vec<Pdu> {
        let mut chain: Vec<Pdu> = Vec::new();
        for number in 0..length {
            let mut draft = self.message(&format!("{number}"));
            let unknown = || OwnedEventId::try_from(format!("${}", "u".repeat(43))).unwrap();
            draft.prev_events = vec![chain.last().map_or_else(unknown, |pdu| pdu.event_id.clone())];
            draft.depth = 100 + number as u64;
            chain.push(self.sign(&draft));
        }
        chain
    }
}

pub(super) fn wire(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json().get()).unwrap()
}

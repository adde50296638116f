//! Requests that are not what they should be: unsigned, signed by another, too large, too deep, too many.

use hearth_core::types::LocalServer;
use hearth_tests::sim;
use http::Method;
use serde_json::{Value, json};

use super::{Scene, peer::wire};

const SEND: &str = "/_matrix/federation/v1/send/t1";

fn empty(origin: &str) -> Value {
    json!({ "origin": origin, "origin_server_ts": 1, "pdus": [], "edus": [] })
}

#[test]
fn a_request_is_taken_only_from_who_signed_it() {
    sim::run(async {
        let scene = Scene::new("12").await;
        let (mallory, alice) = (&scene.mallory, &*scene.alice.phone);
        let (own, bobs) = (mallory.local.name.as_str(), scene.bob.phone.name.as_str());
        let content = empty(own);
        let body = || content.to_string().into_bytes();
        let header = |origin: &str, content: &Value| mallory.header(origin, &Method::PUT, SEND, alice, Some(content));
        mallory.raw(alice, Method::PUT, SEND, None, body()).await.is(401, "M_UNAUTHORIZED");
        // Another content than the signed one; another path; another server.
        let other = Some(header(own, &empty(bobs)));
        mallory.raw(alice, Method::PUT, SEND, other, body()).await.is(401, "M_UNAUTHORIZED");
        let elsewhere = "/_matrix/federation/v1/send/t2";
        mallory.raw(alice, Method::PUT, elsewhere, Some(header(own, &content)), body()).await.is(401, "M_UNAUTHORIZED");
        let to_bob = mallory.header(own, &Method::PUT, SEND, &scene.bob.phone, Some(&content));
        mallory.raw(alice, Method::PUT, SEND, Some(to_bob), body()).await.is(401, "M_UNAUTHORIZED");
        // In bob's name, over mallory's connection: whatever the signature, bob is not there.
        let as_bob = Some(header(bobs, &content));
        mallory.raw(alice, Method::PUT, SEND, as_bob, body()).await.is(403, "M_FORBIDDEN");
        // In mallory's name, with another key.
        let thief = LocalServer::with_name(&[9; 32], mallory.local.name.clone());
        let mut object = serde_json::from_value(json!({
            "method": "PUT", "uri": SEND, "origin": own, "destination": alice.name, "content": content,
        }));
        let object: &mut ruma::CanonicalJsonObject = object.as_mut().unwrap();
        thief.sign_json(object).unwrap();
        let signature = serde_json::to_value(object).unwrap()["signatures"][own]["ed25519:1"].to_string();
        let stolen = format!(r#"X-Matrix origin="{own}",destination="{}",key="ed25519:1",sig={signature}"#, alice.name);
        mallory.raw(alice, Method::PUT, SEND, Some(stolen), body()).await.is(401, "M_UNAUTHORIZED");
        for nonsense in
            ["X-Matrix", "X-Matrix origin=\"", "Bearer abc", "", "X-Matrix origin=a,key=b,sig=c,destination=d"]
        {
            let reply = mallory.raw(alice, Method::PUT, SEND, Some(nonsense.into()), body()).await;
            assert_eq!(reply.status, 401, "{nonsense}: {}", reply.body);
        }
        // The same request in order is taken, so the errors above mean something.
        assert_eq!(mallory.transaction(alice, "t1", vec![], vec![]).await.status, 200);
        scene.is_unharmed().await;
    });
}

#[test]
fn what_is_too_large_too_deep_or_too_many_is_refused() {
    sim::run(async {
        let scene = Scene::new("12").await;
        let (mallory, alice) = (&scene.mallory, &*scene.alice.phone);
        let own = mallory.local.name.as_str();
        let header = || Some(mallory.header(own, &Method::PUT, SEND, alice, Some(&empty(own))));
        let huge = vec![b' '; 9 * 1024 * 1024];
        mallory.raw(alice, Method::PUT, SEND, header(), huge).await.is(413, "M_TOO_LARGE");
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let depth = 200_000;
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth)).into_bytes();
            let reply = mallory.raw(alice, Method::PUT, SEND, header(), deep).await;
            assert!(matches!(reply.status, 400 | 401), "{}: {}", reply.status, reply.body);
        }
        let edu = json!({ "edu_type": "m.typing", "content": {} });
        for edus in [101, 10_000] {
            let reply = mallory.transaction(alice, "edus", vec![], vec![edu.clone(); edus]).await;
            assert_eq!(reply.status, 400, "{edus} EDUs: {}", reply.body);
        }
        let pdus = vec![wire(&mallory.sign(&mallory.message("again"))); 51];
        let reply = mallory.transaction(alice, "pdus", pdus, vec![]).await;
        assert_eq!(reply.status, 400, "51 PDUs: {}", reply.body);
        scene.is_unharmed().await;
    });
}

#[test]
fn unknown_edus_of_a_peer_change_nothing() {
    sim::run(async {
        let scene = Scene::new("12").await;
        let (mallory, alice) = (&scene.mallory, &*scene.alice.phone);
        let heads: Vec<String> = (0..1_000).map(|number| format!("${number:0>43}")).collect();
        let edus = vec![
            json!({ "edu_type": "dev.hearth.nonsense", "content": { "a": 1 } }),
            json!({ "edu_type": "dev.hearth.heads", "content": { "rooms": [] } }),
            json!({ "edu_type": "dev.hearth.heads", "content": { "rooms": { "!elsewhere:a": heads } } }),
            json!({ "edu_type": "dev.hearth.heads", "content": { "rooms": { scene.room.as_str(): heads } } }),
        ];
        for round in 0..20 {
            let reply = mallory.transaction(alice, &format!("heads{round}"), vec![], edus.clone()).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
        }
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        let asked = scene.world.net.requests();
        assert!(asked < 500, "{asked} requests because of what one peer claims");
        scene.is_unharmed().await;
    });
}

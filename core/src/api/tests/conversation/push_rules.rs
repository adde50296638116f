//! The push rules API.

use http::Method;
use serde_json::{Value, json};

use super::{Client, data, post, put};
use crate::{
    api::testing::{Answer, Phone},
    types::limits,
};

async fn rule(client: &Client<'_>, path: &str) -> Answer {
    client.get(&format!("pushrules/global/{path}")).await
}

async fn set(client: &Client<'_>, path: &str, body: Value) -> Answer {
    put(client, &format!("pushrules/global/{path}"), body).await
}

async fn delete(client: &Client<'_>, path: &str) -> Answer {
    client.call(Method::DELETE, &format!("pushrules/global/{path}"), None).await
}

async fn order(client: &Client<'_>, kind: &str) -> Vec<String> {
    let rules = client.get("pushrules/global/").await.ok();
    let rules = rules[kind].as_array().cloned().unwrap_or_default();
    rules.iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn everybody_starts_with_the_rules_of_the_specification() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let all = ana.get("pushrules/").await.ok();
    assert_eq!(all["global"], ana.get("pushrules/global/").await.ok());
    assert_eq!(all, ana.get("pushrules").await.ok());
    assert_eq!(all["global"], ana.get("pushrules/global").await.ok());
    assert_eq!(order(&ana, "override").await[0], ".m.rule.master");
    assert!(order(&ana, "underride").await.contains(&".m.rule.message".to_owned()));
    let mention = rule(&ana, "override/.m.rule.is_user_mention").await.ok();
    assert_eq!(mention["conditions"][0]["value"], ana.id());
    assert_eq!((&mention["default"], &mention["enabled"]), (&json!(true), &json!(true)));
    phone.call(Method::GET, "/_matrix/client/v3/pushrules/", None, None).await.is_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn rules_are_added_changed_and_taken_away() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let start = ana.sync("").await;
    set(&ana, "content/cake", json!({ "pattern": "cake*lie", "actions": ["notify"] })).await.ok();
    let expected = json!({
        "rule_id": "cake", "pattern": "cake*lie", "actions": ["notify"], "enabled": true, "default": false,
    });
    assert_eq!(rule(&ana, "content/cake").await.ok(), expected);
    assert_eq!(rule(&ana, "content/cake/enabled").await.ok(), json!({ "enabled": true }));
    // No conditions: it always matches. What older clients wrote is not kept.
    let body = json!({ "actions": ["dont_notify", "coalesce", "notify", { "set_tweak": "highlight" }] });
    set(&ana, "override/all", body).await.ok();
    let kept = rule(&ana, "override/all").await.ok();
    assert_eq!(kept["conditions"], json!([]));
    assert_eq!(rule(&ana, "override/all/actions").await.ok(), json!({ "actions": kept["actions"] }));
    assert_eq!(kept["actions"], json!(["notify", { "set_tweak": "highlight" }]));
    set(&ana, "room/!room:x", json!({ "actions": [] })).await.ok();
    set(&ana, "sender/@spam:x", json!({ "actions": [] })).await.ok();

    set(&ana, "content/cake/enabled", json!({ "enabled": false })).await.ok();
    set(&ana, "content/cake", json!({ "pattern": "tea", "actions": [] })).await.ok();
    let changed = rule(&ana, "content/cake").await.ok();
    assert_eq!((&changed["pattern"], &changed["enabled"]), (&json!("tea"), &json!(false)));
    // The server's own rules can be changed in these two ways.
    set(&ana, "override/.m.rule.master/enabled", json!({ "enabled": true })).await.ok();
    set(&ana, "underride/.m.rule.message/actions", json!({ "actions": ["dont_notify"] })).await.ok();
    assert_eq!(rule(&ana, "override/.m.rule.master/enabled").await.ok(), json!({ "enabled": true }));
    assert_eq!(rule(&ana, "underride/.m.rule.message/actions").await.ok(), json!({ "actions": [] }));

    let sync = ana.sync_since(&start).await;
    let told = data(&sync["account_data"]["events"]);
    assert_eq!(told, [("m.push_rules".into(), ana.get("pushrules/").await.ok())]);
    let kept = ana.get(&format!("user/{}/account_data/m.push_rules", ana.id())).await.ok();
    assert_eq!(kept, told[0].1);
    for path in ["content/cake", "override/all", "room/!room:x", "sender/@spam:x"] {
        delete(&ana, path).await.ok();
        delete(&ana, path).await.is_error(404, "M_NOT_FOUND");
        rule(&ana, path).await.is_error(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_rule_gets_the_place_that_was_asked_for() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let add = async |id: &str, query: &str| {
        set(&ana, &format!("content/{id}{query}"), json!({ "pattern": id, "actions": [] })).await
    };
    for id in ["c", "b", "a"] {
        add(id, "").await.ok();
    }
    assert_eq!(order(&ana, "content").await, ["a", "b", "c"]);
    add("d", "?after=c").await.ok();
    add("e", "?before=a").await.ok();
    assert_eq!(order(&ana, "content").await, ["e", "a", "b", "c", "d"]);
    // Moving one that is there, to both ends too.
    add("e", "?after=d").await.ok();
    assert_eq!(order(&ana, "content").await, ["a", "b", "c", "d", "e"]);
    add("e", "?before=a").await.ok();
    add("a", "?after=b&before=c").await.ok();
    assert_eq!(order(&ana, "content").await, ["e", "b", "a", "c", "d"]);
    // Without a place it stays where it is.
    add("c", "").await.ok();
    assert_eq!(order(&ana, "content").await, ["e", "b", "a", "c", "d"]);
    add("x", "?before=none").await.is_error(400, "M_UNKNOWN");
    add("x", "?after=x").await.is_error(400, "M_UNKNOWN");
    add("a", "?after=d&before=e").await.is_error(400, "M_UNKNOWN");
    assert_eq!(order(&ana, "content").await, ["e", "b", "a", "c", "d"]);
    set(&ana, "override/first", json!({ "actions": [] })).await.ok();
    set(&ana, "override/second?before=.m.rule.tombstone", json!({ "actions": [] })).await.is_error(400, "M_UNKNOWN");
    // Nothing goes before the rule that turns everything off.
    assert_eq!(order(&ana, "override").await[..2], [".m.rule.master", "first"]);
}

#[tokio::test]
async fn what_is_no_rule_is_refused() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let plain = json!({ "pattern": "x", "actions": [] });
    set(&ana, "content/.mine", plain.clone()).await.is_error(400, "M_INVALID_PARAM");
    set(&ana, "content/a%2Fb", plain.clone()).await.is_error(400, "M_INVALID_PARAM");
    set(&ana, "content/a%5Cb", plain.clone()).await.is_error(400, "M_INVALID_PARAM");
    set(&ana, &format!("content/{}", "x".repeat(256)), plain.clone()).await.is_error(400, "M_INVALID_PARAM");
    set(&ana, "unheard_of/x", plain.clone()).await.is_error(400, "M_INVALID_PARAM");
    set(&ana, "content/x", json!({ "actions": [] })).await.is_error(400, "M_BAD_JSON");
    set(&ana, "content/x", json!({ "pattern": "x" })).await.is_error(400, "M_BAD_JSON");
    set(&ana, "room/nonsense", json!({ "actions": [] })).await.is_error(400, "M_INVALID_PARAM");
    let long = "?".repeat(limits::PUSH_PATTERN_BYTES_MAX + 1);
    set(&ana, "content/x", json!({ "pattern": &long, "actions": [] })).await.is_error(400, "M_INVALID_PARAM");
    let condition = json!({ "kind": "event_match", "key": "content.body", "pattern": long });
    let body = json!({ "actions": [], "conditions": [condition] });
    set(&ana, "underride/x", body).await.is_error(400, "M_INVALID_PARAM");
    let condition = json!({ "kind": "room_member_count", "is": "2" });
    let body = json!({ "actions": [], "conditions": vec![condition; 1_000] });
    set(&ana, "override/x", body).await.is_error(400, "M_INVALID_PARAM");
    delete(&ana, "override/.m.rule.master").await.is_error(400, "M_INVALID_PARAM");
    for path in ["content/x", "content/x/enabled", "content/x/actions"] {
        rule(&ana, path).await.is_error(404, "M_NOT_FOUND");
    }
    rule(&ana, "unheard_of/x").await.is_error(400, "M_INVALID_PARAM");
    set(&ana, "content/x/enabled", json!({ "enabled": true })).await.is_error(404, "M_NOT_FOUND");
    set(&ana, "content/x/actions", json!({ "actions": [] })).await.is_error(404, "M_NOT_FOUND");
    delete(&ana, "unheard_of/x").await.is_error(400, "M_INVALID_PARAM");
    assert_eq!(order(&ana, "content").await, [] as [&str; 0]);
}

#[tokio::test]
async fn there_are_so_many_rules_and_no_more() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    let user = ana.who.user.clone();
    let fill = move |tx: &mut crate::store::WriteTx<'_>| {
        let user = crate::store::UserKey::intern(tx, &user)?;
        let rules: Vec<_> = (0..limits::PUSH_RULES_MAX)
            .map(|n| json!({ "rule_id": n.to_string(), "pattern": "x", "actions": [], "enabled": true, "default": false }))
            .collect();
        let content = json!({ "global": { "content": rules } }).to_string();
        crate::users::account_data::put(tx, user, None, "m.push_rules", &content)
    };
    phone.home.store.write(fill).await.unwrap();
    let plain = json!({ "pattern": "x", "actions": [] });
    set(&ana, "content/one-more", plain.clone()).await.is_error(413, "M_TOO_LARGE");
    set(&ana, "content/1", plain.clone()).await.ok();
    delete(&ana, "content/1").await.ok();
    set(&ana, "content/one-more", plain).await.ok();
}

#[tokio::test]
async fn there_are_no_pushers() {
    let phone = Phone::new(1);
    let ana = Client::new(&phone, "ana").await;
    assert_eq!(ana.get("pushers").await.ok(), json!({ "pushers": [] }));
    let pusher = json!({
        "kind": "http", "app_id": "x", "pushkey": "y", "app_display_name": "x", "device_display_name": "y",
        "lang": "en", "data": { "url": "https://push.x/_matrix/push/v1/notify" },
    });
    post(&ana, "pushers/set", pusher).await.is_error(400, "M_UNKNOWN");
    post(&ana, "pushers/set", json!({ "kind": null, "app_id": "x", "pushkey": "y" })).await.ok();
}

//! Users vouch for their devices and for one another.

use super::*;

const UPLOAD: &str = "keys/device_signing/upload";

#[tokio::test]
async fn the_first_keys_come_freely_and_others_ask_for_the_password() {
    let phone = Phone::new(1);
    let ana = Device::new(&phone, "ana", 1).await;
    let (old, new) = (Identity::new(10), Identity::new(20));
    old.publish(&ana).await;
    // A retry after a lost answer.
    old.publish(&ana).await;
    let one = json!({ "self_signing_key": old.self_signing(&ana.who.user) });
    ana.post(UPLOAD, one).await.ok();
    let mut body = new.body(&ana.who.user);
    let asked = ana.post(UPLOAD, body.clone()).await;
    assert_eq!(asked.status, 401, "{asked:?}");
    assert_eq!(asked.body["flows"], json!([{ "stages": ["m.login.password"] }]));
    let shown = async || ana.query(&[ana.user()]).await["master_keys"][ana.user()]["keys"].clone();
    assert_eq!(shown().await, json!({ old.master.id(): old.master.public() }));
    body["auth"] = proof("ana");
    let before = ana.sync(None).await;
    ana.post(UPLOAD, body).await.ok();
    assert_eq!(shown().await, json!({ new.master.id(): new.master.public() }));
    assert_eq!(listed(&ana.sync(Some(&before)).await, "changed"), [ana.user()]);
}

#[tokio::test]
async fn keys_that_do_not_hold_together_are_refused() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let (identity, other) = (Identity::new(10), Identity::new(20));
    let user = &ana.who.user;
    let refused = async |body: Value, code: &str| ana.post(UPLOAD, body).await.is_error(400, code);
    refused(json!({}), "M_MISSING_PARAM").await;
    refused(json!({ "self_signing_key": identity.self_signing(user) }), "M_MISSING_PARAM").await;
    let mixed = json!({ "master_key": identity.master(user), "self_signing_key": other.self_signing(user) });
    refused(mixed, "M_INVALID_SIGNATURE").await;
    let unsigned = Identity::key(user, "user_signing", &identity.user_signing);
    refused(json!({ "master_key": identity.master(user), "user_signing_key": unsigned }), "M_INVALID_SIGNATURE").await;
    refused(json!({ "master_key": identity.master(&ben.who.user) }), "M_INVALID_PARAM").await;
    refused(json!({ "master_key": identity.self_signing(user) }), "M_INVALID_PARAM").await;
    let mut misnamed = identity.master(user);
    misnamed["keys"] = json!({ "ed25519:other": identity.master.public() });
    refused(json!({ "master_key": misnamed }), "M_INVALID_PARAM").await;
    let mut two = identity.master(user);
    two["keys"][other.master.id()] = json!(other.master.public());
    refused(json!({ "master_key": two }), "M_INVALID_PARAM").await;
    let mut short = identity.master(user);
    short["keys"] = json!({ "ed25519:AAAA": "AAAA" });
    refused(json!({ "master_key": short }), "M_INVALID_PARAM").await;

    let named = json!({ "device_id": identity.master.public() });
    let device = ana.log_in(&named, 3).await;
    ana.post(UPLOAD, identity.body(user)).await.is_error(403, "M_FORBIDDEN");
    assert_eq!(ana.query(&[ana.user()]).await["master_keys"], Value::Null, "nothing was kept");
    // The other way round as well.
    device.post("logout", json!({})).await.ok();
    identity.publish(&ana).await;
    let device = ana.log_in(&named, 3).await;
    device.upload(json!({ "device_keys": device.keys() })).await.is_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_user_signing_key_is_its_owners_secret() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let identity = Identity::new(10);
    identity.publish(&ana).await;
    let own = ana.query(&[ana.user()]).await;
    assert_eq!(own["user_signing_keys"][ana.user()], identity.user_signing(&ana.who.user));
    assert_eq!(own["self_signing_keys"][ana.user()], identity.self_signing(&ana.who.user));
    let seen = ben.query(&[ana.user()]).await;
    assert_eq!(seen["user_signing_keys"], Value::Null);
    assert_eq!(seen["self_signing_keys"], own["self_signing_keys"]);
    assert_eq!(seen["master_keys"], own["master_keys"]);
}

#[tokio::test]
async fn signatures_are_shown_to_whom_they_concern() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let cat = Device::new(&phone, "cat", 3).await;
    let (anas, bens) = (Identity::new(10), Identity::new(20));
    for device in [&ana, &ben] {
        device.publish().await;
    }
    anas.publish(&ana).await;
    bens.publish(&ben).await;
    let room = ana.create_room(&[]).await;
    cat.join(&room, &phone).await;
    let before = cat.sync(None).await;

    let signed_device = anas.self_signing.sign(&ana.who.user, &ana.keys());
    let signed_master = ana.key.sign(&ana.who.user, &anas.master(&ana.who.user));
    let signed_ben = anas.user_signing.sign(&ana.who.user, &bens.master(&ben.who.user));
    let body = json!({
        ana.user(): { ana.id(): signed_device, anas.master.public(): signed_master },
        ben.user(): { bens.master.public(): signed_ben },
    });
    assert_eq!(ana.post("keys/signatures/upload", body.clone()).await.ok(), json!({}));
    assert_eq!(ana.post("keys/signatures/upload", body).await.ok(), json!({}), "again is no failure");
    assert_eq!(listed(&cat.sync(Some(&before)).await, "changed"), [ana.user()]);

    let ids = |key: &Value, of: &Device<'_>| -> Vec<String> {
        let signatures = key["signatures"][of.user()].as_object().cloned().unwrap_or_default();
        signatures.keys().cloned().collect()
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    for reader in [&ana, &ben, &cat] {
        let shown = reader.query(&[ana.user(), ben.user()]).await;
        let device = &shown["device_keys"][ana.user()][ana.id()];
        assert_eq!(ids(device, &ana), sorted(vec![ana.key.id(), anas.self_signing.id()]));
        assert_eq!(ids(&shown["master_keys"][ana.user()], &ana), [ana.key.id()]);
        let met = ids(&shown["master_keys"][ben.user()], &ana);
        let expected = if reader.user() == ana.user() { vec![anas.user_signing.id()] } else { Vec::new() };
        assert_eq!(met, expected, "{} asks", reader.user());
    }
    // A new identity: what the old one signed is gone.
    let mut body = Identity::new(30).body(&ana.who.user);
    body["auth"] = proof("ana");
    ana.post(UPLOAD, body).await.ok();
    let shown = ana.query(&[ana.user(), ben.user()]).await;
    assert_eq!(ids(&shown["device_keys"][ana.user()][ana.id()], &ana), [ana.key.id()]);
    assert_eq!(ids(&shown["master_keys"][ben.user()], &ana), Vec::<String>::new());
    assert_eq!(ids(&shown["master_keys"][ana.user()], &ana), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_uploaded_again_keeps_the_signatures_that_came_meanwhile() {
    let phone = Phone::new(1);
    let ana = Device::new(&phone, "ana", 1).await;
    let identity = Identity::new(10);
    ana.publish().await;
    identity.publish(&ana).await;
    let signed = identity.self_signing.sign(&ana.who.user, &ana.keys());
    let body = json!({ ana.user(): { ana.id(): signed } });
    ana.post("keys/signatures/upload", body).await.ok();
    ana.publish().await;
    let shown = ana.query(&[ana.user()]).await;
    assert_eq!(shown["device_keys"][ana.user()][ana.id()], signed);
    // The signature of a device that is gone goes with it.
    let another = ana.another(4).await;
    another.publish().await;
    let master = another.key.sign(&ana.who.user, &identity.master(&ana.who.user));
    let body = json!({ ana.user(): { identity.master.public(): master } });
    another.post("keys/signatures/upload", body).await.ok();
    assert_eq!(ana.query(&[ana.user()]).await["master_keys"][ana.user()], master);
    another.post("logout", json!({})).await.ok();
    let left = ana.query(&[ana.user()]).await;
    assert_eq!(left["master_keys"][ana.user()]["signatures"][ana.user()], json!({}));
}

#[tokio::test]
async fn signatures_that_do_not_hold_are_named_one_by_one() {
    let phone = Phone::new(1);
    let (ana, ben) = (Device::new(&phone, "ana", 1).await, Device::new(&phone, "ben", 2).await);
    let (anas, bens) = (Identity::new(10), Identity::new(20));
    ana.publish().await;
    anas.publish(&ana).await;
    bens.publish(&ben).await;
    let ana_id = &ana.who.user;
    let failures = async |body: Value| ana.post("keys/signatures/upload", body).await.ok()["failures"].clone();
    let code = |failures: &Value, user: &Device<'_>, key: &str| failures[user.user()][key]["errcode"].clone();

    let mut altered = ana.keys();
    altered["algorithms"] = json!(["m.none"]);
    let altered = anas.self_signing.sign(ana_id, &altered);
    let good = ana.key.sign(ana_id, &anas.master(ana_id));
    let told = failures(json!({
        ana.user(): { ana.id(): altered, "NODEVICE": ana.keys(), anas.master.public(): good, "short": [] },
        ben.user(): {
            bens.master.public(): anas.master.sign(ana_id, &bens.master(&ben.who.user)),
            ben.id(): anas.user_signing.sign(ana_id, &ben.keys()),
        },
    }))
    .await;
    assert_eq!(code(&told, &ana, ana.id()), "M_INVALID_PARAM");
    assert_eq!(code(&told, &ana, "NODEVICE"), "M_NOT_FOUND");
    assert_eq!(code(&told, &ana, "short"), "M_BAD_JSON");
    assert_eq!(code(&told, &ana, &anas.master.public()), Value::Null, "{told}");
    assert_eq!(code(&told, &ben, &bens.master.public()), "M_INVALID_SIGNATURE");
    assert_eq!(code(&told, &ben, ben.id()), "M_NOT_FOUND");
    // Signed by a key that is not the user's.
    let told = failures(json!({ ana.user(): { ana.id(): bens.self_signing.sign(ana_id, &ana.keys()) } })).await;
    assert_eq!(code(&told, &ana, ana.id()), "M_INVALID_SIGNATURE");
    let told = failures(json!({ ana.user(): { anas.master.public(): anas.master(ana_id) } })).await;
    assert_eq!(code(&told, &ana, &anas.master.public()), "M_INVALID_SIGNATURE");
    let shown = ana.query(&[ana.user()]).await;
    assert_eq!(shown["device_keys"][ana.user()][ana.id()], ana.keys());
    assert_eq!(shown["master_keys"][ana.user()]["signatures"][ana.user()].as_object().unwrap().len(), 1);
}

//! In and out of rooms, as clients ask for it on one homeserver.

use http::Method;
use ruma::RoomId;
use serde_json::{Value, json};

use super::rooms::{create, escaped, post, put, state};
use crate::api::testing::{Answer, Person, Phone};

struct Scene {
    phone: Phone,
    ana: Person,
    ben: Person,
    chi: Person,
}

impl Scene {
    async fn new() -> Self {
        let phone = Phone::new(1);
        let (ana, ben, chi) = (phone.person("ana").await, phone.person("ben").await, phone.person("chi").await);
        Self { phone, ana, ben, chi }
    }

    async fn step(&self, who: &Person, room: &RoomId, step: &str, body: Value) -> Answer {
        post(&self.phone, who, &format!("rooms/{}/{step}", escaped(room.as_str())), body).await
    }

    async fn to(&self, who: &Person, room: &RoomId, step: &str, target: &Person) -> Answer {
        self.step(who, room, step, json!({ "user_id": target.user, "reason": format!("{step}!") })).await
    }

    fn content(&self, room: &RoomId, who: &Person) -> Value {
        state(&self.phone, room, "m.room.member", who.user.as_str()).unwrap_or(Value::Null)
    }

    #[track_caller]
    fn stands(&self, room: &RoomId, who: &Person, membership: &str, reason: Option<&str>) {
        let content = self.content(room, who);
        assert_eq!(
            (content["membership"].as_str(), content["reason"].as_str()),
            (Some(membership), reason),
            "{content}"
        );
    }
}

const FORBIDDEN: (u16, &str) = (403, "M_FORBIDDEN");

impl Answer {
    #[track_caller]
    fn is_forbidden(&self) {
        self.is_error(FORBIDDEN.0, FORBIDDEN.1);
    }
}

#[tokio::test]
async fn an_invite_lets_in_and_can_be_declined() {
    let scene = Scene::new().await;
    let (ana, ben, chi) = (&scene.ana, &scene.ben, &scene.chi);
    for version in ["6", "10", "11", "12"] {
        let room = create(&scene.phone, ana, json!({ "room_version": version })).await;
        scene.step(ben, &room, "join", json!({})).await.is_forbidden();
        scene.to(ben, &room, "invite", chi).await.is_forbidden();
        scene.to(ana, &room, "invite", ben).await.ok();
        scene.stands(&room, ben, "invite", Some("invite!"));
        let joined = scene.step(ben, &room, "join", json!({ "reason": "gladly" })).await.ok();
        assert_eq!(joined, json!({ "room_id": room }));
        scene.stands(&room, ben, "join", Some("gladly"));
        // Once more changes nothing, and who is in is not invited.
        scene.step(ben, &room, "join", json!({})).await.ok();
        scene.stands(&room, ben, "join", Some("gladly"));
        scene.to(ana, &room, "invite", ben).await.is_forbidden();
        scene.to(ben, &room, "invite", chi).await.ok();
        scene.step(chi, &room, "leave", json!({ "reason": "no time" })).await.ok();
        scene.stands(&room, chi, "leave", Some("no time"));
        scene.step(chi, &room, "join", json!({})).await.is_forbidden();
        scene.step(chi, &room, "leave", json!({})).await.ok();
        scene.stands(&room, chi, "leave", Some("no time"));
    }
}

#[tokio::test]
async fn moderators_put_out_and_let_back_in() {
    let scene = Scene::new().await;
    let (ana, ben, chi) = (&scene.ana, &scene.ben, &scene.chi);
    for version in ["6", "10", "11", "12"] {
        let room = create(&scene.phone, ana, json!({ "preset": "public_chat", "room_version": version })).await;
        scene.to(ana, &room, "kick", ben).await.is_forbidden();
        scene.step(ben, &room, "join", json!({})).await.ok();
        scene.step(chi, &room, "join", json!({})).await.ok();
        for step in ["kick", "ban", "unban"] {
            scene.to(ben, &room, step, chi).await.is_forbidden();
        }
        scene.to(ana, &room, "unban", ben).await.is_forbidden();
        scene.to(ana, &room, "kick", ben).await.ok();
        scene.stands(&room, ben, "leave", Some("kick!"));
        scene.step(ben, &room, "join", json!({})).await.ok();
        scene.to(ana, &room, "ban", ben).await.ok();
        scene.stands(&room, ben, "ban", Some("ban!"));
        scene.step(ben, &room, "join", json!({})).await.is_forbidden();
        scene.step(ben, &room, "leave", json!({})).await.is_forbidden();
        scene.to(ana, &room, "invite", ben).await.is_forbidden();
        scene.to(ana, &room, "kick", ben).await.is_forbidden();
        scene.to(ana, &room, "unban", ben).await.ok();
        scene.stands(&room, ben, "leave", Some("unban!"));
        scene.step(ben, &room, "join", json!({})).await.ok();
        // Taking an invite back is a kick.
        scene.step(chi, &room, "leave", json!({})).await.ok();
        scene.to(ana, &room, "invite", chi).await.ok();
        scene.to(ana, &room, "kick", chi).await.ok();
        scene.stands(&room, chi, "leave", Some("kick!"));
    }
}

#[tokio::test]
async fn a_knock_asks_for_an_invite() {
    let scene = Scene::new().await;
    let (ana, ben, chi) = (&scene.ana, &scene.ben, &scene.chi);
    let knock = async |who: &Person, room: &RoomId| {
        post(&scene.phone, who, &format!("knock/{}", escaped(room.as_str())), json!({ "reason": "me!" })).await
    };
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    for version in ["7", "10", "11", "12"] {
        let room = create(&scene.phone, ana, json!({ "room_version": version, "initial_state": rules })).await;
        assert_eq!(knock(ben, &room).await.ok(), json!({ "room_id": room }));
        scene.stands(&room, ben, "knock", Some("me!"));
        scene.step(ben, &room, "join", json!({})).await.is_forbidden();
        scene.to(ana, &room, "invite", ben).await.ok();
        scene.step(ben, &room, "join", json!({})).await.ok();
        knock(ben, &room).await.is_forbidden();
        knock(chi, &room).await.ok();
        scene.step(chi, &room, "leave", json!({})).await.ok();
        scene.stands(&room, chi, "leave", None);
    }
    let closed = create(&scene.phone, ana, json!({})).await;
    knock(ben, &closed).await.is_forbidden();
}

#[tokio::test]
async fn members_of_one_room_enter_a_restricted_other() {
    let scene = Scene::new().await;
    let (ana, ben, chi) = (&scene.ana, &scene.ben, &scene.chi);
    for (version, rule) in [("8", "restricted"), ("10", "knock_restricted"), ("11", "restricted"), ("12", "restricted")]
    {
        let space = create(&scene.phone, ana, json!({ "preset": "public_chat", "room_version": version })).await;
        let rules = json!({ "join_rule": rule, "allow": [{ "type": "m.room_membership", "room_id": space }] });
        let state = json!([{ "type": "m.room.join_rules", "content": rules }]);
        let room = create(&scene.phone, ana, json!({ "room_version": version, "initial_state": state })).await;
        scene.step(ben, &room, "join", json!({})).await.is_forbidden();
        scene.step(ben, &space, "join", json!({})).await.ok();
        scene.step(ben, &room, "join", json!({})).await.ok();
        assert_eq!(scene.content(&room, ben)["join_authorised_via_users_server"], json!(ana.user), "{version}");
        // The word of the voucher is for joining only: a later change of face does without.
        let path = format!("rooms/{}/state/m.room.member/{}", escaped(room.as_str()), escaped(ben.user.as_str()));
        let mut copied = scene.content(&room, ben);
        copied["displayname"] = json!("Benno");
        put(&scene.phone, ben, &path, copied).await.ok();
        assert_eq!(scene.content(&room, ben), json!({ "membership": "join", "displayname": "Benno" }), "{version}");
        scene.step(chi, &space, "join", json!({})).await.ok();
        let path = format!("rooms/{}/state/m.room.member/{}", escaped(room.as_str()), escaped(chi.user.as_str()));
        put(&scene.phone, chi, &path, json!({ "membership": "join" })).await.ok();
        assert_eq!(scene.content(&room, chi)["join_authorised_via_users_server"], json!(ana.user), "{version}");
    }
}

#[tokio::test]
async fn a_restricted_room_without_a_voucher_stays_shut() {
    let scene = Scene::new().await;
    let (ana, ben) = (&scene.ana, &scene.ben);
    let space = create(&scene.phone, ben, json!({ "preset": "public_chat" })).await;
    let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": space }] });
    let body = json!({
        "room_version": "11",
        "initial_state": [{ "type": "m.room.join_rules", "content": rules }],
        "power_level_content_override": { "invite": 101 },
    });
    let room = create(&scene.phone, ana, body).await;
    scene.step(ben, &room, "join", json!({})).await.is_forbidden();
    scene.stands(&room, ana, "join", None);
}

#[tokio::test]
async fn member_events_by_hand_are_held_to_the_same_rules() {
    let scene = Scene::new().await;
    let (ana, ben, chi) = (&scene.ana, &scene.ben, &scene.chi);
    let room = create(&scene.phone, ana, json!({})).await;
    let set = async |who: &Person, target: &str, body: Value| {
        let path = format!("rooms/{}/state/m.room.member/{}", escaped(room.as_str()), escaped(target));
        put(&scene.phone, who, &path, body).await
    };
    let member = |membership: &str| json!({ "membership": membership, "org.example.why": "hand" });
    set(ben, ben.user.as_str(), member("join")).await.is_forbidden();
    set(ana, ben.user.as_str(), member("invite")).await.ok();
    assert_eq!(scene.content(&room, ben)["org.example.why"], json!("hand"));
    set(ben, ben.user.as_str(), member("join")).await.ok();
    set(ana, chi.user.as_str(), member("leave")).await.is_forbidden();
    set(ana, chi.user.as_str(), member("join")).await.is_forbidden();
    set(ana, ben.user.as_str(), member("ban")).await.ok();
    scene.stands(&room, ben, "ban", None);
    set(ana, ben.user.as_str(), member("leave")).await.ok();
    scene.stands(&room, ben, "leave", None);
    set(ana, ana.user.as_str(), member("org.example")).await.is_error(400, "M_BAD_JSON");
    set(ana, ana.user.as_str(), json!({})).await.is_error(400, "M_BAD_JSON");
    set(ana, "ana", member("join")).await.is_error(400, "M_BAD_JSON");
    set(ana, scene.phone.user("nobody").as_str(), member("invite")).await.is_error(404, "M_NOT_FOUND");
    set(ana, ana.user.as_str(), member("leave")).await.ok();
    scene.stands(&room, ana, "leave", None);
}

#[tokio::test]
async fn what_cannot_be_is_answered_with_its_code() {
    let scene = Scene::new().await;
    let (ana, ben) = (&scene.ana, &scene.ben);
    let room = create(&scene.phone, ana, json!({})).await;
    let unknown = RoomId::parse("!unknown").unwrap();
    let nobody = json!({ "user_id": scene.phone.user("nobody") });
    scene.step(ana, &room, "invite", nobody).await.is_error(404, "M_NOT_FOUND");
    scene.step(ana, &room, "invite", json!({ "user_id": "nobody" })).await.is_error(400, "M_BAD_JSON");
    let third = json!({ "id_server": "a", "id_access_token": "b", "medium": "email", "address": "c" });
    scene.step(ana, &room, "invite", third).await.is_error(400, "M_INVALID_PARAM");
    scene.step(ana, &room, "invite", json!({ "user_id": "@far:example.org" })).await.is_error(502, "M_UNKNOWN");
    scene.step(ana, &unknown, "join", json!({})).await.is_error(404, "M_NOT_FOUND");
    scene.step(ana, &unknown, "leave", json!({})).await.is_forbidden();
    scene.to(ana, &unknown, "kick", ben).await.is_forbidden();
    scene.step(ben, &room, "leave", json!({})).await.is_forbidden();
    let far = "join/!unknown?via=example.org";
    post(&scene.phone, ana, far, json!({})).await.is_error(502, "M_UNKNOWN");
    let nameless = format!("join/{}", escaped(&format!("#none:{}", scene.phone.home.server_name())));
    post(&scene.phone, ana, &nameless, json!({})).await.is_error(404, "M_NOT_FOUND");
    post(&scene.phone, ana, "knock/!unknown?via=example.org", json!({})).await.is_error(502, "M_UNKNOWN");
    let uri = format!("/_matrix/client/v3/rooms/{}/join", escaped(room.as_str()));
    scene.phone.call(Method::POST, &uri, None, Some(json!({}))).await.is_error(401, "M_MISSING_TOKEN");
    // Clients leave the body out where nothing needs saying.
    let uri = format!("/_matrix/client/v3/join/{}", escaped(room.as_str()));
    scene.phone.call(Method::POST, &uri, Some(&ana.token), None).await.ok();
}

#[tokio::test]
async fn a_room_is_forgotten_by_who_left_it() {
    let scene = Scene::new().await;
    let (ana, ben) = (&scene.ana, &scene.ben);
    let room = create(&scene.phone, ana, json!({ "preset": "public_chat" })).await;
    let forgotten = |who: &Person| {
        use crate::{
            rooms::{Room, standing},
            store::UserKey,
        };
        let view = scene.phone.home.store.snapshot().unwrap();
        let key = Room::find(&view, &room).unwrap().unwrap().key;
        standing(&view, UserKey::find(&view, &who.user).unwrap().unwrap(), key).unwrap().unwrap().forgotten
    };
    scene.step(ben, &room, "forget", json!({})).await.is_error(404, "M_NOT_FOUND");
    scene.step(ben, &room, "join", json!({})).await.ok();
    scene.step(ben, &room, "forget", json!({})).await.is_error(400, "M_UNKNOWN");
    scene.step(ben, &room, "leave", json!({})).await.ok();
    assert!(!forgotten(ben));
    scene.step(ben, &room, "forget", json!({})).await.ok();
    scene.step(ben, &room, "forget", json!({})).await.ok();
    assert!(forgotten(ben));
    scene.step(ben, &room, "join", json!({})).await.ok();
    assert!(!forgotten(ben));
}

#[tokio::test]
async fn a_room_that_all_have_left_can_be_entered_again() {
    let scene = Scene::new().await;
    for version in ["6", "12"] {
        let room = create(&scene.phone, &scene.ana, json!({ "preset": "public_chat", "room_version": version })).await;
        scene.step(&scene.ana, &room, "leave", json!({})).await.ok();
        scene.step(&scene.ben, &room, "join", json!({})).await.ok();
        scene.stands(&room, &scene.ben, "join", None);
    }
}

#[tokio::test]
async fn a_new_face_is_shown_in_all_rooms_and_only_when_it_is_new() {
    let scene = Scene::new().await;
    let (ana, ben) = (&scene.ana, &scene.ben);
    let room = create(&scene.phone, ana, json!({ "preset": "public_chat" })).await;
    let left = create(&scene.phone, ben, json!({ "preset": "public_chat" })).await;
    scene.step(ana, &left, "join", json!({})).await.ok();
    scene.step(ana, &left, "leave", json!({})).await.ok();
    let path = format!("profile/{}/displayname", escaped(ana.user.as_str()));
    let event = || {
        let view = scene.phone.home.store.snapshot().unwrap();
        let room = crate::rooms::Room::find(&view, &room).unwrap().unwrap();
        room.current_event(&view, &"m.room.member".into(), ana.user.as_str()).unwrap().unwrap().pdu.event_id
    };
    put(&scene.phone, ana, &path, json!({ "displayname": "Ana" })).await.ok();
    assert_eq!(scene.content(&room, ana), json!({ "membership": "join", "displayname": "Ana" }));
    assert_eq!(scene.content(&left, ana)["membership"], json!("leave"));
    let shown = event();
    put(&scene.phone, ana, &path, json!({ "displayname": "Ana" })).await.ok();
    assert_eq!(event(), shown);
    put(&scene.phone, ana, &path, json!({ "displayname": "" })).await.ok();
    assert_eq!(scene.content(&room, ana), json!({ "membership": "join" }));
    // A face that came before the room comes along into it.
    put(&scene.phone, ana, &path, json!({ "displayname": "Ana" })).await.ok();
    let later = create(&scene.phone, ana, json!({})).await;
    assert_eq!(scene.content(&later, ana)["displayname"], json!("Ana"));
    scene.to(ben, &left, "invite", ana).await.ok();
    assert_eq!(scene.content(&left, ana)["displayname"], json!("Ana"));
}

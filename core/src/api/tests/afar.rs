//! In and out of rooms of another homeserver, as a client asks for it. What the servers say to one another is federation's
//! own to test.

use ruma::{OwnedRoomId, RoomId};
use serde_json::{Value, json};

use super::rooms::{create, escaped, get, post, put, state};
use crate::{
    api::testing::{Answer, Person, Phone},
    rooms::standing,
    store::{RoomKey, Standing, UserKey},
};

struct Scene {
    ours: Phone,
    theirs: Phone,
    ana: Person,
    ben: Person,
}

impl Scene {
    async fn new() -> Self {
        let (ours, theirs) = (Phone::new(1), Phone::new(2));
        ours.meets(&theirs);
        theirs.meets(&ours);
        let (ana, ben) = (ours.person("ana").await, theirs.person("ben").await);
        Self { ours, theirs, ana, ben }
    }

    /// A room of ana's.
    async fn room(&self, body: Value) -> OwnedRoomId {
        create(&self.ours, &self.ana, body).await
    }

    /// What ben does.
    async fn ben(&self, path: &str) -> Answer {
        post(&self.theirs, &self.ben, path, json!({ "reason": "because" })).await
    }

    /// Ben's member event as ana's server has it.
    fn member(&self, room: &RoomId) -> Value {
        state(&self.ours, room, "m.room.member", self.ben.user.as_str()).unwrap_or_default()
    }

    /// How ben stands, as his own server has it.
    fn stands(&self, room: &RoomId) -> Option<Standing> {
        let view = self.theirs.home.store.snapshot().unwrap();
        let room = RoomKey::find(&view, room).unwrap()?;
        let ben = UserKey::find(&view, &self.ben.user).unwrap()?;
        standing(&view, ben, room).unwrap().map(|record| record.standing)
    }

    fn via(&self) -> String {
        format!("?via={}", self.ours.home.server_name())
    }
}

#[tokio::test]
async fn an_invite_crosses_over_and_is_taken_or_declined() {
    for version in ["6", "10", "11", "12"] {
        let scene = Scene::new().await;
        let body = json!({ "invite": [scene.ben.user], "is_direct": true, "room_version": version });
        let room = scene.room(body).await;
        assert_eq!(scene.member(&room)["membership"], json!("invite"), "{version}");
        assert_eq!(scene.member(&room)["is_direct"], json!(true), "{version}");
        assert_eq!(scene.stands(&room), Some(Standing::Invite), "{version}");
        // No `via`: whoever sent the invite is asked.
        scene.ben(&format!("rooms/{}/join", escaped(room.as_str()))).await.ok();
        assert_eq!(scene.stands(&room), Some(Standing::Join), "{version}");
        assert_eq!(scene.member(&room)["reason"], json!("because"), "{version}");

        let other = scene.room(json!({ "room_version": version })).await;
        let body = json!({ "user_id": scene.ben.user });
        post(&scene.ours, &scene.ana, &format!("rooms/{}/invite", escaped(other.as_str())), body).await.ok();
        scene.ben(&format!("rooms/{}/leave", escaped(other.as_str()))).await.ok();
        assert_eq!(scene.stands(&other), Some(Standing::Leave), "{version}");
        assert_eq!(scene.member(&other)["membership"], json!("leave"), "{version}");
    }
}

#[tokio::test]
async fn an_invite_is_declined_though_its_sender_is_gone() {
    let scene = Scene::new().await;
    let room = scene.room(json!({ "invite": [scene.ben.user] })).await;
    scene.theirs.leaves(&scene.ours);
    scene.ben(&format!("rooms/{}/join", escaped(room.as_str()))).await.is_error(502, "M_UNKNOWN");
    scene.ben(&format!("rooms/{}/leave", escaped(room.as_str()))).await.ok();
    assert_eq!(scene.stands(&room), Some(Standing::Leave));
}

#[tokio::test]
async fn a_name_of_another_server_leads_into_its_room() {
    let scene = Scene::new().await;
    let room = scene.room(json!({ "preset": "public_chat", "room_alias_name": "tea" })).await;
    let alias = escaped(&format!("#tea:{}", scene.ours.home.server_name()));
    let found = get(&scene.theirs, &scene.ben, &format!("directory/room/{alias}")).await.ok();
    assert_eq!(found, json!({ "room_id": room, "servers": [scene.ours.home.server_name()] }));
    assert_eq!(scene.ben(&format!("join/{alias}")).await.ok(), json!({ "room_id": room }));
    assert_eq!(scene.member(&room)["membership"], json!("join"));
    let none = escaped(&format!("#none:{}", scene.ours.home.server_name()));
    scene.ben(&format!("join/{none}")).await.is_error(404, "M_NOT_FOUND");
    // From now on ben's server is in the room, and speaks for itself.
    let send = format!("rooms/{}/send/m.room.message/1", escaped(room.as_str()));
    scene.theirs.leaves(&scene.ours);
    put(&scene.theirs, &scene.ben, &send, json!({ "msgtype": "m.text", "body": "hi" })).await.ok();
}

#[tokio::test]
async fn another_servers_room_says_no() {
    let scene = Scene::new().await;
    let room = scene.room(json!({})).await;
    scene.ben(&format!("join/{}{}", escaped(room.as_str()), scene.via())).await.is_error(403, "M_FORBIDDEN");
    scene.ben(&format!("knock/{}{}", escaped(room.as_str()), scene.via())).await.is_error(403, "M_FORBIDDEN");
    assert_eq!(scene.stands(&room), None);
}

#[tokio::test]
async fn a_knock_and_a_restricted_join_cross_over() {
    let scene = Scene::new().await;
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = scene.room(json!({ "initial_state": rules })).await;
    scene.ben(&format!("knock/{}{}", escaped(room.as_str()), scene.via())).await.ok();
    assert_eq!(scene.member(&room)["membership"], json!("knock"));
    assert_eq!(scene.stands(&room), Some(Standing::Knock));

    let space = scene.room(json!({ "preset": "public_chat" })).await;
    let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": space }] });
    let shut = scene.room(json!({ "initial_state": [{ "type": "m.room.join_rules", "content": rules }] })).await;
    let join = format!("join/{}{}", escaped(shut.as_str()), scene.via());
    assert!(scene.ben(&join).await.status.is_client_error());
    scene.ben(&format!("join/{}{}", escaped(space.as_str()), scene.via())).await.ok();
    scene.ben(&join).await.ok();
    assert_eq!(scene.member(&shut)["join_authorised_via_users_server"], json!(scene.ana.user));
}

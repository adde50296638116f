//! A peer with a key of its own that does not play by the rules: it gets the right error, nothing of it is kept, and the
//! others are served meanwhile.
//!
//! What it does on the level of streams and connections is the matter of p2p's own tests.

mod lies;
mod peer;
mod requests;

use std::{sync::Arc, time::Duration};

use hearth_tests::sim::{World, history, person::Person};
use ruma::OwnedRoomId;
use serde_json::json;

use self::peer::Peer;

/// Alice, bob and mallory in a room of alice's. Mallory's phone belongs to somebody else by now.
struct Scene {
    world: World,
    alice: Arc<Person>,
    bob: Arc<Person>,
    mallory: Peer,
    room: OwnedRoomId,
    kept: usize,
}

impl Scene {
    async fn new(version: &str) -> Self {
        let world = World::new(7, 3);
        let people = world.people().await;
        let [alice, bob, mallory] = &people[..] else { unreachable!("three phones, three people") };
        let body = json!({ "room_version": version, "preset": "public_chat" });
        let room = alice.create_room(&body).await;
        for guest in [bob, mallory] {
            guest.join(&room, std::slice::from_ref(&alice.phone.name)).await.good();
        }
        assert!(world.quiet(Duration::from_secs(600)).await);
        let kept = history::kept(&alice.phone.server().unwrap());
        let mallory = Peer::take_over(&world, mallory, &room, version);
        Self { alice: alice.clone(), bob: bob.clone(), mallory, room, kept, world }
    }

    /// Nothing was kept of what mallory did, and alice's server serves alice and bob.
    async fn is_unharmed(&self) {
        assert_eq!(history::kept(&self.alice.phone.server().unwrap()), self.kept, "something was kept");
        self.serves_others().await;
    }

    async fn serves_others(&self) {
        for (speaker, listener) in [(&self.alice, &self.bob), (&self.bob, &self.alice)] {
            let said = speaker.say(&self.room, "are you there?").await.good();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let shown = listener.scroll_back(&self.room).await;
            assert!(shown.iter().any(|event| event.as_str() == said["event_id"]), "{} is not heard", speaker.name);
        }
    }
}

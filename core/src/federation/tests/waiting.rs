//! What waits for a server beside events: invites, and EDUs that must not be lost.

use std::time::Duration;

use serde_json::json;

use super::{net::settle, pair, three};
use crate::{
    outbox::{self, Delivery},
    store::{ServerKey, Standing, Stored, WriteTx},
};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);

#[tokio::test(start_paused = true)]
async fn an_invite_waits_for_whom_is_away_and_lets_them_in() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "private_chat").await;
    alice.say(&room, "before").await;
    net.cut(&alice, &bob);
    alice.invite(&room, &bob).await;
    alice.say(&room, "after").await;
    tokio::time::sleep(MONTH).await;
    assert_eq!(bob.stands(&room), None);
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.stands(&room), Some(Standing::Invite));
    bob.join(&room, &alice).await;
    settle().await;
    assert!(alice.is_in(&room, &bob));
    assert_eq!(alice.sight(&room).state, bob.sight(&room).state);
    let view = alice.server.home().store.snapshot().unwrap();
    assert_eq!(outbox::letters_pending(&view, &bob.name()).unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_invite_that_was_taken_back_is_seen_as_taken_back() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "private_chat").await;
    net.cut(&alice, &bob);
    alice.invite(&room, &bob).await;
    alice.call("POST", &format!("/rooms/{room}/kick"), json!({ "user_id": bob.user })).await;
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.stands(&room), Some(Standing::Leave));
}

/// A ban and its end went through the outbox while the invite that followed came directly: the late news took the
/// invite away for good.
#[tokio::test(start_paused = true)]
async fn an_invite_that_overtook_an_unban_stays() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "private_chat").await;
    alice.invite(&room, &bob).await;
    bob.join(&room, &alice).await;
    settle().await;
    for step in ["kick", "ban", "unban"] {
        alice.call("POST", &format!("/rooms/{room}/{step}"), json!({ "user_id": bob.user })).await;
        settle().await;
        net.hold(true);
    }
    alice.invite(&room, &bob).await;
    assert_eq!(bob.stands(&room), Some(Standing::Invite));
    net.hold(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let view = alice.server.home().store.snapshot().unwrap();
    assert_eq!(outbox::pending(&view, &bob.name()).unwrap(), 0, "the late news has arrived");
    assert_eq!(bob.stands(&room), Some(Standing::Invite));
    bob.join(&room, &alice).await;
}

#[tokio::test(start_paused = true)]
async fn letters_come_in_order_and_the_newest_of_a_slot_alone() {
    let (net, alice, bob, carol) = three().await;
    let room = alice.create("12", "private_chat").await;
    for other in [&bob, &carol] {
        alice.invite(&room, other).await;
        other.join(&room, &alice).await;
    }
    settle().await;
    net.cut(&alice, &bob);
    let name = bob.name();
    let post = move |tx: &mut WriteTx<'_>| {
        let server = ServerKey::intern(tx, &name)?;
        for n in 0..150 {
            let slot = (n % 50 == 0).then_some([7; 16]);
            let edu = json!({ "edu_type": "test", "content": { "n": n } }).to_string();
            outbox::post(tx, server, slot, &edu)?;
        }
        Ok::<_, crate::store::StoreError>(())
    };
    alice.server.home().store.write(post).await.unwrap();
    let pending = |phone: &super::net::Phone| {
        let view = phone.server.home().store.snapshot().unwrap();
        outbox::letters_pending(&view, &bob.name()).unwrap()
    };
    assert_eq!(pending(&alice), 148, "three share a slot");
    net.clear();
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(pending(&alice), 0);
    let asked = net.asked.lock().unwrap();
    let to_bob = asked.iter().filter(|(from, to, what)| {
        *from == alice.name() && *to == bob.name() && what.contains("/send/") && what.contains('-')
    });
    assert_eq!(to_bob.count(), 2, "100 EDUs a transaction: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn taken_is_said_of_what_the_other_server_has_and_of_nothing_else() {
    let (net, alice, bob) = pair().await;
    let room = alice.create("12", "private_chat").await;
    alice.invite(&room, &bob).await;
    bob.join(&room, &alice).await;
    settle().await;
    let stands = |event: &str| {
        let view = alice.server.home().store.snapshot().unwrap();
        let id: &ruma::EventId = event.try_into().unwrap();
        let stored = Stored::by_id(&view, id).unwrap().unwrap();
        let found = outbox::deliveries(&view, stored.header.n).unwrap();
        let others = found.into_iter().filter(|(server, _)| server.name(&view).unwrap() == bob.name());
        others.map(|(_, delivery)| delivery).collect::<Vec<_>>()
    };
    net.cut(&alice, &bob);
    let first = alice.say(&room, "first").await;
    *net.unreadable.lock().unwrap() = Some("poison".into());
    let bad = alice.say(&room, "poison").await;
    let last = alice.say(&room, "last").await;
    tokio::time::sleep(MONTH).await;
    assert_eq!(stands(&first), [Delivery::Queued]);
    net.link(&alice, &bob);
    settle().await;
    assert_eq!((stands(&first), stands(&last)), (vec![Delivery::Taken], vec![Delivery::Taken]));
    assert!(matches!(stands(&bad).as_slice(), [Delivery::Refused(_)]), "{:?}", stands(&bad));
}

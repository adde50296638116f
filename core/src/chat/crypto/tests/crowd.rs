//! Who may read what as members come and go.

use super::super::testing::{Net, people, settle};

#[tokio::test(start_paused = true)]
async fn a_newcomer_reads_the_past_where_the_room_shows_it() {
    let net = Net::new();
    let [alice, bob, carol] = people(&net, ["alice", "bob", "carol"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    let by_alice = alice.say(&room, "alice before").await;
    settle().await;
    let by_bob = bob.say(&room, "bob before").await;
    settle().await;
    alice.bring(&room, &carol).await;
    // She has said nothing yet and asked for nothing: those who spoke gave her their keys.
    assert_eq!(carol.reads_of(&alice, &room, &by_alice).await, "alice before");
    assert_eq!(carol.reads_of(&alice, &room, &by_bob).await, "bob before");
    assert_eq!((alice.debts(), bob.debts()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_reads_nothing_of_the_past_where_it_is_closed() {
    for visibility in ["invited", "joined"] {
        let net = Net::new();
        let [alice, bob, carol] = people(&net, ["alice", "bob", "carol"]).await;
        let room = alice.create(visibility).await;
        alice.bring(&room, &bob).await;
        let before = alice.say(&room, "before").await;
        settle().await;
        alice.bring(&room, &carol).await;
        alice.say(&room, "after").await;
        settle().await;
        assert_eq!(carol.reads_of(&alice, &room, &before).await, "?", "{visibility}");
        // Asking for the key does not help.
        settle_for_asking().await;
        assert_eq!(carol.reads_of(&alice, &room, &before).await, "?", "{visibility}");
        assert_eq!(carol.texts(&room).await, ["after"], "{visibility}");
        assert_eq!(bob.texts(&room).await, ["before", "after"], "{visibility}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_invited_read_along_unless_only_the_joined_may() {
    for (visibility, expected) in [("invited", "while invited"), ("joined", "?")] {
        let net = Net::new();
        let [alice, bob] = people(&net, ["alice", "bob"]).await;
        let room = alice.create(visibility).await;
        alice.invite(&room, &bob).await;
        settle().await;
        let event = alice.say(&room, "while invited").await;
        settle().await;
        bob.join(&room, &alice).await;
        settle().await;
        assert_eq!(bob.reads_of(&alice, &room, &event).await, expected, "{visibility}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_left_or_was_put_out_reads_nothing_that_comes_after() {
    for away in [false, true] {
        let net = Net::new();
        let [alice, bob, carol] = people(&net, ["alice", "bob", "carol"]).await;
        let room = alice.create("shared").await;
        alice.bring(&room, &bob).await;
        alice.bring(&room, &carol).await;
        if away {
            // The key of this one is owed, and must not become the key of what follows.
            net.cut(&alice, &bob);
        }
        let earlier = alice.say(&room, "for all").await;
        settle().await;
        alice.kick(&room, &bob).await;
        settle().await;
        let later = alice.say(&room, "without bob").await;
        settle().await;
        net.link(&alice, &bob);
        settle().await;
        for _ in 0..2 {
            assert_eq!(bob.reads_of(&alice, &room, &earlier).await, "for all", "away: {away}");
            assert_eq!(bob.reads_of(&alice, &room, &later).await, "?", "away: {away}");
            settle_for_asking().await;
        }
        assert_eq!(carol.texts(&room).await, ["for all", "without bob"], "away: {away}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_key_is_asked_for_and_given() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    // Bob's client is away; his homeserver takes the key, and loses it.
    bob.chat.stop().await;
    alice.say(&room, "lost").await;
    settle().await;
    crate::keys::acknowledge(bob.home(), &bob.me(), crate::types::SyncToken(u64::MAX)).await.unwrap();
    let bob = bob.reboot().await;
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.texts(&room).await, ["?"]);
    settle_for_asking().await;
    assert_eq!(bob.texts(&room).await, ["lost"]);
}

/// Longer than a missing key is waited for before its sender is asked.
async fn settle_for_asking() {
    tokio::time::sleep(crate::types::limits::KEY_ASK_GRACE).await;
    settle().await;
}

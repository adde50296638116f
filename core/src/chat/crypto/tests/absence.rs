//! Members who are away: nobody waits for them, and they read everything when they come back.

use std::time::Duration;

use super::super::testing::{Net, people, settle};

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test(start_paused = true)]
async fn a_member_who_was_away_for_a_month_reads_all_of_it() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    net.cut(&alice, &bob);
    let mut said = Vec::new();
    for day in 0..30 {
        said.push(format!("day {day}"));
        let before = tokio::time::Instant::now();
        alice.say(&room, &said[day]).await;
        assert!(before.elapsed() < Duration::from_millis(100), "nobody waits for those who are away");
        tokio::time::sleep(DAY).await;
    }
    assert!(alice.debts() > 0, "it is not certain that bob has all keys");
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.texts(&room).await, said);
    assert_eq!(alice.debts(), 0, "and now it is");
}

#[tokio::test(start_paused = true)]
async fn who_is_invited_while_away_reads_what_was_said_since() {
    for visibility in ["shared", "invited"] {
        let net = Net::new();
        let [alice, bob] = people(&net, ["alice", "bob"]).await;
        // They never had anything to do with each other, so alice knows no device of his.
        net.cut(&alice, &bob);
        let room = alice.create(visibility).await;
        let before = alice.say(&room, "before the invite").await;
        alice.invite(&room, &bob).await;
        let after = alice.say(&room, "after the invite").await;
        tokio::time::sleep(30 * DAY).await;
        let later = alice.say(&room, "a month later").await;
        net.link(&alice, &bob);
        settle().await;
        bob.join(&room, &alice).await;
        settle().await;
        alice.say(&room, "welcome").await;
        settle().await;
        assert_eq!(bob.texts(&room).await.last().map(String::as_str), Some("welcome"), "{visibility}");
        let past = if visibility == "shared" { "before the invite" } else { "?" };
        assert_eq!(bob.reads_of(&alice, &room, &before).await, past, "{visibility}");
        assert_eq!(bob.reads_of(&alice, &room, &after).await, "after the invite", "{visibility}");
        assert_eq!(bob.reads_of(&alice, &room, &later).await, "a month later", "{visibility}");
        assert_eq!(alice.debts(), 0, "{visibility}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_could_not_be_claimed_follow_once_they_can() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    *net.lost.lock().unwrap() = Some("/user/keys/claim");
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    alice.say(&room, "unclaimed").await;
    settle().await;
    assert_eq!(bob.texts(&room).await, ["?"]);
    *net.lost.lock().unwrap() = None;
    // No new contact: alice tries again by herself while bob is near.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bob.texts(&room).await, ["unclaimed"]);
    assert_eq!(alice.debts(), 0);
}

#[tokio::test(start_paused = true)]
async fn devices_that_could_not_be_asked_for_are_served_once_they_can() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    *net.lost.lock().unwrap() = Some("/user/");
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    alice.say(&room, "to nobody known").await;
    alice.say(&room, "again").await;
    settle().await;
    assert_eq!(bob.texts(&room).await, ["?", "?"]);
    *net.lost.lock().unwrap() = None;
    net.cut(&alice, &bob);
    net.link(&alice, &bob);
    settle().await;
    assert_eq!(bob.texts(&room).await, ["to nobody known", "again"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_among_those_near_does_not_wait_for_those_away() {
    let net = Net::new();
    let [alice, bob, carol] = people(&net, ["alice", "bob", "carol"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    alice.bring(&room, &carol).await;
    net.cut(&alice, &carol);
    net.cut(&bob, &carol);
    alice.say(&room, "from alice").await;
    settle().await;
    bob.say(&room, "from bob").await;
    settle().await;
    let both = ["from alice", "from bob"];
    assert_eq!(bob.texts(&room).await, both);
    assert_eq!(alice.texts(&room).await, both);
    // Bob alone comes by carol. He brings alice's message; its key is alice's to give.
    net.link(&bob, &carol);
    settle().await;
    assert_eq!(carol.texts(&room).await.len(), 2);
    net.link(&alice, &carol);
    settle().await;
    assert_eq!(carol.texts(&room).await, both);
}

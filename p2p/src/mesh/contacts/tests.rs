//! The decisions about peers, without a socket.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::addresses::tcp;

const BOB: &str = "12D3KooWCZW2SJoGjfS6CjfroFG6VXDX4f8kaL95U8tvL4ePwRL8";

fn at(port: u16) -> Multiaddr {
    tcp([192, 168, 1, 7].into(), port)
}

fn id(n: usize) -> ConnectionId {
    ConnectionId::new_unchecked(n)
}

/// Alice's contacts, seen from the smaller id, so that she dials first.
fn contacts() -> (Contacts, PeerId, Instant) {
    let bob: PeerId = BOB.parse().unwrap();
    let alice = std::iter::repeat_with(PeerId::random).find(|peer| *peer < bob).unwrap();
    (Contacts::new(alice, false, Power::Foreground), bob, Instant::now())
}

fn dialled(contacts: &mut Contacts) -> bool {
    contacts.take_actions().iter().any(|action| matches!(action, Action::Dial(..)))
}

#[tokio::test]
async fn a_peer_that_restarts_is_dialled_while_its_old_connection_still_counts() {
    let (mut contacts, bob, now) = contacts();
    contacts.announced(bob, Some("one".into()), vec![at(1)], now);
    assert!(dialled(&mut contacts));
    contacts.dialling(bob, id(1));
    contacts.connected(bob, id(1), at(1), true);
    contacts.identified(bob, id(1), Some("one".into()), vec![]);
    assert_eq!(contacts.take_actions(), vec![Action::Seen(bob)]);
    assert_eq!(contacts.next_due(), None, "an idle mesh sets no timer");

    let later = now + Duration::from_secs(1);
    contacts.announced(bob, Some("two".into()), vec![at(2)], later);
    assert_eq!(contacts.take_actions(), vec![Action::Dial(bob, vec![at(2)])]);
    contacts.dialling(bob, id(2));
    contacts.connected(bob, id(2), at(2), true);
    contacts.identified(bob, id(2), Some("two".into()), vec![]);
    assert_eq!(contacts.take_actions(), vec![Action::Close(id(1)), Action::Seen(bob)]);
    contacts.closed(bob, id(1), later);
    assert_eq!(contacts.take_actions(), vec![Action::Seen(bob)]);
    assert_eq!(contacts.next_due(), None);
}

#[tokio::test]
async fn of_two_dials_at_once_neither_connection_is_closed_whichever_says_its_boot_id_first() {
    for first in [1, 2] {
        let (mut contacts, bob, now) = contacts();
        contacts.add(bob, at(1), Source::Configured, now);
        contacts.connected(bob, id(1), at(1), true);
        contacts.connected(bob, id(2), at(9), false);
        contacts.identified(bob, id(first), Some("one".into()), vec![]);
        contacts.identified(bob, id(3 - first), Some("one".into()), vec![]);
        assert_eq!(contacts.take_actions(), vec![Action::Seen(bob)], "connection {first} first");
    }
}

#[tokio::test]
async fn a_connection_of_an_earlier_life_is_closed_even_if_it_says_so_last() {
    let (mut contacts, bob, _) = contacts();
    contacts.connected(bob, id(1), at(1), false);
    contacts.connected(bob, id(2), at(2), false);
    contacts.identified(bob, id(2), Some("two".into()), vec![]);
    contacts.identified(bob, id(1), Some("one".into()), vec![]);
    assert_eq!(contacts.take_actions(), vec![Action::Seen(bob), Action::Close(id(1)), Action::Seen(bob)]);
}

#[tokio::test]
async fn forged_announcements_cost_few_dials_and_close_nothing() {
    let (mut contacts, bob, now) = contacts();
    contacts.connected(bob, id(1), at(1), true);
    contacts.identified(bob, id(1), Some("one".into()), vec![]);
    contacts.take_actions();
    let mut actions = Vec::new();
    for n in 0..1000_u16 {
        contacts.announced(bob, Some(n.to_string()), vec![at(1000 + n)], now + Duration::from_millis(u64::from(n)));
        contacts.tick(now + Duration::from_millis(u64::from(n)));
        for action in contacts.take_actions() {
            if let Action::Dial(..) = action {
                contacts.dialling(bob, id(100 + usize::from(n)));
            }
            actions.push(action);
        }
    }
    assert!(actions.iter().all(|action| matches!(action, Action::Dial(..))), "{actions:?}");
    assert!(actions.len() <= 5, "{} dials in one second", actions.len());
}

#[tokio::test]
async fn a_peer_out_of_reach_is_tried_ever_more_rarely_and_told_so() {
    let (mut contacts, bob, mut now) = contacts();
    contacts.add(bob, at(1), Source::Configured, now);
    let start = now;
    let mut dials = 0;
    while let Some(due) = contacts.next_due().filter(|due| *due < start + Duration::from_secs(600)) {
        now = due;
        contacts.tick(now);
        for action in contacts.take_actions() {
            if let Action::Dial(..) = action {
                dials += 1;
                contacts.dialling(bob, id(dials));
                contacts.dial_failed(bob, id(dials), "nobody is there".into(), now);
                assert_eq!(contacts.take_actions(), vec![Action::GiveUp(bob, "nobody is there".into())]);
            }
        }
    }
    assert!((15..30).contains(&dials), "{dials} dials in ten minutes");
    // A request does not wait for the pause.
    contacts.wanted(bob, now + Duration::from_secs(1));
    assert!(dialled(&mut contacts));
}

#[tokio::test]
async fn the_book_stays_bounded_and_keeps_whom_it_needs() {
    let (mut contacts, bob, now) = contacts();
    contacts.add(bob, at(1), Source::Configured, now);
    let carol = PeerId::random();
    contacts.connected(carol, id(1), at(2), false);
    for _ in 0..10 * PEERS_KNOWN_MAX {
        contacts.add(PeerId::random(), at(3), Source::Announced, now);
        contacts.announced(PeerId::random(), None, vec![at(4)], now);
    }
    assert_eq!(contacts.iter().count(), PEERS_KNOWN_MAX);
    assert!(contacts.iter().any(|(peer, _)| *peer == bob));
    assert!(contacts.iter().any(|(peer, _)| *peer == carol));
}

#[tokio::test]
async fn a_peer_that_left_is_forgotten() {
    let (mut contacts, bob, now) = contacts();
    contacts.announced(bob, Some("one".into()), vec![at(1)], now);
    assert!(dialled(&mut contacts));
    contacts.dialling(bob, id(1));
    contacts.vanished(bob);
    contacts.dial_failed(bob, id(1), "gone".into(), now);
    assert_eq!(contacts.iter().count(), 0);
    assert_eq!(contacts.next_due(), None);
}

/// The times at which a peer that never answers is dialled, from now on.
fn dials_until(contacts: &mut Contacts, bob: PeerId, start: Instant, within: Duration) -> Vec<Duration> {
    let mut dials = Vec::new();
    while let Some(due) = contacts.next_due().filter(|due| *due < start + within) {
        contacts.tick(due);
        for action in contacts.take_actions() {
            if let Action::Dial(..) = action {
                dials.push(due - start);
                contacts.dialling(bob, id(dials.len()));
                contacts.dial_failed(bob, id(dials.len()), "nobody is there".into(), due);
            }
        }
    }
    dials
}

#[tokio::test]
async fn in_the_background_whoever_is_away_is_tried_only_now_and_then() {
    let (mut contacts, bob, now) = contacts();
    contacts.set_power(Power::Background, now);
    contacts.add(bob, at(1), Source::Configured, now);
    let day = Duration::from_secs(24 * 60 * 60);
    let dials = dials_until(&mut contacts, bob, now, day);
    assert!((96..150).contains(&dials.len()), "{} dials in a day", dials.len());
    // Somebody looks at the phone: that is a reason to try at once, and soon again.
    contacts.set_power(Power::Foreground, now + day);
    let dials = dials_until(&mut contacts, bob, now + day, Duration::from_secs(60));
    assert_eq!(dials.first(), Some(&Duration::ZERO));
    assert!(dials.len() >= 5, "{dials:?}");
}

#[tokio::test]
async fn who_rests_dials_whoever_is_new_once_and_after_that_only_on_demand() {
    let (mut contacts, bob, now) = contacts();
    contacts.set_power(Power::Low, now);
    contacts.add(bob, at(1), Source::Announced, now);
    assert_eq!(dials_until(&mut contacts, bob, now, Duration::from_secs(24 * 60 * 60)).len(), 1);
    contacts.wanted(bob, now + Duration::from_secs(60));
    assert!(dialled(&mut contacts));
    contacts.connected(bob, id(2), at(1), true);
    contacts.closed(bob, id(2), now + Duration::from_secs(61));
    assert_eq!(contacts.next_due(), None, "nothing wakes a phone that rests");
}

#[tokio::test]
async fn a_peer_that_rests_is_dialled_when_it_moved_and_not_because_it_is_announced_again() {
    let (mut contacts, bob, now) = contacts();
    contacts.announced(bob, Some("one".into()), vec![at(1)], now);
    contacts.connected(bob, id(1), at(1), true);
    contacts.identified(bob, id(1), Some("one".into()), vec![]);
    contacts.rests(bob, true);
    contacts.closed(bob, id(1), now);
    contacts.take_actions();
    let later = now + Duration::from_secs(90);
    contacts.announced(bob, Some("one".into()), vec![at(1)], later);
    assert!(!dialled(&mut contacts) && contacts.next_due().is_none(), "its records were only refreshed");
    contacts.announced(bob, Some("one".into()), vec![at(2)], later);
    assert!(dialled(&mut contacts), "it is elsewhere now");
}

//! Search: what is found, in which order, and how it goes on.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, RoomId};

use super::world::{Phone, items_of, pair, saying, settle};
use crate::{
    chat::{
        ChatError,
        attachment::{FileInfo, Kind, Source},
        message::TextMessage,
        room::NewRoom,
        search::{Cursor, Hit, Page},
    },
    types::limits::SEARCH_SCAN_MAX,
};

async fn find(phone: &Phone, query: &str) -> Vec<String> {
    snippets(&all(phone, query, None).await)
}

/// All hits, page by page.
async fn all(phone: &Phone, query: &str, room: Option<&RoomId>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut from: Option<Cursor> = None;
    loop {
        let Page { hits: more, next } = phone.chat.search(query, room, from.as_ref(), 3).await.unwrap();
        assert!(more.len() <= 3);
        hits.extend(more);
        let Some(next) = next else { return hits };
        from = Some(next);
    }
}

fn snippets(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.snippet.clone()).collect()
}

async fn room_with_bob(alice: &Phone, bob: &Phone, public: bool) -> OwnedRoomId {
    let room = alice.create(NewRoom { invite: vec![bob.user.clone()], public, ..NewRoom::default() }).await;
    settle().await;
    bob.join(&room).await;
    settle().await;
    room
}

#[tokio::test(start_paused = true)]
async fn words_are_found_in_three_rooms_newest_first_and_page_by_page() {
    let (_net, alice, bob, first) = pair().await;
    let second = room_with_bob(&alice, &bob, false).await;
    let third = room_with_bob(&alice, &bob, true).await;
    let rooms = [&first, &second, &third];
    let mut said = Vec::new();
    for number in 0..12 {
        let text = format!("Café number {number}");
        alice.say(rooms[number % 3], &text).await;
        alice.say(rooms[number % 3], "something else").await;
        // Rooms have queues of their own.
        settle().await;
        said.insert(0, text);
    }
    for phone in [&alice, &bob] {
        assert_eq!(find(phone, "number CAFE").await, said);
        assert_eq!(find(phone, "cafe nothing").await, [""; 0]);
    }
    let hits = all(&bob, "cafe", Some(&second)).await;
    assert_eq!(snippets(&hits), ["Café number 10", "Café number 7", "Café number 4", "Café number 1"]);
    let hit = &hits[1];
    let item = saying(&bob.items(&second).await, "Café number 7").clone();
    assert_eq!((Some(&hit.event_id), hit.ts, &hit.sender), (item.event_id.as_ref(), item.ts, &item.sender));
    assert_eq!(hit.room_id, second);
    let ids: BTreeSet<_> = all(&alice, "number", None).await.into_iter().map(|hit| hit.event_id).collect();
    assert_eq!(ids.len(), 12, "no page repeats another");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_found_by_what_it_says_now() {
    let (_net, alice, bob, room) = pair().await;
    let timeline = alice.room(&room).timeline();
    let edited = alice.say(&room, "the old wording").await;
    let deleted = alice.say(&room, "a wording to regret").await;
    settle().await;
    items_of(&timeline).await;
    timeline.edit(&edited, TextMessage::plain("the new wording")).await.unwrap();
    timeline.redact(&deleted, None).await.unwrap();
    timeline.react(&edited, "wording").await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let info = FileInfo { caption: Some("final wording".into()), ..FileInfo::new("contract.pdf", Kind::File) };
    timeline.send_file(Source::Path(file.path().to_owned()), info, None).await.unwrap();
    settle().await;
    for phone in [&alice, &bob] {
        assert_eq!(find(phone, "wording").await, ["final wording (contract.pdf)", "the new wording"]);
        assert_eq!(find(phone, "contract").await, ["final wording (contract.pdf)"]);
        assert_eq!(find(phone, "old").await, [""; 0]);
    }
    let hit = &all(&bob, "new", None).await[0];
    assert_eq!(Some(&hit.event_id), saying(&bob.items(&room).await, "the new wording").event_id.as_ref());
}

#[tokio::test(start_paused = true)]
async fn only_what_the_person_may_read_is_searched() {
    let (_net, alice, bob, room) = pair().await;
    let hers = alice.create(NewRoom::default()).await;
    alice.say(&hers, "a secret of alice").await;
    alice.say(&room, "before bob leaves").await;
    settle().await;
    bob.room(&room).leave(None).await.unwrap();
    settle().await;
    alice.say(&room, "after bob has left").await;
    settle().await;
    assert_eq!(find(&bob, "bob").await, ["before bob leaves"]);
    assert_eq!(find(&bob, "secret").await, [""; 0]);
    let foreign = bob.chat.search("secret", Some(&hers), None, 10).await;
    assert!(matches!(foreign, Err(ChatError::NotFound(_))), "{foreign:?}");
    // A cursor of somebody else's leads nowhere either.
    let theirs = alice.chat.search("bob", None, None, 1).await.unwrap().next.unwrap();
    let hits = bob.chat.search("secret", None, Some(&theirs), 10).await.unwrap().hits;
    assert!(hits.is_empty());
    bob.room(&room).forget().await.unwrap();
    assert_eq!(find(&bob, "bob").await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_looks_at_so_much_and_no_further() {
    let (_net, alice, _bob, _room) = pair().await;
    let room = alice.create(NewRoom { public: true, ..NewRoom::default() }).await;
    alice.say(&room, "the needle").await;
    for number in 0..SEARCH_SCAN_MAX {
        alice.say(&room, &format!("hay {number}")).await;
        if number % 100 == 0 {
            settle().await;
        }
    }
    settle().await;
    let page = alice.chat.search("needle", None, None, 10).await.unwrap();
    assert!(page.hits.is_empty());
    let page = alice.chat.search("needle", None, page.next.as_ref(), 10).await.unwrap();
    assert_eq!(snippets(&page.hits), ["the needle"]);
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_refused() {
    let (_net, alice, _bob, _room) = pair().await;
    for query in ["", "  ", &"a ".repeat(100)] {
        let refused = alice.chat.search(query, None, None, 10).await;
        assert!(matches!(refused, Err(ChatError::Invalid(_))), "{refused:?}");
    }
    let refused = alice.chat.search("words", None, Some(&Cursor("no cursor".into())), 10).await;
    assert!(matches!(refused, Err(ChatError::Invalid(_))), "{refused:?}");
    let page = alice.chat.search("words", None, None, 0).await.unwrap();
    assert!(page.hits.is_empty() && page.next.is_none());
}

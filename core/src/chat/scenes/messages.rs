//! Messages and what is done to them, on the phone that does it and on the other one.

use ruma::OwnedEventId;
use serde_json::{json, value::to_raw_value};

use super::world::{Listed, Phone, items_of, pair, saying, settle, text, texts, three};
use crate::chat::{
    ChatError,
    delivery::SendState,
    feed::Diff,
    message::{Mentions, TextMessage},
    preview::PreviewKind,
    timeline::{ItemContent, ItemId, MembershipChange, TextStyle},
};

async fn event_of(phone: &Phone, room: &ruma::RoomId, body: &str) -> OwnedEventId {
    saying(&phone.items(room).await, body).event_id.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_one_says_the_other_reads_and_a_message_keeps_its_row_on_its_way() {
    let (_net, alice, bob, room) = pair().await;
    let timeline = alice.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    list.news();
    // What sends is held up, so that the message is seen before it is sent.
    alice.chat.end_tasks().await;
    let sent = timeline.send_text(TextMessage::plain("hello bob")).await.unwrap();

    let first = timeline.next().await.unwrap();
    let [Diff::Insert { item, index }] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((&item.id, *index, item.mine), (&sent, list.rows.len(), true));
    assert_eq!(text(item).as_deref(), Some("hello bob"));
    assert!(matches!(item.state, Some(SendState::Sending { progress: None })), "{:?}", item.state);
    crate::chat::feed::apply(&mut list.rows, &first);

    alice.chat.start();
    list.keep(&timeline).await;
    let news = list.news();
    assert!(
        news.iter().all(|diff| matches!(diff, Diff::Set { item, .. } if item.id == sent)),
        "its row changes in place and nothing else happens: {news:#?}"
    );
    let last = list.rows.last().unwrap();
    assert!(last.event_id.is_some() && matches!(last.state, Some(SendState::Sent { .. })), "{last:?}");
    let theirs = bob.items(&room).await;
    let theirs = saying(&theirs, "hello bob");
    assert_eq!(theirs.id, ItemId(format!("e:{}", last.event_id.as_ref().unwrap())));
    assert_eq!((theirs.mine, &theirs.sender, theirs.sender_name.as_str()), (false, &alice.user, "Alice"));
    assert_eq!(theirs.state, None, "nobody is told how somebody else's message is getting on");
    assert!(theirs.trust.is_some(), "the room is encrypted");
    assert_eq!(theirs.ts, last.ts);
}

#[tokio::test(start_paused = true)]
async fn an_edit_changes_the_row_and_only_the_sender_can() {
    let (_net, alice, bob, room) = pair().await;
    let first = alice.say(&room, "teh cat").await;
    settle().await;
    let timeline = bob.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    list.news();
    let own = alice.room(&room).timeline();
    items_of(&own).await;
    own.edit(&first, TextMessage::plain("the cat")).await.unwrap();
    list.keep(&timeline).await;
    let news = list.news();
    let [Diff::Set { item, .. }] = news.as_slice() else { panic!("one row changes: {news:#?}") };
    assert_eq!((text(item).as_deref(), item.edited), (Some("the cat"), true));
    own.edit(&first, TextMessage { style: TextStyle::Emote, ..TextMessage::plain("pets the cat") }).await.unwrap();
    settle().await;
    let items = bob.items(&room).await;
    let ItemContent::Text { style, .. } = saying(&items, "pets the cat").content else { panic!() };
    assert_eq!(style, TextStyle::Emote);
    assert_eq!(texts(&items), ["pets the cat"]);
    // Somebody else's edit changes nothing.
    let id = event_of(&bob, &room, "pets the cat").await;
    assert!(matches!(
        timeline.edit(&ItemId(format!("e:{id}")), TextMessage::plain("x")).await,
        Err(ChatError::Forbidden(_))
    ));
    let forged = json!({
        "msgtype": "m.text", "body": "* mine", "m.new_content": { "msgtype": "m.text", "body": "mine" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": id },
    });
    timeline.send_content("m.room.message", to_raw_value(&forged).unwrap()).await.unwrap();
    settle().await;
    assert_eq!(texts(&alice.items(&room).await), ["pets the cat"]);
    assert_eq!(texts(&bob.items(&room).await), ["pets the cat"], "and it is no message of its own");
}

#[tokio::test(start_paused = true)]
async fn an_edit_in_clear_never_changes_what_was_encrypted() {
    let (_net, alice, bob, room) = pair().await;
    alice.say(&room, "signed and sealed").await;
    settle().await;
    let id = event_of(&alice, &room, "signed and sealed").await;
    // What alice's homeserver could make without her keys.
    let content = json!({
        "msgtype": "m.text", "body": "* forged", "m.new_content": { "msgtype": "m.text", "body": "forged" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": id },
    });
    let new = crate::rooms::NewEvent {
        state_key: None,
        ..crate::rooms::NewEvent::state(
            &room,
            &alice.user,
            "m.room.message".into(),
            "",
            serde_json::from_value(content).unwrap(),
        )
    };
    crate::rooms::send(alice.server.home(), new).await.unwrap();
    settle().await;
    assert_eq!(bob.texts(&room).await, ["signed and sealed"]);
}

#[tokio::test(start_paused = true)]
async fn reactions_are_counted_once_for_each_person_and_taken_back() {
    let (_net, alice, bob, room) = pair().await;
    alice.say(&room, "cake?").await;
    settle().await;
    let (hers, his) = (alice.room(&room).timeline(), bob.room(&room).timeline());
    let mut list = Listed::new();
    list.keep(&hers).await;
    let (item, other) = (list.rows.last().unwrap().id.clone(), items_of(&his).await.pop().unwrap().id);
    his.react(&other, "🍰").await.unwrap();
    his.react(&other, "👍").await.unwrap();
    settle().await;
    hers.react(&item, "🍰").await.unwrap();
    list.keep(&hers).await;
    let row = list.rows.last().unwrap();
    let said: Vec<_> = row.reactions.iter().map(|r| (r.key.as_str(), r.senders.len(), r.mine)).collect();
    assert_eq!(said, [("🍰", 2, true), ("👍", 1, false)]);
    assert_eq!(row.reactions[0].senders, [bob.user.clone(), alice.user.clone()]);
    assert_eq!(list.rows.iter().filter(|item| item.id == row.id).count(), 1);
    // The same again changes nothing, also when another phone of hers would have sent it.
    hers.react(&item, "🍰").await.unwrap();
    hers.unreact(&item, "🍰").await.unwrap();
    settle().await;
    let items = bob.items(&room).await;
    let row = items.last().unwrap();
    assert_eq!(
        row.reactions.iter().map(|r| (r.key.as_str(), r.senders.len(), r.mine)).collect::<Vec<_>>(),
        [("🍰", 1, true), ("👍", 1, true)]
    );
    assert!(matches!(hers.unreact(&item, "🍰").await, Err(ChatError::NotFound(_))));
    assert!(matches!(hers.react(&item, &"long".repeat(20)).await, Err(ChatError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_says_so_and_nothing_else() {
    let (_net, alice, bob, room) = pair().await;
    let secret = alice.say(&room, "my password is rosebud").await;
    settle().await;
    let timeline = alice.room(&room).timeline();
    let mut list = Listed::new();
    list.keep(&timeline).await;
    list.news();
    timeline.edit(&secret, TextMessage::plain("my password is kane")).await.unwrap();
    timeline.react(&secret, "👀").await.unwrap();
    list.keep(&timeline).await;
    timeline.redact(&secret, Some("oops".into())).await.unwrap();
    let at_once = timeline.next().await.unwrap();
    let [Diff::Set { item, .. }] = at_once.as_slice() else { panic!("{at_once:#?}") };
    assert!(matches!(item.content, ItemContent::Redacted { .. }), "gone at once: {item:?}");
    crate::chat::feed::apply(&mut list.rows, &at_once);
    list.keep(&timeline).await;
    for items in [list.rows, bob.items(&room).await] {
        let last = items.last().unwrap();
        assert_eq!(last.content, ItemContent::Redacted { by: Some(alice.user.clone()), reason: Some("oops".into()) });
        assert!(!last.edited && last.reactions.is_empty() && last.state.is_none(), "{last:?}");
        assert_eq!(texts(&items), Vec::<String>::new(), "the edit is gone with it");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_shows_what_it_answers_as_that_is_now() {
    let (_net, alice, bob, room) = pair().await;
    let question = alice.say(&room, "tea or\ncoffee?").await;
    settle().await;
    let asked = event_of(&bob, &room, "tea or\ncoffee?").await;
    let answer = TextMessage { reply_to: Some(asked.clone()), ..TextMessage::plain("tea") };
    bob.room(&room).timeline().send_text(answer).await.unwrap();
    settle().await;
    let items = alice.items(&room).await;
    let quote = saying(&items, "tea").reply_to.clone().unwrap();
    assert_eq!(quote.event_id, asked);
    assert_eq!(quote.sender, Some((alice.user.clone(), "Alice".into())));
    assert_eq!(quote.preview.unwrap().text, "tea or coffee?");
    // Whoever is answered is called.
    assert_eq!(alice.summary(&room).await.highlights, 1);
    let own = alice.room(&room).timeline();
    items_of(&own).await;
    own.edit(&question, TextMessage::plain("juice?")).await.unwrap();
    settle().await;
    let items = alice.items(&room).await;
    assert_eq!(saying(&items, "tea").reply_to.clone().unwrap().preview.unwrap().text, "juice?");
    // What is answered may not be here.
    let nowhere = TextMessage {
        reply_to: Some("$0000000000000000000000000000000000000000000".try_into().unwrap()),
        ..TextMessage::plain("what?")
    };
    bob.room(&room).timeline().send_text(nowhere).await.unwrap();
    settle().await;
    let quote = saying(&alice.items(&room).await, "what?").reply_to.clone().unwrap();
    assert_eq!((quote.sender, quote.preview), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_thread_is_counted_at_its_root_and_has_a_timeline_of_its_own() {
    let (_net, alice, bob, room) = pair().await;
    alice.say(&room, "trip?").await;
    settle().await;
    let root = event_of(&bob, &room, "trip?").await;
    let (hers, his) = (alice.room(&room).thread(root.clone()), bob.room(&room).thread(root.clone()));
    his.send_text(TextMessage::plain("mountains")).await.unwrap();
    his.send_text(TextMessage::plain("or the sea")).await.unwrap();
    settle().await;
    alice.say(&room, "meanwhile").await;
    settle().await;
    let main = alice.items(&room).await;
    assert_eq!(texts(&main), ["trip?", "meanwhile"]);
    let summary = saying(&main, "trip?").thread.clone().unwrap();
    assert_eq!(summary.count, 2);
    let latest = summary.latest.unwrap();
    assert_eq!((latest.sender.unwrap().1.as_str(), latest.preview.unwrap().text.as_str()), ("Bob", "or the sea"));

    let mut list = Listed::new();
    list.keep(&hers).await;
    assert_eq!(texts(&list.rows), ["trip?", "mountains", "or the sea"]);
    list.news();
    let sent = hers.send_text(TextMessage::plain("sea!")).await.unwrap();
    let at_once = hers.next().await.unwrap();
    assert!(matches!(at_once.as_slice(), [Diff::Insert { item, .. }] if item.id == sent), "{at_once:#?}");
    settle().await;
    assert_eq!(
        texts(&items_of(&bob.room(&room).thread(root.clone())).await),
        ["trip?", "mountains", "or the sea", "sea!"]
    );
    assert_eq!(texts(&bob.items(&room).await), ["trip?", "meanwhile"]);
    // In a thread the fallback for other clients is no answer, and a real answer is one.
    let items = items_of(&bob.room(&room).thread(root.clone())).await;
    assert!(items.iter().all(|item| item.reply_to.is_none()));
    let asked = saying(&items, "mountains").event_id.clone();
    his.send_text(TextMessage { reply_to: asked.clone(), ..TextMessage::plain("too cold") }).await.unwrap();
    settle().await;
    let items = items_of(&alice.room(&room).thread(root)).await;
    assert_eq!(saying(&items, "too cold").reply_to.clone().map(|quote| quote.event_id), asked);
}

#[tokio::test(start_paused = true)]
async fn comings_goings_and_changes_are_told() {
    let (_net, alice, bob, carol, room) = three().await;
    alice.room(&room).set_name("The den").await.unwrap();
    alice.room(&room).set_topic("cakes").await.unwrap();
    carol.room(&room).leave(None).await.unwrap();
    settle().await;
    alice.room(&room).ban(&carol.user, Some("crumbs".into())).await.unwrap();
    alice.room(&room).unban(&carol.user, None).await.unwrap();
    alice.room(&room).invite(&carol.user).await.unwrap();
    settle().await;
    carol.room(&room).leave(None).await.unwrap();
    settle().await;
    alice.room(&room).kick(&bob.user, Some("noise".into())).await.unwrap();
    settle().await;
    let items = alice.items(&room).await;
    let changes: Vec<_> = items
        .iter()
        .filter_map(|item| match &item.content {
            ItemContent::Membership { name, change, reason, .. } => {
                Some((name.as_str(), change.clone(), reason.as_deref()))
            }
            _ => None,
        })
        .collect();
    use MembershipChange as C;
    assert_eq!(
        changes,
        [
            ("Alice", C::Joined, None),
            ("Bob", C::Invited, None),
            ("Bob", C::Joined, None),
            ("Carol", C::Invited, None),
            ("Carol", C::Joined, None),
            ("Carol", C::Left, None),
            ("Carol", C::Banned, Some("crumbs")),
            ("Carol", C::Unbanned, None),
            ("Carol", C::Invited, None),
            ("Carol", C::InviteDeclined, None),
            ("Bob", C::Kicked, Some("noise")),
        ]
    );
    let states: Vec<_> = items
        .iter()
        .filter_map(|item| match &item.content {
            ItemContent::State { kind, text, .. } => Some((kind.as_str(), text.as_deref())),
            _ => None,
        })
        .collect();
    for expected in [
        ("m.room.create", Some("12")),
        ("m.room.encryption", Some("m.megolm.v1.aes-sha2")),
        ("m.room.name", Some("The den")),
        ("m.room.topic", Some("cakes")),
    ] {
        assert!(states.contains(&expected), "{expected:?} is missing: {states:?}");
    }
    // What bob saw ends with his being put out.
    let his = bob.items(&room).await;
    assert!(
        matches!(&his.last().unwrap().content, ItemContent::Membership { change: C::Kicked, user, .. } if *user == bob.user)
    );
    assert!(matches!(bob.room(&room).set_typing(true), Err(ChatError::Forbidden(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_known_kind_says_what_it_can_and_machine_talk_is_silent() {
    let (_net, alice, bob, room) = pair().await;
    let timeline = alice.room(&room).timeline();
    let raw = |value: serde_json::Value| to_raw_value(&value).unwrap();
    for (kind, content) in [
        ("m.room.message", json!({ "msgtype": "m.location", "body": "the big oak", "geo_uri": "geo:1,2" })),
        ("org.example.dance", json!({ "steps": 3 })),
        ("m.key.verification.start", json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": "$x" } })),
        ("m.room.message", json!({ "msgtype": "m.key.verification.request", "body": "verify", "to": bob.user })),
        ("m.call.candidates", json!({})),
        ("m.sticker", json!({ "body": "a cat", "url": "mxc://here/cat", "info": {} })),
    ] {
        timeline.send_content(kind, raw(content)).await.unwrap();
    }
    settle().await;
    let items = bob.items(&room).await;
    let shown: Vec<_> = items
        .iter()
        .filter(|item| item.sender == alice.user)
        .filter_map(|item| match &item.content {
            ItemContent::Unsupported { kind, fallback } => Some((kind.clone(), fallback.clone())),
            ItemContent::Media(file) => Some(("media".to_owned(), Some(file.name.clone()))),
            _ => None,
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("m.location".to_owned(), Some("the big oak".to_owned())),
            ("org.example.dance".to_owned(), None),
            ("media".to_owned(), Some("a cat".to_owned())),
        ]
    );
    assert_eq!(bob.summary(&room).await.last.unwrap().preview.kind, PreviewKind::Image);
    for (kind, content) in [("", "{}"), ("m.room.message", "[]"), ("a\0b", "{}")] {
        let content = serde_json::value::RawValue::from_string(content.into()).unwrap();
        assert!(matches!(timeline.send_content(kind, content).await, Err(ChatError::Invalid(_))), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_is_shown_at_the_last_message_that_they_read() {
    let (_net, alice, bob, carol, room) = three().await;
    alice.say(&room, "one").await;
    settle().await;
    bob.room(&room).timeline().mark_read(false).await.unwrap();
    carol.room(&room).timeline().mark_read(true).await.unwrap();
    settle().await;
    alice.say(&room, "two").await;
    settle().await;
    let items = alice.items(&room).await;
    assert_eq!(saying(&items, "one").read_by, std::slice::from_ref(&bob.user), "carol told nobody");
    assert!(saying(&items, "two").read_by.is_empty());
    // Who answers has read what came before.
    carol.say(&room, "three").await;
    settle().await;
    bob.room(&room).timeline().mark_read(false).await.unwrap();
    settle().await;
    let items = alice.items(&room).await;
    assert_eq!(saying(&items, "three").read_by, std::slice::from_ref(&bob.user), "and its own sender is not listed");
    assert!(saying(&items, "one").read_by.is_empty());
    assert_eq!(carol.summary(&room).await.unread, 0, "who speaks has read");
    let mentioned = TextMessage {
        mentions: Mentions { users: [bob.user.clone()].into(), room: false },
        ..TextMessage::plain("bob!")
    };
    alice.room(&room).timeline().send_text(mentioned).await.unwrap();
    settle().await;
    assert_eq!((bob.summary(&room).await.unread, bob.summary(&room).await.highlights), (1, 1));
    assert_eq!((carol.summary(&room).await.unread, carol.summary(&room).await.highlights), (1, 0));
}

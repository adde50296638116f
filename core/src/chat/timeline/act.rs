//! What a person does in a timeline: writing, changing, reacting, deleting, and having read it.
//!
//! All of it is queued on disk and shown at once; nothing here waits for a network.

use ruma::{EventId, OwnedEventId, events::receipt::ReceiptThread};
use serde_json::{Value, value::RawValue};

use super::{Focus, ItemId, Reader, Scan, Timeline, no_item, shown_key};
use crate::{
    chat::{
        ChatError,
        attachment::{FileInfo, Source},
        content::{Object, object},
        message::{self, TextMessage, ThreadPlace},
        reading::settled,
        send::{self, About, Entry, What},
        work::Progress,
    },
    rooms::{
        Room, RoomError,
        receipts::{self, ReceiptKind},
        threads,
        visibility::UserSight,
    },
    store::{Result as StoreResult, RoomKey, Snapshot, Stored, View},
    types::limits::MARK_READ_SCAN_MAX,
};

impl Timeline {
    /// Sends a text. It is on disk, and shown as the last item, when this answers.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for an empty text, [`ChatError::TooLarge`].
    pub async fn send_text(&self, mut text: TextMessage) -> Result<ItemId, ChatError> {
        if text.body.trim().is_empty() {
            return Err(ChatError::Invalid("the message is empty".into()));
        }
        let place = {
            let view = self.inner.home.store.snapshot()?;
            // Who is answered is meant.
            if let Some(reply_to) = &text.reply_to
                && let Some(answered) = Stored::by_id(&view, reply_to)?
                && answered.pdu.sender != self.inner.me.user
            {
                text.mentions.users.insert(answered.pdu.sender);
            }
            self.place(&view)?
        };
        let content = message::text(&text, place.as_ref())?;
        self.put(What::message("m.room.message", content)).await
    }

    /// Sends an event of any type that is no state.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for a type that no event can have, or a content that is no object; [`ChatError::TooLarge`].
    pub async fn send_content(&self, kind: &str, content: Box<RawValue>) -> Result<ItemId, ChatError> {
        if kind.is_empty() || kind.contains('\0') || !content.get().starts_with('{') {
            return Err(ChatError::Invalid("an event has a type, and an object as its content".into()));
        }
        message::check_size(&content)?;
        self.put(What::message(kind, content)).await
    }

    /// Sends a file. It is read while it waits in the queue; the answer's second part says how far that is, and calls it off.
    /// A file that was given open, and not by its path, must be sent again if the process ends before it was read.
    ///
    /// # Errors
    /// The store's. What is wrong with the file is said by the item's state.
    pub async fn send_file(
        &self,
        source: Source,
        info: FileInfo,
        reply_to: Option<OwnedEventId>,
    ) -> Result<(ItemId, Progress), ChatError> {
        let place = self.place(&self.inner.home.store.snapshot()?)?;
        let relates_to = message::relates_to(reply_to.as_deref(), place.as_ref());
        let relates_to = (!relates_to.is_empty()).then(|| serde_json::value::to_raw_value(&relates_to)).transpose();
        let relates_to = relates_to.map_err(|error| ChatError::Invalid(error.to_string()))?;
        let path = match &source {
            Source::Path(path) => Some(path.clone()),
            Source::File(_) => None,
        };
        let what = What::File { path, info: (&info).into(), relates_to };
        let progress = Progress::new();
        let txn = send::put_with(&self.inner, self.room.clone(), what, Some(source), progress.clone()).await?;
        Ok((ItemId::of_txn(&txn), progress))
    }

    /// Changes what a message of ours says.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for what is not there, [`ChatError::Forbidden`] for somebody else's message,
    /// [`ChatError::Invalid`] for what is no text.
    pub async fn edit(&self, item: &ItemId, text: TextMessage) -> Result<(), ChatError> {
        if text.body.trim().is_empty() {
            return Err(ChatError::Invalid("the message is empty".into()));
        }
        if let Some(txn) = item.txn()
            && self.inner.queue.find(&txn).is_some()
        {
            // It is not in its room yet, so it can be written anew.
            let rewritten = send::change(&self.inner, &txn, |entry| rewritten(entry, &text)).await;
            match rewritten {
                Err(ChatError::NotFound(_)) => {}
                done => return done,
            }
        }
        let event = self.event_of(item)?;
        let before = self.said(&event).await?;
        let content = message::edit(&event, &text, &before)?;
        self.put(What::message("m.room.message", content)).await.map(drop)
    }

    /// What a text message of ours says now.
    async fn said(&self, event: &EventId) -> Result<Object, ChatError> {
        let missing = || ChatError::NotFound(format!("there is no message {event} here"));
        let inner = &self.inner;
        let said = settled(inner, |look| {
            let Some(room) = Room::find(look.view, &self.room)? else { return Ok(None) };
            let Some(stored) = Stored::by_id(look.view, event)? else { return Ok(None) };
            let names = inner.reads.names(look.view, &room)?;
            let sight = UserSight::new(look.view, room.key, &inner.me.user)?;
            let mut reader = Reader { look, room: &room, names: &names, sight };
            let content = reader.content_now(&stored)?;
            Ok(Some((stored.pdu.sender, content)))
        });
        let (sender, content) = said.await?.ok_or_else(missing)?;
        if sender != inner.me.user {
            return Err(ChatError::Forbidden("only its sender can change a message".into()));
        }
        let said = object(&content.ok_or_else(missing)?);
        let is_text = said.get("msgtype").and_then(Value::as_str);
        if !matches!(is_text, Some("m.text" | "m.notice" | "m.emote")) {
            return Err(ChatError::Invalid("only a text can be changed".into()));
        }
        Ok(said)
    }

    /// Reacts to a message.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for what is not in its room yet, [`ChatError::Invalid`] for an empty key.
    pub async fn react(&self, item: &ItemId, key: &str) -> Result<(), ChatError> {
        if key.is_empty() || shown_key(key) != key {
            return Err(ChatError::Invalid("a reaction is a short text".into()));
        }
        let event = self.known_event(item)?;
        let is_there =
            |item: &super::TimelineItem| item.reactions.iter().any(|reaction| reaction.mine && reaction.key == key);
        if self.lock_items().iter().any(|other| other.id == *item && is_there(other)) {
            return Ok(());
        }
        let content = message::reaction(&event, key)?;
        self.put(What::message("m.reaction", content)).await.map(drop)
    }

    /// Takes a reaction of ours back.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when there is none.
    pub async fn unreact(&self, item: &ItemId, key: &str) -> Result<(), ChatError> {
        let event = self.event_of(item)?;
        for echo in self.inner.queue.of_room(&self.room) {
            if matches!(&*echo.about, About::Reaction(target, other) if *target == event && other == key)
                && send::cancel(&self.inner, &echo.entry.txn).await.is_ok()
            {
                return Ok(());
            }
        }
        let reactions = self.own_reactions(&event, key)?;
        if reactions.is_empty() {
            return Err(ChatError::NotFound(format!("you have not reacted with {key}")));
        }
        for target in reactions {
            self.put(What::Redaction { target, reason: None }).await?;
        }
        Ok(())
    }

    fn own_reactions(&self, event: &EventId, key: &str) -> Result<Vec<OwnedEventId>, ChatError> {
        let view = self.inner.home.store.snapshot()?;
        let mut own = Vec::new();
        let Some(stored) = Stored::by_id(&view, event)? else { return Ok(own) };
        for (reaction, other) in super::around::reaction_events(&view, &stored)? {
            if reaction.header.sender == self.inner.me.user_key && shown_key(&other) == key {
                own.push(reaction.pdu.event_id);
            }
        }
        Ok(own)
    }

    /// Deletes a message, or takes one back that is not in its room yet.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for what is not there. What the room forbids is seen by the message staying.
    pub async fn redact(&self, item: &ItemId, reason: Option<String>) -> Result<(), ChatError> {
        if let Some(txn) = item.txn()
            && self.inner.queue.find(&txn).is_some()
        {
            match send::cancel(&self.inner, &txn).await {
                Err(ChatError::NotFound(_)) => {}
                done => return done,
            }
        }
        let target = self.known_event(item)?;
        self.put(What::Redaction { target, reason }).await.map(drop)
    }

    /// Tries again what failed: the message itself, or the last change of it.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when nothing about it failed; [`ChatError::Invalid`] for what can never work.
    pub async fn retry(&self, item: &ItemId) -> Result<(), ChatError> {
        let txn = self.waiting(item).ok_or_else(|| no_item(item))?;
        send::retry(&self.inner, &txn).await
    }

    /// Takes back what is not in its room yet: the message itself, or the last change of it.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when it is in its room by now.
    pub async fn cancel(&self, item: &ItemId) -> Result<(), ChatError> {
        let txn = self.waiting(item).ok_or_else(|| no_item(item))?;
        send::cancel(&self.inner, &txn).await
    }

    /// What waits in the queue of an item.
    fn waiting(&self, item: &ItemId) -> Option<ruma::OwnedTransactionId> {
        if let Some(txn) = item.txn().filter(|txn| self.inner.queue.find(txn).is_some()) {
            return Some(txn);
        }
        let event = self.event_of(item).ok()?;
        let edits = |echo: &send::Echo| matches!(&*echo.about, About::Edit(target) if *target == event);
        self.inner.queue.of_room(&self.room).into_iter().rev().find(edits).map(|echo| echo.entry.txn.clone())
    }

    /// Says that everything in this timeline was read; with `private`, to ourselves only.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`] for who is not in the room.
    pub async fn mark_read(&self, private: bool) -> Result<(), ChatError> {
        // The last event of somebody else: that we have read our own says nothing, and would be told after each of them.
        let last = self.last_event(&self.inner.home.store.snapshot()?, Whose::Others)?;
        let Some(event) = last else { return Ok(()) };
        let kind = if private { ReceiptKind::Private } else { ReceiptKind::Read };
        let thread = match &self.focus {
            Focus::Main => ReceiptThread::Main,
            Focus::Thread(root) => ReceiptThread::Thread(root.clone()),
        };
        Ok(receipts::set(&self.inner.home, &self.inner.me.user, &self.room, &event, kind, thread).await?)
    }

    /// The last event of this timeline, shown as an item or not.
    fn last_event(&self, view: &Snapshot, whose: Whose) -> StoreResult<Option<OwnedEventId>> {
        let wanted = |stored: &Stored| whose == Whose::Anybodys || stored.header.sender != self.inner.me.user_key;
        let Some(room) = Room::find(view, &self.room)? else { return Ok(None) };
        let mut sight = UserSight::new(view, room.key, &self.inner.me.user)?;
        if let Focus::Thread(_) = self.focus {
            let mut scan = Scan { view, room: &room, sight: &mut sight, focus: &self.focus };
            let looked_at = if whose == Whose::Others { MARK_READ_SCAN_MAX } else { 1 };
            let last = scan.rows(u64::MAX, 0, looked_at)?.events.into_iter().find(wanted);
            return Ok(last.map(|stored| stored.pdu.event_id));
        }
        let end = std::ops::Bound::Included((room.key.0, u64::MAX));
        for row in view.tl()?.between(std::ops::Bound::Included((room.key.0, 0)), end)?.rev().take(MARK_READ_SCAN_MAX) {
            let stored = Stored::must(view, row?.1.value())?;
            if wanted(&stored) && sight.sees(&stored)? && threads::root_of(view, &stored.pdu)?.is_none() {
                return Ok(Some(stored.pdu.event_id));
            }
        }
        Ok(None)
    }

    /// Where in a thread a new message goes.
    fn place(&self, view: &Snapshot) -> Result<Option<ThreadPlace>, ChatError> {
        let Focus::Thread(root) = &self.focus else { return Ok(None) };
        let latest = self.last_event(view, Whose::Anybodys)?.unwrap_or_else(|| root.clone());
        Ok(Some(ThreadPlace { root: root.clone(), latest }))
    }

    async fn put(&self, what: What) -> Result<ItemId, ChatError> {
        let is_known = Room::find(&self.inner.home.store.snapshot()?, &self.room)?.is_some();
        if !is_known {
            return Err(RoomError::UnknownRoom(self.room.clone()).into());
        }
        let txn = send::put(&self.inner, self.room.clone(), what).await?;
        Ok(ItemId::of_txn(&txn))
    }

    /// The event of an item, which is in this room and here.
    fn known_event(&self, item: &ItemId) -> Result<OwnedEventId, ChatError> {
        let event = self.event_of(item)?;
        let view = self.inner.home.store.snapshot()?;
        let room = RoomKey::find(&view, &self.room)?;
        match Stored::by_id(&view, &event)? {
            Some(stored) if Some(stored.header.room) == room => Ok(event),
            _ => Err(no_item(item)),
        }
    }

    /// The event of an item that is in its room.
    pub(super) fn event_of(&self, item: &ItemId) -> Result<OwnedEventId, ChatError> {
        if let Some(event) = item.event() {
            return Ok(event);
        }
        let items = self.lock_items().clone();
        let shown = items.iter().find(|shown| shown.id == *item).and_then(|shown| shown.event_id.clone());
        shown.ok_or_else(|| no_item(item))
    }
}

/// Whose event is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Anybodys,
    Others,
}

/// A message in the queue with another text, in the same place among the others.
fn rewritten(entry: &Entry, text: &TextMessage) -> Result<Entry, ChatError> {
    let not_a_text = || ChatError::Invalid("only a text can be changed".into());
    let What::Message { kind, content, .. } = &entry.what else { return Err(not_a_text()) };
    let mut old = object(content);
    if kind != "m.room.message"
        || !matches!(old.get("msgtype").and_then(Value::as_str), Some("m.text" | "m.notice" | "m.emote"))
    {
        return Err(not_a_text());
    }
    let mut new = object(&message::text(&TextMessage { reply_to: None, ..text.clone() }, None)?);
    if let Some(relates_to) = old.remove("m.relates_to") {
        new.insert("m.relates_to".into(), relates_to);
    }
    let content = serde_json::value::to_raw_value(&new).map_err(|error| ChatError::Invalid(error.to_string()))?;
    Ok(Entry { what: What::message(kind, content), failure: None, ..entry.clone() })
}

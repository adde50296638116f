//! What stands around a message: reactions, what it answers, the thread that starts from it.

use ruma::{EventId, OwnedEventId, UserId};

use super::{
    item::{Quote, Reaction, ThreadSummary},
    version::Reader,
};
use crate::{
    chat::preview::Preview,
    rooms::relations::{self, Kind, Relation},
    store::{Result, Stored, View, id_prefix},
    types::limits::{REACTION_KEY_CHARS_MAX, REACTIONS_READ_MAX, THREAD_COUNT_MAX},
};

/// A reaction's key as it is shown. Anybody may send a long text as one.
pub(crate) fn shown_key(key: &str) -> String {
    key.chars().take(REACTION_KEY_CHARS_MAX).collect()
}

/// Counts somebody's reaction.
pub(super) fn add(reactions: &mut Vec<Reaction>, key: &str, sender: &UserId, mine: bool) {
    let key = shown_key(key);
    match reactions.iter_mut().find(|reaction| reaction.key == key) {
        Some(reaction) => {
            if !reaction.senders.iter().any(|other| other == sender) {
                reaction.senders.push(sender.to_owned());
            }
            reaction.mine |= mine;
        }
        None => reactions.push(Reaction { key, senders: vec![sender.to_owned()], mine }),
    }
}

/// The events that react to one, each with its key, oldest first.
pub(super) fn reaction_events(view: &dyn View, stored: &Stored) -> Result<Vec<(Stored, String)>> {
    let mut events = Vec::new();
    let Some(prefix) = id_prefix(&stored.pdu.event_id) else { return Ok(events) };
    for child in relations::children_of(view, stored.header.room, &prefix, Kind::Annotation)?.take(REACTIONS_READ_MAX) {
        let event = Stored::must(view, child?.esn)?;
        let key = Relation::of(&event.pdu).and_then(|relation| relation.key);
        if let Some(key) = key.filter(|_| !event.pdu.is_state()) {
            events.push((event, key));
        }
    }
    Ok(events)
}

impl Reader<'_, '_> {
    /// The reactions to an event, without those that are in `going`: reactions of ours that are being taken back.
    pub(super) fn reactions(&mut self, stored: &Stored, going: &[OwnedEventId]) -> Result<Vec<Reaction>> {
        let mut reactions = Vec::new();
        for (event, key) in reaction_events(self.look.view, stored)? {
            if self.sight.sees(&event)? && !going.contains(&event.pdu.event_id) {
                let mine = event.header.sender == self.look.inner.me.user_key;
                add(&mut reactions, &key, &event.pdu.sender, mine);
            }
        }
        Ok(reactions)
    }

    /// An event in short.
    pub(super) fn quote(&mut self, id: &EventId) -> Result<Quote> {
        let absent = Quote { event_id: id.to_owned(), sender: None, preview: None };
        let Some(stored) = Stored::by_id(self.look.view, id)?.filter(|stored| stored.header.room == self.room.key)
        else {
            return Ok(absent);
        };
        if !self.sight.sees(&stored)? {
            return Ok(absent);
        }
        let Some(version) = self.version(&stored)? else { return Ok(absent) };
        let shown = self.names.show(self.look.view, self.room, stored.header.sender)?;
        Ok(Quote {
            event_id: id.to_owned(),
            sender: Some((shown.user, shown.name)),
            preview: Some(Preview::of(&version.content)),
        })
    }

    /// The thread that starts from a message, if there is one.
    pub(super) fn thread(&mut self, stored: &Stored) -> Result<Option<ThreadSummary>> {
        let Some(prefix) = id_prefix(&stored.pdu.event_id) else { return Ok(None) };
        let (mut count, mut latest) = (0, None);
        let children = relations::children_of(self.look.view, stored.header.room, &prefix, Kind::Thread)?;
        for child in children.rev().take(THREAD_COUNT_MAX) {
            let child = child?;
            if self.sight.ignores(child.sender) {
                continue;
            }
            count += 1;
            if latest.is_none() {
                let event = Stored::must(self.look.view, child.esn)?;
                latest = self.sight.sees(&event)?.then_some(event.pdu.event_id);
            }
        }
        let latest = latest.map(|id| self.quote(&id)).transpose()?;
        Ok((count > 0).then_some(ThreadSummary { count, latest }))
    }
}

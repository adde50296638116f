//! Items out of events: what each says now, and what stands around it; then what is on its way out of this phone.

use std::collections::{BTreeSet, HashMap};

use ruma::{OwnedEventId, OwnedTransactionId};

use super::{
    around,
    item::{ItemContent, ItemId, TimelineItem},
    version::{Reader, Version},
    window::{Focus, Rows},
    words::{answered, replacement, reply_to, spoken},
};
use crate::{
    chat::{
        delivery::{Ancestry, Audience, speaks},
        send::{About, Echo, What},
    },
    rooms::{gaps, relations::Relation},
    store::{Result, Stored, UserKey},
    types::{Millis, limits::READ_BY_MAX},
};

/// What it takes to make items of one window.
pub(super) struct Builder<'a, 'l, 'v> {
    pub(super) reader: Reader<'l, 'v>,
    pub(super) focus: &'a Focus,
    /// What is on its way out of this phone into the room, in order.
    pub(super) echoes: &'a [Echo],
    pub(super) ancestry: &'a mut Ancestry,
}

/// What is on its way and changes what is there.
#[derive(Default)]
struct Pending<'a> {
    edits: HashMap<&'a OwnedEventId, &'a Echo>,
    reactions: Vec<(&'a OwnedEventId, &'a str)>,
    redactions: Vec<OwnedEventId>,
}

/// An item, and where it stands.
struct Placed {
    pos: u64,
    item: TimelineItem,
}

impl Builder<'_, '_, '_> {
    /// The items of a window, oldest first.
    pub(super) fn items(mut self, rows: &Rows) -> Result<Vec<TimelineItem>> {
        let audience = self.audience(rows)?;
        let pending = Pending::of(self.echoes);
        let mut placed = Vec::with_capacity(rows.events.len());
        let mut sent = BTreeSet::new();
        for stored in rows.events.iter().rev() {
            sent.extend(self.own_txn(stored));
            if let Some(item) = self.event(stored, &audience, &pending)? {
                placed.push(Placed { pos: stored.header.pos, item });
            }
        }
        mark_readers(&mut placed, &audience);
        self.mark_gaps(&mut placed, rows)?;
        let mut items: Vec<TimelineItem> = placed.into_iter().map(|placed| placed.item).collect();
        for echo in self.echoes {
            // Its event is here already: it left the queue after the queue was looked at.
            if !sent.contains(&echo.entry.txn) {
                items.extend(self.echo(echo)?);
            }
        }
        Ok(items)
    }

    fn audience(&self, rows: &Rows) -> Result<Audience> {
        let mut spoken: HashMap<UserKey, u64> = HashMap::new();
        for stored in rows.events.iter().filter(|stored| speaks(stored)) {
            spoken.entry(stored.header.sender).or_insert(stored.header.pos);
        }
        let Reader { look, room, names, .. } = &self.reader;
        Audience::of(look.inner, look.view, room, names, self.focus, &spoken)
    }

    /// The transaction of what this device sent.
    fn own_txn(&self, stored: &Stored) -> Option<OwnedTransactionId> {
        let me = &self.reader.look.inner.me;
        let (device, txn) = stored.header.txn.as_deref()?.split_once('\0')?;
        (stored.header.sender == me.user_key && device == me.device.as_str()).then(|| txn.into())
    }

    fn event(&mut self, stored: &Stored, audience: &Audience, pending: &Pending<'_>) -> Result<Option<TimelineItem>> {
        let Some(Version { mut content, mut edited, trust, by }) = self.reader.version(stored)? else {
            return Ok(None);
        };
        let view = self.reader.look.view;
        let id = &stored.pdu.event_id;
        let mine = stored.header.sender == self.reader.look.inner.me.user_key;
        let mut state = None;
        if mine && !stored.pdu.is_state() && !stored.header.flags.redacted {
            state = Some(audience.state(view, self.ancestry, (by.0, &by.1))?);
        }
        if let Some(echo) = pending.edits.get(id)
            && let Some(new) = echo.edited(reply_to(&stored.pdu.content).is_some())
        {
            (content, edited, state) = (new, true, Some(echo.state()));
        }
        if pending.redactions.contains(id) {
            let by = Some(self.reader.look.inner.me.user.clone());
            (content, edited, state) = (ItemContent::Redacted { by, reason: None }, false, None);
        }
        let is_gone = matches!(content, ItemContent::Redacted { .. });
        let mut reactions = Vec::new();
        let (mut quote, mut thread) = (None, None);
        if !is_gone {
            reactions = self.reader.reactions(stored, &pending.redactions)?;
            for (_, key) in pending.reactions.iter().filter(|(target, _)| *target == id) {
                around::add(&mut reactions, key, &self.reader.look.inner.me.user, true);
            }
            quote = reply_to(&stored.pdu.content).map(|target| self.reader.quote(&target)).transpose()?;
        }
        if *self.focus == Focus::Main && Relation::of(&stored.pdu).is_none() {
            thread = self.reader.thread(stored)?;
        }
        let sender = self.reader.names.show(view, self.reader.room, stored.header.sender)?;
        Ok(Some(TimelineItem {
            id: self.own_txn(stored).map_or_else(|| ItemId::of_event(id), |txn| ItemId::of_txn(&txn)),
            event_id: Some(id.clone()),
            sender: sender.user,
            sender_name: sender.name,
            sender_avatar: sender.avatar,
            ts: stored.pdu.origin_server_ts,
            mine,
            content,
            edited,
            reactions,
            reply_to: quote,
            thread,
            read_by: Vec::new(),
            state,
            trust,
            gap_before: false,
        }))
    }

    /// What is on its way out, if it is shown as itself, and here.
    fn echo(&mut self, echo: &Echo) -> Result<Option<TimelineItem>> {
        let is_here = match (&*echo.about, self.focus) {
            (About::Nothing, Focus::Main) => true,
            (About::Thread(root), Focus::Thread(shown)) => root == shown,
            _ => false,
        };
        let Some((content, reply)) = echo.content().filter(|_| is_here) else { return Ok(None) };
        let me = self.reader.look.inner.me.clone();
        let sender = self.reader.names.show(self.reader.look.view, self.reader.room, me.user_key)?;
        Ok(Some(TimelineItem {
            id: ItemId::of_txn(&echo.entry.txn),
            event_id: None,
            sender: sender.user,
            sender_name: sender.name,
            sender_avatar: sender.avatar,
            ts: Millis(echo.entry.at),
            mine: true,
            content,
            edited: false,
            reactions: Vec::new(),
            reply_to: reply.map(|target| self.reader.quote(&target)).transpose()?,
            thread: None,
            read_by: Vec::new(),
            state: Some(echo.state()),
            trust: None,
            gap_before: false,
        }))
    }

    /// Marks the items before which history is missing.
    fn mark_gaps(&self, placed: &mut [Placed], rows: &Rows) -> Result<()> {
        let Some(floor) = rows.floor.filter(|_| *self.focus == Focus::Main) else { return Ok(()) };
        for gap in gaps(self.reader.look.view, self.reader.room.key)? {
            if gap.pos >= floor
                && let Some(first) = placed.iter_mut().find(|placed| placed.pos >= gap.pos)
            {
                first.item.gap_before = true;
            }
        }
        Ok(())
    }
}

/// Puts everybody at the last item that they say to have read.
fn mark_readers(placed: &mut [Placed], audience: &Audience) {
    for (pos, user) in audience.reading_places() {
        let index = placed.partition_point(|placed| placed.pos <= pos);
        if let Some(placed) = index.checked_sub(1).and_then(|index| placed.get_mut(index))
            && placed.item.sender != *user
            && placed.item.read_by.len() < READ_BY_MAX
        {
            placed.item.read_by.push(user.clone());
        }
    }
}

impl<'a> Pending<'a> {
    fn of(echoes: &'a [Echo]) -> Self {
        let mut pending = Self::default();
        for echo in echoes {
            match (&*echo.about, &echo.entry.what) {
                (About::Edit(target), _) => {
                    pending.edits.insert(target, echo);
                }
                (About::Reaction(target, key), _) => pending.reactions.push((target, key)),
                (_, What::Redaction { target, .. }) => pending.redactions.push(target.clone()),
                _ => {}
            }
        }
        pending
    }
}

impl Echo {
    /// What it says, and what it answers.
    fn content(&self) -> Option<(ItemContent, Option<OwnedEventId>)> {
        match &self.entry.what {
            What::Message { kind, content, .. } => {
                let reply = reply_to(content);
                spoken(kind, content, reply.is_some()).map(|content| (content, reply))
            }
            What::File { info, relates_to, .. } => {
                // Where it will lie is not known yet, so it is said to lie where nothing does.
                let content = info.content(&format!("mxc://unsent/{}", self.entry.txn));
                let reply = relates_to.as_deref().and_then(answered);
                spoken("m.room.message", &content, false).map(|content| (content, reply))
            }
            What::Redaction { .. } => None,
        }
    }

    /// What it makes of the message that it edits.
    fn edited(&self, is_reply: bool) -> Option<ItemContent> {
        let What::Message { kind, content, .. } = &self.entry.what else { return None };
        spoken(kind, &replacement(content)?, is_reply)
    }
}

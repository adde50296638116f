//! What a client is told of a room beside its events: who has read how far, who is typing, the user's account data, and how
//! much is unread. And the account data that belongs to no room.
//!
//! Deltas are what has a log position after the client's; a room that is new to the client comes with everything. A filter's
//! `limit` is not applied here: what it would cut off no later sync would bring.

use std::collections::BTreeMap;

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, UInt,
    api::client::sync::sync_events::{
        UnreadNotificationsCount,
        v3::{GlobalAccountData, JoinedRoom},
    },
    events::{
        AnyRoomAccountDataEvent, AnySyncEphemeralRoomEvent,
        receipt::{Receipt as Said, ReceiptEventContent, Receipts},
    },
    serde::Raw,
};
use serde_json::{json, value::RawValue};

use super::Look;
use crate::{
    rooms::{
        EventFilter, Room,
        receipts::{self, Receipt, ReceiptKind},
        takes_type,
        unread::{self, Counts},
    },
    store::{Result, RoomKey, StoreError, Stored},
    users::{
        account_data::{self, AccountData, PUSH_RULES},
        push,
    },
};

/// What goes beside a room's events.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) ephemeral: Vec<Raw<AnySyncEphemeralRoomEvent>>,
    pub(super) account_data: Vec<Raw<AnyRoomAccountDataEvent>>,
    /// The user has read on, so the counts are news.
    counts: bool,
}

impl Beside {
    pub(super) fn is_empty(&self) -> bool {
        self.ephemeral.is_empty() && self.account_data.is_empty() && !self.counts
    }
}

impl Look<'_> {
    /// What there is beside a room's events. `fresh`: the client has nothing of the room.
    pub(super) fn beside_events(&self, room: &Room, fresh: bool) -> Result<Beside> {
        let mut beside = Beside { account_data: self.room_account_data(room, fresh)?, ..Beside::default() };
        let filter = EventFilter(&self.request.filter.room.ephemeral);
        let moved = self.moved_receipts(room.key, fresh)?;
        beside.counts = !fresh && moved.iter().any(|receipt| receipt.user == self.request.user_key);
        if filter.takes_unsent(&room.id, "m.receipt") {
            beside.ephemeral = self.receipt_events(&moved)?;
        }
        let typing = if fresh { self.typing.of_new(room.key) } else { self.typing.of(room.key) };
        if let Some(users) = typing.filter(|_| filter.takes_unsent(&room.id, "m.typing")) {
            beside.ephemeral.push(event("m.typing", &json!({ "user_ids": users }))?);
        }
        Ok(beside)
    }

    /// The receipts that the client does not know, without the private ones of others.
    fn moved_receipts(&self, room: RoomKey, fresh: bool) -> Result<Vec<Receipt>> {
        let mut moved = match self.touched.readers(room).filter(|_| !fresh) {
            None => receipts::of_room(self.view, room)?,
            Some(readers) => {
                let mut moved = Vec::new();
                for user in readers {
                    moved.extend(receipts::of_user(self.view, room, user)?);
                }
                moved
            }
        };
        let since = self.known(fresh);
        let is_for_all = |receipt: &Receipt| receipt.kind == ReceiptKind::Read;
        moved.retain(|receipt| receipt.n > since && (is_for_all(receipt) || receipt.user == self.request.user_key));
        Ok(moved)
    }

    /// One event for each thread: an event's receipt of one user may stand in it once only.
    fn receipt_events(&self, receipts: &[Receipt]) -> Result<Vec<Raw<AnySyncEphemeralRoomEvent>>> {
        let mut threads: BTreeMap<Option<&str>, BTreeMap<OwnedEventId, Receipts>> = BTreeMap::new();
        for receipt in receipts {
            let header = Stored::header(self.view, receipt.esn)?;
            let header = header.ok_or_else(|| StoreError::Corrupt(format!("event {} is missing", receipt.esn)))?;
            let mut said = Said::new(MilliSecondsSinceUnixEpoch(UInt::new_saturating(receipt.ts.0)));
            said.thread = receipt.thread.clone();
            let events = threads.entry(receipt.thread.as_str()).or_default();
            let kinds = events.entry(header.event_id()?).or_default();
            kinds.entry(receipt.kind.as_str().into()).or_default().insert(receipt.user.id(self.view)?, said);
        }
        threads.into_values().map(|events| event("m.receipt", &ReceiptEventContent(events))).collect()
    }

    /// The user's account data of a room that the client does not know.
    pub(super) fn room_account_data(&self, room: &Room, fresh: bool) -> Result<Vec<Raw<AnyRoomAccountDataEvent>>> {
        if !fresh && !self.touched.account_data(Some(room.key)) {
            return Ok(Vec::new());
        }
        let filter = EventFilter(&self.request.filter.room.account_data);
        let changed = account_data::changed_since(self.view, self.request.user_key, Some(room.key), self.known(fresh))?;
        let wanted = changed.into_iter().filter(|data| filter.takes_unsent(&room.id, &data.kind));
        wanted.map(|AccountData { kind, content }| event(&kind, &content)).collect()
    }

    /// The user's account data outside of rooms that the client does not know. A first sync always has the push rules.
    pub(super) fn account_data(&self) -> Result<GlobalAccountData> {
        let mut answer = GlobalAccountData::default();
        let user = self.request.user_key;
        if !self.touched.account_data(None) {
            return Ok(answer);
        }
        let mut changed = account_data::changed_since(self.view, user, None, self.known(false))?;
        let has_rules = changed.iter().any(|data| data.kind == PUSH_RULES);
        changed.retain(|data| data.kind != PUSH_RULES);
        if has_rules || self.since.is_none() {
            changed.push(AccountData { kind: PUSH_RULES.into(), content: push::content(self.view, user)? });
        }
        let filter = &self.request.filter.account_data;
        for AccountData { kind, content } in changed {
            if filter.senders.is_none() && takes_type(filter.types.as_deref(), &filter.not_types, &kind) {
                answer.events.push(event(&kind, &content)?);
            }
        }
        Ok(answer)
    }

    /// How much the user has not read.
    pub(super) fn count_unread(&self, joined: &mut JoinedRoom, room: RoomKey) -> Result<()> {
        let apart = self.request.filter.room.timeline.unread_thread_notifications;
        let mut whole = Counts::default();
        for (thread, counts) in unread::by_thread(self.view, self.request.user_key, room)? {
            match thread.root(self.view)?.filter(|_| apart) {
                Some(root) => {
                    joined.unread_thread_notifications.insert(root, count(counts));
                }
                None => {
                    whole.notifications += counts.notifications;
                    whole.highlights += counts.highlights;
                }
            }
        }
        joined.unread_notifications = count(whole);
        Ok(())
    }

    /// The place of the log up to which the client knows what stands beside a room's events.
    fn known(&self, fresh: bool) -> u64 {
        self.since.filter(|_| !fresh).map_or(0, |since| since.0)
    }
}

fn count(counts: Counts) -> UnreadNotificationsCount {
    let mut count = UnreadNotificationsCount::new();
    count.notification_count = Some(UInt::new_saturating(counts.notifications));
    count.highlight_count = Some(UInt::new_saturating(counts.highlights));
    count
}

fn event<T, C: serde::Serialize>(kind: &str, content: &C) -> Result<Raw<T>> {
    #[derive(serde::Serialize)]
    struct Event<'a, C> {
        content: &'a C,
        #[serde(rename = "type")]
        kind: &'a str,
    }
    let event: Box<RawValue> = serde_json::value::to_raw_value(&Event { content, kind })
        .map_err(|error| StoreError::Corrupt(format!("an event of type {kind}: {error}")))?;
    Ok(Raw::from_json(event))
}

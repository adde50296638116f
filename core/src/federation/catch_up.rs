//! Fetching what events build on: missing events in rounds, then, where those end, the state at the edge.
//!
//! The server that the events came from is asked first, since it has what it sent; then servers of the room within reach;
//! then the events' own. Everything is bounded: the events that wait, the rounds, and the states that are fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use ruma::{OwnedEventId, OwnedServerName, RoomId, ServerName, UInt, api::federation::event::get_missing_events};

use super::{
    fetch,
    receive::{Door, Judged, ReceiveError, Verdicts, apply_all, is_history, is_placed, parents_first, verdict},
    sources,
};
use crate::{
    event::Pdu,
    home::Home,
    outbox::{FederationError, request},
    rooms::{Applied, ApplyError, Incoming, Past, Room, apply, apply_outliers, gaps},
    store::{Result, StoreError, Stored, View},
    types::limits::{ADVERTISED_HEADS_MAX, MISSING_EVENTS_MAX, MISSING_EVENTS_ROUNDS_MAX, WAITING_EVENTS_MAX},
};

/// States that one catch-up may fetch: one for each place where history breaks off, and a few more.
const STATES_MAX: usize = 10;
/// Tries to complete the auth chains of what waits.
const AUTH_ROUNDS_MAX: usize = 10;

/// Events that wait for their past, and the search for it.
#[derive(Debug)]
pub(super) struct CatchUp<'a> {
    home: &'a Home,
    from: &'a ServerName,
    door: &'a Door,
    waiting: BTreeMap<OwnedEventId, Pdu>,
    sources: Vec<OwnedServerName>,
    /// The depth below which this server was not in the room. What lies there is history, which comes by backfill: a walk
    /// that went on would find the room's beginning, and play all of it anew.
    floor: u64,
    /// `from` gave no answer: nothing is final then.
    unanswered: Option<String>,
    verdicts: Verdicts,
}

impl<'a> CatchUp<'a> {
    pub(super) fn new(
        home: &'a Home,
        from: &'a ServerName,
        door: &'a Door,
        waiting: BTreeMap<OwnedEventId, Pdu>,
    ) -> Result<Self> {
        let view = home.store.snapshot()?;
        let mut first = vec![from.to_owned()];
        first.extend(waiting.values().map(|pdu| pdu.sender.server_name().to_owned()));
        let sources = sources::of_room(home, &view, &door.room, &first)?;
        let floor = floor(&view, &door.room)?;
        Ok(Self { home, from, door, waiting, sources, floor, unanswered: None, verdicts: Verdicts::new() })
    }

    /// Fetches and applies until all that waited is judged.
    pub(super) async fn run(mut self) -> Result<Verdicts, ReceiveError> {
        for _ in 0..MISSING_EVENTS_ROUNDS_MAX {
            let edge = self.edge()?;
            if edge.is_empty() || self.waiting.len() >= WAITING_EVENTS_MAX || !self.ask_missing(&edge).await? {
                break;
            }
        }
        self.settle().await?;
        Ok(self.verdicts)
    }

    /// The waiting events with parents that neither are here nor wait, newest last.
    fn edge(&self) -> Result<Vec<OwnedEventId>> {
        let view = self.home.store.snapshot()?;
        let mut edge = BTreeSet::new();
        for pdu in self.waiting.values() {
            for prev in &pdu.prev_events {
                if pdu.depth > self.floor
                    && !self.waiting.contains_key(prev)
                    && !is_placed(&view, prev)?
                    && !is_history(&view, prev)?
                {
                    edge.insert((pdu.depth, pdu.event_id.clone()));
                    break;
                }
            }
        }
        Ok(edge.into_iter().map(|(_, id)| id).collect())
    }

    /// Asks for the events before the edge. False when nobody has more.
    async fn ask_missing(&mut self, edge: &[OwnedEventId]) -> Result<bool, ReceiveError> {
        use get_missing_events::v1::Request;
        let latest: Vec<OwnedEventId> = edge.iter().take(ADVERTISED_HEADS_MAX).cloned().collect();
        let earliest = self.heads()?;
        for source in self.sources.clone() {
            let mut ask = Request::new(self.door.room.clone(), earliest.clone(), latest.clone());
            ask.min_depth = UInt::new_saturating(self.floor);
            ask.limit = UInt::new_saturating(MISSING_EVENTS_MAX as u64);
            match request(self.home, &source, ask).await {
                Ok(answer) => {
                    let raws: Vec<_> = answer.events.into_iter().take(MISSING_EVENTS_MAX).collect();
                    if self.add(self.door.verified(self.home, &source, &raws))? {
                        return Ok(true);
                    }
                }
                Err(error) => self.failed(&source, &error),
            }
        }
        Ok(false)
    }

    /// Our heads: what an answer need not go beyond.
    fn heads(&self) -> Result<Vec<OwnedEventId>> {
        let view = self.home.store.snapshot()?;
        let Some(room) = Room::find(&view, &self.door.room)? else { return Ok(Vec::new()) };
        sources::heads(&view, &room)
    }

    /// Adds fetched events to those that wait. True when one of them is new.
    fn add(&mut self, pdus: Vec<Pdu>) -> Result<bool> {
        let view = self.home.store.snapshot()?;
        let mut new = false;
        // Newest first: where the room for them ends, the oldest are left out, and no hole is left between the others.
        for pdu in parents_first(pdus).into_iter().rev() {
            if self.waiting.len() < WAITING_EVENTS_MAX
                && pdu.depth >= self.floor
                && !self.waiting.contains_key(&pdu.event_id)
                && !is_placed(&view, &pdu.event_id)?
            {
                new = true;
                self.waiting.insert(pdu.event_id.clone(), pdu);
            }
        }
        Ok(new)
    }

    fn failed(&mut self, source: &ServerName, error: &FederationError) {
        tracing::debug!(%error, %source, room = %self.door.room, "a server could not help to catch up");
        if error.is_passing() {
            if *source == *self.from {
                self.unanswered = Some(error.to_string());
            }
            self.sources.retain(|other| other != source);
        }
    }

    /// Applies what waits; completes auth chains and fetches states where parents stay missing.
    async fn settle(&mut self) -> Result<(), ReceiveError> {
        let (mut states, mut auth_rounds) = (0, 0);
        loop {
            let Some((lowest, auth)) = self.apply_waiting().await? else { return Ok(()) };
            if !auth.is_empty() {
                auth_rounds += 1;
                if auth_rounds > AUTH_ROUNDS_MAX || !self.fetch_auth(&lowest).await? {
                    self.give_up(&lowest, "its auth events are not to be had")?;
                }
                continue;
            }
            states += 1;
            if states > STATES_MAX || !self.apply_with_state(&lowest).await? {
                self.give_up(&lowest, "what it builds on is not to be had")?;
            }
        }
    }

    /// Applies what can be applied, and answers the lowest event that is left, with the auth events that it lacks.
    async fn apply_waiting(&mut self) -> Result<Option<(Pdu, Vec<OwnedEventId>)>, ReceiveError> {
        let order = parents_first(std::mem::take(&mut self.waiting).into_values().collect());
        let mut lowest = None;
        for (pdu, judged) in apply_all(self.home, order).await? {
            match judged {
                Judged::Done(verdict) => {
                    self.verdicts.insert(pdu.event_id, verdict);
                }
                Judged::Needs { auth } => {
                    lowest.get_or_insert_with(|| (pdu.clone(), auth));
                    self.waiting.insert(pdu.event_id.clone(), pdu);
                }
            }
        }
        Ok(lowest)
    }

    /// Refuses an event for good, unless its sender just did not answer.
    fn give_up(&mut self, pdu: &Pdu, why: &str) -> Result<(), ReceiveError> {
        if let Some(reason) = &self.unanswered {
            return Err(ReceiveError::Unavailable(reason.clone()));
        }
        tracing::warn!(event = %pdu.event_id, room = %self.door.room, from = %self.from, why, "an event is refused");
        self.waiting.remove(&pdu.event_id);
        self.verdicts.insert(pdu.event_id.clone(), Err(why.to_owned()));
        Ok(())
    }

    /// Fetches an event's auth chain and keeps it. True when the chain is complete now.
    async fn fetch_auth(&mut self, pdu: &Pdu) -> Result<bool, ReceiveError> {
        for source in self.sources.clone() {
            match fetch::auth_chain(self.home, &source, self.door, &pdu.event_id).await {
                Ok(chain) => {
                    if self.keep_outliers(&source, chain).await? {
                        return Ok(true);
                    }
                }
                Err(error) => self.failed(&source, &error),
            }
        }
        Ok(false)
    }

    /// Keeps auth events; what they in turn lack is fetched one by one.
    async fn keep_outliers(&mut self, source: &ServerName, mut pdus: Vec<Pdu>) -> Result<bool, ReceiveError> {
        for _ in 0..AUTH_ROUNDS_MAX {
            let (room, batch) = (self.door.room.clone(), pdus.clone());
            let kept = self.home.store.write(move |tx| apply_outliers(tx, &room, &batch)).await;
            let missing = match kept {
                Ok(()) => return Ok(true),
                Err(ApplyError::Need { auth, .. }) => auth,
                Err(ApplyError::Store(error)) => return Err(error.into()),
                Err(ApplyError::NoRoom(_)) => return Ok(false),
            };
            match fetch::events(self.home, source, self.door, &missing).await {
                Ok(more) if !more.is_empty() => pdus.extend(more),
                Ok(_) => return Ok(false),
                Err(error) => {
                    self.failed(source, &error);
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    /// Applies an event whose parents are not to be had, with the state before it as a source tells it.
    async fn apply_with_state(&mut self, pdu: &Pdu) -> Result<bool, ReceiveError> {
        for source in self.sources.clone() {
            let (state, chain) = match fetch::state_at(self.home, &source, self.door, &pdu.event_id).await {
                Ok(told) => told,
                Err(fetch::FetchError::Store(error)) => return Err(error.into()),
                Err(fetch::FetchError::Remote(error)) => {
                    self.failed(&source, &error);
                    continue;
                }
            };
            match self.apply_told(pdu, state, chain).await {
                Ok(applied) => {
                    self.waiting.remove(&pdu.event_id);
                    self.verdicts.insert(pdu.event_id.clone(), verdict(applied));
                    return Ok(true);
                }
                Err(ApplyError::Store(error @ StoreError::Panicked(_))) => {
                    tracing::error!(%error, event = %pdu.event_id, "an event could not be applied");
                }
                Err(ApplyError::Store(error)) => return Err(error.into()),
                Err(error) => tracing::debug!(%error, %source, event = %pdu.event_id, "a told state does not suffice"),
            }
        }
        Ok(false)
    }

    async fn apply_told(&self, pdu: &Pdu, state: Vec<Pdu>, chain: Vec<Pdu>) -> Result<Applied, ApplyError> {
        let incoming = Incoming { pdu: pdu.clone(), past: Past::State(state, chain), relay: false };
        let local = self.home.local.clone();
        self.home.store.write(move |tx| apply(tx, &local, &incoming)).await
    }
}

/// The depth of the oldest event of the timeline if history is missing before it, or 0 where the room is known from its
/// beginning. A gap further up is no end: what it hides leads to what is known.
fn floor(view: &dyn View, room: &RoomId) -> Result<u64> {
    let Some(room) = Room::find(view, room)? else { return Ok(0) };
    let Some(gap) = gaps(view, room.key)?.pop() else { return Ok(0) };
    let (from, to) = ((room.key.0, 0), (room.key.0, u64::MAX));
    let oldest = view.tl()?.between(Bound::Included(from), Bound::Included(to))?.next().transpose()?;
    match oldest {
        Some((key, esn)) if key.value().1 == gap.pos => Ok(Stored::must(view, esn.value())?.pdu.depth),
        _ => Ok(0),
    }
}

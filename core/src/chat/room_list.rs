//! The rooms of a person as a list that a UI shows and watches: invites first, then by their last message.
//!
//! A room's row is computed when the log names the room, and kept until then. The first batch shows names, last messages and
//! the counts that the homeserver keeps. What stands out in an encrypted room is only known once its unread messages are
//! decrypted and the person's push rules are asked; that follows, room by room, in the batches after.

mod last;
mod summary;
mod unread;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::OwnedRoomId;
use tokio::sync::watch;

pub(super) use self::unread::{Verdict, verdict};
pub use self::{
    last::LastMessage,
    summary::{Invite, RoomKind, RoomSummary},
};
use self::{summary::Row, unread::Judged};
use super::{
    Chat, ChatError, Inner, Seen, direct,
    feed::{self, Diff},
    reading::{Look, settled},
    touched::Touched,
};
use crate::{
    rooms,
    store::{MembRecord, RoomKey, Standing, StoreError},
    types::limits::ROOMS_JUDGED_AT_ONCE,
};

/// The rooms of a person. One consumer asks it for diffs.
pub struct RoomFeed {
    inner: Arc<Inner>,
    state: tokio::sync::Mutex<State>,
    stopped: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// Up to where everything was looked at. `None` before the first batch.
    seen: Option<Seen>,
    rows: BTreeMap<RoomKey, Row>,
    /// What push rules said of messages in clear.
    judged: Judged,
    shown: Vec<RoomSummary>,
}

impl std::fmt::Debug for RoomFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomFeed").finish_non_exhaustive()
    }
}

impl Chat {
    /// The person's rooms.
    pub fn rooms(&self) -> RoomFeed {
        RoomFeed { inner: self.inner.clone(), state: tokio::sync::Mutex::default(), stopped: watch::Sender::new(false) }
    }
}

/// The row of a room that somebody asks us into.
pub(super) fn invited(look: &Look<'_>, key: RoomKey, record: &MembRecord) -> Result<Option<RoomSummary>, StoreError> {
    Ok(summary::outside(look, key, record)?.map(|row| row.summary))
}

/// Which rows are to be computed anew.
enum Stale {
    All,
    These(BTreeSet<RoomKey>),
}

impl RoomFeed {
    /// The next batch of diffs: a `Reset` with all rooms first, then whatever changed. Waits until something does. `None` once
    /// the feed was stopped or the client has ended.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Vec<Diff<RoomSummary>>> {
        let mut state = self.state.lock().await;
        match self.batch(&mut state).await {
            Ok(batch) => Some(batch),
            Err(ChatError::Closed) => None,
            Err(error) => {
                tracing::error!(%error, "the list of rooms ended");
                None
            }
        }
    }

    /// Ends the feed: a waiting [`RoomFeed::next`] answers `None`.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    async fn batch(&self, state: &mut State) -> Result<Vec<Diff<RoomSummary>>, ChatError> {
        loop {
            let Some(seen) = state.seen else {
                let seen = self.inner.seen();
                self.compute(state, &Stale::All).await?;
                state.seen = Some(seen);
                state.shown = listed(&state.rows);
                return Ok(vec![Diff::Reset(state.shown.clone())]);
            };
            let waiting: Vec<RoomKey> =
                state.rows.iter().filter(|(_, row)| row.is_unjudged).map(|(key, _)| *key).collect();
            if waiting.is_empty() {
                self.moved(seen).await?;
            }
            let now = self.inner.seen();
            let stale = self.stale(state, seen, now)?;
            // What the log names is judged at once: a new message is one decryption.
            let mut judge: Vec<RoomKey> = waiting.into_iter().take(ROOMS_JUDGED_AT_ONCE).collect();
            if let Stale::These(rooms) = &stale {
                judge.extend(rooms);
            }
            self.compute(state, &stale).await?;
            for room in judge {
                self.judge(state, room).await?;
            }
            state.seen = Some(now);
            let list = listed(&state.rows);
            let diffs = feed::between(&state.shown, &list);
            if !diffs.is_empty() {
                state.shown = list;
                return Ok(diffs);
            }
        }
    }

    async fn moved(&self, seen: Seen) -> Result<(), ChatError> {
        let mut stopped = self.stopped.subscribe();
        let is_over = async { drop(stopped.wait_for(|stopped| *stopped).await) };
        tokio::select! {
            biased;
            () = is_over => Err(ChatError::Closed),
            moved = self.inner.changed_after(seen) => moved,
        }
    }

    fn stale(&self, state: &State, from: Seen, to: Seen) -> Result<Stale, ChatError> {
        let view = self.inner.home.store.snapshot()?;
        let mut rooms = match Touched::between(&view, &self.inner.me, from.log, to.log)? {
            Touched::All => return Ok(Stale::All),
            Touched::Rooms(rooms) => rooms.into_iter().map(RoomKey).collect::<BTreeSet<_>>(),
        };
        if from.changes != to.changes {
            // Keys may have come for what could not be read.
            rooms.extend(state.rows.iter().filter(|(_, row)| row.is_shut).map(|(key, _)| *key));
        }
        Ok(Stale::These(rooms))
    }

    /// Computes rows anew.
    async fn compute(&self, state: &mut State, stale: &Stale) -> Result<(), ChatError> {
        let inner = &self.inner;
        let old = &state.rows;
        let (judged, me) = (&state.judged, inner.me.user_key);
        let fresh = settled(inner, |look| {
            let direct = direct::rooms(look.view, me)?;
            let mut fresh = BTreeMap::new();
            let standings = match stale {
                Stale::All => rooms::standings(look.view, me)?,
                Stale::These(rooms) => {
                    let mut standings = Vec::with_capacity(rooms.len());
                    for room in rooms {
                        standings.extend(rooms::standing(look.view, me, *room)?.map(|record| (*room, record)));
                    }
                    standings
                }
            };
            for (key, record) in standings.into_iter().filter(|(_, record)| is_listed(record)) {
                let row = summary::row(look, key, &record, &direct, old.get(&key), judged)?;
                fresh.extend(row.map(|row| (key, row)));
            }
            Ok(fresh)
        })
        .await?;
        match stale {
            Stale::All => state.rows = fresh,
            Stale::These(rooms) => {
                for room in rooms {
                    state.rows.remove(room);
                }
                state.rows.extend(fresh);
            }
        }
        Ok(())
    }

    /// Asks the push rules about what is unread in a room, once it is in clear.
    async fn judge(&self, state: &mut State, room: RoomKey) -> Result<(), ChatError> {
        if !state.rows.get(&room).is_some_and(|row| row.is_unjudged) {
            return Ok(());
        }
        let judged = unread::judge(&self.inner, room, &state.judged).await?;
        state.judged.keep(room, judged);
        let Some(row) = state.rows.get_mut(&room) else { return Ok(()) };
        let view = self.inner.home.store.snapshot()?;
        row.count(unread::count(&view, self.inner.me.user_key, room, &state.judged, row.summary.encrypted)?);
        Ok(())
    }
}

/// Whether a room is in the list.
fn is_listed(record: &MembRecord) -> bool {
    matches!(record.standing, Standing::Join | Standing::Invite | Standing::Knock) && !record.forgotten
}

fn listed(rows: &BTreeMap<RoomKey, Row>) -> Vec<RoomSummary> {
    let mut list: Vec<RoomSummary> = rows.values().map(|row| row.summary.clone()).collect();
    list.sort_by_key(|room| (!matches!(room.kind, RoomKind::Invited(_)), Reverse(room.recency), room.room_id.clone()));
    list
}

impl feed::Item for RoomSummary {
    type Id = OwnedRoomId;

    fn id(&self) -> OwnedRoomId {
        self.room_id.clone()
    }
}

//! One room's messages as a list that a UI shows and watches.
//!
//! A timeline is a window over the room engine's own tables: from the end of the room down to a floor that
//! [`Timeline::paginate_backwards`] lowers. When something moved, the window is read again (never what lies below it), and what
//! differs goes out as diffs. Nothing is kept but the list that the UI has, and how far down it reaches.
//!
//! A message of ours is in the list from the moment it is written, first out of the queue (`send`) and then out
//! of the room, under one id: its row changes in place and never blinks.
//!
//! Invariants: edits, reactions and deletions change rows and are none. A gap in what is known here is shown as one, never
//! leapt over in silence. What is shown of a message's way is proven ([`delivery`](super::delivery)).

mod act;
mod around;
mod build;
mod file;
mod item;
mod sent;
mod version;
mod window;
mod words;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::OwnedRoomId;
use tokio::sync::watch;

pub use self::item::{ItemContent, ItemId, MembershipChange, Quote, Reaction, TextStyle, ThreadSummary, TimelineItem};
pub(crate) use self::{
    around::shown_key,
    version::{Reader, Version},
    window::{Focus, is_silent},
};
use self::{
    build::Builder,
    window::{Rows, Scan, Window},
};
use super::{
    ChatError, Inner, Seen,
    delivery::{Ancestry, Reach, SendState},
    feed::{self, Diff},
    reading::settled_beside,
    touched::Touched,
};
use crate::{
    federation,
    home::Bell,
    rooms::{Gap, Room, RoomError, timeline::gap_at_or_below, visibility::UserSight},
    store::{Result as StoreResult, Stored},
    types::limits::{BACKFILLS_AT_ONCE_MAX, PAGE_EVENTS_MAX, TIMELINE_LIVE},
};

/// One room's messages, or those of one thread in it.
///
/// One consumer at a time asks it for diffs with [`Timeline::next`]; everything else may be called at the same time.
pub struct Timeline {
    inner: Arc<Inner>,
    room: OwnedRoomId,
    focus: Focus,
    window: Mutex<Window>,
    /// What the UI was shown last.
    items: Mutex<Arc<Vec<TimelineItem>>>,
    state: tokio::sync::Mutex<State>,
    /// Rung when the window grew.
    grown: Bell,
    stopped: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// Up to where everything was looked at. `None` before the first batch.
    seen: Option<(Seen, u64)>,
    ancestry: Ancestry,
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline").field("room", &self.room).field("focus", &self.focus).finish_non_exhaustive()
    }
}

impl Timeline {
    pub(crate) fn new(inner: Arc<Inner>, room: OwnedRoomId, focus: Focus) -> Self {
        Self {
            inner,
            room,
            focus,
            window: Mutex::new(Window { floor: None, wanted: TIMELINE_LIVE }),
            items: Mutex::default(),
            state: tokio::sync::Mutex::default(),
            grown: Bell::default(),
            stopped: watch::Sender::new(false),
        }
    }

    /// The next batch of diffs: a `Reset` with the newest messages first, then whatever changed. Waits until something does.
    /// `None` once the timeline was stopped or the client has ended.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Vec<Diff<TimelineItem>>> {
        let mut state = self.state.lock().await;
        match self.batch(&mut state).await {
            Ok(batch) => Some(batch),
            Err(ChatError::Closed) => None,
            Err(error) => {
                tracing::error!(%error, room = %self.room, "a timeline ended");
                None
            }
        }
    }

    /// Ends the timeline: a waiting [`Timeline::next`] answers `None`.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    async fn batch(&self, state: &mut State) -> Result<Vec<Diff<TimelineItem>>, ChatError> {
        loop {
            if let Some((seen, grown)) = state.seen {
                self.moved(seen, grown).await?;
            }
            if *self.stopped.borrow() {
                return Err(ChatError::Closed);
            }
            let looked = (self.inner.seen(), self.grown.count());
            let now = self.read(&mut state.ancestry).await?;
            let is_first = state.seen.replace(looked).is_none();
            let shown = std::mem::replace(&mut *self.lock_items(), now.clone());
            if is_first {
                return Ok(vec![Diff::Reset(now.to_vec())]);
            }
            let diffs = feed::between(&shown, &now);
            if !diffs.is_empty() {
                return Ok(diffs);
            }
        }
    }

    /// Waits until something moved that concerns this timeline.
    async fn moved(&self, mut seen: Seen, grown: u64) -> Result<(), ChatError> {
        let mut stopped = self.stopped.subscribe();
        loop {
            let is_over = async { drop(stopped.wait_for(|stopped| *stopped).await) };
            tokio::select! {
                biased;
                () = is_over => return Err(ChatError::Closed),
                () = self.grown.after(grown) => return Ok(()),
                moved = self.inner.changed_after(seen) => moved?,
            }
            let now = self.inner.seen();
            if self.is_concerned(seen, now)? {
                return Ok(());
            }
            seen = now;
        }
    }

    fn is_concerned(&self, from: Seen, to: Seen) -> Result<bool, ChatError> {
        if from.changes != to.changes || (from.deliveries != to.deliveries && self.waits_for_deliveries()) {
            return Ok(true);
        }
        let view = self.inner.home.store.snapshot()?;
        let Some(room) = crate::store::RoomKey::find(&view, &self.room)? else { return Ok(true) };
        Ok(Touched::between(&view, &self.inner.me, from.log, to.log)?.has(room.0))
    }

    /// Whether somebody has not got something that is shown.
    fn waits_for_deliveries(&self) -> bool {
        let waits = |state: &SendState| match state {
            SendState::Sent { recipients } => recipients.iter().any(|recipient| recipient.reach == Reach::Queued),
            _ => false,
        };
        self.lock_items().iter().filter_map(|item| item.state.as_ref()).any(waits)
    }

    /// The items as they are now.
    async fn read(&self, ancestry: &mut Ancestry) -> Result<Arc<Vec<TimelineItem>>, ChatError> {
        let before = *self.lock_window();
        let inner = &self.inner;
        let (items, after) = settled_beside(
            inner,
            || inner.queue.of_room(&self.room),
            |look, echoes| {
                let Some(room) = Room::find(look.view, &self.room)? else { return Ok((Vec::new(), before)) };
                let names = inner.reads.names(look.view, &room)?;
                let mut sight = UserSight::new(look.view, room.key, &inner.me.user)?;
                let mut scan = Scan { view: look.view, room: &room, sight: &mut sight, focus: &self.focus };
                let (rows, after) = before.read(&mut scan)?;
                let reader = Reader { look, room: &room, names: &names, sight };
                let builder = Builder { reader, focus: &self.focus, echoes: &echoes, ancestry: &mut *ancestry };
                Ok((builder.items(&rows)?, after))
            },
        )
        .await?;
        let mut window = self.lock_window();
        // A window that grew meanwhile is the newer word.
        if *window == before {
            *window = after;
        }
        Ok(Arc::new(items))
    }

    /// Shows about this many messages more at the beginning. What is missing is fetched from other phones, as far as some are
    /// within reach. Answers whether the beginning of what there is to see was reached.
    ///
    /// # Errors
    /// [`ChatError::Network`] when there may be more and nobody who has it is within reach; [`ChatError::NotFound`] for a room
    /// of which nothing is known.
    pub async fn paginate_backwards(&self, count: usize) -> Result<bool, ChatError> {
        let wanted = count.clamp(1, PAGE_EVENTS_MAX);
        let (mut found, mut passed, mut failure) = (0, BTreeSet::new(), None);
        for _ in 0..=BACKFILLS_AT_ONCE_MAX {
            let (rows, gap) = self.below(wanted - found, &passed)?;
            found += rows.events.len();
            self.lower(&rows);
            let Some(gap) = gap.filter(|_| found < wanted) else {
                let is_start = found < wanted && rows.is_bottom;
                return match failure {
                    Some(error) if is_start && found == 0 => Err(ChatError::from(error)),
                    failure => Ok(is_start && failure.is_none()),
                };
            };
            match federation::backfill(&self.inner.home, &self.room, &gap).await {
                // Whoever answered has nothing that we may see.
                Ok(0) => drop(passed.insert(gap.pos)),
                Ok(_) => {}
                Err(error) => {
                    failure = Some(error);
                    passed.insert(gap.pos);
                }
            }
        }
        Ok(false)
    }

    /// Asks other phones for what is missing before an item. Answers whether anything came.
    ///
    /// # Errors
    /// [`ChatError::Network`] when nobody who has it is within reach; [`ChatError::NotFound`] for an item that is not there.
    pub async fn fill(&self, item: &ItemId) -> Result<bool, ChatError> {
        let event = self.event_of(item)?;
        let gap = {
            let view = self.inner.home.store.snapshot()?;
            let stored = Stored::by_id(&view, &event)?.ok_or_else(|| no_item(item))?;
            gap_at_or_below(&view, stored.header.room, stored.header.pos)?
        };
        let Some(gap) = gap else { return Ok(false) };
        let count = federation::backfill(&self.inner.home, &self.room, &gap).await?;
        self.lock_window().wanted += count;
        self.grown.ring();
        Ok(count > 0)
    }

    /// What is known below the window, and the gap that ends it.
    fn below(&self, count: usize, passed: &BTreeSet<u64>) -> Result<(Rows, Option<Gap>), ChatError> {
        let view = self.inner.home.store.snapshot()?;
        let room = Room::find(&view, &self.room)?.ok_or_else(|| RoomError::UnknownRoom(self.room.clone()))?;
        let mut sight = UserSight::new(&view, room.key, &self.inner.me.user)?;
        let below = self.lock_window().floor.unwrap_or(u64::MAX);
        let gap = match self.focus {
            Focus::Main => first_gap(&view, &room, below, passed)?,
            Focus::Thread(_) => None,
        };
        let mut scan = Scan { view: &view, room: &room, sight: &mut sight, focus: &self.focus };
        let rows = scan.rows(below, gap.as_ref().map_or(0, |gap| gap.pos), count)?;
        Ok((rows, gap))
    }

    fn lower(&self, rows: &Rows) {
        let mut window = self.lock_window();
        if let Some(floor) = rows.floor {
            window.floor = Some(window.floor.map_or(floor, |old| old.min(floor)));
        }
        window.wanted += rows.events.len();
        drop(window);
        self.grown.ring();
    }

    fn lock_window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_items(&self) -> MutexGuard<'_, Arc<Vec<TimelineItem>>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest gap at or below a place, but for those that nobody could fill.
fn first_gap(
    view: &dyn crate::store::View,
    room: &Room,
    below: u64,
    passed: &BTreeSet<u64>,
) -> StoreResult<Option<Gap>> {
    let mut place = below;
    loop {
        match gap_at_or_below(view, room.key, place)? {
            Some(gap) if passed.contains(&gap.pos) && gap.pos > 0 => place = gap.pos - 1,
            found => return Ok(found),
        }
    }
}

fn no_item(item: &ItemId) -> ChatError {
    ChatError::NotFound(format!("there is no message {} here", item.0))
}

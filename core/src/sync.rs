//! `/sync`: everything that one device has not seen yet, out of the one log.
//!
//! A sync takes a snapshot, reads what came after the client's token, and answers with the last position of the log in that
//! snapshot. If there was nothing, it waits for the log to move and looks again. It listens *before* it takes the snapshot,
//! so nothing can slip between.
//!
//! Invariants: what two consecutive syncs show joins without a hole and without an overlap; where a timeline does not reach
//! back to the last sync, it says `limited` and `prev_batch` leads to the rest. Nothing is remembered between two syncs: the
//! token is all there is, so a lost answer is simply asked for again. A token beyond the log (its commits were lost with an
//! unclean end) means the end of the log.
//!
//! Deliberately absent: sliding sync. Client-server API, "Syncing".

mod beside;
mod encryption;
mod room;
mod shape;
mod state;
mod stripped;
mod summary;
mod touched;

use std::ops::Bound;

use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::client::{
        filter::FilterDefinition,
        sync::sync_events::v3::{Response, Rooms},
    },
};
use tokio::time::{Duration, Instant, timeout_at};

pub(crate) use self::summary::heroes;
use self::{shape::Shape, touched::Touched};
use crate::{
    home::{Home, TypingNews},
    rooms::{EventFilter, standing},
    store::{MembRecord, Result, RoomKey, Standing, StoreError, UserKey, View},
    types::{Millis, SyncPlace, SyncToken, limits},
    users::ignored,
};

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// Who asks.
    pub user: OwnedUserId,
    /// Who asks, interned.
    pub user_key: UserKey,
    /// On which device.
    pub device: OwnedDeviceId,
    /// What the client has seen already; `None` for nothing.
    pub since: Option<SyncToken>,
    /// The to-device messages that it has, if those are fewer than `since` says: see [`SyncPlace`].
    pub inbox_since: Option<SyncToken>,
    /// The last change of who is typing that the client has seen, if it knows of anybody who does.
    pub typing: Option<u64>,
    /// What the client wants to see.
    pub filter: FilterDefinition,
    /// Send all state, also what the client has.
    pub full_state: bool,
    /// Send the state after the timeline instead of the state before it.
    pub use_state_after: bool,
    /// How long to wait for something new; at most [`limits::SYNC_WAIT_MAX`].
    pub wait: Duration,
}

/// Answers a sync, waiting for something new if it may.
///
/// # Errors
/// When the database fails or is closed.
pub async fn sync(home: &Home, request: &SyncRequest) -> Result<Response> {
    let mut log = home.store.log_watch();
    encryption::acknowledge(home, request).await?;
    let mut request = request.clone();
    let patient = request.since.is_some() && !request.full_state && !request.wait.is_zero();
    let deadline = Instant::now() + request.wait.min(limits::SYNC_WAIT_MAX);
    loop {
        log.borrow_and_update();
        let (response, reached, typing) = look(home, &request)?;
        if !patient || !is_empty(&response) {
            return Ok(response);
        }
        // There was nothing up to here, so the next look begins here.
        (request.since, request.inbox_since) = (Some(reached), None);
        let news = async {
            tokio::select! {
                biased;
                changed = log.changed() => changed.map_err(|_| StoreError::Closed),
                () = home.typing_after(typing) => Ok(()),
            }
        };
        match timeout_at(deadline, news).await {
            Ok(news) => news?,
            Err(_) => return Ok(response),
        }
    }
}

/// What there is now, and the place of the log and the serial of typing that it reaches to.
fn look(home: &Home, request: &SyncRequest) -> Result<(Response, SyncToken, u64)> {
    let view = home.store.snapshot()?;
    let last = last_position(&view)?;
    let since = request.since.map(|since| since.min(last));
    let look = Look {
        view: &view,
        request,
        since,
        now: home.now(),
        touched: Touched::since(&view, request.user_key, since, last)?,
        typing: home.typing_news(request.typing),
        shape: Shape::of(&request.filter),
    };
    let serial = look.typing.serial;
    let mut response = Response::new(String::new());
    response.rooms = look.rooms()?;
    response.account_data = look.account_data()?;
    let reached = encryption::show(&view, request, look.since, last, &mut response)?;
    let place = SyncPlace { typing: look.anybody_types()?.then_some(serial), ..reached };
    response.next_batch = place.to_string();
    Ok((response, last, serial))
}

/// ruma's own `Rooms::is_empty` forgets knocks.
fn is_empty(response: &Response) -> bool {
    let rooms = response.rooms.is_empty() && response.rooms.knock.is_empty();
    rooms && response.account_data.is_empty() && encryption::is_empty(response)
}

/// The last position of the log.
fn last_position(view: &dyn View) -> Result<SyncToken> {
    let mut rows = view.log()?.between(Bound::Unbounded, Bound::Unbounded)?;
    Ok(SyncToken(rows.next_back().transpose()?.map_or(0, |row| row.0.value())))
}

/// One look at the store on behalf of a sync.
struct Look<'a> {
    view: &'a dyn View,
    request: &'a SyncRequest,
    since: Option<SyncToken>,
    now: Millis,
    touched: Touched,
    typing: TypingNews,
    shape: Shape,
}

impl Look<'_> {
    fn rooms(&self) -> Result<Rooms> {
        let mut rooms = Rooms::new();
        let filter = &self.request.filter.room;
        let ignored = ignored::of(self.view, self.request.user_key)?;
        for (key, memb) in self.candidates()? {
            if memb.forgotten {
                continue;
            }
            let id = key.id(self.view)?;
            let listed = filter.rooms.as_ref().is_none_or(|rooms| rooms.contains(&id));
            if !listed || filter.not_rooms.contains(&id) {
                continue;
            }
            match memb.standing {
                Standing::Join => {
                    rooms.join.extend(self.joined(key, &memb)?.map(|room| (id, room)));
                }
                Standing::Leave | Standing::Ban => {
                    if self.is_new(&memb) || (filter.include_leave && self.wants_all()) {
                        rooms.leave.insert(id, self.left(key, &memb)?);
                    }
                }
                Standing::Invite if self.is_new(&memb) => {
                    let invite = stripped::invite(self.view, self.request.user_key, key, &ignored)?;
                    rooms.invite.extend(invite.map(|room| (id, room)));
                }
                Standing::Knock if self.is_new(&memb) => {
                    rooms.knock.extend(stripped::knock(self.view, self.request.user_key, key)?.map(|room| (id, room)));
                }
                Standing::Invite | Standing::Knock => {}
            }
        }
        Ok(rooms)
    }

    /// The rooms in which something may be new, by number.
    fn candidates(&self) -> Result<Vec<(RoomKey, MembRecord)>> {
        let user = self.request.user_key;
        let (Some(touched), Some(typing), false) = (self.touched.rooms(), self.typing.rooms(), self.request.full_state)
        else {
            return crate::rooms::standings(self.view, user);
        };
        let mut candidates = Vec::new();
        for room in touched.union(typing) {
            candidates.extend(standing(self.view, user, *room)?.map(|memb| (*room, memb)));
        }
        Ok(candidates)
    }

    /// Whether the client knows of somebody who types once it has this answer.
    fn anybody_types(&self) -> Result<bool> {
        for room in self.typing.busy() {
            let memb = standing(self.view, self.request.user_key, room)?;
            if memb.is_some_and(|memb| memb.standing == Standing::Join) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the user's relation to a room is news. With nothing seen before, an invite is and an old departure is not.
    fn is_new(&self, memb: &MembRecord) -> bool {
        let gone = matches!(memb.standing, Standing::Leave | Standing::Ban);
        self.since.map_or(!gone, |since| memb.n > since.0) || (self.request.full_state && !gone)
    }

    fn wants_all(&self) -> bool {
        self.since.is_none() || self.request.full_state
    }

    fn timeline_filter(&self) -> EventFilter<'_> {
        EventFilter(&self.request.filter.room.timeline)
    }

    fn state_filter(&self) -> EventFilter<'_> {
        EventFilter(&self.request.filter.room.state)
    }
}

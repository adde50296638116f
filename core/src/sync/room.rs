//! One room in a sync: its new timeline, the state beside it, and its summary; while the user is in it and once they left.

use std::collections::BTreeSet;

use ruma::{
    api::{
        Direction,
        client::sync::sync_events::v3::{JoinedRoom, LeftRoom, RoomSummary, State, StateEvents, Timeline},
    },
    events::{AnySyncStateEvent, AnySyncTimelineEvent, StateEventType},
    serde::Raw,
};

use super::{Look, state::Delta, summary};
use crate::{
    rooms::{
        Room,
        show::Reader,
        timeline::{self, Point, Reached, Span},
        visibility::{Departure, UserSight},
    },
    store::{MembRecord, Result, RoomKey, Ssk, Standing, StateRef, StoreError, Stored, UserKey},
    types::limits,
};

/// What the client has of a room.
struct Base {
    /// Its timeline up to here.
    point: Point,
    /// Its state changes up to here; `None` if it needs the whole state.
    seen: Option<u64>,
    /// Nothing of what it has now: it has not seen the room since the user came in.
    fresh: bool,
}

/// The state that goes beside the timeline.
struct StateBeside {
    state: Vec<Stored>,
    /// Present when the members changed.
    summary: Option<RoomSummary>,
}

/// A piece of timeline, oldest event first.
struct Piece {
    events: Vec<Stored>,
    limited: bool,
    /// Where it begins.
    start: Point,
}

impl Look<'_> {
    /// A room that the user is in; `None` if it has nothing new.
    pub(super) fn joined(&self, key: RoomKey, memb: &MembRecord) -> Result<Option<JoinedRoom>> {
        let room = self.room(key)?;
        let news = self.since.is_none_or(|since| room.record.last_n > since.0 || memb.n > since.0);
        let base = if news || self.request.full_state { Some(self.base(&room, memb)?) } else { None };
        let beside = self.beside_events(&room, base.as_ref().is_some_and(|base| base.fresh))?;
        let mut joined = JoinedRoom::new();
        if let Some(base) = base {
            self.add_events(&mut joined, &room, &base)?;
        }
        let silent = joined.timeline.is_empty() && joined.state.is_empty() && joined.summary.is_empty();
        if silent && beside.is_empty() && !self.wants_all() {
            return Ok(None);
        }
        joined.ephemeral.events = beside.ephemeral;
        joined.account_data.events = beside.account_data;
        self.count_unread(&mut joined, key)?;
        Ok(Some(joined))
    }

    fn add_events(&self, joined: &mut JoinedRoom, room: &Room, base: &Base) -> Result<()> {
        let mut sight = UserSight::new(self.view, room.key, &self.request.user)?;
        let piece = self.piece(room, &mut sight, Point::END, base.point)?;
        let beside = self.beside(room, base, &piece, room.record.current())?;
        joined.timeline = self.timeline(&mut sight, &piece)?;
        joined.state = self.state(&beside.state)?;
        joined.summary = beside.summary.unwrap_or_default();
        Ok(())
    }

    /// A room that the user has left: what happened up to there.
    pub(super) fn left(&self, key: RoomKey, memb: &MembRecord) -> Result<LeftRoom> {
        let mut left = LeftRoom::new();
        // Of a room that was never entered there may be nothing here.
        let Some(room) = Room::by_key(self.view, key)? else { return Ok(left) };
        let mut sight = UserSight::new(self.view, key, &self.request.user)?;
        let base = self.base(&room, memb)?;
        let departure = Departure::behind(self.view, key, memb)?;
        let mut piece = match departure {
            Some(departure) => self.piece(&room, &mut sight, Point::after(departure.pos), base.point)?,
            None => Piece { events: Vec::new(), limited: false, start: Point(0) },
        };
        self.add_farewell(memb, &mut piece)?;
        if let Some(departure) = departure {
            let beside = self.beside(&room, &base, &piece, departure.state)?;
            left.state = self.state(&beside.state)?;
        }
        left.timeline = self.timeline(&mut sight, &piece)?;
        left.account_data.events = self.room_account_data(&room, base.fresh)?;
        Ok(left)
    }

    /// The event that changed the user's own standing is always theirs to see: it says who did it and why.
    fn add_farewell(&self, memb: &MembRecord, piece: &mut Piece) -> Result<()> {
        if memb.esn == 0 || piece.events.iter().any(|event| event.esn == memb.esn) {
            return Ok(());
        }
        let own = Stored::must(self.view, memb.esn)?;
        let news = self.since.is_none_or(|since| own.header.n > since.0);
        if own.header.pos != 0 && news && self.timeline_filter().takes(&own.pdu) {
            if piece.events.is_empty() {
                piece.start = Point(own.header.pos);
            }
            piece.events.push(own);
        }
        Ok(())
    }

    fn room(&self, key: RoomKey) -> Result<Room> {
        let room = Room::by_key(self.view, key)?;
        room.ok_or_else(|| StoreError::Corrupt(format!("room {} has members and no record", key.0)))
    }

    fn base(&self, room: &Room, memb: &MembRecord) -> Result<Base> {
        let nothing = Base { point: Point(0), seen: None, fresh: true };
        let Some(since) = self.since else { return Ok(nothing) };
        let Reached { point, last } = Reached::at(self.view, room, since)?;
        let Some(last) = last else { return Ok(nothing) };
        // The mainline had come at least this far by then: no event's state lies beyond the mainline of its time.
        let seen = last.after.seq;
        if self.was_joined(room, seen)? {
            let seen = (!self.request.full_state).then_some(seen);
            return Ok(Base { point, seen, fresh: false });
        }
        // Newly joined: all of the state, and the timeline as far back as it goes, or to where an earlier stay ended.
        let stayed = self.earlier_stay(room, memb)?;
        let point = stayed.map_or(Point(0), |departure| Point::after(departure.pos));
        Ok(Base { point, seen: None, fresh: true })
    }

    fn was_joined(&self, room: &Room, seq: u64) -> Result<bool> {
        let Some(ssk) = Ssk::find(self.view, &StateEventType::RoomMember, self.request.user.as_str())? else {
            return Ok(false);
        };
        let Some(esn) = (StateRef { seq, patch: 0 }).entry(self.view, room.key, ssk)? else { return Ok(false) };
        let membership = Stored::must(self.view, esn)?.pdu.membership();
        Ok(membership.as_ref().and_then(Standing::of) == Some(Standing::Join))
    }

    /// Where the stay before this one ended.
    fn earlier_stay(&self, room: &Room, memb: &MembRecord) -> Result<Option<Departure>> {
        let own = if memb.esn == 0 { None } else { Stored::load(self.view, memb.esn)? };
        let Some(own) = own.filter(|own| own.header.pos != 0) else { return Ok(None) };
        let at = Departure { state: own.header.before, pos: own.header.pos };
        Departure::before(self.view, room.key, own.esn, at)
    }

    /// The timeline from where the client is to `end`, as much of its upper part as the filter's limit allows.
    fn piece(&self, room: &Room, sight: &mut UserSight<'_>, end: Point, base: Point) -> Result<Piece> {
        let filter = self.timeline_filter();
        let limit = filter.limit(limits::SYNC_TIMELINE_DEFAULT);
        let takes_room = filter.takes_room(&room.id);
        let mut keep = |stored: &Stored| Ok(takes_room && filter.takes(&stored.pdu) && sight.sees(stored)?);
        let span = Span { from: end, to: base, limit };
        let page = timeline::page(self.view, room.key, Direction::Backward, span, &mut keep)?;
        let mut piece = Piece { events: page.events, limited: page.more, start: page.end };
        if base.0 != 0
            && let Some(index) = piece.events.iter().position(|stored| stored.header.flags.history)
        {
            // A gap was here when the client was last shown the room. What is above it joins on to nothing that it has.
            piece.events.truncate(index);
            piece.start = piece.events.last().map_or(end, |stored| Point(stored.header.pos));
            piece.limited = true;
        }
        piece.events.reverse();
        Ok(piece)
    }

    fn beside(&self, room: &Room, base: &Base, piece: &Piece, end: StateRef) -> Result<StateBeside> {
        let start = timeline::first_at_or_above(self.view, room.key, piece.start)?;
        let start = start.map_or(end, |first| first.before);
        let delta = Delta {
            view: self.view,
            room: room.key,
            seen: base.seen,
            start,
            end,
            timeline: &piece.events,
            after: self.request.use_state_after,
        };
        let changed = delta.changed_keys()?;
        let members = base.seen.is_none() || changed.values().any(|kind| *kind == StateEventType::RoomMember);
        let summary = if members { Some(summary::of(self.view, room, self.request.user_key)?) } else { None };
        let mut present: BTreeSet<UserKey> = piece.events.iter().map(|stored| stored.header.sender).collect();
        if base.seen.is_none() {
            present.insert(self.request.user_key);
        }
        // Without their member events a client could not show those who give the room its name.
        for hero in summary.iter().flat_map(|summary| &summary.heroes) {
            present.extend(UserKey::find(self.view, hero)?);
        }
        let filter = self.state_filter();
        let state = if filter.takes_room(&room.id) { delta.events(&changed, filter, &present)? } else { Vec::new() };
        Ok(StateBeside { state, summary })
    }

    fn timeline(&self, sight: &mut UserSight<'_>, piece: &Piece) -> Result<Timeline> {
        let mut timeline = Timeline::new();
        if piece.events.is_empty() && !piece.limited {
            return Ok(timeline);
        }
        timeline.limited = piece.limited;
        timeline.prev_batch = Some(piece.start.to_string());
        // Between a limited timeline and the last sync lies what the client could not count itself.
        let reader = Reader { bundles: piece.limited, ..self.reader() };
        for stored in &piece.events {
            let event = self.shape.cut(stored, reader.show(self.view, sight, stored)?);
            timeline.events.push(Raw::<AnySyncTimelineEvent>::from_json(event));
        }
        Ok(timeline)
    }

    fn state(&self, state: &[Stored]) -> Result<State> {
        let reader = self.reader();
        let mut events = Vec::with_capacity(state.len());
        for stored in state {
            let event = self.shape.cut(stored, reader.show_state(self.view, stored)?);
            events.push(Raw::<AnySyncStateEvent>::from_json(event));
        }
        let events = StateEvents::from(events);
        Ok(if self.request.use_state_after { State::After(events) } else { State::Before(events) })
    }

    fn reader(&self) -> Reader<'_> {
        let request = self.request;
        Reader { user: request.user_key, device: &request.device, now: self.now, without_room_id: true, bundles: false }
    }
}

//! What a person should be told of while nobody looks at the app: messages that their push rules let through, and invites.
//!
//! It is a queue that nothing is copied into. The log has the order, and one row keeps the place up to which everything was
//! told. What was read, deleted or taken back meanwhile is told no more. The same notice is handed out until it is handled, so a
//! process that is killed in between tells it again.
//!
//! In an encrypted room the homeserver lets every message through; the push rules are asked here, in clear. A message whose key
//! is not there yet holds the queue up for a moment, and is then told as one that cannot be read.

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::atomic::{AtomicU64, Ordering},
};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use tokio::time::{Instant, timeout_at};

use super::{
    Chat, ChatError, Inner, direct,
    names::{RoomName, name_of},
    preview::Preview,
    reading::{Look, Reading, settled},
    room_list::{self, Invite, RoomKind, Verdict, verdict},
    timeline::Reader,
};
use crate::{
    home::Home,
    keys::Actor,
    rooms::{Room, standing, unread, visibility::UserSight},
    store::{LogKind, LogRow, Record, Result, RoomKey, Standing, StoreError, Stored, View},
    types::{
        Millis,
        limits::{NOTICE_KEY_WAIT, NOTICE_LAG_MAX, NOTICE_SCAN_MAX},
    },
    users::{ignored, push::Listener},
};

/// Something that the person should be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its place in the log; greater for what came later.
    pub id: u64,
    /// The room.
    pub room_id: OwnedRoomId,
    /// What the room is called.
    pub room_name: RoomName,
    /// Whether it is a conversation with one person.
    pub direct: bool,
    /// What happened.
    pub kind: NoticeKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Somebody said something.
    Message {
        /// The event.
        event_id: OwnedEventId,
        /// Who.
        sender: OwnedUserId,
        /// The name that they are shown by.
        sender_name: String,
        /// What they said.
        preview: Preview,
        /// Whether it stands out.
        highlight: bool,
        /// When, by the sender's clock.
        ts: Millis,
    },
    /// Somebody asks us in.
    Invited(Invite),
}

/// Up to where everything was told, or is not worth telling.
#[derive(Debug)]
pub(crate) struct Told {
    /// As the disk has it.
    kept: AtomicU64,
    passed: AtomicU64,
}

impl Told {
    pub(crate) fn open(home: &Home, me: &Actor) -> Result<Self> {
        let view = home.store.snapshot()?;
        let place = view.chat_told()?.row(me.user_key.0)?.map(|row| row.value()).unwrap_or_default();
        Ok(Self { kept: AtomicU64::new(place), passed: AtomicU64::new(place) })
    }
}

/// What a look at the log found.
enum Found {
    Notice(Box<Notice>),
    /// The next one cannot be read yet.
    Shut(u64),
    /// Nothing, up to this place.
    Nothing(u64),
}

impl Chat {
    /// The oldest thing that the person should be told of and that was not handled yet. Waits until there is one. `None` once
    /// the client has ended.
    ///
    /// Dropping the future loses nothing.
    pub async fn next_notice(&self) -> Option<Notice> {
        match self.wait_for_notice().await {
            Ok(notice) => Some(notice),
            Err(ChatError::Closed) => None,
            Err(error) => {
                tracing::error!(%error, "what the person should be told of cannot be found");
                None
            }
        }
    }

    /// Says that a notice, and every one before it, was handled: it is not handed out again, whatever happens.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn notice_handled(&self, id: u64) -> Result<(), ChatError> {
        // A place that the log has not reached would hide what comes.
        let id = id.min(*self.inner.home.store.log_watch().borrow());
        self.inner.keep_told(id).await?;
        self.inner.told.passed.fetch_max(id, Ordering::Relaxed);
        Ok(())
    }

    async fn wait_for_notice(&self) -> Result<Notice, ChatError> {
        let inner = &self.inner;
        let mut shut: Option<(u64, Instant)> = None;
        loop {
            let seen = inner.seen();
            let given_up = shut.filter(|(_, until)| Instant::now() >= *until).map(|(place, _)| place);
            match settled(inner, |look| find(look, seen.log, given_up)).await? {
                Found::Notice(notice) => return Ok(*notice),
                Found::Shut(place) => {
                    let until = match shut {
                        Some((other, until)) if other == place => until,
                        _ => Instant::now() + NOTICE_KEY_WAIT,
                    };
                    shut = Some((place, until));
                    if let Ok(moved) = timeout_at(until, inner.changed_after(seen)).await {
                        moved?;
                    }
                }
                Found::Nothing(place) => {
                    inner.told.passed.fetch_max(place, Ordering::Relaxed);
                    if place.saturating_sub(inner.told.kept.load(Ordering::Relaxed)) > NOTICE_LAG_MAX {
                        inner.keep_told(place).await?;
                    }
                    if place >= seen.log {
                        inner.changed_after(seen).await?;
                    }
                }
            }
        }
    }
}

impl Inner {
    async fn keep_told(&self, place: u64) -> Result<()> {
        let me = self.me.user_key.0;
        let job = move |tx: &mut crate::store::WriteTx<'_>| {
            let kept = tx.chat_told()?.row(me)?.map(|row| row.value()).unwrap_or_default();
            tx.write().chat_told.insert(me, kept.max(place))?;
            Ok(())
        };
        self.home.store.write::<_, StoreError, _>(job).await?;
        self.told.kept.fetch_max(place, Ordering::Relaxed);
        Ok(())
    }
}

/// Looks for the next thing to tell in a piece of the log, which goes at least up to `end` if nothing else ends it.
fn find(look: &mut Look<'_>, end: u64, given_up: Option<u64>) -> Result<Found> {
    let (view, me) = (look.view, look.inner.me.user_key);
    let mut place = look.inner.told.passed.load(Ordering::Relaxed);
    let (listener, ignored) = (Listener::of(view, me)?, ignored::of(view, me)?);
    let mut eyes = Eyes { look, listener, ignored, given_up };
    for (count, row) in view.log()?.between(Bound::Excluded(place), Bound::Unbounded)?.enumerate() {
        let row = row?;
        place = row.0.value();
        if count >= NOTICE_SCAN_MAX {
            return Ok(Found::Nothing(place - 1));
        }
        let row = LogRow::decode(row.1.value())?;
        let found = match row.kind {
            LogKind::Timeline if row.user != me.0 => eyes.message(place, &row)?,
            LogKind::Standing if row.user == me.0 => None,
            _ => continue,
        };
        let found = match found {
            Some(found) => Some(found),
            None => eyes.invite(place, RoomKey(row.room))?,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    // The last position may have no row of its own.
    Ok(Found::Nothing(place.max(end)))
}

/// What it takes to judge one row of the log.
struct Eyes<'a, 'v> {
    look: &'a mut Look<'v>,
    listener: Listener,
    ignored: BTreeSet<OwnedUserId>,
    given_up: Option<u64>,
}

impl Eyes<'_, '_> {
    fn message(&mut self, place: u64, row: &LogRow) -> Result<Option<Found>> {
        let (view, me, key) = (self.look.view, self.look.inner.me.user_key, RoomKey(row.room));
        let Some(header) = Stored::header(view, row.esn)? else { return Ok(None) };
        let Some(unread) = unread::at(view, me, key, header.pos)? else { return Ok(None) };
        let (stored, Some(room)) = (Stored::must(view, row.esn)?, Room::by_key(view, key)?) else { return Ok(None) };
        if self.ignored.contains(&stored.pdu.sender) {
            return Ok(None);
        }
        let as_counted = Verdict { notifies: true, highlight: unread.highlight };
        let highlight = match verdict(self.look, &room, &self.listener, &stored, as_counted)? {
            Some(verdict) if !verdict.notifies => return Ok(None),
            Some(verdict) => verdict.highlight,
            None if self.given_up == Some(place) => false,
            None => match self.look.open(&stored) {
                Reading::Shut { waiting: false, .. } => false,
                _ => return Ok(Some(Found::Shut(place))),
            },
        };
        let names = self.look.inner.reads.names(view, &room)?;
        let sight = UserSight::new(view, key, &self.look.inner.me.user)?;
        let mut reader = Reader { look: self.look, room: &room, names: &names, sight };
        let Some(version) = reader.version(&stored)? else { return Ok(None) };
        let sender = names.show(view, &room, stored.header.sender)?;
        let kind = NoticeKind::Message {
            event_id: stored.pdu.event_id.clone(),
            sender: sender.user,
            sender_name: sender.name,
            preview: Preview::of(&version.content),
            highlight,
            ts: stored.pdu.origin_server_ts,
        };
        let room_name = name_of(view, &room, &names, me)?;
        Ok(Some(self.notice(place, room.id, room_name, kind)?))
    }

    fn invite(&self, place: u64, key: RoomKey) -> Result<Option<Found>> {
        let (view, me) = (self.look.view, self.look.inner.me.user_key);
        let Some(record) = standing(view, me, key)? else { return Ok(None) };
        if record.standing != Standing::Invite || record.n != place {
            return Ok(None);
        }
        let Some(summary) = room_list::invited(self.look, key, &record)? else { return Ok(None) };
        match summary.kind {
            RoomKind::Invited(invite) => {
                let kind = NoticeKind::Invited(invite);
                Ok(Some(Found::Notice(Box::new(Notice {
                    id: place,
                    room_id: summary.room_id,
                    room_name: summary.name,
                    direct: summary.direct,
                    kind,
                }))))
            }
            _ => Ok(None),
        }
    }

    fn notice(&self, id: u64, room_id: OwnedRoomId, room_name: RoomName, kind: NoticeKind) -> Result<Found> {
        let direct = direct::rooms(self.look.view, self.look.inner.me.user_key)?.contains(&room_id);
        Ok(Found::Notice(Box::new(Notice { id, room_id, room_name, direct, kind })))
    }
}

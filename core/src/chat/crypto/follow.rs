//! Following the rooms: whose devices must be known, who came in and may read what was said before, and which messages belong
//! to a verification.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use ruma::events::StateEventType;

use super::{
    CryptoError,
    recipients::Recipients,
    rounds::{Rounds, Unread},
    said::Said,
};
use crate::{
    chat::verification::{self, Look},
    rooms::{Room, joined_rooms, standing},
    store::{Esn, LogKind, LogRow, Record, Result, RoomKey, Ssk, Standing, StoreError, Stored, UserKey, View},
    types::{
        SyncToken,
        limits::{FOLLOWED_ROWS_MAX, VERIFICATIONS_WAITING_MAX},
    },
};

/// State that decides who reads a room.
const DECISIVE: [StateEventType; 3] =
    [StateEventType::RoomMember, StateEventType::RoomEncryption, StateEventType::RoomHistoryVisibility];

/// What the log told.
#[derive(Debug, Default)]
struct Touched {
    rooms: BTreeSet<RoomKey>,
    /// Messages that others sent, or other devices of ours.
    messages: Vec<Esn>,
}

impl Rounds {
    /// Looks at the rooms that the log names, up to where it was heard.
    pub(super) async fn follow(&mut self) -> Result<(), CryptoError> {
        let Some(last) = self.place.filter(|place| Some(*place) != self.followed) else { return Ok(()) };
        let touched = self.touched(&self.inner.home.store.snapshot()?, last)?;
        for room in touched.rooms {
            self.track(room).await?;
        }
        for esn in touched.messages {
            self.look(esn, None).await?;
        }
        self.followed = Some(last);
        Ok(())
    }

    fn touched(&self, view: &dyn View, last: SyncToken) -> Result<Touched> {
        let me = &self.inner.me;
        let Some(since) = self.followed.filter(|since| last.0.saturating_sub(since.0) <= FOLLOWED_ROWS_MAX) else {
            let rooms = joined_rooms(view, me.user_key)?.into_iter().collect();
            // Verifications are for people who are there: what came while this client was away is too old for one.
            return Ok(Touched { rooms, messages: Vec::new() });
        };
        let mut touched = Touched::default();
        let mut decisive: BTreeMap<Ssk, bool> = BTreeMap::new();
        for row in view.log()?.between(Bound::Excluded(since.0), Bound::Included(last.0))? {
            let row = LogRow::decode(row?.1.value())?;
            match row.kind {
                LogKind::State | LogKind::Standing => drop(touched.rooms.insert(RoomKey(row.room))),
                LogKind::Timeline => {
                    let Some(header) = Stored::header(view, row.esn)? else { continue };
                    let Some(ssk) = header.ssk else {
                        let ours = header.txn.as_deref().and_then(|txn| txn.split_once('\0'));
                        if ours.is_none_or(|(device, _)| *device != *me.device) {
                            touched.messages.push(row.esn);
                        }
                        continue;
                    };
                    let is_decisive = match decisive.get(&ssk) {
                        Some(known) => *known,
                        None => DECISIVE.contains(&ssk.names(view)?.0),
                    };
                    decisive.insert(ssk, is_decisive);
                    if is_decisive {
                        touched.rooms.insert(header.room);
                    }
                }
                _ => {}
            }
        }
        touched.rooms.remove(&RoomKey(0));
        Ok(touched)
    }

    /// Follows the devices of an encrypted room's readers, and makes those who came in readers of the past that it shows.
    async fn track(&mut self, room: RoomKey) -> Result<(), CryptoError> {
        let (home, me) = (self.inner.home.clone(), self.inner.me.user_key);
        let said = Said(me);
        let (recipients, newcomers) = {
            let view = home.store.snapshot()?;
            let joined = standing(&view, me, room)?.is_some_and(|memb| memb.standing == Standing::Join);
            let found = Room::by_key(&view, room)?.filter(|_| joined);
            let recipients = found.map(|room| Recipients::of_room(&view, &room)).transpose()?.flatten();
            let Some(recipients) = recipients else { return Ok(()) };
            let newcomers = recipients.shares_history() && said.has_newcomers(&view, room, &recipients.joined)?;
            (recipients, newcomers)
        };
        self.inner.crypto.machine.update_tracked_users(recipients.ids()).await?;
        if newcomers {
            let joined = recipients.joined.clone();
            let job = move |tx: &mut crate::store::WriteTx<'_>| said.welcome(tx, room, &joined);
            let new = home.store.write::<_, StoreError, _>(job).await?;
            self.due.extend(new.iter().filter_map(|user: &UserKey| recipients.users.get(user).cloned()));
        }
        Ok(())
    }

    /// Looks whether a message belongs to a verification. One that cannot be read yet is looked at again once keys come, one
    /// from an unknown device once its user's devices were asked for.
    async fn look(&mut self, esn: Esn, before: Option<Unread>) -> Result<(), CryptoError> {
        let waits = match verification::look(&self.inner, esn).await? {
            Look::Done => return Ok(()),
            Look::Unreadable => Unread::Locked,
            // A device that its own server does not know will not be known later.
            Look::Stranger(user) if before == Some(Unread::Stranger) && !self.refresh.contains(&user) => return Ok(()),
            Look::Stranger(user) => {
                self.refresh(user);
                Unread::Stranger
            }
        };
        if self.unread.len() >= VERIFICATIONS_WAITING_MAX {
            self.unread.pop_first();
        }
        self.unread.insert(esn, waits);
        Ok(())
    }

    /// Looks again at the messages that keys have come for.
    pub(super) async fn read_locked(&mut self) -> Result<(), CryptoError> {
        self.read_again(Unread::Locked).await
    }

    /// Looks again at the messages whose senders were asked for.
    pub(super) async fn read_strangers(&mut self) -> Result<(), CryptoError> {
        self.read_again(Unread::Stranger).await
    }

    async fn read_again(&mut self, kind: Unread) -> Result<(), CryptoError> {
        let again: Vec<Esn> = self.unread.iter().filter(|(_, waits)| **waits == kind).map(|(esn, _)| *esn).collect();
        for esn in again {
            self.unread.remove(&esn);
            self.look(esn, Some(kind)).await?;
        }
        Ok(())
    }
}

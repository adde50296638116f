//! An event as one reader sees it: the client format with all that goes into `unsigned`.
//!
//! Client-server API, "Room event format" and "Aggregations of child events".

use ruma::{DeviceId, OwnedTransactionId};
use serde_json::value::RawValue;

use super::{Room, relations, visibility::UserSight};
use crate::{
    event::{self, ClientFormat, Pdu, client_event},
    store::{Result, StoreError, Stored, UserKey, View},
    types::Millis,
};

/// Who reads, and when.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Who, interned.
    pub user: UserKey,
    /// On which device.
    pub device: &'a DeviceId,
    /// Our clock.
    pub now: Millis,
    /// Leave `room_id` out, as `/sync` does.
    pub without_room_id: bool,
    /// Tell of an event's children beside it.
    pub bundles: bool,
}

/// How much goes beside an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Nothing of its children.
    Bare,
    /// Its children.
    Bundled,
}

impl Reader<'_> {
    /// An event of a timeline.
    ///
    /// # Errors
    /// When the database fails.
    pub fn show(&self, view: &dyn View, sight: &mut UserSight<'_>, stored: &Stored) -> Result<Box<RawValue>> {
        let depth = if self.bundles { Depth::Bundled } else { Depth::Bare };
        self.show_at(depth, view, sight, stored)
    }

    /// An event as if it had been redacted, as the roots of threads are shown to those who ignore their sender.
    ///
    /// # Errors
    /// When the database fails.
    pub fn show_redacted(
        &self,
        view: &dyn View,
        sight: &mut UserSight<'_>,
        room: &Room,
        stored: &Stored,
    ) -> Result<Box<RawValue>> {
        let damaged = |error: String| StoreError::Corrupt(format!("{}: {error}", stored.pdu.event_id));
        let object = stored.pdu.object().map_err(|error| damaged(error.to_string()))?;
        let object = event::redacted(object, &room.rules).map_err(|error| damaged(error.to_string()))?;
        let pdu = Pdu::from_object(object, &room.rules).map_err(|error| damaged(error.to_string()))?;
        self.show(view, sight, &Stored { pdu, ..stored.clone() })
    }

    pub(super) fn show_at(
        &self,
        depth: Depth,
        view: &dyn View,
        sight: &mut UserSight<'_>,
        stored: &Stored,
    ) -> Result<Box<RawValue>> {
        let mut format = self.format(view, stored)?;
        if depth == Depth::Bundled {
            format.relations = relations::aggregations(self, view, sight, stored)?;
        }
        format.membership = Some(sight.membership(stored)?.as_str().to_owned());
        if let Some(ssk) = stored.header.ssk
            // The state before history is that of a later event, and would name the wrong predecessor.
            && !stored.header.flags.history
            && let Some(esn) = stored.header.before.entry(view, stored.header.room, ssk)?
        {
            let replaced = Stored::must(view, esn)?.pdu;
            format.prev_content = Some(replaced.content);
            format.replaces_state = Some(replaced.event_id);
        }
        Ok(client_event(&stored.pdu, &format))
    }

    /// An event of a room's state, without what it replaced.
    ///
    /// # Errors
    /// When the database fails.
    pub fn show_state(&self, view: &dyn View, stored: &Stored) -> Result<Box<RawValue>> {
        Ok(client_event(&stored.pdu, &self.format(view, stored)?))
    }

    fn format(&self, view: &dyn View, stored: &Stored) -> Result<ClientFormat> {
        Ok(ClientFormat {
            now: Some(self.now),
            transaction_id: self.transaction_id(stored),
            redacted_because: self.redacted_because(view, stored)?,
            without_room_id: self.without_room_id,
            ..ClientFormat::default()
        })
    }

    /// Only the device that sent an event learns its transaction id: it is how that device finds its local echo.
    fn transaction_id(&self, stored: &Stored) -> Option<OwnedTransactionId> {
        let (device, transaction) = stored.header.txn.as_deref()?.split_once('\0')?;
        (stored.header.sender == self.user && device == self.device.as_str()).then(|| transaction.into())
    }

    fn redacted_because(&self, view: &dyn View, stored: &Stored) -> Result<Option<Box<RawValue>>> {
        if !stored.header.flags.redacted {
            return Ok(None);
        }
        let Some(esn) = view.redacted_by()?.row(stored.esn)?.map(|row| row.value()) else { return Ok(None) };
        let redaction = Stored::must(view, esn)?;
        let format = ClientFormat { without_room_id: self.without_room_id, ..ClientFormat::default() };
        Ok(Some(client_event(&redaction.pdu, &format)))
    }
}

//! Redactions: an event loses its content when a redaction that may do so meets it, in whatever order the two arrive.
//!
//! Since room version 3 any redaction event is accepted into the room; whether it takes effect is decided here. Rooms of
//! versions 3 to 12, "Handling redactions".

use ruma::events::TimelineEventType;
use std::ops::Bound;

use super::{read::Room, relations, unread};
use crate::{
    event::{self, Pdu},
    store::{Esn, Header, Result, StoreError, Stored, View, WriteTx, id_prefix},
};

/// Follows a newly accepted event: redacts its target, or the event itself if its redaction came first.
pub(super) fn on_event(tx: &mut WriteTx<'_>, room: &Room, esn: Esn, header: &Header, pdu: &Pdu) -> Result<()> {
    if pdu.kind == TimelineEventType::RoomRedaction
        && let Some(target) = &pdu.redacts
    {
        match Stored::by_id(tx, target)? {
            Some(target) => take_effect(tx, room, esn, header, pdu, target)?,
            None => {
                if let Some(prefix) = id_prefix(target) {
                    tx.write().redact_wait.insert((room.key.0, &prefix, esn), ())?;
                }
            }
        }
    }
    waiting(tx, room, pdu)
}

/// Redactions that came before their target.
fn waiting(tx: &mut WriteTx<'_>, room: &Room, pdu: &Pdu) -> Result<()> {
    let Some(prefix) = id_prefix(&pdu.event_id) else { return Ok(()) };
    let range = (Bound::Included((room.key.0, &prefix, 0)), Bound::Included((room.key.0, &prefix, u64::MAX)));
    let mut redactions = Vec::new();
    for row in tx.redact_wait()?.between(range.0, range.1)? {
        redactions.push(row?.0.value().2);
    }
    for redaction in redactions {
        tx.write().redact_wait.remove((room.key.0, &prefix, redaction))?;
        let stored = Stored::must(tx, redaction)?;
        // The prefix only found it: the whole id decides.
        if stored.pdu.redacts.as_ref() == Some(&pdu.event_id)
            && let Some(target) = Stored::by_id(tx, &pdu.event_id)?
        {
            take_effect(tx, room, redaction, &stored.header, &stored.pdu, target)?;
        }
    }
    Ok(())
}

fn take_effect(
    tx: &mut WriteTx<'_>,
    room: &Room,
    redaction: Esn,
    header: &Header,
    pdu: &Pdu,
    mut target: Stored,
) -> Result<()> {
    if target.header.room != room.key || target.header.flags.redacted || !allowed(tx, room, header, pdu, &target.pdu)? {
        return Ok(());
    }
    relations::forget(tx, &target)?;
    unread::forget(tx, room, &target)?;
    let damaged = |error: String| StoreError::Corrupt(format!("{}: {error}", target.pdu.event_id));
    let object = target.pdu.object().map_err(|error| damaged(error.to_string()))?;
    let object = event::redacted(object, &room.rules).map_err(|error| damaged(error.to_string()))?;
    let stripped = Pdu::from_object(object, &room.rules).map_err(|error| damaged(error.to_string()))?;
    target.header.flags.redacted = true;
    Stored::put(tx, target.esn, &target.header, stripped.json())?;
    tx.write().redacted_by.insert(target.esn, redaction)?;
    Ok(())
}

/// Whether the sender may redact the target: by power level, or because it is of the sender's own server.
fn allowed(view: &dyn View, room: &Room, header: &Header, pdu: &Pdu, target: &Pdu) -> Result<bool> {
    if pdu.sender.server_name() == target.sender.server_name() {
        return Ok(true);
    }
    let levels = room.power_levels_at(view, header.before)?;
    Ok(levels.user_can_redact_event_of_other(&pdu.sender))
}

//! The first writes of every event, whichever way it came: its number, its node in the auth graph, the room's record.

use ruma::{OwnedEventId, events::StateEventType};

use super::read::Room;
use crate::{
    event::Pdu,
    store::{AuthRecord, Esn, Header, Record, Result, Ssk, Stored, UserKey, View, WriteTx},
};

/// The auth events that are not here.
pub(super) fn missing_auth(view: &dyn View, pdu: &Pdu) -> Result<Vec<OwnedEventId>> {
    let mut missing = Vec::new();
    for id in &pdu.auth_events {
        if Stored::find(view, id)?.is_none() {
            missing.push(id.clone());
        }
    }
    Ok(missing)
}

/// The event's number and header: those of the outlier that it was, or new ones.
pub(super) fn numbered(tx: &mut WriteTx<'_>, room: &Room, pdu: &Pdu) -> Result<(Esn, Header)> {
    if let Some(esn) = Stored::find(tx, &pdu.event_id)?
        && let Some(header) = Stored::header(tx, esn)?
    {
        return Ok((esn, header));
    }
    let sender = UserKey::intern(tx, &pdu.sender)?;
    let ssk = match &pdu.state_key {
        Some(key) => Some(Ssk::intern(tx, &StateEventType::from(pdu.kind.to_string()), key)?),
        None => None,
    };
    let header = Header::new(pdu, room.key, sender, ssk)?;
    let esn = Stored::number(tx, &header)?;
    Ok((esn, header))
}

/// Gives an accepted state event its node in the auth graph, if it has none yet.
pub(super) fn add_to_graph(
    tx: &mut WriteTx<'_>,
    room: &mut Room,
    pdu: &Pdu,
    esn: Esn,
    header: &mut Header,
) -> Result<()> {
    if header.node.is_some() || !pdu.is_state() {
        return Ok(());
    }
    let mut parents = Vec::new();
    for id in &pdu.auth_events {
        let parent = Stored::find(tx, id)?.map(|esn| Stored::header(tx, esn)).transpose()?.flatten();
        parents.extend(parent.and_then(|parent| parent.node));
    }
    parents.sort_unstable();
    parents.dedup();
    let node = room.record.next_node;
    room.record.next_node += 1;
    header.node = Some(node);
    let record = AuthRecord { esn, parents }.encode()?;
    tx.write().auth.insert((room.key.0, node), record.as_slice())?;
    Ok(())
}

/// Writes the room's record.
pub(super) fn save(tx: &mut WriteTx<'_>, room: &Room) -> Result<()> {
    let bytes = room.record.encode()?;
    tx.write().room.insert(room.key.0, bytes.as_slice())?;
    Ok(())
}

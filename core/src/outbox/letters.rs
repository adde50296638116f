//! What waits for a server beside events: EDUs that must not be lost, and invites. In order, until acknowledged.
//!
//! To-device messages carry the keys that messages are read with, so they wait as long as events do: a server that was away
//! for a month gets them all. What only its newest version matters of (a receipt, a changed device list) has a *slot*, and
//! takes the place of what waited there.
//!
//! Only local users and this server itself write letters, so no peer sizes this queue. What is worth sending only at once,
//! like typing, is no letter: see [`tell_now`].

use std::ops::Bound;

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedTransactionId, ServerName, UInt,
    api::federation::transactions::send_transaction_message::v1::Request, serde::Raw,
};
use serde_json::value::RawValue;

use super::request::{FederationError, request};
use crate::{
    home::Home,
    store::{InviteLetter, LetterRecord, Record, Result, ServerKey, View, WriteTx},
};

/// Queues an EDU for a server: the whole of it, `{"edu_type": .., "content": ..}`. One that waits in the same slot is
/// replaced.
///
/// # Errors
/// When the database fails.
pub fn post(tx: &mut WriteTx<'_>, server: ServerKey, slot: Option<[u8; 16]>, edu: &str) -> Result<()> {
    let place = put(tx, server, &LetterRecord::Edu { slot, json: edu.to_owned() })?;
    let Some(slot) = slot else { return Ok(()) };
    let before = tx.write().out_slot.insert((server.0, &slot), place)?.map(|row| row.value());
    if let Some(before) = before {
        tx.write().out_letter.remove((server.0, before))?;
    }
    Ok(())
}

/// Queues an invite for the server of the invited user.
///
/// # Errors
/// When the database fails.
pub fn post_invite(tx: &mut WriteTx<'_>, server: ServerKey, invite: InviteLetter) -> Result<()> {
    put(tx, server, &LetterRecord::Invite(invite)).map(drop)
}

/// Places are never used twice, not even after a restart: transaction ids are made of them.
fn put(tx: &mut WriteTx<'_>, server: ServerKey, letter: &LetterRecord) -> Result<u64> {
    let place = tx.out_seq()?.row(server.0)?.map_or(0, |row| row.value()) + 1;
    let bytes = letter.encode()?;
    let tables = tx.write();
    tables.out_seq.insert(server.0, place)?;
    tables.out_letter.insert((server.0, place), bytes.as_slice())?;
    tx.wake_outbox();
    Ok(place)
}

/// The letters that wait for a server, in order, with their places.
pub(super) fn waiting(
    view: &dyn View,
    server: ServerKey,
) -> Result<impl Iterator<Item = Result<(u64, LetterRecord)>> + '_> {
    let rows = view.out_letter()?.between(Bound::Included((server.0, 0)), Bound::Included((server.0, u64::MAX)))?;
    Ok(rows.map(|row| {
        let (key, value) = row?;
        Ok((key.value().1, LetterRecord::decode(value.value())?))
    }))
}

/// The servers that letters wait for.
pub(super) fn addressees(view: &dyn View) -> Result<Vec<ServerKey>> {
    let mut servers = Vec::new();
    let mut from = (0, 0);
    // One seek for each server, however much waits for it.
    while let Some(row) = view.out_letter()?.between(Bound::Included(from), Bound::Unbounded)?.next() {
        let server = row?.0.value().0;
        servers.push(ServerKey(server));
        let Some(next) = server.checked_add(1) else { break };
        from = (next, 0);
    }
    Ok(servers)
}

/// How many letters wait for a server.
///
/// # Errors
/// When the database fails.
pub fn letters_pending(view: &dyn View, server: &ServerName) -> Result<u64> {
    let Some(server) = ServerKey::find(view, server)? else { return Ok(0) };
    waiting(view, server)?.try_fold(0, |count, letter| letter.map(|_| count + 1))
}

/// Takes the letters of a server up to a place away: they were acknowledged, or refused for good.
pub(super) fn done(tx: &mut WriteTx<'_>, server: ServerKey, last: u64) -> Result<()> {
    let mut gone = Vec::new();
    for letter in waiting(tx, server)? {
        let (place, letter) = letter?;
        if place > last {
            break;
        }
        gone.push((place, letter));
    }
    for (place, letter) in gone {
        tx.write().out_letter.remove((server.0, place))?;
        if let LetterRecord::Edu { slot: Some(slot), .. } = letter {
            let holds = tx.out_slot()?.row((server.0, &slot))?.map(|row| row.value());
            // Something newer may have taken the slot meanwhile.
            if holds == Some(place) {
                tx.write().out_slot.remove((server.0, &slot))?;
            }
        }
    }
    Ok(())
}

/// Sends EDUs in a transaction of their own, now or never: for what is not worth keeping. Each is a whole EDU.
///
/// # Errors
/// See [`FederationError`].
pub(crate) async fn tell_now(home: &Home, server: &ServerName, edus: Vec<String>) -> Result<(), FederationError> {
    let id = OwnedTransactionId::from(format!("h{}", home.ports.random.token(16)));
    let now = MilliSecondsSinceUnixEpoch(UInt::new_saturating(home.now().0));
    let mut transaction = Request::new(id, home.server_name().to_owned(), now);
    transaction.edus = raws(edus)?;
    request(home, server, transaction).await.map(drop)
}

/// EDUs as a transaction holds them.
pub(super) fn raws<T>(edus: Vec<String>) -> Result<Vec<Raw<T>>, FederationError> {
    let raws = edus.into_iter().map(|edu| RawValue::from_string(edu).map(Raw::from_json));
    raws.collect::<Result<_, _>>().map_err(|error| FederationError::Unsendable(error.to_string()))
}

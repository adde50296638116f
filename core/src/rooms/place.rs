//! Where a judged event goes: among the heads, into the state, onto the timeline, into the log and out to others.

use ruma::OwnedEventId;

use super::{
    effects,
    error::ApplyError,
    fork, gap,
    judge::Verdict,
    keep::{add_to_graph, numbered, save},
    read::Room,
    receipts, redact, relations, unread,
};
use crate::{
    event::Pdu,
    store::{Change, Esn, Flags, Header, LogKind, LogRow, Overrides, Result, StateRef, Stored, WriteTx},
    types::LocalServer,
};

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was here already.
    Known,
    /// It is part of the room.
    Accepted {
        /// Its number.
        esn: Esn,
    },
    /// It is allowed by its past, not by the present: kept, hidden.
    SoftFailed {
        /// Its number.
        esn: Esn,
        /// The rule that it breaks.
        why: String,
    },
    /// It breaks the room's rules: kept, so that it is not fetched again, and ignored.
    Rejected {
        /// Its number.
        esn: Esn,
        /// The rule that it breaks.
        why: String,
    },
}

/// An event whose place is known, ready to be written.
pub(super) struct Placed<'a> {
    pub(super) pdu: &'a Pdu,
    pub(super) prevs: &'a [Esn],
    pub(super) before: StateRef,
    pub(super) verdict: Verdict,
    /// Parents that are not here: a gap stays before the event.
    pub(super) missing: Vec<OwnedEventId>,
    /// It starts the room's graph anew (a join over federation): earlier heads are left behind.
    pub(super) restart: bool,
    pub(super) txn: Option<String>,
    pub(super) send_out: bool,
}

/// Writes a judged event and all that follows from it.
pub(super) fn place(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    placed: Placed<'_>,
) -> Result<Applied, ApplyError> {
    let pdu = placed.pdu;
    let awaited = gap::take_awaited(tx, room.key, &pdu.event_id)?;
    let (esn, mut header) = numbered(tx, room, pdu)?;
    header.txn.clone_from(&placed.txn);
    header.before = placed.before;
    header.after = placed.before;
    header.flags = Flags {
        rejected: matches!(placed.verdict, Verdict::Reject(_)),
        soft_failed: matches!(placed.verdict, Verdict::SoftFail(_)),
        ..Flags::default()
    };
    if !header.flags.rejected {
        add_to_graph(tx, room, pdu, esn, &mut header)?;
    }
    match placed.verdict {
        Verdict::Reject(why) => {
            Stored::put(tx, esn, &header, pdu.json())?;
            save(tx, room)?;
            tracing::debug!(event = %pdu.event_id, room = %room.id, why, "rejected");
            Ok(Applied::Rejected { esn, why })
        }
        Verdict::SoftFail(why) => {
            if let Some(ssk) = header.ssk {
                let change = Overrides::from([(ssk, Some(esn))]);
                header.after = header.before.patched(tx, room.key, &mut room.record, &change)?;
            }
            Stored::put(tx, esn, &header, pdu.json())?;
            save(tx, room)?;
            tracing::debug!(event = %pdu.event_id, room = %room.id, why, "soft-failed");
            Ok(Applied::SoftFailed { esn, why })
        }
        Verdict::Accept => {
            let servers_before = room.record.dset;
            let changes = move_heads(tx, room, &placed, awaited, esn, &mut header)?;
            show(tx, room, &placed, esn, &mut header)?;
            Stored::put(tx, esn, &header, pdu.json())?;
            effects::state_changed(tx, local, room, &header, esn, &changes)?;
            relations::note(tx, room.key, esn, &header, pdu)?;
            unread::note(tx, room, &header, pdu)?;
            redact::on_event(tx, room, esn, &header, pdu)?;
            receipts::arrived(tx, room.key, &pdu.event_id)?;
            if placed.send_out {
                effects::send_out(tx, local, room, servers_before, esn, pdu, header.n)?;
            }
            save(tx, room)?;
            Ok(Applied::Accepted { esn })
        }
    }
}

/// Makes the event a head, and the current state that of the heads.
fn move_heads(
    tx: &mut WriteTx<'_>,
    room: &mut Room,
    placed: &Placed<'_>,
    awaited: bool,
    esn: Esn,
    header: &mut Header,
) -> Result<Vec<Change>, ApplyError> {
    let own = header.ssk.map(|ssk| Overrides::from([(ssk, Some(esn))])).unwrap_or_default();
    let mut heads = if placed.restart { Vec::new() } else { room.record.heads.clone() };
    heads.retain(|head| !placed.prevs.contains(head));
    if !awaited {
        heads.push(esn);
        room.record.depth = room.record.depth.max(placed.pdu.depth);
    }
    let alone = heads == [esn];
    let changes = if alone && header.before == room.record.current() {
        // The usual case: the room is one line, and the event continues it.
        room.record.advance(tx, room.key, &own)?
    } else {
        header.after = header.before.patched(tx, room.key, &mut room.record, &own)?;
        // Resolution may read the event itself. Its row is written again once its place is known.
        Stored::put(tx, esn, header, placed.pdu.json())?;
        let others: Vec<Esn> = heads.iter().copied().filter(|head| *head != esn).collect();
        let mut states = fork::states_after(tx, &others)?;
        if !awaited && !states.contains(&header.after) {
            states.push(header.after);
        }
        let changes = fork::changes_to_current(tx, room, &states)?;
        room.record.advance(tx, room.key, &changes)?
    };
    if alone {
        header.after = room.record.current();
    }
    room.record.heads = heads;
    Ok(changes)
}

/// Puts the event on the timeline and into the log.
fn show(tx: &mut WriteTx<'_>, room: &mut Room, placed: &Placed<'_>, esn: Esn, header: &mut Header) -> Result<()> {
    if placed.missing.is_empty() && !placed.restart {
        room.record.last_pos += 1;
    } else {
        room.record.last_pos += gap::CHUNK;
        gap::open(tx, room.key, room.record.last_pos, &placed.missing)?;
    }
    header.pos = room.record.last_pos;
    tx.write().tl.insert((room.key.0, header.pos), esn)?;
    let row = LogRow { kind: LogKind::Timeline, room: room.key.0, user: header.sender.0, esn };
    header.n = tx.log(&row)?;
    room.record.last_n = header.n;
    Ok(())
}

//! The auth graphs of the rooms at work, kept by the engine between jobs.
//!
//! A graph is rebuilt from the `auth` table when it is not at hand and caught up with it otherwise, so it is never written
//! itself. Beside it stand, for the room's current state, the nodes of all its events and its entries that are not members:
//! what resolution needs without reading the state.

use std::{collections::BTreeMap, ops::Bound};

use ruma::events::StateEventType;

use super::read::Room;
use crate::{
    resolve::{AuthGraph, Bits, Node},
    store::{AuthRecord, Esn, Record, Result, RoomKey, Ssk, View, WriteTx},
};

/// Rooms whose graph is kept: a graph of 20,000 events takes about 1.5 MB.
const GRAPHS_MAX: usize = 16;

/// The graphs at hand.
#[derive(Default)]
pub(super) struct Graphs {
    rooms: BTreeMap<RoomKey, RoomGraph>,
    clock: u64,
}

/// One room's graph.
#[derive(Default)]
pub(super) struct RoomGraph {
    pub(super) graph: AuthGraph,
    esns: Vec<Esn>,
    nodes: BTreeMap<Esn, Node>,
    /// The nodes of the mainline's state at `seq`.
    pub(super) current: Bits,
    /// The entries of the mainline's state at `seq` that are not members.
    pub(super) others: BTreeMap<Ssk, Esn>,
    seq: u64,
    used: u64,
}

/// Takes a room's graph out of the engine's keeping, up to date. Hand it back with [`put_back`].
pub(super) fn take(tx: &mut WriteTx<'_>, room: &Room) -> Result<RoomGraph> {
    let mut graph = tx.kept::<Graphs>().rooms.remove(&room.key).unwrap_or_default();
    graph.catch_up(tx, room)?;
    Ok(graph)
}

/// Hands a graph back for the next job.
pub(super) fn put_back(tx: &mut WriteTx<'_>, room: RoomKey, mut graph: RoomGraph) {
    let graphs = tx.kept::<Graphs>();
    graphs.clock += 1;
    graph.used = graphs.clock;
    graphs.rooms.insert(room, graph);
    if graphs.rooms.len() > GRAPHS_MAX {
        let oldest = graphs.rooms.iter().min_by_key(|(_, graph)| graph.used).map(|(room, _)| *room);
        if let Some(oldest) = oldest {
            graphs.rooms.remove(&oldest);
        }
    }
}

impl RoomGraph {
    pub(super) fn node(&self, esn: Esn) -> Option<Node> {
        self.nodes.get(&esn).copied()
    }

    pub(super) fn esn(&self, node: Node) -> Option<Esn> {
        self.esns.get(node as usize).copied()
    }

    fn catch_up(&mut self, view: &dyn View, room: &Room) -> Result<()> {
        let from = Bound::Included((room.key.0, self.esns.len() as u32));
        for row in view.auth()?.between(from, Bound::Included((room.key.0, u32::MAX)))? {
            let record = AuthRecord::decode(row?.1.value())?;
            let node = self.graph.push(&record.parents);
            self.esns.push(record.esn);
            self.nodes.insert(record.esn, node);
        }
        let from = Bound::Excluded((room.key.0, self.seq));
        let to = Bound::Included((room.key.0, room.record.seq));
        for row in view.st_log()?.between(from, to)? {
            let (ssk, old, new) = row?.1.value();
            self.change(view, Ssk(ssk), (old != 0).then_some(old), (new != 0).then_some(new))?;
        }
        self.seq = room.record.seq;
        Ok(())
    }

    fn change(&mut self, view: &dyn View, ssk: Ssk, old: Option<Esn>, new: Option<Esn>) -> Result<()> {
        if let Some(node) = old.and_then(|esn| self.node(esn)) {
            self.current.remove(node);
        }
        if let Some(node) = new.and_then(|esn| self.node(esn)) {
            self.current.insert(node);
        }
        if ssk.names(view)?.0 != StateEventType::RoomMember {
            match new {
                Some(esn) => self.others.insert(ssk, esn),
                None => self.others.remove(&ssk),
            };
        }
        Ok(())
    }
}

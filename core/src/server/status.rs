//! The state of a homeserver in a few numbers, for `hearth status` and its like.

use std::ops::Bound;

use ruma::{
    OwnedRoomId, OwnedServerName,
    events::{StateEventType, room::name::RoomNameEventContent},
};
use serde::Serialize;

use crate::{
    home::Home,
    outbox::{self, Outbox},
    rooms::Room,
    store::{Result, RoomKey, View},
};

/// How a homeserver is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub server_name: OwnedServerName,
    /// Local accounts.
    pub users: u64,
    /// The rooms that local users are in.
    pub rooms: Vec<RoomStatus>,
    /// The servers that something waits for.
    pub queues: Vec<QueueStatus>,
    /// The servers within reach.
    pub near: Vec<OwnedServerName>,
}

/// A room.
#[derive(Clone, Debug, Serialize)]
pub struct RoomStatus {
    /// Its id.
    pub id: OwnedRoomId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Joined members.
    pub members: u64,
    /// Forward extremities: more than one means that histories have not merged yet.
    pub heads: u64,
}

/// A queue of the outbox.
#[derive(Clone, Debug, Serialize)]
pub struct QueueStatus {
    /// For whom.
    pub server: OwnedServerName,
    /// Events that wait.
    pub pending: u64,
    /// Letters that wait: to-device messages, receipts, invites and the like.
    pub letters: u64,
    /// Tries that failed since the last success.
    pub failures: u32,
    /// Whether the server is within reach.
    pub near: bool,
}

pub(super) fn status(home: &Home, outbox: &Outbox) -> Result<Status> {
    let view = home.store.snapshot()?;
    let mut users = 0;
    for row in view.account()?.between(Bound::Unbounded, Bound::Unbounded)? {
        row?;
        users += 1;
    }
    let mut queues = Vec::new();
    for (server, failures) in outbox.failures() {
        let (pending, letters) = (outbox::pending(&view, &server)?, outbox::letters_pending(&view, &server)?);
        queues.push(QueueStatus { pending, letters, failures, near: home.is_near(&server), server });
    }
    Ok(Status { server_name: home.server_name().to_owned(), users, rooms: rooms(&view)?, queues, near: home.near() })
}

fn rooms(view: &dyn View) -> Result<Vec<RoomStatus>> {
    let mut rooms = Vec::new();
    for row in view.room()?.between(Bound::Unbounded, Bound::Unbounded)? {
        let Some(room) = Room::by_key(view, RoomKey(row?.0.value()))? else { continue };
        if room.record.joined_local == 0 {
            continue;
        }
        let name = room.current_event(view, &StateEventType::RoomName, "")?;
        let name = name.and_then(|event| event.pdu.content_as::<RoomNameEventContent>().ok());
        rooms.push(RoomStatus {
            name: name.map(|content| content.name).filter(|name| !name.is_empty()),
            members: room.record.joined,
            heads: room.record.heads.len() as u64,
            id: room.id,
        });
    }
    Ok(rooms)
}

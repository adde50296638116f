//! The telling side: which heads a neighbour may lack, put into EDUs.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedServerName, ServerName};
use serde_json::json;

use super::{EDU_TYPE, Heads, Told};
use crate::{
    federation::sources,
    home::Home,
    outbox::{self, FederationError, tell_now},
    rooms::Room,
    store::{Result, RoomKey, Stored},
    types::limits::ADVERTISED_ROOMS_MAX,
};

/// Tells a neighbour the heads of rooms that it may lack.
pub(super) async fn tell(home: &Home, server: OwnedServerName, rooms: BTreeSet<RoomKey>) -> (OwnedServerName, Told) {
    let (messages, later) = match messages(home, &server, &rooms) {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, %server, "the heads for a neighbour could not be read");
            return (server, Told::Failed(rooms));
        }
    };
    for message in messages {
        match send(home, &server, &message).await {
            Ok(()) => {}
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, %server, "a neighbour could not be told of heads");
                return (server, Told::Failed(rooms));
            }
            Err(error) => tracing::debug!(%error, %server, "a neighbour does not want to hear of heads"),
        }
    }
    (server, if later.is_empty() { Told::Done } else { Told::Later(later) })
}

/// Sends one advertisement. The receiver answers once it has fetched what it lacked.
pub(super) async fn send(home: &Home, server: &ServerName, heads: &Heads) -> Result<(), FederationError> {
    let edu = json!({ "edu_type": EDU_TYPE, "content": heads });
    tell_now(home, server, vec![edu.to_string()]).await?;
    for (room, heads) in &heads.rooms {
        home.note_has(server, room, heads);
    }
    Ok(())
}

/// What to tell a neighbour, in pieces of the allowed size, and the rooms to look at again later.
fn messages(home: &Home, server: &ServerName, rooms: &BTreeSet<RoomKey>) -> Result<(Vec<Heads>, BTreeSet<RoomKey>)> {
    let view = home.store.snapshot()?;
    let outbox_is_busy = outbox::pending(&view, server)? > 0;
    let (mut told, mut later) = (BTreeMap::new(), BTreeSet::new());
    for key in rooms {
        let Some(room) = Room::by_key(&view, *key)? else { continue };
        if room.record.joined_local == 0 || !room.has_server(&view, server)? {
            continue;
        }
        let heads = sources::heads(&view, &room)?;
        let lacking = home.may_lack(server, &room.id, &heads);
        if lacking.is_empty() {
            continue;
        }
        let mut all_ours = true;
        for id in &lacking {
            let stored = Stored::by_id(&view, id)?;
            all_ours &= stored.is_some_and(|stored| home.is_local(stored.pdu.sender.server_name()));
        }
        if all_ours && outbox_is_busy {
            // They are on their way; telling of them now would fetch them twice.
            later.insert(*key);
        } else {
            told.insert(room.id, heads);
        }
    }
    let mut messages: Vec<Heads> = Vec::new();
    for (room, heads) in told {
        match messages.last_mut() {
            Some(message) if message.rooms.len() < ADVERTISED_ROOMS_MAX => {
                message.rooms.insert(room, heads);
            }
            _ => messages.push(Heads { rooms: BTreeMap::from([(room, heads)]), reply: false }),
        }
    }
    Ok((messages, later))
}

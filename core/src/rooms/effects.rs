//! What a change of the current state changes beside it: members, counts, servers, how local users stand, what goes out.

use std::ops::Bound;

use ruma::{OwnedUserId, ServerName, UserId, events::StateEventType};

use super::{read::Room, unread};
use crate::{
    event::{Pdu, stripped_state},
    keys::{self, Moved},
    store::{
        Change, Esn, Header, InviteRecord, LogKind, LogRow, MembRecord, Record, Result, RoomKey, ServerKey, ServerSet,
        Standing, Stored, UserKey, View, WriteTx,
    },
    types::LocalServer,
};

/// Follows changes of the current state, which `cause` brought about.
pub(super) fn state_changed(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    cause: &Header,
    cause_esn: Esn,
    changes: &[Change],
) -> Result<()> {
    for (_, _, new) in changes {
        if *new != Some(cause_esn) {
            // A resolution changed what no event on the timeline shows: syncs learn of it by a row of its own.
            let row = LogRow { kind: LogKind::State, room: room.key.0, user: 0, esn: new.unwrap_or(0) };
            room.record.last_n = tx.log(&row)?;
        }
    }
    state_told(tx, local, room, cause, changes)
}

/// As [`state_changed`], without rows of the log: the first state of a room is shown by the event that brings it.
pub(super) fn state_told(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    cause: &Header,
    changes: &[Change],
) -> Result<()> {
    let mut servers_changed = false;
    for (ssk, _, new) in changes {
        let (kind, key) = ssk.names(tx)?;
        if kind == StateEventType::RoomMember
            && let Ok(user) = OwnedUserId::try_from(key)
        {
            servers_changed |= member_changed(tx, local, room, &user, *new, cause)?;
        }
    }
    if servers_changed {
        room.record.dset = new_server_set(tx, room, current_servers(tx, room.key)?)?;
    }
    Ok(())
}

/// Follows one member's change. Answers whether the set of servers changed.
fn member_changed(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    user: &UserId,
    new: Option<Esn>,
    cause: &Header,
) -> Result<bool> {
    let key = UserKey::intern(tx, user)?;
    let old = tx.rmem()?.row((room.key.0, key.0))?.and_then(|row| Standing::from_byte(row.value().0));
    let event = new.map(|esn| Stored::must(tx, esn)).transpose()?;
    let standing = event.as_ref().and_then(|event| event.pdu.membership()).as_ref().and_then(Standing::of);
    match (standing, new) {
        (Some(standing), Some(esn)) => {
            tx.write().rmem.insert((room.key.0, key.0), (standing as u8, esn))?;
        }
        _ => {
            tx.write().rmem.remove((room.key.0, key.0))?;
        }
    }
    let is_local = user.server_name() == &*local.name;
    let record = &mut room.record;
    let step = |count: &mut u64, of: Standing| {
        *count = *count + u64::from(standing == Some(of)) - u64::from(old == Some(of)).min(*count);
    };
    let inside = record.joined_local > 0;
    step(&mut record.joined, Standing::Join);
    step(&mut record.invited, Standing::Invite);
    if is_local {
        step(&mut record.joined_local, Standing::Join);
        unread::member_changed(tx, room.key, key, standing == Some(Standing::Join))?;
        local_member_changed(tx, room, key, standing, event.as_ref(), cause)?;
    }
    let servers_changed = count_server(tx, room.key, user.server_name(), standing, old)?;
    let joined = standing == Some(Standing::Join);
    if joined != (old == Some(Standing::Join)) {
        let room = room.key;
        keys::membership_changed(tx, Moved { room, user, user_key: key, is_local, joined, inside })?;
    }
    Ok(servers_changed)
}

/// Counts a server's joined members. Answers whether it came in or went.
fn count_server(
    tx: &mut WriteTx<'_>,
    room: RoomKey,
    server: &ServerName,
    new: Option<Standing>,
    old: Option<Standing>,
) -> Result<bool> {
    let (joins, joined) = (new == Some(Standing::Join), old == Some(Standing::Join));
    if joins == joined {
        return Ok(false);
    }
    let server = ServerKey::intern(tx, server)?;
    let count = tx.rserv()?.row((room.0, server.0))?.map_or(0, |row| row.value());
    let next = if joins { count + 1 } else { count.saturating_sub(1) };
    if next == 0 {
        tx.write().rserv.remove((room.0, server.0))?;
    } else {
        tx.write().rserv.insert((room.0, server.0), next)?;
    }
    Ok((count == 0) != (next == 0))
}

fn current_servers(view: &dyn View, room: RoomKey) -> Result<Vec<ServerKey>> {
    let mut servers = Vec::new();
    for row in view.rserv()?.between(Bound::Included((room.0, 0)), Bound::Included((room.0, u32::MAX)))? {
        servers.push(ServerKey(row?.0.value().1));
    }
    Ok(servers)
}

fn new_server_set(tx: &mut WriteTx<'_>, room: &mut Room, servers: Vec<ServerKey>) -> Result<u32> {
    room.record.next_dset += 1;
    let version = room.record.next_dset;
    let bytes = ServerSet(servers).encode()?;
    tx.write().dset.insert((room.key.0, version), bytes.as_slice())?;
    Ok(version)
}

/// Keeps how a local user stands to the room, and for an invite what the user may see of it.
fn local_member_changed(
    tx: &mut WriteTx<'_>,
    room: &Room,
    user: UserKey,
    standing: Option<Standing>,
    event: Option<&Stored>,
    cause: &Header,
) -> Result<()> {
    let standing = standing.unwrap_or(Standing::Leave);
    let gone = matches!(standing, Standing::Leave | Standing::Ban);
    let esn = event.map_or(0, |event| event.esn);
    let n = match cause.n {
        // A told state repeats what is known of some, which must not look new; what it changes gets a row of its own.
        0 if super::read::standing(tx, user, room.key)?.is_some_and(|old| old.standing == standing) => return Ok(()),
        0 => tx.log(&LogRow { kind: LogKind::Standing, room: room.key.0, user: user.0, esn })?,
        n => n,
    };
    let record = MembRecord { standing, esn, n, forgotten: false, left_at: gone.then_some((cause.after, cause.pos)) };
    let bytes = record.encode()?;
    tx.write().memb.insert((user.0, room.key.0), bytes.as_slice())?;
    match event {
        Some(event) if matches!(standing, Standing::Invite | Standing::Knock) => {
            let invite = InviteRecord {
                event: event.pdu.json().get().to_owned(),
                event_id: event.pdu.event_id.to_string(),
                version: room.record.version.clone(),
                state: stripped(tx, room, &event.pdu.sender)?,
            };
            let bytes = invite.encode()?;
            tx.write().inv.insert((user.0, room.key.0), bytes.as_slice())?;
        }
        _ => {
            tx.write().inv.remove((user.0, room.key.0))?;
        }
    }
    Ok(())
}

/// The state events that someone outside of a room may see of it. Client-server API, "Stripped state".
pub(crate) const STRIPPED: [StateEventType; 8] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
    StateEventType::RoomJoinRules,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomEncryption,
    StateEventType::RoomTombstone,
];

/// That state, and the face of who asks them in.
fn stripped(view: &dyn View, room: &Room, inviter: &UserId) -> Result<Vec<String>> {
    let mut state = Vec::new();
    for kind in STRIPPED {
        if let Some(event) = room.current_event(view, &kind, "")? {
            state.push(stripped_state(&event.pdu).get().to_owned());
        }
    }
    let member = room.current_event(view, &StateEventType::RoomMember, inviter.as_str())?;
    state.extend(member.map(|event| stripped_state(&event.pdu).get().to_owned()));
    Ok(state)
}

/// Queues an event for the other servers: those in the room before it, and the server of the member that it is about.
pub(super) fn send_out(
    tx: &mut WriteTx<'_>,
    local: &LocalServer,
    room: &mut Room,
    servers_before: u32,
    esn: Esn,
    pdu: &Pdu,
    n: u64,
) -> Result<()> {
    let mut version = servers_before;
    let target = pdu.state_key.as_deref().filter(|_| pdu.membership().is_some());
    if let Some(target) = target.and_then(|key| <&UserId>::try_from(key).ok())
        && target.server_name() != &*local.name
        // An invite, and a join or leave that came to us from there, reach that server on their own way.
        && pdu.sender.server_name() != target.server_name()
        && pdu.membership() != Some(ruma::events::room::member::MembershipState::Invite)
    {
        let server = ServerKey::intern(tx, target.server_name())?;
        let mut servers = super::read::server_set(tx, room.key, servers_before)?;
        if !servers.contains(&server) {
            servers.push(server);
            servers.sort_unstable();
            version = new_server_set(tx, room, servers)?;
        }
    }
    tx.write().out_log.insert(n, (esn, room.key.0, version))?;
    tx.wake_outbox();
    Ok(())
}

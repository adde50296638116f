//! Device lists on the move: who must hear of a change, and whose changes a device has not heard of.
//!
//! A change of a user's devices or cross-signing keys is one row of the log, for the users here who share a room with them,
//! and for a local user one letter to each server that does. The letters of one user have one slot: a server that was away
//! gets the newest alone, sees that it missed some, and fetches the list.
//!
//! Who comes into a room or goes out of it gets a row too ([`membership_changed`]), since from then on others may share a
//! room with them, or no more. Server-server API, "Device Management"; client-server API, "Tracking the device list for a
//! user".

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use ruma::{
    OwnedDeviceId, ServerName, UInt, UserId,
    api::{
        client::sync::sync_events::DeviceLists,
        federation::transactions::edu::{DeviceListUpdateContent, Edu, SigningKeyUpdateContent},
    },
    encryption::DeviceKeys,
    serde::Raw,
};
use serde_json::value::RawValue;

use super::{cross_signing, devices, remote, seen};
use crate::{
    outbox,
    store::{
        Esn, LogKind, LogRow, MembRecord, Record, Result, RoomKey, ServerKey, Standing, StoreError, UserKey, View,
        WriteTx,
    },
    types::{SyncToken, limits::DEVICE_LIST_ROWS_MAX},
};

/// Whose keys changed after `since`, up to `last`, or who shares a room with the user anew; and who shares none any more.
///
/// # Errors
/// When the database fails.
pub fn device_lists(view: &dyn View, user: UserKey, since: SyncToken, last: SyncToken) -> Result<DeviceLists> {
    let Some(changes) = changes(view, user, since, last)? else { return everybody(view, user) };
    let rooms = joined_rooms(view, user)?;
    let (mut sharing, mut left) = (changes.together, BTreeSet::new());
    for other in changes.moved.union(&changes.changed) {
        if *other == user || sharing.contains(other) || is_in_one(view, &rooms, *other)? {
            sharing.insert(*other);
        } else if changes.moved.contains(other) {
            left.insert(*other);
        }
    }
    if !changes.changed.contains(&user) {
        sharing.remove(&user);
    }
    names(view, sharing, left)
}

/// Whether a user is in one of some rooms now.
///
/// # Errors
/// When the database fails.
pub(super) fn is_in_one(view: &dyn View, rooms: &[RoomKey], user: UserKey) -> Result<bool> {
    for room in rooms {
        if is_joined(view, *room, user)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A user who came into a room or went out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved<'a> {
    /// The room.
    pub(crate) room: RoomKey,
    /// Who.
    pub(crate) user: &'a UserId,
    /// Who, interned.
    pub(crate) user_key: UserKey,
    /// They live here.
    pub(crate) is_local: bool,
    /// They came in.
    pub(crate) joined: bool,
    /// A local user was in the room before.
    pub(crate) inside: bool,
}

/// Follows a user into a room or out of it: lists that may have changed unseen are stale, and servers that were not told of a
/// local user's devices so far are told.
///
/// # Errors
/// When the database fails.
pub(crate) fn membership_changed(tx: &mut WriteTx<'_>, moved: Moved<'_>) -> Result<()> {
    if moved.joined && !moved.is_local {
        remote::mark_stale(tx, moved.user_key, moved.user.server_name())?;
    }
    if moved.joined && moved.is_local {
        if !moved.inside {
            stale_members(tx, moved.room)?;
        }
        introduce(tx, &moved)?;
    }
    if moved.is_local || moved.inside {
        let room = moved.room.0;
        tx.log(&LogRow { kind: LogKind::DeviceList, room, user: moved.user_key.0, esn: 0 })?;
    }
    Ok(())
}

/// Says that a device of a local user came, changed or went.
///
/// # Errors
/// When the database fails.
pub(super) fn device_changed(tx: &mut WriteTx<'_>, user: UserKey, device: &str) -> Result<()> {
    let before = tx.dlch()?.row(user.0)?.map_or(0, |row| row.value().1);
    let n = log_change(tx, user)?;
    tx.write().dlch.insert(user.0, (n, n))?;
    let mut content = update_of(tx, user, device, n)?;
    content.prev_id = (before != 0).then(|| UInt::new_saturating(before)).into_iter().collect();
    let servers = servers_with(tx, user, None)?;
    tell(tx, &servers, slot("device_list", user), &Edu::DeviceListUpdate(content))
}

/// Says that the cross-signing keys of a local user changed.
///
/// # Errors
/// When the database fails.
pub(super) fn identity_changed(tx: &mut WriteTx<'_>, user: UserKey) -> Result<()> {
    log_change(tx, user)?;
    let keys = cross_signing::find(tx, user)?;
    let mut content = SigningKeyUpdateContent::new(user.id(tx)?);
    content.master_key = keys.master.map(raw).transpose()?;
    content.self_signing_key = keys.self_signing.map(raw).transpose()?;
    let servers = servers_with(tx, user, None)?;
    tell(tx, &servers, slot("signing_key", user), &Edu::SigningKeyUpdate(content))
}

/// Writes down that the keys of a user changed, and answers where in the log.
///
/// # Errors
/// When the database fails.
pub(super) fn log_change(tx: &mut WriteTx<'_>, user: UserKey) -> Result<u64> {
    let n = tx.log(&LogRow { kind: LogKind::DeviceList, room: 0, user: user.0, esn: 0 })?;
    let stream = tx.dlch()?.row(user.0)?.map_or(0, |row| row.value().1);
    tx.write().dlch.insert(user.0, (n, stream))?;
    Ok(n)
}

/// The version of a local user's device list.
///
/// # Errors
/// When the database fails.
pub(super) fn stream_of(view: &dyn View, user: UserKey) -> Result<u64> {
    Ok(view.dlch()?.row(user.0)?.map_or(0, |row| row.value().1))
}

/// JSON of ours as ruma's types hold it.
///
/// # Errors
/// When the store holds what is no JSON.
pub(super) fn raw<T>(json: String) -> Result<Raw<T>> {
    let json = RawValue::from_string(json);
    json.map(Raw::from_json).map_err(|error| StoreError::Corrupt(format!("a key: {error}")))
}

/// What the log says of lists since a place.
#[derive(Default)]
struct Changes {
    /// Users whose keys changed.
    changed: BTreeSet<UserKey>,
    /// Users who came into rooms of the asking user's or went out of them, and those whom that user left behind.
    moved: BTreeSet<UserKey>,
    /// Members of rooms that the asking user came into.
    together: BTreeSet<UserKey>,
}

/// `None` when the log is too long to read.
fn changes(view: &dyn View, user: UserKey, since: SyncToken, last: SyncToken) -> Result<Option<Changes>> {
    let mut changes = Changes::default();
    if since >= last {
        return Ok(Some(changes));
    }
    let mut rooms: BTreeMap<RoomKey, Option<MembRecord>> = BTreeMap::new();
    let rows = view.log()?.between(Bound::Excluded(since.0), Bound::Included(last.0))?;
    for (index, row) in rows.enumerate() {
        if index >= DEVICE_LIST_ROWS_MAX {
            return Ok(None);
        }
        let (n, row) = row?;
        let row = LogRow::decode(row.value())?;
        if row.kind != LogKind::DeviceList {
            continue;
        }
        let (room, who) = (RoomKey(row.room), UserKey(row.user));
        if row.room == 0 {
            changes.changed.insert(who);
            continue;
        }
        let known = match rooms.get(&room) {
            Some(known) => known.clone(),
            None => {
                let known = membership(view, user, room)?;
                rooms.insert(room, known.clone());
                known
            }
        };
        let Some(own) = known else { continue };
        let is_in = own.standing == Standing::Join;
        if who != user {
            // Who moves once the user has left is not theirs to see.
            if is_in || n.value() <= own.n {
                changes.moved.insert(who);
            }
        } else if is_in {
            changes.together.extend(members(view, room)?);
        } else {
            // Events are numbered as they come: who came in later is not theirs to see.
            changes.moved.extend(members_before(view, room, own.esn)?);
        }
    }
    Ok(Some(changes))
}

/// Everybody who shares a room with a user counts as changed: who was away for so long asks anew.
fn everybody(view: &dyn View, user: UserKey) -> Result<DeviceLists> {
    let mut sharing = BTreeSet::from([user]);
    for room in joined_rooms(view, user)? {
        sharing.extend(members(view, room)?);
    }
    names(view, sharing, BTreeSet::new())
}

fn names(view: &dyn View, changed: BTreeSet<UserKey>, left: BTreeSet<UserKey>) -> Result<DeviceLists> {
    let mut lists = DeviceLists::new();
    lists.changed = changed.into_iter().map(|user| user.id(view)).collect::<Result<_>>()?;
    lists.left = left.into_iter().map(|user| user.id(view)).collect::<Result<_>>()?;
    Ok(lists)
}

/// The lists of a room's members may have changed while nobody here was in it.
fn stale_members(tx: &mut WriteTx<'_>, room: RoomKey) -> Result<()> {
    for member in members(tx, room)? {
        if tx.rdl()?.row(member.0)?.is_some() {
            let server = member.id(tx)?;
            remote::mark_stale(tx, member, server.server_name())?;
        }
    }
    Ok(())
}

/// Tells the servers of a room of a local user's devices, if no other room makes them hear of those. A server that has the
/// list knows its version and does nothing; one that has an older one fetches it.
fn introduce(tx: &mut WriteTx<'_>, moved: &Moved<'_>) -> Result<()> {
    let Some(device) = devices::with_keys(tx, moved.user_key)?.into_keys().next() else { return Ok(()) };
    let known = servers_with(tx, moved.user_key, Some(moved.room))?;
    let mut servers = servers_in(tx, moved.room, moved.user.server_name())?;
    servers.retain(|server| !known.contains(server));
    if servers.is_empty() {
        return Ok(());
    }
    let content = update_of(tx, moved.user_key, &device, stream_of(tx, moved.user_key)?)?;
    tell(tx, &servers, slot("device_list", moved.user_key), &Edu::DeviceListUpdate(content))
}

/// What is said of a device as it is now.
fn update_of(view: &dyn View, user: UserKey, device: &str, stream: u64) -> Result<DeviceListUpdateContent> {
    let id = OwnedDeviceId::from(device);
    let mut content = DeviceListUpdateContent::new(user.id(view)?, id, UInt::new_saturating(stream));
    match devices::keys_of(view, user, device)? {
        Some(keys) => {
            content.keys = Some(raw::<DeviceKeys>(keys)?);
            content.device_display_name = devices::display_name(view, user, device)?;
        }
        None => content.deleted = Some(true),
    }
    Ok(content)
}

fn tell(tx: &mut WriteTx<'_>, servers: &BTreeSet<ServerKey>, slot: [u8; 16], edu: &Edu) -> Result<()> {
    let edu = serde_json::to_string(edu).map_err(|error| StoreError::Corrupt(format!("an EDU: {error}")))?;
    for server in servers {
        outbox::post(tx, *server, Some(slot), &edu)?;
    }
    Ok(())
}

fn slot(kind: &str, user: UserKey) -> [u8; 16] {
    seen::name_of(&[kind.as_bytes(), &user.0.to_le_bytes()])
}

/// The other servers in the rooms of a local user, one room left out if it is named.
fn servers_with(view: &dyn View, user: UserKey, but: Option<RoomKey>) -> Result<BTreeSet<ServerKey>> {
    let user_id = user.id(view)?;
    let mut servers = BTreeSet::new();
    for room in joined_rooms(view, user)? {
        if Some(room) != but {
            servers.extend(servers_in(view, room, user_id.server_name())?);
        }
    }
    Ok(servers)
}

fn servers_in(view: &dyn View, room: RoomKey, own: &ServerName) -> Result<BTreeSet<ServerKey>> {
    let own = ServerKey::find(view, own)?;
    let mut servers = BTreeSet::new();
    for row in view.rserv()?.between(Bound::Included((room.0, 0)), Bound::Included((room.0, u32::MAX)))? {
        servers.insert(ServerKey(row?.0.value().1));
    }
    servers.retain(|server| Some(*server) != own);
    Ok(servers)
}

/// The rooms that a local user is in.
///
/// # Errors
/// When the database fails.
pub(super) fn joined_rooms(view: &dyn View, user: UserKey) -> Result<Vec<RoomKey>> {
    let mut rooms = Vec::new();
    for row in view.memb()?.between(Bound::Included((user.0, 0)), Bound::Included((user.0, u32::MAX)))? {
        let (key, record) = row?;
        if MembRecord::decode(record.value())?.standing == Standing::Join {
            rooms.push(RoomKey(key.value().1));
        }
    }
    Ok(rooms)
}

fn membership(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Option<MembRecord>> {
    view.memb()?.row((user.0, room.0))?.map(|row| MembRecord::decode(row.value())).transpose()
}

/// The joined members of a room.
fn members(view: &dyn View, room: RoomKey) -> Result<Vec<UserKey>> {
    members_before(view, room, Esn::MAX)
}

/// The joined members whose member events came before another event.
fn members_before(view: &dyn View, room: RoomKey, event: Esn) -> Result<Vec<UserKey>> {
    let mut members = Vec::new();
    for row in view.rmem()?.between(Bound::Included((room.0, 0)), Bound::Included((room.0, u32::MAX)))? {
        let (key, value) = row?;
        let (standing, esn) = value.value();
        if standing == Standing::Join as u8 && esn < event {
            members.push(UserKey(key.value().1));
        }
    }
    Ok(members)
}

fn is_joined(view: &dyn View, room: RoomKey, user: UserKey) -> Result<bool> {
    Ok(view.rmem()?.row((room.0, user.0))?.is_some_and(|row| row.value().0 == Standing::Join as u8))
}

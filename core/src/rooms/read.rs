//! Reading a room: its record, its state at a place, its members, and how local users stand to it.

use std::ops::Bound;

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    events::{StateEventType, room::power_levels::RoomPowerLevels},
    room_version_rules::RoomVersionRules,
};

use crate::{
    event::rules_of,
    store::{
        Esn, MembRecord, Record, Result, RoomKey, RoomRecord, ServerKey, ServerSet, Ssk, Standing, StateRef,
        StoreError, Stored, UserKey, View,
    },
};

/// A room that this server knows events of.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its number.
    pub key: RoomKey,
    /// Its id.
    pub id: OwnedRoomId,
    /// Its record as of the view that it was read from.
    pub record: RoomRecord,
    /// Its version.
    pub version: RoomVersionId,
    /// The version's rules.
    pub rules: RoomVersionRules,
}

/// A member of a room, out of its current state.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Who.
    pub user: UserKey,
    /// How they stand to the room.
    pub standing: Standing,
    /// The member event.
    pub esn: Esn,
}

impl Room {
    /// The room of an id, if it is known here.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find(view: &dyn View, id: &RoomId) -> Result<Option<Self>> {
        match RoomKey::find(view, id)? {
            Some(key) => Self::by_key(view, key),
            None => Ok(None),
        }
    }

    /// The room of a number. `None` for a room of which only an invite is known.
    ///
    /// # Errors
    /// When the database fails.
    pub fn by_key(view: &dyn View, key: RoomKey) -> Result<Option<Self>> {
        let Some(record) = view.room()?.row(key.0)?.map(|row| RoomRecord::decode(row.value())).transpose()? else {
            return Ok(None);
        };
        let version = RoomVersionId::try_from(record.version.as_str())
            .map_err(|_| StoreError::Corrupt(format!("room {} has version `{}`", key.0, record.version)))?;
        let rules = rules_of(&version)
            .ok_or_else(|| StoreError::Corrupt(format!("room {} has unknown version {version}", key.0)))?;
        Ok(Some(Self { key, id: key.id(view)?, record, version, rules }))
    }

    /// The state event of a key at a place.
    ///
    /// # Errors
    /// When the database fails.
    pub fn state_event(
        &self,
        view: &dyn View,
        at: StateRef,
        kind: &StateEventType,
        state_key: &str,
    ) -> Result<Option<Stored>> {
        let Some(ssk) = Ssk::find(view, kind, state_key)? else { return Ok(None) };
        match at.entry(view, self.key, ssk)? {
            Some(esn) => Ok(Some(Stored::must(view, esn)?)),
            None => Ok(None),
        }
    }

    /// The state event of a key in the current state.
    ///
    /// # Errors
    /// When the database fails.
    pub fn current_event(&self, view: &dyn View, kind: &StateEventType, state_key: &str) -> Result<Option<Stored>> {
        self.state_event(view, self.record.current(), kind, state_key)
    }

    /// The power levels of the current state, with the defaults of a room that has none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn power_levels(&self, view: &dyn View) -> Result<RoomPowerLevels> {
        self.power_levels_at(view, self.record.current())
    }

    /// The power levels of a state.
    ///
    /// # Errors
    /// When the database fails.
    pub fn power_levels_at(&self, view: &dyn View, at: StateRef) -> Result<RoomPowerLevels> {
        let levels = self.state_event(view, at, &StateEventType::RoomPowerLevels, "")?;
        let create = self.state_event(view, at, &StateEventType::RoomCreate, "")?;
        let creators = create.map(|create| self.creators(&create)).unwrap_or_default();
        let content = levels.and_then(|stored| stored.pdu.content_as().ok());
        let source = match content {
            Some(content) => ruma::events::room::power_levels::RoomPowerLevelsSource::Original(content),
            None => ruma::events::room::power_levels::RoomPowerLevelsSource::None,
        };
        Ok(RoomPowerLevels::new(source, &self.rules.authorization, creators))
    }

    /// Who created the room, by the rules of its version.
    fn creators(&self, create: &Stored) -> Vec<OwnedUserId> {
        let create = ruma::state_res::events::RoomCreateEvent::new(&create.pdu);
        create.creators(&self.rules.authorization).map(|users| users.into_iter().collect()).unwrap_or_default()
    }

    /// The members of the current state, by user number.
    ///
    /// # Errors
    /// When the database fails.
    pub fn members(&self, view: &dyn View) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        let range = (Bound::Included((self.key.0, 0)), Bound::Included((self.key.0, u32::MAX)));
        for row in view.rmem()?.between(range.0, range.1)? {
            let (key, value) = row?;
            let (standing, esn) = value.value();
            if let Some(standing) = Standing::from_byte(standing) {
                members.push(Member { user: UserKey(key.value().1), standing, esn });
            }
        }
        Ok(members)
    }

    /// One member of the current state.
    ///
    /// # Errors
    /// When the database fails.
    pub fn member(&self, view: &dyn View, user: &UserId) -> Result<Option<Member>> {
        let Some(user) = UserKey::find(view, user)? else { return Ok(None) };
        let Some(row) = view.rmem()?.row((self.key.0, user.0))? else { return Ok(None) };
        let (standing, esn) = row.value();
        Ok(Standing::from_byte(standing).map(|standing| Member { user, standing, esn }))
    }

    /// Whether a user is joined now.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_joined(&self, view: &dyn View, user: &UserId) -> Result<bool> {
        Ok(self.member(view, user)?.is_some_and(|member| member.standing == Standing::Join))
    }

    /// The servers with joined members now.
    ///
    /// # Errors
    /// When the database fails.
    pub fn servers(&self, view: &dyn View) -> Result<Vec<ServerKey>> {
        server_set(view, self.key, self.record.dset)
    }

    /// Whether a server has a joined member now.
    ///
    /// # Errors
    /// When the database fails.
    pub fn has_server(&self, view: &dyn View, server: &ruma::ServerName) -> Result<bool> {
        let Some(server) = ServerKey::find(view, server)? else { return Ok(false) };
        Ok(view.rserv()?.row((self.key.0, server.0))?.is_some_and(|row| row.value() > 0))
    }
}

/// A version of a room's set of servers.
///
/// # Errors
/// When the database fails.
pub fn server_set(view: &dyn View, room: RoomKey, version: u32) -> Result<Vec<ServerKey>> {
    let row = view.dset()?.row((room.0, version))?;
    Ok(row.map(|row| ServerSet::decode(row.value())).transpose()?.unwrap_or_default().0)
}

/// How a local user stands to a room. `None`: they never had to do with it.
///
/// # Errors
/// When the database fails.
pub fn standing(view: &dyn View, user: UserKey, room: RoomKey) -> Result<Option<MembRecord>> {
    view.memb()?.row((user.0, room.0))?.map(|row| MembRecord::decode(row.value())).transpose()
}

/// All rooms that a local user stands in some relation to, forgotten ones too.
///
/// # Errors
/// When the database fails.
pub fn standings(view: &dyn View, user: UserKey) -> Result<Vec<(RoomKey, MembRecord)>> {
    let mut rooms = Vec::new();
    for row in view.memb()?.between(Bound::Included((user.0, 0)), Bound::Included((user.0, u32::MAX)))? {
        let (key, value) = row?;
        rooms.push((RoomKey(key.value().1), MembRecord::decode(value.value())?));
    }
    Ok(rooms)
}

/// The rooms that a local user is joined to.
///
/// # Errors
/// When the database fails.
pub fn joined_rooms(view: &dyn View, user: UserKey) -> Result<Vec<RoomKey>> {
    let rooms = standings(view, user)?.into_iter();
    Ok(rooms.filter(|(_, memb)| memb.standing == Standing::Join).map(|(room, _)| room).collect())
}

//! Names to small integers and back, so that keys are fixed-width and short.
//!
//! A number, once given, is never reused: a peer that floods us with names fills the disk no faster than with the events
//! that carry them.

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
    events::StateEventType,
};

use super::{Result, StoreError, View, WriteTx};

/// What a number names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A room id.
    Room = 1,
    /// A user id.
    User = 2,
    /// A server name.
    Server = 3,
    /// An event type and a state key, joined by NUL.
    Ssk = 4,
    /// The id of a thread's root event.
    Thread = 6,
}

macro_rules! key {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub u32);
    };
}
key!(
    /// A room, interned.
    RoomKey
);
key!(
    /// A user, interned.
    UserKey
);
key!(
    /// A server, interned.
    ServerKey
);
key!(
    /// An event type with its state key, interned.
    Ssk
);
key!(
    /// A thread, interned by the id of its root; or one of the two that have no root.
    ThreadKey
);

fn number(view: &dyn View, kind: Kind, name: &str) -> Result<Option<u32>> {
    Ok(view.intern_f()?.row((kind as u8, name.as_bytes()))?.map(|row| row.value()))
}

fn name(view: &dyn View, kind: Kind, number: u32) -> Result<String> {
    let row = view.intern_r()?.row((kind as u8, number))?;
    let row = row.ok_or_else(|| StoreError::Corrupt(format!("no name for {kind:?} {number}")))?;
    String::from_utf8(row.value().to_vec()).map_err(|_| StoreError::Corrupt(format!("{kind:?} {number} is no text")))
}

fn intern(tx: &mut WriteTx<'_>, kind: Kind, name: &str) -> Result<u32> {
    if let Some(number) = number(tx, kind, name)? {
        return Ok(number);
    }
    let slot = tx.counters.next_intern.get_mut(kind as usize);
    let slot = slot.ok_or_else(|| StoreError::Corrupt(format!("no counter for {kind:?}")))?;
    let number = *slot;
    *slot = number.checked_add(1).ok_or_else(|| StoreError::Corrupt(format!("out of numbers for {kind:?}")))?;
    let tables = tx.write();
    tables.intern_f.insert((kind as u8, name.as_bytes()), number)?;
    tables.intern_r.insert((kind as u8, number), name.as_bytes())?;
    Ok(number)
}

fn parsed<T>(text: String) -> Result<T>
where
    T: TryFrom<String>,
{
    let shown = text.clone();
    T::try_from(text).map_err(|_| StoreError::Corrupt(format!("`{shown}` is no identifier")))
}

/// The text of a state key's number: type, NUL, key. Types with a NUL in them are refused by the event format's callers.
fn ssk_text(kind: &StateEventType, state_key: &str) -> String {
    format!("{kind}\0{state_key}")
}

impl RoomKey {
    /// The number of a room that has one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find(view: &dyn View, room: &RoomId) -> Result<Option<Self>> {
        Ok(number(view, Kind::Room, room.as_str())?.map(Self))
    }

    /// The number of a room, given now if need be.
    ///
    /// # Errors
    /// When the database fails.
    pub fn intern(tx: &mut WriteTx<'_>, room: &RoomId) -> Result<Self> {
        intern(tx, Kind::Room, room.as_str()).map(Self)
    }

    /// The room's id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn id(self, view: &dyn View) -> Result<OwnedRoomId> {
        parsed(name(view, Kind::Room, self.0)?)
    }
}

impl UserKey {
    /// The number of a user who has one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find(view: &dyn View, user: &UserId) -> Result<Option<Self>> {
        Ok(number(view, Kind::User, user.as_str())?.map(Self))
    }

    /// The number of a user, given now if need be.
    ///
    /// # Errors
    /// When the database fails.
    pub fn intern(tx: &mut WriteTx<'_>, user: &UserId) -> Result<Self> {
        intern(tx, Kind::User, user.as_str()).map(Self)
    }

    /// The user's id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn id(self, view: &dyn View) -> Result<OwnedUserId> {
        parsed(name(view, Kind::User, self.0)?)
    }
}

impl ServerKey {
    /// The number of a server that has one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find(view: &dyn View, server: &ServerName) -> Result<Option<Self>> {
        Ok(number(view, Kind::Server, server.as_str())?.map(Self))
    }

    /// The number of a server, given now if need be.
    ///
    /// # Errors
    /// When the database fails.
    pub fn intern(tx: &mut WriteTx<'_>, server: &ServerName) -> Result<Self> {
        intern(tx, Kind::Server, server.as_str()).map(Self)
    }

    /// The server's name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn name(self, view: &dyn View) -> Result<OwnedServerName> {
        parsed(name(view, Kind::Server, self.0)?)
    }
}

impl Ssk {
    /// The number of a state key that has one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find(view: &dyn View, kind: &StateEventType, state_key: &str) -> Result<Option<Self>> {
        Ok(number(view, Kind::Ssk, &ssk_text(kind, state_key))?.map(Self))
    }

    /// The number of a state key, given now if need be.
    ///
    /// # Errors
    /// When the database fails.
    pub fn intern(tx: &mut WriteTx<'_>, kind: &StateEventType, state_key: &str) -> Result<Self> {
        intern(tx, Kind::Ssk, &ssk_text(kind, state_key)).map(Self)
    }

    /// The type and the key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn names(self, view: &dyn View) -> Result<(StateEventType, String)> {
        let text = name(view, Kind::Ssk, self.0)?;
        let (kind, key) =
            text.split_once('\0').ok_or_else(|| StoreError::Corrupt(format!("state key {} has no type", self.0)))?;
        Ok((StateEventType::from(kind), key.to_owned()))
    }
}

impl ThreadKey {
    /// What belongs to no thread. Numbers that are given count from 1.
    pub const MAIN: Self = Self(0);
    /// All of a room, whatever its threads: what a receipt without a thread is about.
    pub const WHOLE: Self = Self(u32::MAX);

    /// The number of a thread that has one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find(view: &dyn View, root: &EventId) -> Result<Option<Self>> {
        Ok(number(view, Kind::Thread, root.as_str())?.map(Self))
    }

    /// The number of a thread, given now if need be.
    ///
    /// # Errors
    /// When the database fails.
    pub fn intern(tx: &mut WriteTx<'_>, root: &EventId) -> Result<Self> {
        intern(tx, Kind::Thread, root.as_str()).map(Self)
    }

    /// The id of the root; `None` for the two that have none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn root(self, view: &dyn View) -> Result<Option<OwnedEventId>> {
        match self {
            Self::MAIN | Self::WHOLE => Ok(None),
            Self(number) => parsed(name(view, Kind::Thread, number)?).map(Some),
        }
    }
}

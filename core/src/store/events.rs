//! Events as rows: a header of what we decided about the event, then its JSON.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::{EventId, OwnedEventId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Esn, Result, RoomKey, Ssk, StateRef, StoreError, UserKey, View, WriteTx};
use crate::event::Pdu;

/// What we decided about an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// It failed authorisation: never a head, no part of any state.
    pub rejected: bool,
    /// It is allowed by its own past but not by the present: hidden, no head.
    pub soft_failed: bool,
    /// It is known for its place in an auth chain or a state; its own past is not.
    pub outlier: bool,
    /// Its content was removed by a redaction.
    pub redacted: bool,
    /// It was fetched as history: the state before it is only known as that of the next event which came live.
    pub history: bool,
}

/// An event with its header.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its number.
    pub esn: Esn,
    /// Its header.
    pub header: Header,
    /// The event.
    pub pdu: Pdu,
}

/// The header of a stored event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    hash: [u8; 32],
    /// Where.
    pub room: RoomKey,
    /// Who sent it.
    pub sender: UserKey,
    /// Its type and state key, for state events.
    pub ssk: Option<Ssk>,
    /// The log position at which it came; 0 while it is an outlier.
    pub n: u64,
    /// Its place on the timeline; 0 when it has none.
    pub pos: u64,
    /// The decisions.
    pub flags: Flags,
    /// Its node in the room's auth graph.
    pub node: Option<u32>,
    /// The state before it.
    pub before: StateRef,
    /// The state after it.
    pub after: StateRef,
    /// `device NUL transaction id` of the client that sent it.
    pub txn: Option<String>,
}

fn hash_of(id: &EventId) -> Option<[u8; 32]> {
    let text = id.as_str().strip_prefix('$')?;
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The key of `eid` and its like: 16 bytes, because shorter prefixes can be forged. `None` for ids of room versions 1 to 3.
pub(crate) fn id_prefix(id: &EventId) -> Option<[u8; 16]> {
    hash_of(id)?.first_chunk::<16>().copied()
}

impl Header {
    /// The event's id.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn event_id(&self) -> Result<OwnedEventId> {
        OwnedEventId::try_from(format!("${}", URL_SAFE_NO_PAD.encode(self.hash)))
            .map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// An empty header for a new event.
    pub(crate) fn new(pdu: &Pdu, room: RoomKey, sender: UserKey, ssk: Option<Ssk>) -> Result<Self> {
        let hash = hash_of(&pdu.event_id)
            .ok_or_else(|| StoreError::Corrupt(format!("{} is no reference hash", pdu.event_id)))?;
        Ok(Self {
            hash,
            room,
            sender,
            ssk,
            n: 0,
            pos: 0,
            flags: Flags::default(),
            node: None,
            before: StateRef::default(),
            after: StateRef::default(),
            txn: None,
        })
    }
}

impl Stored {
    /// The number of an event, if it is known.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find(view: &dyn View, id: &EventId) -> Result<Option<Esn>> {
        let (Some(prefix), Some(hash)) = (id_prefix(id), hash_of(id)) else { return Ok(None) };
        let Some(esn) = view.eid()?.row(&prefix)?.map(|row| row.value()) else { return Ok(None) };
        // A prefix proves nothing: the whole id must match.
        Ok(Self::header(view, esn)?.filter(|header| header.hash == hash).map(|_| esn))
    }

    /// The header of an event.
    ///
    /// # Errors
    /// When the database fails or the row is damaged.
    pub fn header(view: &dyn View, esn: Esn) -> Result<Option<Header>> {
        let Some(row) = view.ev()?.row(esn)? else { return Ok(None) };
        Ok(Some(postcard::take_from_bytes::<Header>(row.value())?.0))
    }

    /// An event.
    ///
    /// # Errors
    /// When the database fails or the row is damaged.
    pub fn load(view: &dyn View, esn: Esn) -> Result<Option<Self>> {
        let Some(row) = view.ev()?.row(esn)? else { return Ok(None) };
        let (header, json) = postcard::take_from_bytes::<Header>(row.value())?;
        let damaged = |error: String| StoreError::Corrupt(format!("event {esn}: {error}"));
        let json = std::str::from_utf8(json).map_err(|error| damaged(error.to_string()))?;
        let json = RawValue::from_string(json.to_owned()).map_err(|error| damaged(error.to_string()))?;
        let mut pdu = Pdu::from_stored(header.event_id()?, json).map_err(|error| damaged(error.to_string()))?;
        pdu.rejected = header.flags.rejected;
        Ok(Some(Self { esn, header, pdu }))
    }

    /// An event that an index names.
    ///
    /// # Errors
    /// As [`Stored::load`], and when it is not there.
    pub fn must(view: &dyn View, esn: Esn) -> Result<Self> {
        Self::load(view, esn)?.ok_or_else(|| StoreError::Corrupt(format!("event {esn} is missing")))
    }

    /// An event that an index names, out of the engine's memory if there is one.
    ///
    /// # Errors
    /// As [`Stored::must`].
    pub fn shared(view: &dyn View, esn: Esn) -> Result<Arc<Pdu>> {
        if let Some(pdu) = view.recent().and_then(|recent| recent.find(esn)) {
            return Ok(pdu);
        }
        let pdu = Arc::new(Self::must(view, esn)?.pdu);
        if let Some(recent) = view.recent() {
            recent.keep(esn, &pdu);
        }
        Ok(pdu)
    }

    /// An event by its id.
    ///
    /// # Errors
    /// When the database fails or the row is damaged.
    pub fn by_id(view: &dyn View, id: &EventId) -> Result<Option<Self>> {
        match Self::find(view, id)? {
            Some(esn) => Self::load(view, esn),
            None => Ok(None),
        }
    }

    /// Gives a new event its number; its id must not be known. The row is written by [`Stored::put`].
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn number(tx: &mut WriteTx<'_>, header: &Header) -> Result<Esn> {
        let esn = tx.new_esn();
        let prefix = header.hash.first_chunk::<16>().copied().unwrap_or_default();
        tx.write().eid.insert(&prefix, esn)?;
        Ok(esn)
    }

    /// Writes an event's row anew.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn put(tx: &mut WriteTx<'_>, esn: Esn, header: &Header, json: &RawValue) -> Result<()> {
        tx.recent.forget(esn);
        let mut bytes = postcard::to_stdvec(header)?;
        bytes.extend_from_slice(json.get().as_bytes());
        tx.write().ev.insert(esn, bytes.as_slice())?;
        Ok(())
    }
}

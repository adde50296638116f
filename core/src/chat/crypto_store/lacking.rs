//! Which room keys a backup lacks, found without looking at all of them each time.
//!
//! A row says which version of the backup has its key. What is remembered beside that, in memory alone: up to which row every
//! key was found to be in the backup, and which keys were saved since. So filling a backup is one walk over the rows in all,
//! and looking for what a new message brought is no walk. A start begins with a walk.
//!
//! Invariant: a key that is in no backup lies beyond the walk or is among those that were saved.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
};

use matrix_sdk_crypto::{olm::InboundGroupSession, store::CryptoStoreError};

use super::{
    room_keys::unpickle,
    rows::{Hash, Kind, Owner},
};
use crate::store::{Record, RoomKeyRecord, Store};

/// Saved keys that are remembered. With more, a walk over all of them is as quick.
const SAVED_MAX: usize = 4_096;

type Answer<T = ()> = Result<T, CryptoStoreError>;

/// A room key that the backup lacks.
pub(super) struct Found {
    /// The key of its row.
    pub(super) row: Vec<u8>,
    /// The sealed pickle that the session was read from. Another one by now means that another room key is there.
    pub(super) sealed: Vec<u8>,
    pub(super) session: InboundGroupSession,
}

/// How far it is known what the backup lacks.
#[derive(Debug, Default)]
pub(super) struct Lacking(Mutex<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    /// The version that this is about. `None` while nobody asked.
    version: Option<Hash>,
    walked: Walked,
    /// Keys of rows that were written since the walk began.
    saved: BTreeSet<Vec<u8>>,
}

/// How far the rows were walked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Walked {
    /// Up to this row, or not at all.
    To(Option<Vec<u8>>),
    /// All of them.
    All,
}

impl Default for Walked {
    fn default() -> Self {
        Self::To(None)
    }
}

impl Lacking {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows of room keys were written and are on disk.
    pub(super) fn saved(&self, keys: Vec<Vec<u8>>) {
        let mut known = self.known();
        if known.version.is_none() {
            return;
        }
        known.saved.extend(keys);
        if known.saved.len() > SAVED_MAX {
            *known = Known::default();
        }
    }

    /// Forgets what is known, so that the next look is a walk.
    pub(super) fn forget(&self) {
        *self.known() = Known::default();
    }

    /// Whether the backup that was asked for last has every key.
    pub(super) fn is_nothing(&self) -> bool {
        let known = self.known();
        known.version.is_some() && known.walked == Walked::All && known.saved.is_empty()
    }

    /// At most `sessions_max` room keys that a backup lacks. Those that are not marked before the next look come again.
    pub(super) async fn page(
        &self,
        owner: &Owner,
        store: &Store,
        version: Hash,
        sessions_max: usize,
    ) -> Answer<Vec<Found>> {
        let (walked, mut saved) = {
            let mut known = self.known();
            if known.version != Some(version) {
                *known = Known { version: Some(version), ..Known::default() };
            }
            // What is saved from here on is noted anew, whatever this look finds.
            (known.walked.clone(), std::mem::take(&mut known.saved))
        };
        let mut page = Page { owner, version, sessions_max, found: Vec::new(), reached: None };
        let looked = page.look(store, &walked, &mut saved).await;
        let mut known = self.known();
        if known.version == Some(version) {
            known.saved.extend(saved);
            if let Ok(walked) = &looked {
                known.walked = walked.clone();
            }
        }
        looked.map(|_| page.found)
    }
}

struct Page<'a> {
    owner: &'a Owner,
    version: Hash,
    sessions_max: usize,
    found: Vec<Found>,
    /// The last row before which the backup lacks nothing.
    reached: Option<Vec<u8>>,
}

impl Page<'_> {
    /// Gathers what is lacking among the saved keys and in the rows that were not walked. Leaves the saved ones that are
    /// lacking still, and answers how far the rows are walked then.
    async fn look(&mut self, store: &Store, walked: &Walked, saved: &mut BTreeSet<Vec<u8>>) -> Answer<Walked> {
        let mut settled = Vec::new();
        for key in saved.iter() {
            if self.is_full() {
                break;
            }
            let record = self.owner.record::<RoomKeyRecord>(&store.snapshot()?, Kind::RoomKey, key)?;
            match record.filter(|record| record.backup != Some(self.version)) {
                Some(record) => self.take(key, record)?,
                None => settled.push(key.clone()),
            }
        }
        for key in settled {
            saved.remove(&key);
        }
        let Walked::To(from) = walked else { return Ok(Walked::All) };
        self.reached.clone_from(from);
        self.walk(store, from.clone(), saved).await
    }

    async fn walk(&mut self, store: &Store, from: Option<Vec<u8>>, saved: &BTreeSet<Vec<u8>>) -> Answer<Walked> {
        let (owner, mut is_gapless, mut cut_off) = (self.owner, true, false);
        let show = |key: &[u8], row: &[u8]| {
            let record = RoomKeyRecord::decode(row)?;
            // A saved key is looked after already.
            if record.backup != Some(self.version) && !saved.contains(key) {
                if self.is_full() {
                    cut_off = true;
                    return Ok(ControlFlow::Break(()));
                }
                is_gapless = false;
                self.take(key, record)?;
            } else if is_gapless {
                self.reached = Some(key.to_vec());
            }
            Ok(ControlFlow::Continue(()))
        };
        owner.walk_after(store, Kind::RoomKey, &[], from, show).await?;
        Ok(if is_gapless && !cut_off { Walked::All } else { Walked::To(self.reached.clone()) })
    }

    fn take(&mut self, row: &[u8], record: RoomKeyRecord) -> Answer {
        let session = unpickle(self.owner, &record)?;
        self.found.push(Found { row: row.to_vec(), sealed: record.sealed, session });
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.sessions_max
    }
}

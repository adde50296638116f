//! To whom we spoke in which session, and who is still owed a key.
//!
//! A message goes out when it is written, whoever is away. Its session's *readers* are those who were members then; a reader
//! whose devices were not all served is owed the session's original key, which opens all of it, until every device of theirs
//! is known to have it. A debt names the devices that were served, so that a device which a user got meanwhile is served too.
//!
//! Invariants: the readers of a session are on disk before its first message is encrypted, and only grow. Nobody becomes the
//! reader of a session that says more than they may know: a member who comes in or goes out begins a new one, unless the room
//! shows its past to newcomers.

use std::{collections::BTreeSet, ops::Bound};

use sha2::{Digest, Sha256};

use crate::{
    store::{OwedRecord, Record, Result, RoomKey, SaidRecord, UserKey, View, WriteTx},
    types::limits::{SESSIONS_SAID_MAX, SESSIONS_WELCOME_MAX},
};

/// Stands for "nobody worked out yet who is owed this".
const UNSETTLED: UserKey = UserKey(0);

/// What a session's id is in a key.
type Hash = [u8; 16];

fn hash(session: &str) -> Hash {
    let hash: [u8; 32] = Sha256::digest(session.as_bytes()).into();
    hash.first_chunk::<16>().copied().unwrap_or_default()
}

/// A key that somebody is owed.
#[derive(Clone, Debug)]
pub(super) struct Debt {
    /// Who.
    pub(super) user: UserKey,
    /// Of which room.
    pub(super) room: RoomKey,
    /// Of which session.
    pub(super) session: String,
    /// Devices that were served.
    pub(super) served: Vec<String>,
}

/// One local user's sessions and debts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said(pub(super) UserKey);

impl Said {
    /// What is known of a session of ours.
    pub(super) fn find(self, view: &dyn View, room: RoomKey, session: &str) -> Result<Option<SaidRecord>> {
        let found = self.by_hash(view, room, &hash(session))?;
        Ok(found.filter(|record| record.session == session))
    }

    fn by_hash(self, view: &dyn View, room: RoomKey, hash: &Hash) -> Result<Option<SaidRecord>> {
        view.said()?.row((self.0.0, room.0, hash))?.map(|row| SaidRecord::decode(row.value())).transpose()
    }

    /// The sessions of a room, the newest first.
    fn of_room(self, view: &dyn View, room: RoomKey) -> Result<Vec<SaidRecord>> {
        let mut sessions = Vec::new();
        let (from, to) = ((self.0.0, room.0, &[0; 16]), (self.0.0, room.0, &[u8::MAX; 16]));
        for row in view.said()?.between(Bound::Included(from), Bound::Included(to))? {
            sessions.push(SaidRecord::decode(row?.1.value())?);
        }
        sessions.sort_by(|a, b| (b.made, &b.session).cmp(&(a.made, &a.session)));
        Ok(sessions)
    }

    /// Keeps a session's readers: those of `new`, and whoever read it before. Answers when the session was made, and who is not
    /// [settled](Said::settle); until then they may all be owed its key.
    pub(super) fn say(self, tx: &mut WriteTx<'_>, room: RoomKey, new: &SaidRecord) -> Result<(u64, BTreeSet<UserKey>)> {
        let hash = hash(&new.session);
        let mark = (self.0.0, UNSETTLED.0, room.0, &hash);
        let old = self.find(tx, room, &new.session)?;
        let is_unsettled = tx.owed()?.row(mark)?.is_some();
        let mut record = old.clone().unwrap_or_else(|| SaidRecord { users: Vec::new(), ..new.clone() });
        let mut unsettled: BTreeSet<UserKey> = new.users.iter().copied().map(UserKey).collect();
        if !is_unsettled {
            unsettled.retain(|user| !record.users.contains(&user.0));
        }
        if unsettled.is_empty() && old.is_some() {
            return Ok((record.made, unsettled));
        }
        record.users.extend(unsettled.iter().map(|user| user.0));
        record.users.sort_unstable();
        record.users.dedup();
        self.put(tx, room, &record)?;
        let nobody = OwedRecord::default().encode()?;
        tx.write().owed.insert(mark, nobody.as_slice())?;
        // Not this one, even if the clock was set back and it looks the oldest.
        let others = self.of_room(tx, room)?.into_iter().filter(|other| other.session != record.session);
        for old in others.skip(SESSIONS_SAID_MAX - 1).collect::<Vec<_>>() {
            self.forget(tx, room, &old)?;
        }
        Ok((record.made, unsettled))
    }

    fn put(self, tx: &mut WriteTx<'_>, room: RoomKey, record: &SaidRecord) -> Result<()> {
        let bytes = record.encode()?;
        tx.write().said.insert((self.0.0, room.0, &hash(&record.session)), bytes.as_slice())?;
        Ok(())
    }

    fn forget(self, tx: &mut WriteTx<'_>, room: RoomKey, record: &SaidRecord) -> Result<()> {
        let hash = hash(&record.session);
        tx.write().said.remove((self.0.0, room.0, &hash))?;
        for user in record.users.iter().copied().chain([UNSETTLED.0]) {
            tx.write().owed.remove((self.0.0, user, room.0, &hash))?;
        }
        Ok(())
    }

    /// Says who is owed a session's key, each with the devices that have it already. All other readers have it.
    pub(super) fn settle(
        self,
        tx: &mut WriteTx<'_>,
        room: RoomKey,
        session: &str,
        owed: &[(UserKey, Vec<String>)],
    ) -> Result<()> {
        for (user, served) in owed {
            self.owe(tx, *user, room, session, served.clone())?;
        }
        tx.write().owed.remove((self.0.0, UNSETTLED.0, room.0, &hash(session)))?;
        Ok(())
    }

    /// Owes a user a session's key.
    pub(super) fn owe(
        self,
        tx: &mut WriteTx<'_>,
        user: UserKey,
        room: RoomKey,
        session: &str,
        served: Vec<String>,
    ) -> Result<()> {
        let bytes = OwedRecord { served }.encode()?;
        tx.write().owed.insert((self.0.0, user.0, room.0, &hash(session)), bytes.as_slice())?;
        Ok(())
    }

    /// A debt is paid.
    pub(super) fn strike(self, tx: &mut WriteTx<'_>, debt: &Debt) -> Result<()> {
        tx.write().owed.remove((self.0.0, debt.user.0, debt.room.0, &hash(&debt.session)))?;
        Ok(())
    }

    /// What a user is owed, as far as one step of work goes.
    pub(super) fn debts(self, view: &dyn View, user: UserKey, limit: usize) -> Result<Vec<Debt>> {
        let (from, to) = ((self.0.0, user.0, 0, &[0; 16]), (self.0.0, user.0, u32::MAX, &[u8::MAX; 16]));
        let mut debts = Vec::new();
        for row in view.owed()?.between(Bound::Included(from), Bound::Included(to))?.take(limit) {
            let (key, value) = row?;
            let (_, _, room, hash) = key.value();
            let served = OwedRecord::decode(value.value())?.served;
            // A debt without its session cannot be: both go together.
            let Some(record) = self.by_hash(view, RoomKey(room), hash)? else { continue };
            debts.push(Debt { user, room: RoomKey(room), session: record.session, served });
        }
        Ok(debts)
    }

    /// Everybody who is owed something.
    pub(super) fn creditors(self, view: &dyn View) -> Result<Vec<UserKey>> {
        let mut creditors = Vec::new();
        let mut next = Some(UNSETTLED.0 + 1);
        // One seek for each user, whatever they are owed.
        while let Some(user) = next {
            let (from, to) = ((self.0.0, user, 0, &[0; 16]), (self.0.0, u32::MAX, u32::MAX, &[u8::MAX; 16]));
            let mut rows = view.owed()?.between(Bound::Included(from), Bound::Included(to))?;
            let Some(row) = rows.next() else { break };
            let user = row?.0.value().1;
            creditors.push(UserKey(user));
            next = user.checked_add(1);
        }
        Ok(creditors)
    }

    /// Sessions that were cut off before it was worked out who is owed them: now all their readers are. Answers whether there
    /// were any. What a device gets twice does no harm.
    pub(super) fn settle_all(self, tx: &mut WriteTx<'_>) -> Result<bool> {
        let unsettled = self.debts(tx, UNSETTLED, usize::MAX)?;
        for debt in &unsettled {
            let record = self.find(tx, debt.room, &debt.session)?;
            let owed: Vec<_> = record.into_iter().flat_map(|record| record.users).collect();
            let owed: Vec<_> = owed.into_iter().map(|user| (UserKey(user), Vec::new())).collect();
            self.settle(tx, debt.room, &debt.session, &owed)?;
        }
        Ok(!unsettled.is_empty())
    }

    /// Whether [`Said::settle_all`] has something to do.
    pub(super) fn is_unsettled(self, view: &dyn View) -> Result<bool> {
        Ok(!self.debts(view, UNSETTLED, 1)?.is_empty())
    }

    /// The newest sessions of a room whose past is shared that some of its members are no readers of.
    fn closed_to(self, view: &dyn View, room: RoomKey, members: &BTreeSet<UserKey>) -> Result<Vec<SaidRecord>> {
        let mut sessions = self.of_room(view, room)?;
        sessions.retain(|record| record.shared);
        sessions.truncate(SESSIONS_WELCOME_MAX);
        sessions.retain(|record| members.iter().any(|user| !record.users.contains(&user.0)));
        Ok(sessions)
    }

    /// Whether [`Said::welcome`] has something to do.
    pub(super) fn has_newcomers(self, view: &dyn View, room: RoomKey, members: &BTreeSet<UserKey>) -> Result<bool> {
        Ok(!self.closed_to(view, room, members)?.is_empty())
    }

    /// Makes the members of a room readers of what was said before they came, and owes it to them. Answers to whom. For rooms
    /// that show their past to new members; only what was said while they did so is given.
    pub(super) fn welcome(
        self,
        tx: &mut WriteTx<'_>,
        room: RoomKey,
        members: &BTreeSet<UserKey>,
    ) -> Result<BTreeSet<UserKey>> {
        let mut new = BTreeSet::new();
        for mut record in self.closed_to(tx, room, members)? {
            for user in members.iter().filter(|user| !record.users.contains(&user.0)).copied().collect::<Vec<_>>() {
                record.users.push(user.0);
                new.insert(user);
                self.owe(tx, user, room, &record.session, Vec::new())?;
            }
            record.users.sort_unstable();
            self.put(tx, room, &record)?;
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests;

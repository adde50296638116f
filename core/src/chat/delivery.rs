//! How a message of ours stands with each person who is meant to get it. Whatever is said here is proven.
//!
//! *On their phone*: their homeserver has answered for this very event. *Read*: they have a receipt for an event that was made
//! by somebody who had the message. A receipt that merely lies further down on our own timeline proves nothing: while two
//! phones are apart, what one of them reads comes to lie below what the other one wrote. Nor does an answer prove anything:
//! what somebody wrote while their phone was off comes into the room after all that the phone has heard since, and whoever
//! keeps their receipts to themselves shall not be found out by speaking.
//!
//! What was proven once stays so, though a receipt may move on to an event that proves nothing.

mod ancestry;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ruma::{OwnedUserId, events::receipt::ReceiptThread};

pub(crate) use self::ancestry::Ancestry;
use super::{Inner, names::Names, timeline::Focus};
use crate::{
    outbox::{self, Delivery},
    rooms::{
        Room,
        receipts::{self, ReceiptKind},
    },
    store::{Esn, Header, Result, ServerKey, Stored, UserKey, View},
    types::limits::RECIPIENTS_SHOWN_MAX,
};

/// How a message that we sent is getting on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendState {
    /// It is safe on this phone, and not in its room yet.
    Sending {
        /// How much of a file is done, of how much, in bytes.
        progress: Option<(u64, u64)>,
    },
    /// It is in its room.
    Sent {
        /// How it stands with the others in the room; those first who are furthest from having it, so that a list that was cut
        /// short still begins with them.
        recipients: Vec<Recipient>,
    },
    /// It cannot be sent as it is.
    Failed {
        /// Why, for a person to read.
        reason: String,
        /// Whether it makes sense to try again, once something about the room has changed.
        retryable: bool,
    },
}

/// How a message stands with one person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient {
    /// How.
    pub reach: Reach,
    /// With whom.
    pub user: OwnedUserId,
}

/// How far a message has come to somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Their homeserver will not have it.
    Refused(String),
    /// It waits for their phone to come within reach, or their phone's answer has not come back.
    Queued,
    /// Their homeserver has it.
    OnTheirPhone,
    /// They have read it.
    Read,
}

/// Who is in a room beside us, and how far each has read.
#[derive(Debug)]
pub(crate) struct Audience {
    people: Vec<Listener>,
    /// The servers of local people are not asked: what is here is on their phone.
    servers: BTreeSet<ServerKey>,
}

#[derive(Debug)]
struct Listener {
    key: UserKey,
    user: OwnedUserId,
    server: Option<ServerKey>,
    /// The events up to which they say to have read, with their places.
    marks: Vec<(Esn, u64)>,
    /// The place of the last message of theirs that is at hand.
    spoke: Option<u64>,
}

impl Audience {
    /// The others in a room. `spoken` is the place of the last message of each sender that is at hand.
    pub(crate) fn of(
        inner: &Inner,
        view: &dyn View,
        room: &Room,
        names: &Names,
        focus: &Focus,
        spoken: &HashMap<UserKey, u64>,
    ) -> Result<Self> {
        let mut marks: HashMap<UserKey, Vec<(Esn, u64)>> = HashMap::new();
        for receipt in receipts::of_room(view, room.key)? {
            if receipt.kind == ReceiptKind::Read && is_about(&receipt.thread, focus) {
                marks.entry(receipt.user).or_default().push((receipt.esn, receipt.pos));
            }
        }
        let (mut people, mut known) = (Vec::new(), BTreeMap::new());
        for (key, user) in names.joined().filter(|(key, _)| *key != inner.me.user_key) {
            let server = match known.get(user.server_name()) {
                Some(server) => *server,
                None if inner.home.is_local(user.server_name()) => None,
                None => ServerKey::find(view, user.server_name())?,
            };
            known.insert(user.server_name().to_owned(), server);
            let marks = marks.remove(&key).unwrap_or_default();
            people.push(Listener { key, user: user.to_owned(), server, marks, spoke: spoken.get(&key).copied() });
        }
        let servers = known.into_values().flatten().collect();
        Ok(Self { people, servers })
    }

    /// How an event of ours stands with them.
    pub(crate) fn state(
        &self,
        view: &dyn View,
        ancestry: &mut Ancestry,
        (esn, header): (Esn, &Header),
    ) -> Result<SendState> {
        let deliveries: BTreeMap<ServerKey, Delivery> = outbox::deliveries(view, header.n)?
            .into_iter()
            .filter(|(server, _)| self.servers.contains(server))
            .collect();
        let mut recipients = Vec::new();
        for person in &self.people {
            let reach = match person.server.map(|server| deliveries.get(&server)) {
                None | Some(Some(Delivery::Taken)) if person.has_read(view, ancestry, (esn, header))? => Reach::Read,
                None | Some(Some(Delivery::Taken)) => Reach::OnTheirPhone,
                Some(Some(Delivery::Refused(why))) => Reach::Refused(why.clone()),
                // Their phone may have it from another one and have told us that they read it before it told us that it has it.
                Some(Some(_)) if person.has_read(view, ancestry, (esn, header))? => Reach::Read,
                Some(Some(_)) => Reach::Queued,
                // Their homeserver came into the room after it: it was not sent there by us.
                Some(None) => continue,
            };
            recipients.push(Recipient { reach, user: person.user.clone() });
        }
        recipients.sort_unstable();
        recipients.truncate(RECIPIENTS_SHOWN_MAX);
        Ok(SendState::Sent { recipients })
    }

    /// The places up to which people have read, as far as they say by receipts and by speaking. No proof of anything, and good
    /// enough to show a face by.
    pub(crate) fn reading_places(&self) -> impl Iterator<Item = (u64, &OwnedUserId)> {
        self.people.iter().filter_map(|person| {
            let furthest = person.marks.iter().map(|(_, pos)| *pos).chain(person.spoke).max();
            furthest.map(|pos| (pos, &person.user))
        })
    }
}

impl Listener {
    fn has_read(&self, view: &dyn View, ancestry: &mut Ancestry, (esn, header): (Esn, &Header)) -> Result<bool> {
        if ancestry.is_proven(esn, self.key) {
            return Ok(true);
        }
        for (mark, pos) in &self.marks {
            if *mark == esn || (*pos > header.pos && ancestry.builds_on(view, *mark, (esn, header.pos))?) {
                ancestry.prove(esn, self.key);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a receipt for a thread says something of a timeline.
fn is_about(thread: &ReceiptThread, focus: &Focus) -> bool {
    match (thread, focus) {
        (ReceiptThread::Unthreaded, _) | (ReceiptThread::Main, Focus::Main) => true,
        (ReceiptThread::Thread(root), Focus::Thread(shown)) => root == shown,
        _ => false,
    }
}

/// Whether an event says that its sender has read up to it. Server-server API, "Receipts".
pub(crate) fn speaks(stored: &Stored) -> bool {
    !stored.pdu.is_state() && stored.pdu.kind != ruma::events::TimelineEventType::RoomRedaction
}

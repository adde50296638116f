//! Asking other servers: for the devices of users, and for one-time keys to begin sessions with.
//!
//! Only servers within reach are asked, each for itself, so that a slow one holds nobody up. One that fails is asked again
//! after a growing pause while it stays, and at once when it returns. Our own server is asked in the same way, and never fails.
//!
//! The machine has pauses of its own, which go by another clock and outlast a return; so it never hears of a failure. It is
//! told what came, and what did not come is asked for again by us.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::FuturesUnordered;
use matrix_sdk_crypto::{
    CollectStrategy,
    types::requests::{AnyOutgoingRequest, OutgoingRequest, ToDeviceRequest},
};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedServerName, OwnedUserId, TransactionId, UserId,
    api::client::keys::{claim_keys, get_keys},
};
use serde_json::json;
use tokio::time::Instant;

use super::{CryptoError, rounds::Rounds, said::Said, send};
use crate::{
    home::Home,
    keys::{self, Actor, KeysError},
    ports::BoxFuture,
    types::limits::{KEYS_USERS_AT_ONCE_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN},
};

/// The answers that are waited for.
pub(super) type Answers = FuturesUnordered<BoxFuture<'static, Answer>>;
type Claims = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, OneTimeKeyAlgorithm>>;

/// The contact that our own server counts as: it is always there.
const OWN_CONTACT: u64 = u64::MAX;

/// A server within reach, or one that is asked.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// The contact that this is known of.
    contact: u64,
    /// Sessions with its users' devices may be missing.
    claim: bool,
    /// It is asked.
    asking: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// Devices that the machine wants another session with, because the old one broke or a request of theirs waits for it.
    renew: BTreeSet<(OwnedUserId, OwnedDeviceId)>,
}

/// What a server is asked.
#[derive(Debug)]
enum Question {
    Devices(BTreeSet<OwnedUserId>),
    Keys(Claims),
}

impl Question {
    async fn put(self, home: &Home, me: &Actor) -> Told {
        match self {
            Self::Devices(users) => {
                let mut request = get_keys::v3::Request::new();
                request.device_keys = users.iter().map(|user| (user.clone(), Vec::new())).collect();
                Told::Devices(users, keys::query(home, me, request).await)
            }
            Self::Keys(claims) => Told::Claimed(keys::claim(home, me, claim_keys::v3::Request::new(claims)).await),
        }
    }
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Answer {
    server: OwnedServerName,
    told: Told,
}

#[derive(Debug)]
enum Told {
    Devices(BTreeSet<OwnedUserId>, Result<get_keys::v3::Response, KeysError>),
    Claimed(Result<claim_keys::v3::Response, KeysError>),
}

impl Server {
    fn may_be_asked(&self, now: Instant) -> bool {
        !self.asking && self.not_before.is_none_or(|moment| moment <= now)
    }

    fn failed(&mut self) {
        let pause = RETRY_PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause);
    }

    fn succeeded(&mut self) {
        (self.failures, self.not_before) = (0, None);
    }
}

impl Rounds {
    /// Notices who came within reach: sessions with them are made, and they are given what they are owed.
    pub(super) fn meet(&mut self) -> Result<(), CryptoError> {
        let home = self.inner.home.clone();
        let mut near: BTreeMap<OwnedServerName, u64> =
            home.near().into_iter().map(|server| (server.clone(), home.contact(&server))).collect();
        near.insert(home.server_name().to_owned(), OWN_CONTACT);
        self.servers.retain(|server, known| near.contains_key(server) || known.asking);
        let mut new = BTreeSet::new();
        for (server, contact) in near {
            let known = self.servers.entry(server.clone()).or_default();
            if known.contact != contact {
                *known = Server { contact, claim: true, asking: known.asking, ..Server::default() };
                new.insert(server);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let view = home.store.snapshot()?;
        for creditor in Said(self.inner.me.user_key).creditors(&view)? {
            let user = creditor.id(&view)?;
            if new.contains(user.server_name()) {
                // Their devices may be others than when they went. They are served after the answer.
                self.refresh.insert(user);
            }
        }
        Ok(())
    }

    /// Somebody wants to encrypt for users now.
    pub(super) fn wish(&mut self, users: BTreeSet<OwnedUserId>) {
        for user in users {
            if let Some(server) = self.servers.get_mut(user.server_name()) {
                server.claim = true;
            }
        }
    }

    /// Notes what the machine wants from other servers.
    pub(super) fn note_wanted(&mut self, request: &OutgoingRequest) {
        match request.request() {
            AnyOutgoingRequest::KeysQuery(query) => self.dirty.extend(query.device_keys.keys().cloned()),
            AnyOutgoingRequest::KeysClaim(claim) => {
                for (user, devices) in &claim.one_time_keys {
                    let Some(server) = self.servers.get_mut(user.server_name()) else { continue };
                    for device in devices.keys() {
                        // Once for each contact: a device without keys has none a moment later either.
                        server.claim |= server.renew.insert((user.clone(), device.clone()));
                    }
                }
            }
            _ => {}
        }
    }

    /// Asks every server that something is wanted from.
    pub(super) async fn ask(&mut self, answers: &mut Answers) -> Result<(), CryptoError> {
        let now = Instant::now();
        let free = self.servers.iter().filter(|(_, known)| known.may_be_asked(now));
        for server in free.map(|(server, _)| server.clone()).collect::<Vec<_>>() {
            let users = self.unknown(&server);
            let question = match users.is_empty() {
                false => Some(Question::Devices(users)),
                true => self.claims(&server).await?.map(Question::Keys),
            };
            let Some(question) = question else { continue };
            if let Some(known) = self.servers.get_mut(&server) {
                known.asking = true;
            }
            let (home, me) = (self.inner.home.clone(), self.inner.me.clone());
            answers.push(Box::pin(async move { Answer { server, told: question.put(&home, &me).await } }));
        }
        Ok(())
    }

    /// The users of a server whose devices are to be asked for.
    fn unknown(&mut self, server: &OwnedServerName) -> BTreeSet<OwnedUserId> {
        let users = self.dirty.union(&self.refresh).filter(|user| user.server_name() == server);
        let users: BTreeSet<OwnedUserId> = users.take(KEYS_USERS_AT_ONCE_MAX).cloned().collect();
        self.changed.retain(|user| !users.contains(user));
        users
    }

    /// The devices of a server that sessions are missing with.
    async fn claims(&mut self, server: &OwnedServerName) -> Result<Option<Claims>, CryptoError> {
        if !self.servers.get(server).is_some_and(|known| known.claim) {
            return Ok(None);
        }
        let machine = self.inner.crypto.machine.clone();
        let mut users = Vec::new();
        for user in machine.tracked_users().await?.into_iter().filter(|user| user.server_name() == server) {
            // The machine waits for users of whom it knows no device.
            let devices = machine.get_user_devices(&user, None).await?;
            let has_others = devices.devices().any(|device| !device.is_our_own_device());
            if has_others {
                users.push(user);
            }
        }
        let ids: Vec<&UserId> = users.iter().map(|user| &**user).collect();
        let missing = machine.get_missing_sessions(ids.iter().copied()).await?;
        let mut claims: Claims = missing.map(|(_, request)| request.one_time_keys).unwrap_or_default();
        claims.retain(|user, _| user.server_name() == server);
        if claims.is_empty() {
            if let Some(known) = self.servers.get_mut(server) {
                known.claim = false;
            }
            return Ok(None);
        }
        Ok(Some(claims))
    }

    /// Uses what a server said.
    pub(super) async fn take(&mut self, answer: Answer) -> Result<(), CryptoError> {
        let Answer { server, told } = answer;
        if let Some(known) = self.servers.get_mut(&server) {
            known.asking = false;
        }
        let taken = match told {
            Told::Devices(users, outcome) => self.take_devices(&server, users, outcome).await,
            Told::Claimed(outcome) => self.take_claimed(&server, outcome).await,
        };
        if taken.is_err() {
            // It would be asked the same again at once.
            self.known(&server, Server::failed);
        }
        taken
    }

    async fn take_devices(
        &mut self,
        server: &OwnedServerName,
        users: BTreeSet<OwnedUserId>,
        outcome: Result<get_keys::v3::Response, KeysError>,
    ) -> Result<(), CryptoError> {
        let mut told = match outcome {
            Ok(told) if !told.failures.contains_key(server.as_str()) => told,
            outcome => {
                self.known(server, Server::failed);
                if let Err(error) = outcome {
                    tracing::warn!(%error, %server, "devices cannot be asked for");
                }
                return Ok(());
            }
        };
        for user in &users {
            // Nobody has no devices; somebody without devices is known to have none.
            told.device_keys.entry(user.clone()).or_default();
            self.refresh.remove(user);
        }
        self.tell_devices(&told, &users).await?;
        self.known(server, |known| {
            known.succeeded();
            known.claim = true;
            known.renew.clear();
        });
        self.due.extend(users.iter().cloned());
        self.inner.crypto.reach.note_devices();
        // Trust may have changed with the devices.
        self.inner.changes.ring();
        self.feed_held(&users).await?;
        self.read_strangers().await
    }

    /// Tells the machine of users' devices. They are up to date by that, but for those that changed while they were asked for.
    async fn tell_devices(
        &self,
        told: &get_keys::v3::Response,
        users: &BTreeSet<OwnedUserId>,
    ) -> Result<(), CryptoError> {
        let machine = &self.inner.crypto.machine;
        let mut left = users.clone();
        // The machine knows its questions by their ids, and forgets the old ones whenever it is asked for them.
        for request in machine.outgoing_requests().await? {
            let AnyOutgoingRequest::KeysQuery(query) = request.request() else { continue };
            let asked = |user: &&OwnedUserId| query.device_keys.contains_key(*user) && !self.changed.contains(*user);
            let answered: BTreeSet<OwnedUserId> = left.iter().filter(asked).cloned().collect();
            if !answered.is_empty() {
                machine.mark_request_as_sent(request.request_id(), &part_of(told, &answered)).await?;
                left.retain(|user| !answered.contains(user));
            }
        }
        if !left.is_empty() {
            machine.mark_request_as_sent(&TransactionId::new(), &part_of(told, &left)).await?;
        }
        Ok(())
    }

    async fn take_claimed(
        &mut self,
        server: &OwnedServerName,
        outcome: Result<claim_keys::v3::Response, KeysError>,
    ) -> Result<(), CryptoError> {
        let told = match outcome {
            Ok(told) if !told.failures.contains_key(server.as_str()) => told,
            outcome => {
                self.known(server, Server::failed);
                if let Err(error) = outcome {
                    tracing::warn!(%error, %server, "one-time keys cannot be claimed");
                }
                return Ok(());
            }
        };
        // With an id of its own the machine makes the sessions and does not begin a pause for devices that had no key.
        self.inner.crypto.machine.mark_request_as_sent(&TransactionId::new(), &told).await?;
        let mut renewed = BTreeSet::new();
        self.known(server, |known| {
            known.succeeded();
            // Whoever had no key is asked again on the next occasion, not in a loop.
            known.claim = false;
            let given =
                |user: &UserId, device| told.one_time_keys.get(user).is_some_and(|keys| keys.contains_key(device));
            renewed = known.renew.iter().filter(|(user, device)| given(user, device)).cloned().collect();
            known.renew.retain(|device| !renewed.contains(device));
        });
        for (user, device) in renewed {
            self.say_hello(&user, &device).await?;
        }
        self.due.extend(told.one_time_keys.into_keys());
        self.inner.crypto.reach.note_devices();
        Ok(())
    }

    /// Tells a device of our new session with it, so that it uses that one instead of the broken one.
    async fn say_hello(&self, user: &UserId, device: &OwnedDeviceId) -> Result<(), CryptoError> {
        let Some(device) = self.inner.crypto.machine.get_device(user, device, None).await? else { return Ok(()) };
        match device.encrypt_event_raw("m.dummy", &json!({}), CollectStrategy::AllDevices).await {
            Ok(content) => {
                let id = device.device_id().to_owned();
                send::to_device(&self.inner, &ToDeviceRequest::new(user, id, "m.room.encrypted", content.cast())).await
            }
            Err(error) => {
                tracing::debug!(%error, %user, "a new session could not be told of");
                Ok(())
            }
        }
    }

    /// The servers that are asked, or about to be.
    pub(super) fn busy(&self) -> BTreeSet<OwnedServerName> {
        let now = Instant::now();
        let is_wanted = |server: &OwnedServerName, known: &Server| {
            known.claim || self.dirty.union(&self.refresh).any(|user| user.server_name() == server)
        };
        let busy = |(server, known): &(&OwnedServerName, &Server)| {
            known.asking || (known.may_be_asked(now) && is_wanted(server, known))
        };
        self.servers.iter().filter(busy).map(|(server, _)| server.clone()).collect()
    }

    /// When the next server that failed may be asked again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.servers.values().filter(|known| !known.asking).filter_map(|known| known.not_before).min()
    }

    fn known(&mut self, server: &OwnedServerName, change: impl FnOnce(&mut Server)) {
        if let Some(known) = self.servers.get_mut(server) {
            change(known);
        }
    }
}

/// What was told of some users.
fn part_of(told: &get_keys::v3::Response, users: &BTreeSet<OwnedUserId>) -> get_keys::v3::Response {
    let mut part = told.clone();
    part.device_keys.retain(|user, _| users.contains(user));
    part.master_keys.retain(|user, _| users.contains(user));
    part.self_signing_keys.retain(|user, _| users.contains(user));
    part.user_signing_keys.retain(|user, _| users.contains(user));
    part.failures.clear();
    part
}

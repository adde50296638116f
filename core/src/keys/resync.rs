//! Fetching device lists from other servers: for a client that asks, and in the background for those that are stale.
//!
//! A list that misses a change is fetched once its server is within reach, though no client asks, because a client that was
//! given the stale one in the meantime must hear of the new one.
//!
//! Invariants: what a server answers is checked before it is kept. A list that changed while it was fetched stays stale.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use ruma::{
    OwnedServerName, OwnedUserId, ServerName, UserId,
    api::{
        error::ErrorKind,
        federation::{device::get_devices::v1 as get_devices, keys::get_keys::v1 as get_keys},
    },
};
use tokio::time::{Duration, Instant};

use super::remote::{self, UserKeys};
use crate::{
    home::Home,
    outbox::{FederationError, at, request_soon},
    store::{Result, ServerKey, StoreError, UserKey, WriteTx},
    types::{
        limits::{
            KEYS_LISTS_ONE_BY_ONE_MAX, KEYS_SERVERS_AT_ONCE_MAX, KEYS_USERS_AT_ONCE_MAX, RETRY_PAUSE_MAX,
            RETRY_PAUSE_MIN,
        },
        public_key_of,
    },
};

/// The pause between two rounds for a server that answers. A server that calls its lists stale all the time is asked no more
/// often than this.
const ROUND_PAUSE: Duration = Duration::from_secs(5);

/// A user of another server whose keys are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Who.
    pub(super) user: OwnedUserId,
    /// Under what number the list is kept, if it is: only of those with whom a room is shared.
    pub(super) kept: Option<UserKey>,
}

/// What a server told of some of its users.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// The users of whom it told.
    pub(super) found: BTreeMap<OwnedUserId, UserKeys>,
    /// Why it did not tell of all.
    pub(super) error: Option<FederationError>,
}

/// Asks a server for the keys of its users, and keeps what is to be kept.
///
/// # Errors
/// When the store fails.
pub(super) async fn fetch(home: &Home, server: &ServerName, wanted: Vec<Wanted>) -> Result<Fetched> {
    let heard = begin(home, server, &wanted).await?;
    let (kept, passing): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(|wanted| wanted.kept.is_some());
    let mut fetched = Fetched::default();
    let mut asked_together = passing;
    if kept.len() <= KEYS_LISTS_ONE_BY_ONE_MAX {
        let lists = join_all(kept.iter().map(|wanted| list_of(home, &wanted.user))).await;
        for (wanted, list) in kept.iter().zip(lists) {
            match list {
                Ok((keys, stream)) => {
                    keep(home, server, wanted, &heard, &keys, stream).await?;
                    fetched.found.insert(wanted.user.clone(), keys);
                }
                Err(error) => fetched.error = Some(error),
            }
        }
    } else {
        asked_together.extend(kept);
    }
    for wanted in asked_together.chunks(KEYS_USERS_AT_ONCE_MAX) {
        let mut told = match keys_of(home, server, wanted).await {
            Ok(told) => told,
            Err(error) => return Ok(Fetched { error: Some(error), ..fetched }),
        };
        for wanted in wanted {
            let keys = told.remove(&wanted.user);
            keep(home, server, wanted, &heard, &keys.clone().unwrap_or_default(), None).await?;
            fetched.found.extend(keys.map(|keys| (wanted.user.clone(), keys)));
        }
    }
    Ok(fetched)
}

/// Begins to keep lists before they are asked for, so that what is announced meanwhile is noticed. Answers what was announced
/// of each so far.
async fn begin(home: &Home, server: &ServerName, wanted: &[Wanted]) -> Result<BTreeMap<UserKey, u64>> {
    let keys: Vec<UserKey> = wanted.iter().filter_map(|wanted| wanted.kept).collect();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let server = server.to_owned();
    let job = move |tx: &mut WriteTx<'_>| -> Result<BTreeMap<UserKey, u64>> {
        keys.iter().map(|user| Ok((*user, remote::begin(tx, *user, &server)?))).collect()
    };
    home.store.write_soon(job).await
}

async fn keep(
    home: &Home,
    server: &ServerName,
    wanted: &Wanted,
    heard: &BTreeMap<UserKey, u64>,
    keys: &UserKeys,
    stream: Option<u64>,
) -> Result<()> {
    let Some(user) = wanted.kept else { return Ok(()) };
    let heard = heard.get(&user).copied().unwrap_or_default();
    let (server, keys) = (server.to_owned(), keys.clone());
    home.store.write_soon(move |tx| remote::keep(tx, user, &server, &keys, stream, heard)).await
}

/// A user's list with its version; nothing at all if the server knows no such user.
async fn list_of(home: &Home, user: &UserId) -> Result<(UserKeys, Option<u64>), FederationError> {
    let server = user.server_name();
    let answer = match request_soon(home, server, get_devices::Request::new(user.to_owned())).await {
        Ok(answer) => answer,
        Err(error) if matches!(error.kind(), Some(ErrorKind::NotFound)) => return Ok((UserKeys::default(), None)),
        Err(error) => return Err(error),
    };
    if answer.user_id != user {
        return Err(FederationError::nonsense(server, format!("the devices of {} instead of {user}", answer.user_id)));
    }
    let mut keys = UserKeys::default();
    for device in &answer.devices {
        keys.add_device(user, &device.device_id, &device.keys, device.device_display_name.as_deref());
    }
    keys.set_identity(user, answer.master_key.as_ref(), answer.self_signing_key.as_ref());
    Ok((keys, Some(answer.stream_id.into())))
}

/// The keys of several users, without versions. Of whom the server says nothing there is nothing.
async fn keys_of(
    home: &Home,
    server: &ServerName,
    wanted: &[Wanted],
) -> Result<BTreeMap<OwnedUserId, UserKeys>, FederationError> {
    let request = get_keys::Request::new(wanted.iter().map(|wanted| (wanted.user.clone(), Vec::new())).collect());
    let answer = request_soon(home, server, request).await?;
    let mut found = BTreeMap::new();
    for Wanted { user, .. } in wanted {
        let Some(devices) = answer.device_keys.get(user) else { continue };
        let mut keys = UserKeys::default();
        for (device, json) in devices {
            let name = json.deserialize().ok().and_then(|keys| keys.unsigned.device_display_name);
            keys.add_device(user, device, json, name.as_deref());
        }
        keys.set_identity(user, answer.master_keys.get(user), answer.self_signing_keys.get(user));
        found.insert(user.clone(), keys);
    }
    Ok(found)
}

/// Fetches what is stale from whom is near, until the store closes.
pub async fn run(home: Arc<Home>) {
    let mut log = home.store.log_watch();
    let mut rounds = Rounds::default();
    let mut running = FuturesUnordered::new();
    loop {
        log.borrow_and_update();
        let contacts = home.contacts();
        match rounds.notice(&home) {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "the stale device lists could not be read"),
        }
        while running.len() < KEYS_SERVERS_AT_ONCE_MAX
            && let Some((key, server)) = rounds.take_due(&home, Instant::now())
        {
            running.push(round(&home, key, server));
        }
        let wake = rounds.next();
        tokio::select! {
            biased;
            Some((key, outcome)) = running.next(), if !running.is_empty() => rounds.finished(key, outcome),
            changed = log.changed() => if changed.is_err() { return },
            () = home.contact_after(contacts) => {}
            () = at(wake) => {}
        }
    }
}

/// When each server with stale lists is asked.
#[derive(Debug, Default)]
struct Rounds {
    servers: BTreeMap<ServerKey, Turn>,
}

#[derive(Debug)]
struct Turn {
    name: OwnedServerName,
    /// The contact of the last round; 0 for none.
    contact: u64,
    failures: u32,
    at: Instant,
    running: bool,
}

impl Rounds {
    fn notice(&mut self, home: &Home) -> Result<()> {
        let view = home.store.snapshot()?;
        let stale = remote::servers_of_stale(&view)?;
        let now = Instant::now();
        self.servers.retain(|server, turn| turn.running || stale.contains(server) || turn.at > now);
        for server in stale {
            if let Entry::Vacant(free) = self.servers.entry(server) {
                free.insert(Turn { name: server.name(&view)?, contact: 0, failures: 0, at: now, running: false });
            }
        }
        Ok(())
    }

    /// A server whose turn it is. One that is named by its key can be asked while it is near; of another it is not known
    /// whether it is.
    fn take_due(&mut self, home: &Home, now: Instant) -> Option<(ServerKey, OwnedServerName)> {
        let (server, turn) = self.servers.iter_mut().find(|(_, turn)| {
            let contact = home.contact(&turn.name);
            let came = contact != 0 && contact != turn.contact;
            !turn.running && (came || turn.at <= now) && turn.is_askable(home)
        })?;
        turn.running = true;
        turn.contact = home.contact(&turn.name);
        Some((*server, turn.name.clone()))
    }

    fn finished(&mut self, server: ServerKey, outcome: Result<bool>) {
        let Some(turn) = self.servers.get_mut(&server) else { return };
        turn.running = false;
        turn.failures = match outcome {
            Ok(true) => 0,
            Ok(false) => turn.failures.saturating_add(1),
            Err(error) => {
                tracing::error!(%error, server = %turn.name, "a device list could not be kept");
                turn.failures.saturating_add(1)
            }
        };
        let pause = RETRY_PAUSE_MIN.saturating_mul(1 << turn.failures.min(16)).min(RETRY_PAUSE_MAX);
        turn.at = Instant::now() + pause.max(ROUND_PAUSE);
    }

    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        self.servers.values().filter(|turn| !turn.running && turn.at > now).map(|turn| turn.at).min()
    }
}

impl Turn {
    fn is_askable(&self, home: &Home) -> bool {
        home.is_near(&self.name) || public_key_of(&self.name).is_err()
    }
}

/// Fetches the stale lists of a server, one after another. Answers whether all came.
async fn round(home: &Home, server: ServerKey, name: OwnedServerName) -> (ServerKey, Result<bool>) {
    (server, round_inner(home, server, &name).await)
}

async fn round_inner(home: &Home, server: ServerKey, name: &ServerName) -> Result<bool> {
    let mut last = UserKey(0);
    loop {
        let (key, user) = {
            let view = home.store.snapshot()?;
            let Some(key) = remote::next_stale(&view, server, last)? else { return Ok(true) };
            (key, key.id(&view)?)
        };
        last = key;
        if let Some(error) = fetch(home, name, vec![Wanted { user, kept: Some(key) }]).await?.error {
            tracing::debug!(%error, server = %name, "a stale device list could not be fetched");
            return Ok(false);
        }
    }
}

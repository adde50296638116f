//! Events, auth chains and states, fetched from one server and verified.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use ruma::{
    EventId, OwnedEventId, ServerName,
    api::federation::{
        authorization::get_event_authorization,
        event::{get_event, get_room_state, get_room_state_ids},
    },
};

use super::receive::Door;
use crate::{
    event::Pdu,
    home::Home,
    outbox::{FederationError, request, request_state},
    store::{StoreError, Stored},
    types::limits::STATE_EVENTS_MAX,
};

/// Single events asked for at once: few, since the other side serves others too.
const EVENTS_AT_ONCE: usize = 6;
/// Single events asked for in one go. What is more is cheaper to ask for as a whole.
const EVENTS_MAX: usize = 100;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// Our store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The other server did not help.
    #[error(transparent)]
    Remote(#[from] FederationError),
}

/// Single events, those that the server has.
pub(super) async fn events(
    home: &Home,
    from: &ServerName,
    door: &Door,
    ids: &[OwnedEventId],
) -> Result<Vec<Pdu>, FederationError> {
    let wanted: BTreeSet<&OwnedEventId> = ids.iter().take(EVENTS_MAX).collect();
    // Owned requests: a closure over references would keep the future from being `Send` for every lifetime.
    let asked: Vec<_> = wanted.iter().map(|id| get_event::v1::Request::new((*id).clone())).collect();
    let asked = asked.into_iter().map(|ask| request(home, from, ask));
    // In order, so that the same run asks the same.
    let answers: Vec<_> = stream::iter(asked).buffered(EVENTS_AT_ONCE).collect().await;
    let mut raws = Vec::new();
    let mut failure = None;
    for answer in answers {
        match answer {
            Ok(answer) => raws.push(answer.pdu),
            Err(error) if error.is_passing() => failure = Some(error),
            Err(error) => tracing::debug!(%error, %from, "an event is not to be had there"),
        }
    }
    let mut pdus = door.verified(home, from, &raws);
    pdus.retain(|pdu| wanted.contains(&pdu.event_id));
    match failure {
        Some(error) if pdus.is_empty() => Err(error),
        _ => Ok(pdus),
    }
}

/// The auth chain of an event.
pub(super) async fn auth_chain(
    home: &Home,
    from: &ServerName,
    door: &Door,
    event: &EventId,
) -> Result<Vec<Pdu>, FederationError> {
    let ask = get_event_authorization::v1::Request::new(door.room.clone(), event.to_owned());
    let answer = request_state(home, from, ask).await?;
    bounded(from, answer.auth_chain.len())?;
    Ok(door.verified(home, from, &answer.auth_chain))
}

/// The state before an event and that state's auth chain.
pub(super) async fn state_at(
    home: &Home,
    from: &ServerName,
    door: &Door,
    event: &EventId,
) -> Result<(Vec<Pdu>, Vec<Pdu>), FetchError> {
    let ask = get_room_state_ids::v1::Request::new(event.to_owned(), door.room.clone());
    let ids = request_state(home, from, ask).await?;
    bounded(from, ids.pdu_ids.len() + ids.auth_chain_ids.len())?;
    let (mut known, unknown) = split(home, ids.pdu_ids.iter().chain(&ids.auth_chain_ids))?;
    if unknown.len() > EVENTS_MAX {
        return Ok(whole_state_at(home, from, door, event).await?);
    }
    for pdu in events(home, from, door, &unknown).await? {
        known.insert(pdu.event_id.clone(), pdu);
    }
    let take = |ids: &[OwnedEventId]| ids.iter().filter_map(|id| known.get(id).cloned()).collect::<Vec<Pdu>>();
    let (state, chain) = (take(&ids.pdu_ids), take(&ids.auth_chain_ids));
    if state.len() < ids.pdu_ids.len() {
        // A state with holes would be another state.
        return Ok(whole_state_at(home, from, door, event).await?);
    }
    Ok((state, chain))
}

async fn whole_state_at(
    home: &Home,
    from: &ServerName,
    door: &Door,
    event: &EventId,
) -> Result<(Vec<Pdu>, Vec<Pdu>), FederationError> {
    let ask = get_room_state::v1::Request::new(event.to_owned(), door.room.clone());
    let answer = request_state(home, from, ask).await?;
    bounded(from, answer.pdus.len() + answer.auth_chain.len())?;
    Ok((door.verified(home, from, &answer.pdus), door.verified(home, from, &answer.auth_chain)))
}

/// The events of some ids that are here, and the ids of those that are not.
fn split<'a>(
    home: &Home,
    ids: impl Iterator<Item = &'a OwnedEventId>,
) -> Result<(BTreeMap<OwnedEventId, Pdu>, Vec<OwnedEventId>), StoreError> {
    let view = home.store.snapshot()?;
    let (mut known, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    for id in ids {
        match Stored::by_id(&view, id)? {
            Some(stored) => {
                known.insert(id.clone(), stored.pdu);
            }
            None => {
                unknown.insert(id.clone());
            }
        }
    }
    Ok((known, unknown.into_iter().collect()))
}

fn bounded(from: &ServerName, events: usize) -> Result<(), FederationError> {
    if events > STATE_EVENTS_MAX {
        return Err(FederationError::nonsense(from, format!("{events} events; the limit is {STATE_EVENTS_MAX}")));
    }
    Ok(())
}

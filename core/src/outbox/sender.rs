//! Sending to one server until nothing waits for it or a try fails.

use std::{collections::BTreeMap, future::Future, time::Duration};

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedTransactionId, RoomId,
    RoomVersionId, ServerName, UInt,
    api::federation::{
        membership::{RawStrippedState, create_invite::v2 as create_invite},
        transactions::send_transaction_message::v1::{Request, Response},
    },
};
use serde_json::value::RawValue;

use super::{
    batch::{self, Batch, Next},
    delivery, letters,
    request::{FederationError, request},
};
use crate::{
    home::Home,
    store::{Esn, InviteLetter, Result, ServerKey, Stored},
    types::limits::TRANSACTION_PDUS_MAX,
};

/// How long a request that was under way when its server came back may still take. It probably hangs on the connection that
/// was lost.
const STALE_GRACE: Duration = Duration::from_secs(1);

/// How sending to a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing waits any more.
    Empty,
    /// A try failed; what was acknowledged before it is done.
    Failed {
        /// Something was acknowledged.
        progressed: bool,
    },
}

/// What came of one request.
enum Sent<T> {
    Acknowledged(T),
    /// The server will never take this as it is.
    Refused(FederationError),
    Failed(FederationError),
}

impl<T> Sent<T> {
    fn of(answer: Result<T, FederationError>, is_final: impl Fn(&FederationError) -> bool) -> Self {
        match answer {
            Ok(answer) => Self::Acknowledged(answer),
            Err(error) if is_final(&error) => Self::Refused(error),
            Err(error) => Self::Failed(error),
        }
    }
}

/// What is known to be done, to be written down in one commit.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// All events up to this row.
    cursor: Option<u64>,
    /// All letters up to this place.
    letters: Option<u64>,
    /// Events that the server will not have, and why.
    refused: Vec<(Esn, String)>,
}

/// Sends all that waits for a server, in order.
pub(super) async fn drain(home: &Home, server: OwnedServerName) -> (OwnedServerName, Outcome) {
    let mut progressed = false;
    let outcome = match drain_inner(home, &server, &mut progressed).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, %server, "the outbox could not be read or written");
            Outcome::Failed { progressed }
        }
    };
    (server, outcome)
}

async fn drain_inner(home: &Home, server: &ServerName, progressed: &mut bool) -> Result<Outcome> {
    let (key, mut cursor) = {
        let view = home.store.snapshot()?;
        let Some(key) = ServerKey::find(&view, server)? else { return Ok(Outcome::Empty) };
        (key, batch::cursor(&view, key)?)
    };
    let mut limit = None;
    loop {
        let next = batch::next(&home.store.snapshot()?, key, cursor, limit)?;
        let (progress, failure) = match next {
            Next::Transaction(batch) if batch.len() == 0 => {
                if batch.is_worth_writing(cursor) {
                    write_down(home, key, Progress { cursor: Some(batch.last), ..Progress::default() }).await?;
                }
                return Ok(Outcome::Empty);
            }
            Next::Transaction(batch) => transact(home, server, cursor, batch, &mut limit).await,
            Next::Invite(invite, place) => bring_invite(home, server, &invite, place).await,
        };
        if let Some(error) = failure {
            tracing::debug!(%error, %server, "what waits for a server did not get through");
            return Ok(Outcome::Failed { progressed: *progressed });
        }
        let Some(progress) = progress else { continue };
        *progressed = true;
        cursor = progress.cursor.unwrap_or(cursor);
        write_down(home, key, progress).await?;
        home.note_delivery();
    }
}

/// A cursor lost in a crash costs a repeat, which the receiver knows; so no commit waits for it.
async fn write_down(home: &Home, server: ServerKey, progress: Progress) -> Result<()> {
    let now = home.now().0;
    home.store
        .write_soon(move |tx| {
            for (esn, why) in &progress.refused {
                delivery::refuse(tx, *esn, server, why)?;
            }
            if let Some(last) = progress.letters {
                letters::done(tx, server, last)?;
            }
            match progress.cursor {
                Some(cursor) => batch::advance(tx, server, cursor, now),
                None => Ok(()),
            }
        })
        .await
}

/// Sends a transaction. Answers what is done, or nothing when a smaller one is to be tried, and why it did not get through.
async fn transact(
    home: &Home,
    server: &ServerName,
    cursor: u64,
    batch: Batch,
    limit: &mut Option<usize>,
) -> (Option<Progress>, Option<FederationError>) {
    let done = |refused| {
        let cursor = (batch.last > cursor).then_some(batch.last);
        Some(Progress { cursor, letters: batch.letters.map(|(_, last)| last), refused })
    };
    match send(home, server, cursor, &batch).await {
        Sent::Acknowledged(answer) => {
            *limit = limit.map(|limit| limit * 2).filter(|limit| *limit < TRANSACTION_PDUS_MAX);
            (done(acknowledged(home, server, &batch.events, &answer)), None)
        }
        Sent::Refused(error) if batch.len() == 1 => {
            let event = batch.events.first();
            let id = event.map(|event| event.pdu.event_id.as_str());
            tracing::error!(%error, %server, event = id, "refused for good and passed over");
            (done(event.map(|event| (event.esn, error.to_string())).into_iter().collect()), None)
        }
        Sent::Refused(error) => {
            // One thing of them is the reason: smaller transactions find it and save the others.
            tracing::warn!(%error, %server, "a transaction is refused; trying smaller ones");
            *limit = Some((batch.len() / 2).max(1));
            (None, None)
        }
        Sent::Failed(error) => (None, Some(error)),
    }
}

async fn send(home: &Home, server: &ServerName, cursor: u64, batch: &Batch) -> Sent<Response> {
    let letters = batch.letters.map(|(first, last)| format!(".{first:x}-{last:x}")).unwrap_or_default();
    let id = OwnedTransactionId::from(format!("{cursor:x}.{:x}{letters}", batch.last));
    let now = MilliSecondsSinceUnixEpoch(UInt::new_saturating(home.now().0));
    let mut transaction = Request::new(id, home.server_name().to_owned(), now);
    transaction.pdus = batch.events.iter().map(|event| event.pdu.json().to_owned()).collect();
    transaction.edus = match letters::raws(batch.edus.clone()) {
        Ok(edus) => edus,
        Err(error) => return Sent::Refused(error),
    };
    Sent::of(unless_stale(home, server, request(home, server, transaction)).await, is_final)
}

/// Brings an invite to the server of the invited user.
async fn bring_invite(
    home: &Home,
    server: &ServerName,
    invite: &InviteLetter,
    place: u64,
) -> (Option<Progress>, Option<FederationError>) {
    let done = Some(Progress { letters: Some(place), ..Progress::default() });
    let answer = match invite_request(invite) {
        Ok(ask) => unless_stale(home, server, request(home, server, ask)).await,
        Err(error) => Err(FederationError::Unsendable(error)),
    };
    // A server that forbids an invite says so with 403, which no later try changes.
    let forbids = |error: &FederationError| match error {
        FederationError::Refused { error, .. } => matches!(error.status_code.as_u16(), 403 | 404),
        // The answer is the event with the server's signature, which nobody needs: it was taken.
        FederationError::Nonsense { .. } => true,
        _ => false,
    };
    match Sent::of(answer, |error| is_final(error) || forbids(error)) {
        Sent::Acknowledged(_) => (done, None),
        Sent::Refused(error) => {
            tracing::warn!(%error, %server, event = invite.event_id, "an invite was not taken");
            (done, None)
        }
        Sent::Failed(error) => (None, Some(error)),
    }
}

fn invite_request(invite: &InviteLetter) -> std::result::Result<create_invite::Request, String> {
    let raw = |json: &String| RawValue::from_string(json.clone()).map_err(|error| error.to_string());
    let state = invite.state.iter().map(|event| raw(event).map(RawStrippedState::Pdu));
    Ok(create_invite::Request::new(
        RoomId::parse(&invite.room).map_err(|error| error.to_string())?,
        EventId::parse(&invite.event_id).map_err(|error| error.to_string())?,
        RoomVersionId::try_from(invite.version.as_str()).map_err(|error| error.to_string())?,
        raw(&invite.event)?,
        state.collect::<std::result::Result<_, _>>()?,
    ))
}

/// A request's answer, or none when the server came back while it was under way.
async fn unless_stale<T>(
    home: &Home,
    server: &ServerName,
    answer: impl Future<Output = Result<T, FederationError>>,
) -> Result<T, FederationError> {
    let contact = home.contact(server);
    tokio::select! {
        biased;
        answer = answer => answer,
        () = is_stale(home, server, contact) => {
            Err(FederationError::NoAnswer(format!("{server} came back while a request to it was under way")))
        }
    }
}

/// Returns a while after the server was seen anew.
async fn is_stale(home: &Home, server: &ServerName, contact: u64) {
    loop {
        let contacts = home.contacts();
        let now = home.contact(server);
        if now != 0 && now != contact {
            tokio::time::sleep(STALE_GRACE).await;
            return;
        }
        home.contact_after(contacts).await;
    }
}

/// Whether a transaction would be refused again. 401, 403, 404 and 429 speak of us or of the moment, not of the events.
fn is_final(error: &FederationError) -> bool {
    match error {
        FederationError::Refused { error, .. } => {
            error.status_code.is_client_error() && !matches!(error.status_code.as_u16(), 401 | 403 | 404 | 408 | 429)
        }
        FederationError::Unsendable(_) => true,
        _ => false,
    }
}

/// Remembers which events the server has, and answers those that it will not have.
fn acknowledged(home: &Home, server: &ServerName, events: &[Stored], answer: &Response) -> Vec<(Esn, String)> {
    let mut taken: BTreeMap<OwnedRoomId, Vec<OwnedEventId>> = BTreeMap::new();
    let mut refused = Vec::new();
    for Stored { esn, pdu, .. } in events {
        match answer.pdus.get(&pdu.event_id) {
            Some(Err(why)) => {
                tracing::warn!(event = %pdu.event_id, %server, why, "an event was not taken");
                refused.push((*esn, why.clone()));
            }
            _ => taken.entry(pdu.room_id.clone()).or_default().push(pdu.event_id.clone()),
        }
    }
    for (room, events) in taken {
        home.note_has(server, &room, &events);
    }
    refused
}

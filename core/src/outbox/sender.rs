//! Sending to one server until nothing waits for it or a try fails.

use std::{collections::BTreeMap, time::Duration};

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedTransactionId, ServerName, UInt,
    api::federation::transactions::send_transaction_message::v1::Request,
};

use super::{
    batch::{self, Batch},
    request::{FederationError, request},
};
use crate::{
    event::Pdu,
    home::Home,
    store::{Result, ServerKey},
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

/// What came of one transaction.
enum Sent {
    Acknowledged,
    /// The server will never take this transaction as it is.
    Refused(FederationError),
    Failed(FederationError),
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
    let mut limit = TRANSACTION_PDUS_MAX;
    loop {
        let batch = batch::next(&home.store.snapshot()?, key, cursor, limit)?;
        if batch.pdus.is_empty() {
            if batch.is_worth_writing(cursor) {
                advance(home, key, batch.last).await?;
            }
            return Ok(Outcome::Empty);
        }
        match send(home, server, cursor, &batch).await {
            Sent::Acknowledged => limit = TRANSACTION_PDUS_MAX.min(limit * 2),
            Sent::Refused(error) if batch.pdus.len() == 1 => {
                let event = batch.pdus.first().map(|pdu| pdu.event_id.as_str());
                tracing::error!(%error, %server, event, "an event is refused for good and passed over");
            }
            Sent::Refused(error) => {
                // One event of them is the reason: smaller transactions find it and save the others.
                tracing::warn!(%error, %server, "a transaction is refused; trying smaller ones");
                limit = (batch.pdus.len() / 2).max(1);
                continue;
            }
            Sent::Failed(error) => {
                tracing::debug!(%error, %server, "a transaction did not get through");
                return Ok(Outcome::Failed { progressed: *progressed });
            }
        }
        *progressed = true;
        cursor = batch.last;
        advance(home, key, cursor).await?;
    }
}

/// A cursor lost in a crash costs a repeat, which the receiver knows; so no commit waits for it.
async fn advance(home: &Home, server: ServerKey, to: u64) -> Result<()> {
    let now = home.now().0;
    home.store.write_soon(move |tx| batch::advance(tx, server, to, now)).await
}

async fn send(home: &Home, server: &ServerName, cursor: u64, batch: &Batch) -> Sent {
    let id = OwnedTransactionId::from(format!("{cursor:x}.{:x}", batch.last));
    let now = MilliSecondsSinceUnixEpoch(UInt::new_saturating(home.now().0));
    let mut transaction = Request::new(id, home.server_name().to_owned(), now);
    transaction.pdus = batch.pdus.iter().map(|pdu| pdu.json().to_owned()).collect();
    let contact = home.contact(server);
    let answer = tokio::select! {
        biased;
        answer = request(home, server, transaction) => answer,
        () = is_stale(home, server, contact) => {
            Err(FederationError::NoAnswer(format!("{server} came back while a request to it was under way")))
        }
    };
    match answer {
        Ok(answer) => {
            acknowledged(home, server, &batch.pdus, &answer.pdus);
            Sent::Acknowledged
        }
        Err(error) if is_final(&error) => Sent::Refused(error),
        Err(error) => Sent::Failed(error),
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

fn acknowledged(
    home: &Home,
    server: &ServerName,
    pdus: &[Pdu],
    answers: &BTreeMap<OwnedEventId, std::result::Result<(), String>>,
) {
    let mut taken: BTreeMap<OwnedRoomId, Vec<OwnedEventId>> = BTreeMap::new();
    for pdu in pdus {
        match answers.get(&pdu.event_id) {
            Some(Err(why)) => tracing::warn!(event = %pdu.event_id, %server, why, "an event was not taken"),
            _ => taken.entry(pdu.room_id.clone()).or_default().push(pdu.event_id.clone()),
        }
    }
    for (room, events) in taken {
        home.note_has(server, &room, &events);
    }
}

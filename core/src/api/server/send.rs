//! `PUT /_matrix/federation/v1/send/{txnId}`. Server-server API, "Transactions".
//!
//! The answer goes out after the commits of the events, so an acknowledged event is on disk. A transaction that was
//! answered is answered the same again for a while.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    OwnedEventId, OwnedServerName,
    api::federation::transactions::send_transaction_message::v1::{Request, Response},
};
use sha2::{Digest, Sha256};

use super::edu;
use crate::{
    api::{
        ApiError,
        frame::{Signed, route},
    },
    federation::{self, ReceiveError},
    home::Home,
    store::{InTxnRecord, Record, Result, ServerKey, View, WriteTx},
    types::limits::{TRANSACTION_EDUS_MAX, TRANSACTION_MEMORY, TRANSACTION_PDUS_MAX},
};

/// Forgotten transactions that one new one may clear away.
const PRUNED_AT_ONCE_MAX: usize = 100;

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    route(router, send_transaction_message)
}

async fn send_transaction_message(State(home): State<Arc<Home>>, call: Signed<Request>) -> Result<Response, ApiError> {
    let Signed { request, origin } = call;
    if request.origin != origin {
        return Err(ApiError::forbidden("the transaction's origin is not the server that signed the request"));
    }
    if request.pdus.len() > TRANSACTION_PDUS_MAX || request.edus.len() > TRANSACTION_EDUS_MAX {
        return Err(ApiError::invalid_param(format!(
            "a transaction holds {TRANSACTION_PDUS_MAX} PDUs and {TRANSACTION_EDUS_MAX} EDUs at most"
        )));
    }
    let txn = hash_of(&request.transaction_id);
    if let Some(answer) = answered(&home, &origin, txn)? {
        return Ok(Response::new(answer));
    }
    // First, because they may hold the keys that the events are read with, and because a transaction that is remembered as
    // answered must have been taken whole.
    edu::take_all(&home, &origin, request.edus.iter().map(|edu| edu.json())).await?;
    let has_pdus = !request.pdus.is_empty();
    let verdicts = federation::receive(&home, &origin, request.pdus).await?;
    if has_pdus {
        remember(&home, origin.clone(), txn, &verdicts).await?;
    }
    Ok(Response::new(verdicts))
}

impl From<ReceiveError> for ApiError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Store(error) => error.into(),
            // The sender must keep the transaction: 503 says that another try is welcome.
            other => Self::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                ruma::api::error::ErrorKind::Unknown,
                other.to_string(),
            ),
        }
    }
}

type Verdicts = BTreeMap<OwnedEventId, Result<(), String>>;

fn hash_of(id: &ruma::TransactionId) -> [u8; 16] {
    let hash = Sha256::digest(id.as_bytes());
    hash.first_chunk::<16>().copied().unwrap_or_default()
}

/// What was answered to a transaction before.
fn answered(home: &Home, origin: &OwnedServerName, txn: [u8; 16]) -> Result<Option<Verdicts>> {
    let view = home.store.snapshot()?;
    let Some(server) = ServerKey::find(&view, origin)? else { return Ok(None) };
    let Some(row) = view.in_txn()?.row((server.0, &txn))? else { return Ok(None) };
    let record = InTxnRecord::decode(row.value())?;
    if home.now().0.saturating_sub(record.at) > lifetime() {
        return Ok(None);
    }
    // A row that another version wrote is no answer; the events are known, so doing it again is the same.
    Ok(serde_json::from_slice(&record.answer).ok())
}

/// Remembers an answer. Losing it in a crash costs a repeat that finds every event known, so no commit waits for it.
async fn remember(home: &Home, origin: OwnedServerName, txn: [u8; 16], verdicts: &Verdicts) -> Result<()> {
    let at = home.now().0;
    let answer = serde_json::to_vec(verdicts).unwrap_or_default();
    home.store
        .write_soon(move |tx| {
            prune(tx, at)?;
            // Only servers that rooms have brought here are remembered: a stranger's transactions hold nothing for us.
            let Some(server) = ServerKey::find(tx, &origin)? else { return Ok(()) };
            let bytes = InTxnRecord { at, answer: answer.clone() }.encode()?;
            tx.write().in_txn.insert((server.0, &txn), bytes.as_slice())?;
            tx.write().in_txn_exp.insert((at, server.0, &txn), ())?;
            Ok(())
        })
        .await
}

fn prune(tx: &mut WriteTx<'_>, now: u64) -> Result<()> {
    let mut old = Vec::new();
    let until = now.saturating_sub(lifetime());
    let (from, to) = ((0, 0, &[0; 16]), (until, 0, &[0; 16]));
    for row in tx.in_txn_exp()?.between(std::ops::Bound::Included(from), std::ops::Bound::Excluded(to))? {
        let key = row?.0;
        let (at, server, txn) = key.value();
        old.push((at, server, *txn));
        if old.len() >= PRUNED_AT_ONCE_MAX {
            break;
        }
    }
    for (at, server, txn) in old {
        tx.write().in_txn_exp.remove((at, server, &txn))?;
        let newer = tx.in_txn()?.row((server, &txn))?.map(|row| InTxnRecord::decode(row.value())).transpose()?;
        if newer.is_some_and(|record| record.at <= at) {
            tx.write().in_txn.remove((server, &txn))?;
        }
    }
    Ok(())
}

fn lifetime() -> u64 {
    u64::try_from(TRANSACTION_MEMORY.as_millis()).unwrap_or(u64::MAX)
}

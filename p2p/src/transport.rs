//! How the homeserver's requests reach another homeserver over the mesh.
//!
//! A key name is a peer id, so a destination needs no lookup. Each peer has eight turns: more requests wait here, where they
//! cost nothing, and not at the peer, which would drop them. Dropping the future gives the turn back and ends the stream.
//!
//! Deliberately absent: retries of a request that was sent. Whether it arrived is unknown, and the outbox knows better when
//! to try again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use hearth_core::ports::{BoxFuture, Transport, TransportError};
use libp2p::{PeerId, Stream};
use ruma::ServerName;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::{
    http::client::{ExchangeError, exchange},
    identity::peer_id_of,
    limits::{OPEN_TIMEOUT, REQUESTS_PER_PEER_MAX},
    mesh::Command,
    streams::{Open, OpenError},
};

/// Connections that may close under a wish for a stream before it is given up: the old one of a peer that restarted, and
/// one that lost a race with it.
const OPEN_ATTEMPTS: u32 = 3;

/// The mesh as core sees it.
#[derive(Clone, Debug)]
pub(crate) struct MeshTransport {
    commands: mpsc::Sender<Command>,
    turns: Arc<Mutex<BTreeMap<PeerId, Arc<Semaphore>>>>,
}

impl MeshTransport {
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands, turns: Arc::default() }
    }

    /// The turns of one peer. Those of peers that nobody asks for any more are forgotten on the way.
    fn turns(&self, peer: PeerId) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|other, turns| *other == peer || Arc::strong_count(turns) > 1);
        turns.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(REQUESTS_PER_PEER_MAX))).clone()
    }

    async fn turn(&self, peer: PeerId) -> Result<Turn, OpenError> {
        let turns = self.turns(peer);
        let permit = turns.clone().acquire_owned().await;
        let permit = permit.map_err(|_| OpenError::Unreachable("the mesh has ended".to_owned()))?;
        Ok(Turn { _permit: permit, _turns: turns })
    }

    async fn open(&self, peer: PeerId) -> Result<Stream, OpenError> {
        let mut lost = OpenError::Lost;
        for _ in 0..OPEN_ATTEMPTS {
            let (wish, answer) = oneshot::channel();
            if self.commands.send(Command::Open(peer, Open(wish))).await.is_err() {
                return Err(OpenError::Unreachable("the mesh has ended".to_owned()));
            }
            match answer.await {
                Ok(Err(OpenError::Lost)) | Err(_) => lost = OpenError::Lost,
                Ok(answer) => return answer,
            }
        }
        Err(lost)
    }

    async fn send(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
        response_bytes_max: usize,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let unreachable = |reason: String| TransportError::Unreachable { destination: destination.to_string(), reason };
        let Some(peer) = peer_id_of(destination) else {
            return Err(unreachable("it is not a key name, and this node has no way to DNS names".to_owned()));
        };
        let _turn = self.turn(peer).await.map_err(|error| unreachable(error.to_string()))?;
        let stream = match timeout(OPEN_TIMEOUT, self.open(peer)).await {
            Ok(stream) => stream.map_err(|error| unreachable(error.to_string()))?,
            Err(_) => return Err(unreachable("no connection in time".to_owned())),
        };
        let answer = exchange(stream.compat(), destination.as_str(), request, response_bytes_max).await;
        answer.map_err(|error| match error {
            ExchangeError::TooLarge => {
                TransportError::TooLarge { destination: destination.to_string(), limit: response_bytes_max }
            }
            ExchangeError::Broken(reason) => TransportError::Broken { destination: destination.to_string(), reason },
        })
    }
}

/// A turn, with the turns that it is one of, so that they are not forgotten meanwhile.
struct Turn {
    _permit: OwnedSemaphorePermit,
    _turns: Arc<Semaphore>,
}

impl Transport for MeshTransport {
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
        response_bytes_max: usize,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.send(destination, request, response_bytes_max))
    }
}

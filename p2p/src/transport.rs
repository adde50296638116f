//! How the homeserver's requests reach another homeserver over the mesh.
//!
//! A key name is a peer id, so a destination needs no lookup. Each peer has eight turns, and three for media: more requests
//! wait here, where they cost nothing, and not at the peer, which would drop them. Dropping the future, or the body that it
//! answers with, gives the turn back and ends the stream.
//!
//! A connection may end under a request: both ends dialled at once, or the peer restarted. What may be asked twice (RFC 9110,
//! section 9.2.2) is then asked once more. Deliberately absent: any other retry. Whether a request arrived is unknown, and
//! the outbox knows better when to try again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hearth_core::ports::{BodyStream, BoxFuture, Transport, TransportError};
use libp2p::{PeerId, Stream};
use ruma::ServerName;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::{
    http::client::{ExchangeError, converse, exchange},
    identity::peer_id_of,
    limits::OPEN_TIMEOUT,
    mesh::Command,
    streams::{Lane, Open, OpenError},
};

/// Connections that may close under a wish for a stream before it is given up: the old one of a peer that restarted, and
/// one that lost a race with it.
const OPEN_ATTEMPTS: u32 = 3;

/// The mesh as core sees it.
#[derive(Clone, Debug)]
pub(crate) struct MeshTransport {
    commands: mpsc::Sender<Command>,
    turns: Arc<Mutex<Turns>>,
}

/// The turns of each peer, in each lane.
type Turns = BTreeMap<(PeerId, Lane), Arc<Semaphore>>;

impl MeshTransport {
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands, turns: Arc::default() }
    }

    /// The turns of one peer. Those of peers that nobody asks for any more are forgotten on the way.
    fn turns(&self, peer: PeerId, lane: Lane) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|other, turns| *other == (peer, lane) || Arc::strong_count(turns) > 1);
        let new = || Arc::new(Semaphore::new(lane.bounds().running_per_peer));
        turns.entry((peer, lane)).or_insert_with(new).clone()
    }

    async fn turn(&self, peer: PeerId, lane: Lane) -> Result<Turn, OpenError> {
        let turns = self.turns(peer, lane);
        let permit = turns.clone().acquire_owned().await;
        let permit = permit.map_err(|_| OpenError::Unreachable("the mesh has ended".to_owned()))?;
        Ok(Turn { _permit: permit, _turns: turns })
    }

    async fn open(&self, peer: PeerId, lane: Lane) -> Result<Stream, OpenError> {
        let mut lost = OpenError::Lost;
        for _ in 0..OPEN_ATTEMPTS {
            let (asker, answer) = oneshot::channel();
            if self.commands.send(Command::Open(peer, Open { lane, asker })).await.is_err() {
                return Err(OpenError::Unreachable("the mesh has ended".to_owned()));
            }
            match answer.await {
                Ok(Err(OpenError::Lost)) | Err(_) => lost = OpenError::Lost,
                Ok(answer) => return answer,
            }
        }
        Err(lost)
    }

    /// A stream to a destination, when its turn has come.
    async fn reach(&self, destination: &ServerName, lane: Lane) -> Result<(Turn, Stream), TransportError> {
        let unreachable = |reason: String| TransportError::Unreachable { destination: destination.to_string(), reason };
        let Some(peer) = peer_id_of(destination) else {
            return Err(unreachable("it is not a key name, and this node has no way to DNS names".to_owned()));
        };
        let turn = self.turn(peer, lane).await.map_err(|error| unreachable(error.to_string()))?;
        match timeout(OPEN_TIMEOUT, self.open(peer, lane)).await {
            Ok(stream) => Ok((turn, stream.map_err(|error| unreachable(error.to_string()))?)),
            Err(_) => Err(unreachable("no connection in time".to_owned())),
        }
    }

    async fn send(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
        response_bytes_max: usize,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let again = request.method().is_idempotent().then(|| request.clone());
        let ask = async |request| {
            let (_turn, stream) = self.reach(destination, Lane::Events).await?;
            let answer = exchange(stream.compat(), destination.as_str(), request, response_bytes_max).await;
            Ok::<_, TransportError>(answer)
        };
        let answer = match (ask(request).await?, again) {
            (Err(ExchangeError::NoAnswer(reason)), Some(request)) => {
                tracing::debug!(%destination, reason, "asking once more");
                ask(request).await?
            }
            (answer, _) => answer,
        };
        answer.map_err(|error| match error {
            ExchangeError::TooLarge => {
                TransportError::TooLarge { destination: destination.to_string(), limit: response_bytes_max }
            }
            ExchangeError::NoAnswer(reason) | ExchangeError::Broken(reason) => {
                TransportError::Broken { destination: destination.to_string(), reason }
            }
        })
    }

    async fn send_streaming(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<BodyStream>, TransportError> {
        let (turn, media) = self.reach(destination, Lane::Media).await?;
        let name = destination.to_string();
        let broken =
            move |error: ExchangeError| TransportError::Broken { destination: name.clone(), reason: error.to_string() };
        let answer = converse(media.compat(), destination.as_str(), request).await.map_err(&broken)?;
        // The turn goes with the body and ends with it.
        let body = answer.map(|body| {
            stream::try_unfold((body, turn), |(mut body, turn)| async move {
                Ok(body.try_next().await?.map(|piece| (piece, (body, turn))))
            })
        });
        Ok(body.map(|body| body.map_err(broken).boxed()))
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

    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<BodyStream>, TransportError>> {
        Box::pin(self.send_streaming(destination, request))
    }
}

//! The network of a world: latency, loss, cut links, and who is seen by whom.
//!
//! A request that reaches its server runs there to its end, whether or not the asker still waits: the answer may be lost, the
//! work is not. Requests overtake one another, since each has a latency of its own.

mod links;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hearth_core::{
    ports::{BodyStream, BoxFuture, PeerServer, Transport, TransportError},
    server::Homeserver,
};
use http::{Request, Response};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ruma::{OwnedServerName, ServerName};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};
use tower::ServiceExt;

use super::trace::{Trace, digest};

/// After so long without an answer a host gives a request up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a long answer arrives at once.
const PIECE_BYTES: usize = 64 << 10;

/// How well packets travel.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One way, in ms: from, to.
    pub latency_ms: (u64, u64),
    /// How many of a hundred requests never arrive.
    pub requests_lost: u32,
    /// How many of a hundred answers never arrive.
    pub answers_lost: u32,
}

impl Weather {
    /// As in one room.
    pub const CALM: Self = Self { latency_ms: (1, 20), requests_lost: 0, answers_lost: 0 };
}

/// The network.
pub struct Net {
    state: Mutex<State>,
}

struct State {
    random: ChaCha8Rng,
    weather: Weather,
    names: BTreeMap<OwnedServerName, usize>,
    nodes: Vec<Option<Node>>,
    /// Pairs that do not reach each other, the smaller number first.
    cut: BTreeSet<(usize, usize)>,
    /// Who has a connection to whom, and the number of the last change of that.
    links: BTreeMap<(usize, usize), (bool, u64)>,
    requests: u64,
    last_request: Instant,
    trace: Trace,
}

/// Something that answers federation requests.
struct Node {
    /// Who is told of peers. `None` for a peer that is no homeserver of ours.
    server: Option<Homeserver>,
    router: Router,
    tasks: Vec<AbortHandle>,
}

/// What chance has in store for one request.
struct Trip {
    to: usize,
    linked: bool,
    there: Duration,
    back: Duration,
    request_lost: bool,
    answer_lost: bool,
}

impl Net {
    /// A net without servers.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: ChaCha8Rng::seed_from_u64(seed ^ 0x6e65_7400),
            weather: Weather::CALM,
            names: BTreeMap::new(),
            nodes: Vec::new(),
            cut: BTreeSet::new(),
            links: BTreeMap::new(),
            requests: 0,
            last_request: Instant::now(),
            trace: Trace::new(),
        };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A number for a server.
    pub fn number(&self, name: &ServerName) -> usize {
        let mut state = self.lock();
        let number = state.nodes.len();
        state.names.insert(name.to_owned(), number);
        state.nodes.push(None);
        number
    }

    /// The transport of a server.
    pub fn transport(self: &Arc<Self>, from: usize) -> Arc<dyn Transport> {
        Arc::new(Port { net: self.clone(), from })
    }

    /// A server came up.
    pub fn up(self: &Arc<Self>, number: usize, server: &Homeserver) {
        let node = Node { server: Some(server.clone()), router: server.federation_router(), tasks: Vec::new() };
        self.put_up(number, node);
    }

    /// Something else answers in a server's place from now on.
    pub fn up_impostor(self: &Arc<Self>, number: usize, router: Router) {
        self.put_up(number, Node { server: None, router, tasks: Vec::new() });
    }

    fn put_up(self: &Arc<Self>, number: usize, node: Node) {
        self.lock().nodes[number] = Some(node);
        self.note(format_args!("{number} is up"));
        self.relink();
    }

    /// A server is gone, and what it was doing for others with it.
    pub fn down(self: &Arc<Self>, number: usize) {
        let node = self.lock().nodes[number].take();
        for task in node.into_iter().flat_map(|node| node.tasks) {
            task.abort();
        }
        self.note(format_args!("{number} is down"));
        self.relink();
    }

    /// Nothing is lost any more.
    pub fn calm(&self) {
        self.set_weather(Weather::CALM);
    }

    /// From now on packets travel like this.
    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
        self.note(format_args!("{weather:?}"));
    }

    /// Requests that were made so far.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// How long ago the last request was on its way.
    pub fn silent_for(&self) -> Duration {
        self.lock().last_request.elapsed()
    }

    /// Something happened that belongs into the trace.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        self.lock().trace.note(what);
    }

    /// All that happened so far, as one number.
    pub fn trace(&self) -> u64 {
        self.lock().trace.hash()
    }

    async fn carry(
        &self,
        from: usize,
        destination: &ServerName,
        request: Request<Bytes>,
        answer_bytes_max: usize,
    ) -> Result<Response<Bytes>, TransportError> {
        let what = format!("{} {} {}", request.method(), request.uri(), digest(request.body()));
        let unreachable = |reason: &str| TransportError::Unreachable {
            destination: destination.to_string(),
            reason: reason.to_owned(),
        };
        let broken =
            |reason: &str| TransportError::Broken { destination: destination.to_string(), reason: reason.to_owned() };
        let Some(trip) = self.lock().plan(from, destination) else {
            return Err(unreachable("there is no such server"));
        };
        let to = trip.to;
        self.note(format_args!("{from} > {to} {what}"));
        sleep(trip.there).await;
        if !trip.linked {
            return Err(unreachable("no address answered"));
        }
        if trip.request_lost || !self.lock().is_linked(from, to) {
            sleep(PATIENCE).await;
            self.note(format_args!("{from} > {to} lost"));
            return Err(broken("the request was lost"));
        }
        let answer = self.deliver(from, to, request).await;
        sleep(trip.back).await;
        let Some(answer) = answer.filter(|_| !trip.answer_lost && self.lock().is_linked(from, to)) else {
            sleep(PATIENCE).await;
            self.note(format_args!("{from} < {to} lost"));
            return Err(broken("the answer was lost"));
        };
        self.lock().last_request = Instant::now();
        self.note(format_args!("{from} < {to} {} {}", answer.status(), digest(answer.body())));
        if answer.body().len() > answer_bytes_max {
            return Err(TransportError::TooLarge { destination: destination.to_string(), limit: answer_bytes_max });
        }
        Ok(answer)
    }

    /// A body that comes in pieces, each after a latency of its own, and breaks off when its link does.
    fn trickle(self: Arc<Self>, from: usize, peer: OwnedServerName, body: Bytes) -> BodyStream {
        let to = self.lock().names.get(&peer).copied().expect("it has just answered");
        let pieces = stream::try_unfold((self, body), move |(net, mut body)| {
            let peer = peer.clone();
            async move {
                if body.is_empty() {
                    return Ok(None);
                }
                let latency = net.lock().latency();
                sleep(latency).await;
                if !net.lock().is_linked(from, to) {
                    net.note(format_args!("{from} < {to} broke off"));
                    let reason = "the link is cut".to_owned();
                    return Err(TransportError::Broken { destination: peer.to_string(), reason });
                }
                let piece = body.split_to(body.len().min(PIECE_BYTES));
                Ok(Some((piece, (net, body))))
            }
        });
        pieces.boxed()
    }

    /// Lets a server work on a request. `None` when the server dies over it.
    async fn deliver(&self, from: usize, to: usize, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let task = {
            let mut state = self.lock();
            let peer = state.names.iter().find(|(_, number)| **number == from).map(|(name, _)| name.clone())?;
            let node = state.nodes[to].as_mut()?;
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(PeerServer(peer));
            let task = tokio::spawn(answer(node.router.clone(), request));
            node.tasks.retain(|task| !task.is_finished());
            node.tasks.push(task.abort_handle());
            task
        };
        match task.await {
            Ok(answer) => Some(answer),
            Err(error) if error.is_cancelled() => None,
            Err(error) => panic!("a federation handler panicked: {error}"),
        }
    }

    /// Sends a request as it is from a server to another one, outside of chance: for peers that do not play by the rules.
    pub async fn inject(&self, from: &ServerName, to: usize, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let from = self.lock().names.get(from).copied()?;
        self.deliver(from, to, request).await
    }
}

impl State {
    fn is_linked(&self, a: usize, b: usize) -> bool {
        self.nodes[a].is_some() && self.nodes[b].is_some() && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn latency(&mut self) -> Duration {
        let (low, high) = self.weather.latency_ms;
        Duration::from_millis(self.random.random_range(low..=high))
    }

    fn plan(&mut self, from: usize, destination: &ServerName) -> Option<Trip> {
        let to = *self.names.get(destination)?;
        self.requests += 1;
        self.last_request = Instant::now();
        let (there, back) = (self.latency(), self.latency());
        let request_lost = self.random.random_range(0..100) < self.weather.requests_lost;
        let answer_lost = self.random.random_range(0..100) < self.weather.answers_lost;
        Some(Trip { to, linked: self.is_linked(from, to), there, back, request_lost, answer_lost })
    }
}

/// One request through a router, to the last byte of the answer.
pub async fn answer(router: Router, request: Request<Body>) -> Response<Bytes> {
    let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a router's own body");
    Response::from_parts(parts, body)
}

struct Port {
    net: Arc<Net>,
    from: usize,
}

impl Transport for Port {
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request<Bytes>,
        response_bytes_max: usize,
    ) -> BoxFuture<'a, Result<Response<Bytes>, TransportError>> {
        Box::pin(self.net.carry(self.from, destination, request, response_bytes_max))
    }

    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<BodyStream>, TransportError>> {
        Box::pin(async move {
            let answer = self.net.carry(self.from, destination, request, usize::MAX).await?;
            Ok(answer.map(|body| self.net.clone().trickle(self.from, destination.to_owned(), body)))
        })
    }
}

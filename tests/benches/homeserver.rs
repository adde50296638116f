//! What a homeserver does in a second, on a real file, without sockets: `cargo bench -p hearth-tests --bench homeserver`.
//!
//! Requests go through the routers, so parsing, permission checks, signatures and the commit are all in the figures. The
//! bytes written are the kernel's count for this process (`/proc/self/io`), the file lies under the temporary directory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use hearth_core::{
    home::Registration,
    ports::{BodyStream, BoxFuture, Clock, PeerServer, Ports, Random, Transport, TransportError, in_one_piece},
    server::{Config, Homeserver, MediaConfig, StoreConfig},
    types::{LocalServer, Millis},
};
use http_body_util::BodyExt;
use ruma::{OwnedServerName, ServerName};
use serde_json::{Value, json};
use tower::ServiceExt;

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Millis {
        Millis(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64)
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::RngCore::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// Hands requests to the other server's router, or keeps them and says nothing.
#[derive(Default)]
struct Wire {
    other: OnceLock<(OwnedServerName, Router)>,
    own: OnceLock<OwnedServerName>,
    cut: AtomicBool,
    record: AtomicBool,
    recorded: Mutex<VecDeque<http::Request<Bytes>>>,
    requests: AtomicU64,
}

impl Transport for Wire {
    fn request<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
        _response_bytes_max: usize,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let unreachable = || TransportError::Unreachable {
                destination: destination.to_string(),
                reason: "the bench cut the wire".into(),
            };
            if self.record.load(Ordering::SeqCst) && request.uri().path().contains("/send/") {
                self.recorded.lock().unwrap().push_back(request);
                return Ok(http::Response::new(Bytes::from_static(br#"{"pdus":{}}"#)));
            }
            let Some((name, router)) = self.other.get().filter(|_| !self.cut.load(Ordering::SeqCst)) else {
                return Err(unreachable());
            };
            assert_eq!(name, destination);
            Ok(call(router.clone(), request, self.own.get().cloned()).await)
        })
    }

    fn stream<'a>(
        &'a self,
        destination: &'a ServerName,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<BodyStream>, TransportError>> {
        Box::pin(async move { Ok(in_one_piece(self.request(destination, request, usize::MAX).await?)) })
    }
}

async fn call(router: Router, request: http::Request<Bytes>, from: Option<OwnedServerName>) -> http::Response<Bytes> {
    let mut request = request.map(Body::from);
    if let Some(from) = from {
        request.extensions_mut().insert(PeerServer(from));
    }
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    http::Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

#[derive(Clone)]
struct Phone {
    server: Homeserver,
    client: Router,
    wire: Arc<Wire>,
    token: String,
    name: OwnedServerName,
}

impl Phone {
    async fn open(path: std::path::PathBuf, secret: u8, user: &str) -> Self {
        let local = LocalServer::new(&[secret; 32]);
        let name = local.name.clone();
        let wire = Arc::new(Wire::default());
        wire.own.set(name.clone()).unwrap();
        let ports = Ports { transport: wire.clone(), clock: Arc::new(WallClock), random: Arc::new(SystemRandom) };
        let media = MediaConfig::folder(path.with_extension("media"));
        let config = Config { local, store: StoreConfig::file(path), media, registration: Registration::Open };
        let server = Homeserver::open(config, ports).unwrap();
        server.start();
        let client = server.client_router();
        let mut phone = Self { server, client, wire, token: String::new(), name };
        let body = json!({ "username": user, "password": "bench", "auth": { "type": "m.login.dummy" } });
        let answer = phone.request("POST", "/_matrix/client/v3/register", &body).await;
        phone.token = answer["access_token"].as_str().expect("a token").to_owned();
        phone
    }

    async fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = call(self.client.clone(), request, None).await;
        let status = response.status();
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    async fn create(&self) -> String {
        let body = json!({ "preset": "public_chat" });
        self.request("POST", "/_matrix/client/v3/createRoom", &body).await["room_id"].as_str().unwrap().to_owned()
    }

    async fn say(&self, room: &str, txn: &str) {
        let body = json!({ "msgtype": "m.text", "body": format!("a message of ordinary length, number {txn}") });
        self.request("PUT", &format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{txn}"), &body).await;
    }
}

fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with("write_bytes:")).unwrap();
    line.trim_start_matches("write_bytes:").trim().parse().unwrap()
}

fn percentile(times: &mut [Duration], of: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * of / 100]
}

async fn alone(phone: &Phone, room: &str) {
    let mut times = Vec::new();
    for number in 0..300 {
        let started = Instant::now();
        phone.say(room, &format!("alone{number}")).await;
        times.push(started.elapsed());
    }
    println!("durable send, alone: p50 {:?}, p99 {:?}", percentile(&mut times, 50), percentile(&mut times, 99));
}

async fn crowd(phone: &Phone, room: &str, senders: usize, each: usize) {
    let (written, started) = (written_bytes(), Instant::now());
    let mut tasks = Vec::new();
    for sender in 0..senders {
        let (phone, room) = (phone.clone(), room.to_owned());
        tasks.push(tokio::spawn(async move {
            for number in 0..each {
                phone.say(&room, &format!("crowd{sender}-{number}")).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let (count, elapsed) = ((senders * each) as f64, started.elapsed().as_secs_f64());
    let kilobytes = (written_bytes() - written) as f64 / 1024.0 / count;
    println!(
        "durable send, {senders} senders: {:.0} messages/s, {kilobytes:.1} KB written per message",
        count / elapsed
    );
}

/// Transactions that the first phone recorded, replayed into the second.
async fn receive(from: &Phone, to: &Phone, room: &str, count: usize) {
    // The events gather while the wire is cut, so that they travel in full transactions.
    from.wire.cut.store(true, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for sender in 0..16 {
        let (phone, room) = (from.clone(), room.to_owned());
        tasks.push(tokio::spawn(async move {
            for number in 0..count / 16 {
                phone.say(&room, &format!("receive{sender}-{number}")).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    from.wire.record.store(true, Ordering::SeqCst);
    from.server.peer_seen(&to.name);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let recorded: Vec<_> = from.wire.recorded.lock().unwrap().drain(..).collect();
    from.wire.record.store(false, Ordering::SeqCst);
    from.wire.cut.store(false, Ordering::SeqCst);
    let (mut pdus, transactions) = (0, recorded.len());
    let started = Instant::now();
    for request in recorded {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        pdus += body["pdus"].as_array().map_or(0, Vec::len);
        let response = call(to.server.federation_router(), request, Some(from.name.clone())).await;
        assert!(response.status().is_success(), "{response:?}");
    }
    let rate = pdus as f64 / started.elapsed().as_secs_f64();
    println!("receiving: {rate:.0} PDUs/s ({pdus} PDUs in {transactions} transactions)");
}

async fn catch_up(from: &Phone, to: &Phone, room: &str, missed: usize) {
    from.wire.cut.store(true, Ordering::SeqCst);
    to.wire.cut.store(true, Ordering::SeqCst);
    for number in 0..missed {
        from.say(room, &format!("missed{number}")).await;
    }
    from.say(room, "last").await;
    from.wire.cut.store(false, Ordering::SeqCst);
    to.wire.cut.store(false, Ordering::SeqCst);
    let started = Instant::now();
    from.server.peer_seen(&to.name);
    to.server.peer_seen(&from.name);
    loop {
        let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1");
        let answer = to.request("GET", &path, &json!({})).await;
        if answer["chunk"][0]["content"]["body"].as_str().is_some_and(|body| body.ends_with("number last")) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "never caught up: {answer}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{missed} missed events caught up in {:?}", started.elapsed());
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let ana = Phone::open(dir.path().join("ana.redb"), 1, "ana").await;
        let ben = Phone::open(dir.path().join("ben.redb"), 2, "ben").await;
        let room = ana.create().await;
        alone(&ana, &room).await;
        crowd(&ana, &room, 16, 250).await;
        ana.wire.other.set((ben.name.clone(), ben.server.federation_router())).unwrap();
        ben.wire.other.set((ana.name.clone(), ana.server.federation_router())).unwrap();
        ben.request("POST", &format!("/_matrix/client/v3/join/{room}?via={}", ana.name), &json!({})).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        receive(&ana, &ben, &room, 8_000).await;
        catch_up(&ana, &ben, &room, 1_000).await;
        // The queue may still be telling what the catch-up fetched by itself.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = ana.wire.requests.load(Ordering::Relaxed) + ben.wire.requests.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let after = ana.wire.requests.load(Ordering::Relaxed) + ben.wire.requests.load(Ordering::Relaxed);
        println!("idle and converged: {} federation requests in 10 s", after - before);
    });
}

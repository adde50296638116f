//! Answers that stream: larger than memory, beside everything else, and given up without a trace.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use hearth_core::{
    home::Registration,
    media::{self, NewMedia},
    ports::{BodyStream, Ports},
    server::{Config, Homeserver, MediaConfig, StoreConfig},
    types::LocalServer,
};

use super::*;
use crate::host::{SystemClock, SystemRandom};

const FILM_BYTES: usize = 96 << 20;

/// A homeserver on a mesh.
struct Phone {
    server: Homeserver,
    mesh: Mesh,
    _events: mpsc::Receiver<PeerEvent>,
    _directory: tempfile::TempDir,
}

impl Phone {
    async fn start() -> Self {
        let (secret, directory) = (secret(), tempfile::tempdir().unwrap());
        let (mesh, events) = Mesh::start(config(secret, Discovery::Off)).await.unwrap();
        let ports = Ports { transport: mesh.transport(), clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
        let config = Config {
            local: LocalServer::new(&secret),
            store: StoreConfig::file(directory.path().join("hearth.redb")),
            media: MediaConfig::folder(directory.path().join("media")),
            registration: Registration::Open,
        };
        let server = Homeserver::open(config, ports).unwrap();
        mesh.serve(server.federation_router());
        Self { server, mesh, _events: events, _directory: directory }
    }
}

async fn stream_of(from: &Mesh, to: &OwnedServerName, path: &str) -> Result<BodyStream, TransportError> {
    let request = http::Request::get(path).body(Bytes::new()).unwrap();
    Ok(from.transport().stream(to, request).await?.into_body())
}

/// A film of no size in memory: each piece has a number in it, so that none can stand for another.
fn film() -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + Unpin {
    const PIECE: usize = 64 << 10;
    let piece = |number: usize| Ok(Bytes::from([&number.to_le_bytes()[..], &[7; PIECE - 8]].concat()));
    stream::iter((0..FILM_BYTES / PIECE).map(piece))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_film_comes_over_quic_in_little_memory_and_holds_nobody_up() {
    let (ana, ben) = (Phone::start().await, Phone::start().await);
    introduce(&ben.mesh, &ana.mesh).await;
    let user = ana.server.home().server_name().to_string();
    let user = ruma::UserId::parse(format!("@ana:{user}")).unwrap();
    let uri = media::store_file(ana.server.home(), &user, film(), NewMedia::default(), |_| {}).await.unwrap();
    // Connected, and warm.
    let name = ana.mesh.server_name().clone();
    let ask = async || ask_up_to(&ben.mesh, &name, "/_matrix/federation/v1/version", 10_000).await.unwrap();
    ask().await;
    let before = hostile::resident_kib();
    let home = ben.server.home().clone();
    let fetch = tokio::spawn({
        let uri = uri.clone();
        async move { media::fetch_with_progress(&home, &uri, Duration::from_secs(20), |_| {}).await }
    });
    let (mut slowest, mut asked, mut most) = (Duration::ZERO, 0, before);
    while !fetch.is_finished() {
        let started = Instant::now();
        ask().await;
        (slowest, asked) = (slowest.max(started.elapsed()), asked + 1);
        most = most.max(hostile::resident_kib());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fetch.await.unwrap().unwrap();
    assert!(asked > 5, "the fetch was too quick to say anything: {asked}");
    let grown = most - before;
    // Other tests of this process take memory at the same time; held whole on either side, the film would take more.
    assert!(grown < (FILM_BYTES >> 10) * 9 / 10, "{grown} KiB more for a film of {} KiB", FILM_BYTES >> 10);
    assert!(slowest < Duration::from_secs(1), "an event beside the film took {slowest:?}");
    // The same film.
    let opened = media::open(ben.server.home(), &uri, Duration::ZERO).await.unwrap();
    assert_eq!(opened.len, FILM_BYTES as u64);
    let same = opened.into_stream().zip(film()).all(|(one, two)| async move { one.unwrap() == two.unwrap() });
    assert!(same.await);
}

#[tokio::test]
async fn films_that_nobody_watches_hold_no_event_up_and_give_their_turns_back() {
    let (alice, _alices) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    let endless =
        async || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 64 << 10]))));
    bob.serve(Router::new().route("/film", get(endless)).route("/who", get(async || "well")));
    introduce(&alice, &bob).await;
    // Three films whose windows are full.
    let mut films = Vec::new();
    for _ in 0..3 {
        let mut film = stream_of(&alice, bob.server_name(), "/film").await.unwrap();
        film.next().await.unwrap().unwrap();
        films.push(film);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..20 {
        let event = timeout(Duration::from_secs(1), ask(&alice, bob.server_name()));
        assert_eq!(event.await.expect("events have their own lane").unwrap(), "well");
    }
    let fourth = timeout(Duration::from_millis(200), stream_of(&alice, bob.server_name(), "/film"));
    assert!(fourth.await.is_err(), "a fourth film waits for its turn");
    drop(films.pop());
    let fourth = timeout(Duration::from_secs(5), stream_of(&alice, bob.server_name(), "/film"));
    assert!(fourth.await.expect("a turn came back").is_ok());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_body_that_ended() {
    let (alice, _alices) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    let piece = || Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20]));
    let whole = async move || Body::from_stream(stream::iter((0..70).map(move |_| piece())));
    let broken = async move || Body::from_stream(stream::iter([piece(), piece(), Err(std::io::Error::other("fell"))]));
    bob.serve(Router::new().route("/whole", get(whole)).route("/broken", get(broken)));
    introduce(&alice, &bob).await;
    // Larger than any answer in memory may be.
    let whole = stream_of(&alice, bob.server_name(), "/whole").await.unwrap();
    let bytes = whole.try_fold(0, |bytes, piece| std::future::ready(Ok(bytes + piece.len()))).await.unwrap();
    assert_eq!(bytes, 70 << 20);
    let broken = stream_of(&alice, bob.server_name(), "/broken").await.unwrap();
    let ended: Result<Vec<Bytes>, _> = broken.try_collect().await;
    assert!(matches!(ended, Err(TransportError::Broken { .. })), "{ended:?}");
}

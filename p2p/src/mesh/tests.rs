//! Real sockets on 127.0.0.1: nodes that find each other, crowd each other, die and come back, and one that is hostile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod media;
mod power;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    routing::{any, get},
};
use bytes::Bytes;
use hearth_core::ports::{PeerServer, TransportError};
use libp2p::Multiaddr;
use ruma::OwnedServerName;
use tokio::{sync::mpsc, time::timeout};

use super::{Mesh, MeshConfig, PeerEvent};
use crate::{Discovery, Power, addresses::split_peer};

/// A secret that no other test has, because all of them share one loopback.
fn secret() -> [u8; 32] {
    rand::random()
}

fn config(secret: [u8; 32], discovery: Discovery) -> MeshConfig {
    let listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    MeshConfig { secret, listen, peers: vec![], discovery, power: Power::Foreground }
}

/// A node that answers `/who` with the name of the one who asks.
async fn node(discovery: Discovery) -> (Mesh, mpsc::Receiver<PeerEvent>) {
    let (mesh, events) = Mesh::start(config(secret(), discovery)).await.unwrap();
    mesh.serve(Router::new().route("/who", get(|peer: Extension<PeerServer>| async move { peer.0.0.to_string() })));
    (mesh, events)
}

async fn introduce(from: &Mesh, to: &Mesh) {
    for address in to.listen_addresses().await {
        from.add_address(address);
    }
}

async fn ask_up_to(from: &Mesh, to: &OwnedServerName, path: &str, bytes_max: usize) -> Result<Bytes, TransportError> {
    let request = http::Request::get(path).body(Bytes::new()).unwrap();
    let response = from.transport().request(to, request, bytes_max).await?;
    assert_eq!(response.status(), 200);
    Ok(response.into_body())
}

async fn ask(from: &Mesh, to: &OwnedServerName) -> Result<Bytes, TransportError> {
    ask_up_to(from, to, "/who", 1024).await
}

async fn seen(events: &mut mpsc::Receiver<PeerEvent>, peer: &Mesh) {
    let wanted = PeerEvent::Seen(peer.server_name().clone());
    while events.recv().await.expect("the mesh runs") != wanted {}
}

#[tokio::test]
async fn two_nodes_find_each_other_on_loopback_and_talk() {
    let (alice, mut alices) = node(Discovery::Loopback).await;
    let (bob, mut bobs) = node(Discovery::Loopback).await;
    let found = async {
        seen(&mut alices, &bob).await;
        seen(&mut bobs, &alice).await;
    };
    timeout(Duration::from_secs(2), found).await.expect("found within 2 s");
    assert_eq!(ask(&alice, bob.server_name()).await.unwrap(), alice.server_name().as_str());
    assert_eq!(ask(&bob, alice.server_name()).await.unwrap(), bob.server_name().as_str());

    // A clean end is noticed at once, and a new start of the same node as well.
    let gone = PeerEvent::Gone(bob.server_name().clone());
    bob.stop().await;
    let noticed = async { while alices.recv().await.expect("the mesh runs") != gone {} };
    timeout(Duration::from_secs(1), noticed).await.expect("the end is noticed");
    alice.stop().await;
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_all_answered_eight_at_a_time() {
    let (alice, _alices) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (here, peak) = (running.clone(), most.clone());
    bob.serve(Router::new().route(
        "/who",
        get(async move || {
            peak.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            here.fetch_sub(1, Ordering::SeqCst);
            "well"
        }),
    ));
    introduce(&alice, &bob).await;
    let asks = (0..100).map(|_| ask(&alice, bob.server_name()));
    let answers = timeout(Duration::from_secs(20), futures::future::join_all(asks)).await.expect("none hangs");
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == "well"));
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn requests_to_three_unconnected_peers_go_out_together() {
    // libp2p-stream's dial queue lost two of three such requests.
    let (alice, _alices) = node(Discovery::Off).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let (other, events) = node(Discovery::Off).await;
        introduce(&alice, &other).await;
        others.push((other, events));
    }
    let asks = others.iter().map(|(other, _)| ask(&alice, other.server_name()));
    let answers = timeout(Duration::from_secs(5), futures::future::join_all(asks)).await.expect("none hangs");
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == alice.server_name().as_str()));
}

#[tokio::test]
async fn a_node_that_speaks_tcp_only_is_reached_as_well() {
    let (alice, _alices) = node(Discovery::Off).await;
    let mut tcp_only = config(secret(), Discovery::Off);
    tcp_only.listen.remove(0);
    let (bob, _bobs) = Mesh::start(tcp_only).await.unwrap();
    bob.serve(Router::new().route("/who", get(async || "well")));
    introduce(&alice, &bob).await;
    let large = vec![b'x'; 3_000_000];
    let request = http::Request::put("/who").body(Bytes::from(large)).unwrap();
    let refused = alice.transport().request(bob.server_name(), request, 1024).await.unwrap();
    assert_eq!(refused.status(), 405);
    assert_eq!(ask(&alice, bob.server_name()).await.unwrap(), "well");
    let peers = alice.peers().await;
    assert_eq!(peers.first().unwrap().transport, Some("tcp"));
}

#[test]
fn a_killed_peer_that_returns_elsewhere_is_reachable_within_a_second() {
    // Its old connection is dead but will not time out for a minute, and a request hangs on it.
    let bobs_secret = secret();
    let start = |runtime: &tokio::runtime::Runtime| {
        runtime.block_on(async {
            let (bob, events) = Mesh::start(config(bobs_secret, Discovery::Off)).await.unwrap();
            bob.serve(Router::new().route("/who", get(async || "well")));
            let addresses = bob.listen_addresses().await;
            (bob, events, addresses)
        })
    };
    let first = tokio::runtime::Runtime::new().unwrap();
    let here = tokio::runtime::Runtime::new().unwrap();
    let (bob, _bobs, addresses) = start(&first);
    let (alice, mut alices) = here.block_on(node(Discovery::Off));
    addresses.into_iter().for_each(|address| alice.add_address(address));
    assert_eq!(here.block_on(ask(&alice, bob.server_name())).unwrap(), "well");
    // TCP would tell of the death at once, QUIC cannot.
    assert_eq!(here.block_on(alice.peers()).first().unwrap().transport, Some("quic"));
    first.shutdown_background();
    std::thread::sleep(Duration::from_millis(200));
    while alices.try_recv().is_ok() {}
    let hanging = here.spawn({
        let (alice, name) = (alice.clone(), bob.server_name().clone());
        async move { ask(&alice, &name).await }
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(!hanging.is_finished(), "the connection is dead, but nobody knows yet");

    let second = tokio::runtime::Runtime::new().unwrap();
    let (again, _events, addresses) = start(&second);
    let returned = Instant::now();
    addresses.into_iter().for_each(|address| alice.add_address(address));
    let seen = async { timeout(Duration::from_secs(5), seen(&mut alices, &again)).await };
    here.block_on(seen).expect("bob is seen again");
    assert_eq!(here.block_on(ask(&alice, again.server_name())).unwrap(), "well");
    // The request that hung was only waiting for its stream, so it found the new connection too.
    assert_eq!(here.block_on(hanging).unwrap().unwrap(), "well");
    assert!(returned.elapsed() < Duration::from_secs(1), "{:?}", returned.elapsed());
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_given_up_while_it_streams() {
    let (alice, _alices) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let endless = move || {
        let count = count.clone();
        let piece = move || {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from(vec![0; 64 << 10]))
        };
        async move { Body::from_stream(futures::stream::repeat_with(piece)) }
    };
    bob.serve(Router::new().route("/endless", get(endless)).route("/large", get(async || vec![0; 100_000])));
    introduce(&alice, &bob).await;
    for path in ["/endless", "/large"] {
        let answer = ask_up_to(&alice, bob.server_name(), path, 90_000).await;
        assert!(matches!(answer, Err(TransportError::TooLarge { limit: 90_000, .. })), "{answer:?}");
    }
    // The windows of the stream and what the two ends buffer, and nothing beyond.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let pieces = sent.load(Ordering::SeqCst);
    assert!(pieces < 64, "{pieces} pieces of 64 KiB were sent into a stream that nobody reads");
}

#[tokio::test]
async fn a_request_that_is_given_up_gives_its_turn_back() {
    let (alice, _alices) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    let slow = get(async || tokio::time::sleep(Duration::from_millis(300)).await);
    bob.serve(Router::new().route("/slow", slow).route("/who", get(async || "well")));
    introduce(&alice, &bob).await;
    for _ in 0..20 {
        let given_up = timeout(Duration::from_millis(50), ask_up_to(&alice, bob.server_name(), "/slow", 10));
        drop(given_up.await);
    }
    assert_eq!(ask(&alice, bob.server_name()).await.unwrap(), "well");
}

#[tokio::test]
async fn an_address_where_somebody_else_lives_leads_nowhere() {
    let (alice, mut alices) = node(Discovery::Off).await;
    let (mallory, _mallorys) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    let bobs_id = split_peer(bob.listen_addresses().await.first().unwrap().clone()).1.unwrap();
    for address in mallory.listen_addresses().await {
        let lie: Multiaddr = split_peer(address).0.with(libp2p::multiaddr::Protocol::P2p(bobs_id));
        alice.add_address(lie);
    }
    let answer = ask(&alice, bob.server_name()).await;
    assert!(matches!(answer, Err(TransportError::Unreachable { .. })), "{answer:?}");
    assert!(alices.try_recv().is_err(), "nobody was seen");
    // The truth, when it comes, is not in the way of the lie.
    introduce(&alice, &bob).await;
    timeout(Duration::from_secs(1), seen(&mut alices, &bob)).await.expect("bob is seen");
    assert_eq!(ask(&alice, bob.server_name()).await.unwrap(), alice.server_name().as_str());
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_at_once() {
    let (alice, _alices) = node(Discovery::Off).await;
    let nobody = hearth_core::types::LocalServer::new(&secret()).name;
    let answer = timeout(Duration::from_millis(500), ask(&alice, &nobody)).await.unwrap();
    assert!(matches!(answer, Err(TransportError::Unreachable { .. })), "{answer:?}");
    let dns = ask(&alice, &"example.org".try_into().unwrap()).await;
    assert!(matches!(dns, Err(TransportError::Unreachable { .. })), "{dns:?}");
    alice.stop().await;
    let stopped = ask(&alice, &nobody).await;
    assert!(matches!(stopped, Err(TransportError::Unreachable { .. })), "{stopped:?}");
}

#[tokio::test]
async fn a_taken_port_is_told_at_the_start() {
    let (alice, _alices) = node(Discovery::Off).await;
    for address in alice.listen_addresses().await {
        let mut taken = config(secret(), Discovery::Off);
        taken.listen = vec![split_peer(address.clone()).0];
        assert!(matches!(Mesh::start(taken).await, Err(super::MeshError::Listen { .. })), "{address}");
    }
}

#[tokio::test]
async fn a_request_that_its_peer_restarts_under_is_asked_again_if_that_can_do_no_harm() {
    let (alice, mut alices) = node(Discovery::Off).await;
    let key = secret();
    let (old, _olds) = Mesh::start(config(key, Discovery::Off)).await.unwrap();
    let (arrived, mut arrivals) = mpsc::channel(2);
    let never = any(async move || {
        arrived.send(()).await.unwrap();
        std::future::pending::<()>().await
    });
    old.serve(Router::new().route("/who", never));
    introduce(&alice, &old).await;
    seen(&mut alices, &old).await;
    let asked = |method: http::Method| {
        let (transport, name) = (alice.transport(), old.server_name().clone());
        tokio::spawn(async move {
            let request = http::Request::builder().method(method).uri("/who").body(Bytes::new()).unwrap();
            transport.request(&name, request, 1024).await.map(http::Response::into_body)
        })
    };
    let (read, written) = (asked(http::Method::GET), asked(http::Method::POST));
    for _ in 0..2 {
        arrivals.recv().await.unwrap();
    }
    let (new, _news) = Mesh::start(config(key, Discovery::Off)).await.unwrap();
    new.serve(Router::new().route("/who", any(async || "the new one")));
    introduce(&new, &alice).await;
    assert_eq!(read.await.unwrap().unwrap(), "the new one");
    let error = written.await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");
}

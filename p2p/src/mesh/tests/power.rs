//! What a node spends while nothing is said, and that it costs no message.

use super::*;

/// Longer than a connection to one that rests may live without a request, and longer than a peer that is lost would wait
/// before it is dialled again.
const A_WHILE: Duration = Duration::from_secs(8);

async fn gone(events: &mut mpsc::Receiver<PeerEvent>, peer: &Mesh) {
    let wanted = PeerEvent::Gone(peer.server_name().clone());
    while events.recv().await.expect("the mesh runs") != wanted {}
}

async fn found(events: &mut mpsc::Receiver<PeerEvent>, peer: &Mesh) -> bool {
    timeout(Duration::from_secs(2), seen(events, peer)).await.is_ok()
}

/// Whether a mesh believes that its only peer rests.
async fn believes_that_it_rests(mesh: &Mesh) -> bool {
    mesh.peers().await.iter().all(|peer| peer.rests)
}

#[tokio::test]
async fn a_node_that_rests_is_left_alone_until_there_is_something_to_say() {
    let (alice, mut alices) = node(Discovery::Off).await;
    let (bob, mut bobs) = node(Discovery::Off).await;
    introduce(&alice, &bob).await;
    introduce(&bob, &alice).await;
    seen(&mut alices, &bob).await;
    seen(&mut bobs, &alice).await;

    bob.set_power(Power::Low).await;
    timeout(A_WHILE, gone(&mut alices, &bob)).await.expect("the connection ends when nobody uses it");
    timeout(A_WHILE, gone(&mut bobs, &alice)).await.expect("it ends on both sides");
    assert!(believes_that_it_rests(&alice).await);
    assert!(!found(&mut alices, &bob).await && bobs.try_recv().is_err(), "neither calls with nothing to say");

    // Whatever the last stream was, its end does not keep the connection.
    for round in 0..3 {
        let (from, to) = if round == 1 { (&bob, &alice) } else { (&alice, &bob) };
        assert_eq!(ask(from, to.server_name()).await.unwrap(), from.server_name().as_str());
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(ask(&bob, alice.server_name()).await.unwrap(), bob.server_name().as_str());
    timeout(A_WHILE, gone(&mut alices, &bob)).await.expect("it ends again");

    bob.set_power(Power::Foreground).await;
    assert!(found(&mut alices, &bob).await, "whoever wakes calls those whom it knows");
    let told = async {
        while believes_that_it_rests(&alice).await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(2), told).await.expect("and says that it is awake");
    assert!(timeout(A_WHILE, gone(&mut alices, &bob)).await.is_err(), "the connection is kept again");
}

#[tokio::test]
async fn one_that_begins_to_rest_says_so_on_the_connections_that_it_has() {
    let (alice, mut alices) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    introduce(&alice, &bob).await;
    seen(&mut alices, &bob).await;
    bob.set_power(Power::Low).await;
    let told = async {
        while !believes_that_it_rests(&alice).await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(2), told).await.expect("it is told while connected");
    // Whoever changes its mind before the connection has ended keeps it.
    bob.set_power(Power::Background).await;
    assert!(timeout(A_WHILE, gone(&mut alices, &bob)).await.is_err(), "the connection is kept");
}

#[tokio::test]
async fn in_the_background_a_node_is_found_and_does_not_search() {
    let (alice, mut alices) = node(Discovery::Loopback).await;
    alice.set_power(Power::Background).await;
    let (bob, mut bobs) =
        Mesh::start(MeshConfig { power: Power::Background, ..config(secret(), Discovery::Loopback) }).await.unwrap();
    // Other tests announce themselves here, too.
    assert!(!found(&mut alices, &bob).await && !found(&mut bobs, &alice).await, "nobody searches");
    bob.set_power(Power::Foreground).await;
    assert!(found(&mut bobs, &alice).await, "both announce themselves");
    // The search can be ended and begun again.
    bob.set_power(Power::Background).await;
    let (carol, _carols) = node(Discovery::Loopback).await;
    carol.set_power(Power::Background).await;
    bob.set_power(Power::Foreground).await;
    assert!(found(&mut bobs, &carol).await, "the search goes on");
}

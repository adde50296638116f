//! A raw libp2p peer that opens streams without end.

use std::time::Duration;

use libp2p::{PeerId, StreamProtocol, Swarm, SwarmBuilder, swarm::dial_opts::DialOpts};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::streams::{Admission, Inbound, Lane, Open, Streams};

/// Our own stream behaviour without anything that holds it back: it is the client side that is honest, not the behaviour.
fn raw() -> (Swarm<Streams>, mpsc::Receiver<Inbound>) {
    let (accept, inbound) = mpsc::channel(1);
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic()
        .with_behaviour(|_| Streams::new(accept, Admission::new(), false))
        .unwrap()
        .build();
    (swarm, inbound)
}

/// What this process holds in memory, in KiB.
pub(super) fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Opens `count` streams, a few at a time, each with the start of a request that never ends; holds on to all it gets.
async fn flood(mut swarm: Swarm<Streams>, peer: PeerId, count: usize, opened: oneshot::Sender<usize>) {
    let (mut held, mut asked, mut wishes) = (Vec::new(), 0, futures::stream::FuturesUnordered::new());
    let mut opened = Some(opened);
    loop {
        while asked < count && wishes.len() < 32 {
            let (asker, answer) = oneshot::channel();
            let _must_dial = swarm.behaviour_mut().open(peer, Open { lane: Lane::Events, asker });
            wishes.push(answer);
            asked += 1;
        }
        tokio::select! {
            _ = futures::StreamExt::select_next_some(&mut swarm) => {}
            Some(answer) = futures::StreamExt::next(&mut wishes), if !wishes.is_empty() => {
                if let Ok(Ok(mut stream)) = answer {
                    drop(futures::AsyncWriteExt::write(&mut stream, b"PUT /who HTTP/1.1\r\n").await);
                    // Held until it is refused; then it makes room for the next one.
                    held.push(stream);
                    if held.len() > 40 {
                        held.remove(0);
                    }
                }
                if asked == count && wishes.is_empty() && let Some(opened) = opened.take() {
                    opened.send(asked).unwrap();
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_streams_cost_little_and_others_are_served() {
    assert_eq!(Lane::Events.protocol(), StreamProtocol::new("/hearth/fed/1"));
    let (alice, _alices) = node(Discovery::Off).await;
    let (bob, _bobs) = node(Discovery::Off).await;
    introduce(&alice, &bob).await;
    ask(&alice, bob.server_name()).await.unwrap();
    let before = resident_kib();

    let (address, peer) = split_peer(bob.listen_addresses().await.into_iter().next().unwrap());
    let (mut swarm, _inbound) = raw();
    swarm.dial(DialOpts::peer_id(peer.unwrap()).addresses(vec![address]).build()).unwrap();
    let (opened, all_opened) = oneshot::channel();
    let flood = tokio::spawn(flood(swarm, peer.unwrap(), 10_000, opened));
    tokio::pin!(all_opened);
    let mut slowest = Duration::ZERO;
    let give_up = Instant::now() + Duration::from_secs(60);
    let opened = loop {
        assert!(Instant::now() < give_up, "the flood has stuck");
        tokio::select! {
            opened = &mut all_opened => break opened.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                let asked = Instant::now();
                ask(&alice, bob.server_name()).await.expect("alice is served in the middle of it");
                slowest = slowest.max(asked.elapsed());
            }
        }
    };
    assert_eq!(opened, 10_000);
    let grown = resident_kib().saturating_sub(before);
    flood.abort();
    assert!(grown < 32 << 10, "{grown} KiB more for streams that nobody wants");
    assert!(slowest < Duration::from_secs(2), "an honest request took {slowest:?}");
}

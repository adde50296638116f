//! A film on its way through a bad evening: links that break, a phone whose battery falls out. It arrives, whole, and what
//! had come of it over a broken link does not travel again.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{TryStreamExt, stream};
use hearth_core::media::{self, MediaError, NewMedia, Progress};
use hearth_tests::sim::{World, run};
use rand::Rng;
use ruma::OwnedMxcUri;
use tokio::time::{sleep, timeout};

const FILM_BYTES: usize = 4 << 20;
const WAIT: Duration = Duration::from_secs(20);

fn film() -> Vec<u8> {
    (0..FILM_BYTES / 4).flat_map(|n| (n as u32).to_le_bytes()).collect()
}

/// Fetches on bob's phone until the film is there or the fetch ends, and answers what the first progress and the end were.
async fn fetch(world: &World, uri: &OwnedMxcUri) -> (Option<Progress>, Result<(), MediaError>) {
    let first = Arc::new(Mutex::new(None));
    let told = first.clone();
    let home = world.phones[1].server().unwrap().home().clone();
    let progress = move |now| {
        told.lock().unwrap().get_or_insert(now);
    };
    let outcome = media::fetch_with_progress(&home, uri, WAIT, progress).await;
    let first = *first.lock().unwrap();
    (first, outcome)
}

/// One evening; answers the trace of it and the tries that it took.
async fn evening(seed: u64) -> (u64, u32) {
    let world = World::new(seed, 2);
    let people = world.people().await;
    let alice = world.phones[0].server().unwrap();
    let source = film().chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
    let stored = media::store_file(alice.home(), &people[0].user, stream::iter(source), NewMedia::default(), |_| {});
    let uri = stored.await.unwrap();
    let mut chance = world.random(7);
    let (mut tries, mut furthest) = (0, 0);
    loop {
        tries += 1;
        let before_it_breaks = Duration::from_millis(chance.random_range(100..300));
        let breaks = async {
            sleep(before_it_breaks).await;
            world.net.cut(0, 1);
        };
        let ((first, outcome), ()) = tokio::join!(fetch(&world, &uri), breaks);
        world.net.heal();
        if let Some(first) = first.filter(|first| first.done < FILM_BYTES as u64) {
            assert!(first.done > furthest, "try {tries} began anew: {first:?}, and {furthest} bytes were here");
            furthest = first.done;
        }
        match outcome {
            Ok(()) => break,
            Err(MediaError::Unreachable(_)) => {}
            Err(other) => panic!("{other}"),
        }
        if tries == 3 {
            // What was not synced is gone, so this one does begin anew.
            world.phones[1].kill();
            world.phones[1].start();
            furthest = 0;
        }
        assert!(tries < 50, "it never arrives");
    }
    let bob = world.phones[1].server().unwrap();
    let opened = media::open(bob.home(), &uri, Duration::ZERO).await.unwrap();
    let shown: Vec<Bytes> = opened.into_stream().try_collect().await.unwrap();
    assert!(shown.concat() == film(), "another film than was sent");
    // It survives the battery now, without alice.
    world.phones[1].kill();
    world.phones[0].kill();
    world.phones[1].start();
    let bob = world.phones[1].server().unwrap();
    let opened = timeout(Duration::from_secs(1), media::open(bob.home(), &uri, WAIT)).await.unwrap().unwrap();
    assert_eq!(opened.len, FILM_BYTES as u64);
    (world.net.trace(), tries)
}

#[test]
fn a_film_arrives_over_links_that_break_and_the_same_seed_is_the_same_evening() {
    for seed in 1..=5 {
        let (trace, tries) = run(evening(seed));
        assert!(tries > 3, "nothing broke in seed {seed}");
        assert_eq!(run(evening(seed)), (trace, tries), "seed {seed}");
    }
}

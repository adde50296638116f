//! Seeded troubles: links come and go, phones are switched off and batteries fall out while people talk, one of them is
//! invited while away. Once everybody has met again, everybody reads everything, and whatever was said to have arrived had.

use std::collections::BTreeSet;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use ruma::{OwnedEventId, RoomId};

use super::super::testing::{Net, Phone, people, settle};
use crate::{
    outbox::{self, Delivery},
    store::Stored,
};

const SEEDS: u64 = 8;
const STEPS: usize = 40;

/// Every claim of a delivery is held against the other phone's own store.
fn check_claims(phones: &[Phone], said: &[(usize, OwnedEventId)], seed: u64) {
    for (speaker, event) in said {
        let view = phones[*speaker].home().store.snapshot().unwrap();
        let Some(stored) = Stored::by_id(&view, event).unwrap() else { continue };
        for (server, delivery) in outbox::deliveries(&view, stored.header.n).unwrap() {
            let name = server.name(&view).unwrap();
            let Some(other) = phones.iter().find(|phone| phone.name() == name) else { continue };
            let theirs = other.home().store.snapshot().unwrap();
            let has = Stored::find(&theirs, event).unwrap().is_some();
            assert!(delivery != Delivery::Taken || has, "seed {seed}: {event} is said to be on {name}");
        }
    }
}

fn link_all(net: &Net, phones: &[Phone]) {
    for (index, phone) in phones.iter().enumerate() {
        for other in &phones[..index] {
            net.link(phone, other);
        }
    }
}

async fn everybody_reads(phones: &[Phone], room: &RoomId, wanted: &BTreeSet<String>, seed: u64) {
    for phone in phones {
        let texts = phone.texts(room).await;
        assert!(!texts.iter().any(|text| text == "?"), "seed {seed}: {} cannot read all of {texts:?}", phone.user);
        let read: BTreeSet<String> = texts.into_iter().collect();
        let missing: Vec<_> = wanted.difference(&read).collect();
        assert!(missing.is_empty(), "seed {seed}: {} lacks {missing:?}", phone.user);
    }
}

async fn run(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pick = move |below: usize| usize::try_from(rng.next_u64() % below as u64).unwrap();
    let net = Net::new();
    let mut phones: Vec<Phone> = people(&net, ["alice", "bob", "carol", "dave"]).await.into();
    let room = phones[0].create("shared").await;
    for guest in 1..3 {
        phones[0].bring(&room, &phones[guest]).await;
    }
    let (mut said, mut wanted, mut invited) = (Vec::new(), BTreeSet::new(), false);
    for step in 0..STEPS {
        let (one, two) = (pick(3), pick(4));
        match pick(10) {
            0..4 => {
                let text = format!("{seed}.{step}");
                said.push((one, phones[one].say(&room, &text).await));
                wanted.insert(text);
            }
            4 | 5 if one != two => net.cut(&phones[one], &phones[two]),
            6 | 7 if one != two => net.link(&phones[one], &phones[two]),
            8 => {
                let phone = phones.remove(one);
                let phone = if pick(2) == 0 { phone.crash().await } else { phone.reboot().await };
                phones.insert(one, phone);
            }
            9 if !invited => {
                // Dave is away while he is asked in, and what is said to him meanwhile is for him too.
                net.cut(&phones[0], &phones[3]);
                phones[0].invite(&room, &phones[3]).await;
                invited = true;
            }
            _ => tokio::time::sleep(std::time::Duration::from_secs(3_600)).await,
        }
    }
    link_all(&net, &phones);
    settle().await;
    if !invited {
        phones[0].invite(&room, &phones[3]).await;
        settle().await;
    }
    phones[3].join(&room, &phones[0]).await;
    for minute in 0..30 {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        // One word more of each tells the others what they lack.
        if minute == 2 {
            for (speaker, phone) in phones.iter().enumerate() {
                said.push((speaker, phone.say(&room, &format!("{seed} last {speaker}")).await));
                wanted.insert(format!("{seed} last {speaker}"));
            }
        }
    }
    check_claims(&phones, &said, seed);
    everybody_reads(&phones[..3], &room, &wanted, seed).await;
    let since: BTreeSet<String> = wanted.iter().filter(|text| text.contains("last")).cloned().collect();
    everybody_reads(&phones[3..], &room, &since, seed).await;
}

#[tokio::test(start_paused = true)]
async fn after_any_troubles_everybody_reads_everything() {
    for seed in 0..SEEDS {
        run(seed).await;
    }
}

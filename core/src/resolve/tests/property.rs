//! Reduced resolution is full resolution, on random histories of room versions 11 and 12.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use ruma::RoomVersionId;

use super::{
    history::{History, State, Step},
    oracle::{answer, full, reduced, split, subgraph_of},
};
use crate::resolve::Bits;

/// The rooms before anything random happens: version 11 and 12, small and with several hundred members.
static ROOMS: LazyLock<[History; 4]> = LazyLock::new(|| {
    let room = |version: RoomVersionId, guests| History::new(&version, guests);
    [
        room(RoomVersionId::V11, 0),
        room(RoomVersionId::V12, 0),
        room(RoomVersionId::V11, 400),
        room(RoomVersionId::V12, 400),
    ]
});

/// What the histories of a run led to: a property that never meets a conflict proves nothing.
#[derive(Debug, Default)]
struct Seen {
    conflicts: usize,
    three_sides: usize,
    keys_dropped: usize,
    wider_subgraphs: usize,
    shared_keys_in_difference: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..48_u8, any::<u8>(), any::<u8>(), any::<u16>(), any::<u8>());
    vec(step.prop_map(|(what, tip, actor, target, time)| Step { what, tip, actor, target, time }), 10..70)
}

/// Lets the steps happen and compares at every meeting, at the end of all that is left.
fn run(mut history: History, steps: &[Step], seen: &mut Seen) -> Result<(), TestCaseError> {
    for step in steps {
        if let Some(meeting) = history.step(*step) {
            meet(&mut history, meeting, seen)?;
        }
    }
    while history.tips.len() > 1 {
        let sides = history.tips.len().min(4);
        meet(&mut history, (0..sides).collect(), seen)?;
    }
    Ok(())
}

fn meet(history: &mut History, meeting: Vec<usize>, seen: &mut Seen) -> Result<(), TestCaseError> {
    let states: Vec<&State> = meeting.iter().map(|tip| &history.tips[*tip].state).collect();
    let expected = full(history, &states);
    let found = reduced(history, &states);
    prop_assert_eq!(&found, &expected, "{} sides", states.len());
    look(history, &states, seen);
    history.merge(meeting, expected);
    Ok(())
}

fn look(history: &History, states: &[&State], seen: &mut Seen) {
    let (_, conflicts) = split(states);
    if conflicts.is_empty() {
        return;
    }
    let (shared, answer) = answer(history, states).unwrap();
    let nodes: Bits = conflicts.iter().flat_map(|conflict| conflict.nodes.iter().flatten().copied()).collect();
    let ids = nodes.iter_ascending().map(|node| history.id(node)).collect();
    let further = history.graph.chain(&nodes);
    let settled = history.graph.chain(&shared.values().copied().collect());
    let old_of_shared = further.iter_ascending().filter(|node| !settled.contains(*node)).any(|node| {
        let pdu = &history.events[node as usize];
        let key = (pdu.kind.to_string().into(), pdu.state_key.clone().unwrap());
        shared.get(&key).is_some_and(|stands| *stands != node)
    });
    seen.conflicts += 1;
    seen.three_sides += usize::from(states.len() > 2);
    seen.keys_dropped += usize::from(answer.values().any(Option::is_none));
    seen.wider_subgraphs += usize::from(subgraph_of(history, &ids).len() > nodes.len());
    seen.shared_keys_in_difference += usize::from(old_of_shared);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 320, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reduced_resolution_is_full_resolution(room in prop_oneof![4 => 0..2_usize, 1 => 2..4_usize], steps in steps()) {
        run(ROOMS[room].clone(), &steps, &mut Seen::default())?;
    }
}

#[test]
fn random_histories_meet_what_makes_resolution_hard() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut seen = Seen::default();
    for case in 0..120_usize {
        let steps: Vec<Step> = (0..60)
            .map(|_| Step {
                what: (rng.next_u32() % 48) as u8,
                tip: rng.next_u32() as u8,
                actor: rng.next_u32() as u8,
                target: rng.next_u32() as u16,
                time: rng.next_u32() as u8,
            })
            .collect();
        run(ROOMS[case % 2].clone(), &steps, &mut seen).unwrap();
    }
    println!("{seen:?}");
    assert!(seen.conflicts > 200, "{seen:?}");
    assert!(seen.three_sides > 50, "{seen:?}");
    assert!(seen.keys_dropped > 0, "{seen:?}");
    assert!(seen.wider_subgraphs > 0, "{seen:?}");
    assert!(seen.shared_keys_in_difference > 0, "{seen:?}");
}

//! Bits against an ordered set, and the graph's passes against walks.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use crate::resolve::{AuthGraph, Bits, Node};

fn bits(nodes: &BTreeSet<Node>) -> Bits {
    nodes.iter().copied().collect()
}

fn members(bits: &Bits) -> BTreeSet<Node> {
    bits.iter_ascending().collect()
}

/// Each node cites some of those before it.
fn graphs() -> impl Strategy<Value = Vec<Vec<Node>>> {
    vec(vec(any::<u32>(), 0..5), 1..150).prop_map(|choices| {
        let cite = |(node, choices): (usize, Vec<u32>)| match node {
            0 => Vec::new(),
            _ => choices.into_iter().map(|choice| choice % node as u32).collect::<BTreeSet<_>>().into_iter().collect(),
        };
        choices.into_iter().enumerate().map(cite).collect()
    })
}

fn ancestors(parents: &[Vec<Node>], node: Node) -> BTreeSet<Node> {
    let mut found = BTreeSet::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        open.extend(parents[node as usize].iter().copied().filter(|parent| found.insert(*parent)));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bits_are_a_set(a in prop::collection::btree_set(0..400_u32, 0..60), b in prop::collection::btree_set(0..400_u32, 0..60)) {
        let of_a = bits(&a);
        prop_assert_eq!(&members(&of_a), &a);
        prop_assert_eq!(of_a.iter_descending().collect::<Vec<_>>(), a.iter().rev().copied().collect::<Vec<_>>());
        prop_assert_eq!(of_a.len(), a.len());
        prop_assert_eq!(of_a.is_empty(), a.is_empty());
        let with = |change: fn(&mut Bits, &Bits)| {
            let mut bits_of_a = bits(&a);
            change(&mut bits_of_a, &bits(&b));
            members(&bits_of_a)
        };
        prop_assert_eq!(with(Bits::union_with), a.union(&b).copied().collect());
        prop_assert_eq!(with(Bits::intersect_with), a.intersection(&b).copied().collect());
        prop_assert_eq!(with(Bits::subtract), a.difference(&b).copied().collect());
        let mut changing = bits(&a);
        for node in &b {
            prop_assert_eq!(changing.contains(*node), a.contains(node));
            prop_assert_eq!(changing.remove(*node), a.contains(node));
            prop_assert!(!changing.contains(*node));
            prop_assert!(changing.insert(*node) && !changing.insert(*node));
        }
    }

    #[test]
    fn passes_find_what_walks_find(parents in graphs(), picks in vec(any::<u32>(), 0..8), floor in 0..150_u32) {
        let mut graph = AuthGraph::new();
        for (node, parents) in parents.iter().enumerate() {
            prop_assert_eq!(graph.push(parents) as usize, node);
        }
        prop_assert_eq!(graph.len(), parents.len());
        for (node, parents) in parents.iter().enumerate() {
            prop_assert_eq!(graph.parents(node as Node), parents.as_slice());
        }
        let roots: BTreeSet<Node> = picks.iter().map(|pick| pick % parents.len() as u32).collect();
        let chain: BTreeSet<Node> = roots.iter().flat_map(|root| ancestors(&parents, *root)).collect();
        prop_assert_eq!(&members(&graph.chain(&bits(&roots))), &chain);

        let down_to: BTreeSet<Node> = members(&graph.chain_down_to(&bits(&roots), floor)).into_iter().filter(|n| *n >= floor).collect();
        prop_assert_eq!(down_to, chain.iter().copied().filter(|node| *node >= floor).collect::<BTreeSet<_>>());

        let between = |node: &Node| roots.contains(node)
            || (chain.contains(node) && !ancestors(&parents, *node).is_disjoint(&roots));
        let subgraph: BTreeSet<Node> = (0..parents.len() as Node).filter(between).collect();
        prop_assert_eq!(members(&graph.subgraph(&bits(&roots))), subgraph);
    }
}

#[test]
fn the_last_node_there_can_be_ends_a_walk() {
    let graph = AuthGraph::new();
    assert!(graph.parents(Node::MAX).is_empty());
    assert!(graph.is_empty());
    let mut bits = Bits::new();
    assert!(!bits.remove(1_000_000) && !bits.contains(Node::MAX));
    bits.insert(127);
    bits.insert(128);
    assert_eq!(bits.iter_descending().collect::<Vec<_>>(), [128, 127]);
}

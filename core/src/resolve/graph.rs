//! The auth graph of one room in memory: who cites whom, as numbers, and sets of numbers as bits.
//!
//! Numbers are given in the order of acceptance, and an event is accepted after what it cites. So parents are smaller than
//! children, and every question about ancestors is one pass over a bitset: no recursion, no visited set, no stored chain
//! index. It holds no event ids and no events: 4 bytes a node and 4 an edge.

/// The number of an accepted state event within its room's graph.
pub type Node = u32;

/// Auth events of one event: the PDU format's own limit, checked before an event is accepted.
pub const AUTH_EVENTS_MAX: usize = 10;

const WORD_BITS: u32 = u64::BITS;

/// A growable set of nodes, one bit each.
#[derive(Clone, Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the set has no member.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The number of members. Counts every word.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether `node` is a member.
    pub fn contains(&self, node: Node) -> bool {
        let (index, mask) = place(node);
        self.words.get(index).is_some_and(|word| word & mask != 0)
    }

    /// Adds `node`; says whether it was new.
    pub fn insert(&mut self, node: Node) -> bool {
        let (index, mask) = place(node);
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let Some(word) = self.words.get_mut(index) else { return false };
        let new = *word & mask == 0;
        *word |= mask;
        new
    }

    /// Takes `node` out; says whether it was in.
    pub fn remove(&mut self, node: Node) -> bool {
        let (index, mask) = place(node);
        let Some(word) = self.words.get_mut(index) else { return false };
        let old = *word & mask != 0;
        *word &= !mask;
        old
    }

    /// Adds every member of `other`.
    pub fn union_with(&mut self, other: &Self) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Keeps only what is in `other` too.
    pub fn intersect_with(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        for (word, keep) in self.words.iter_mut().zip(&other.words) {
            *word &= keep;
        }
    }

    /// Takes every member of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        for (word, less) in self.words.iter_mut().zip(&other.words) {
            *word &= !less;
        }
    }

    /// The members, smallest first.
    pub fn iter_ascending(&self) -> impl Iterator<Item = Node> + '_ {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let node = self.at_or_after(from?)?;
            from = node.checked_add(1);
            Some(node)
        })
    }

    /// The members, largest first.
    pub fn iter_descending(&self) -> impl Iterator<Item = Node> + '_ {
        let mut below = u64::MAX;
        std::iter::from_fn(move || {
            let node = self.before(below)?;
            below = u64::from(node);
            Some(node)
        })
    }

    fn at_or_after(&self, from: Node) -> Option<Node> {
        let (first, mask) = place(from);
        let rest = self.words.get(first..)?;
        // The bits of the first word below `from` do not count.
        let first_mask = !(mask - 1);
        rest.iter().enumerate().find_map(|(skipped, word)| {
            let word = if skipped == 0 { word & first_mask } else { *word };
            (word != 0).then(|| node_of(first + skipped, word.trailing_zeros()))
        })
    }

    /// The largest member below `below`. The bound is wider than a node, so that "all of them" can be said.
    fn before(&self, below: u64) -> Option<Node> {
        let bound = usize::try_from(below / u64::from(WORD_BITS)).unwrap_or(usize::MAX);
        let partial = self.words.get(bound).map(|word| word & ((1 << (below % u64::from(WORD_BITS))) - 1));
        if let Some(word) = partial.filter(|word| *word != 0) {
            return Some(node_of(bound, word.ilog2()));
        }
        let whole = self.words.get(..bound.min(self.words.len()))?;
        let index = whole.iter().rposition(|word| *word != 0)?;
        whole.get(index).map(|word| node_of(index, word.ilog2()))
    }
}

impl Extend<Node> for Bits {
    fn extend<I: IntoIterator<Item = Node>>(&mut self, nodes: I) {
        for node in nodes {
            self.insert(node);
        }
    }
}

impl FromIterator<Node> for Bits {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut bits = Self::new();
        bits.extend(nodes);
        bits
    }
}

fn place(node: Node) -> (usize, u64) {
    ((node / WORD_BITS) as usize, 1 << (node % WORD_BITS))
}

fn node_of(index: usize, bit: u32) -> Node {
    // An index comes from a node that was put in, so it fits.
    Node::try_from(index).map_or(Node::MAX, |index| index * WORD_BITS + bit)
}

/// The accepted state events of one room and what each of them cites.
///
/// Invariant: parents are smaller than their child.
#[derive(Clone, Debug, Default)]
pub struct AuthGraph {
    /// Where the parents of each node end in `edges`; they begin where those of the node before end.
    ends: Vec<u32>,
    edges: Vec<Node>,
}

impl AuthGraph {
    /// The graph of a room with no events.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of nodes; the next node's number.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no event yet.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds an accepted event. `parents` are its auth events, at most [`AUTH_EVENTS_MAX`] of them; they were accepted
    /// before it. A parent that was not is left out: an order that does not hold would break every pass.
    pub fn push(&mut self, parents: &[Node]) -> Node {
        let node = Node::try_from(self.ends.len()).unwrap_or(Node::MAX);
        debug_assert!(parents.len() <= AUTH_EVENTS_MAX, "{} auth events", parents.len());
        debug_assert!(parents.iter().all(|parent| *parent < node), "{parents:?} of {node}");
        self.edges.extend(parents.iter().filter(|parent| **parent < node));
        self.ends.push(u32::try_from(self.edges.len()).unwrap_or(u32::MAX));
        node
    }

    /// What `node` cites; nothing for a node that is not there.
    pub fn parents(&self, node: Node) -> &[Node] {
        let at = node as usize;
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(begin);
        self.edges.get(begin as usize..end as usize).unwrap_or_default()
    }

    /// All ancestors of `roots`. A root is among them only if another root descends from it.
    pub fn chain(&self, roots: &Bits) -> Bits {
        self.chain_down_to(roots, 0)
    }

    /// [`AuthGraph::chain`], complete only from `floor` upward. Below it the pass need not go when nobody asks.
    pub(super) fn chain_down_to(&self, roots: &Bits, floor: Node) -> Bits {
        let mut open = roots.clone();
        let mut chain = Bits::new();
        let mut done: &[Node] = &[];
        let mut below = u64::MAX;
        while let Some(node) = open.before(below) {
            // Parents are smaller: when a node's turn comes, all its children have had theirs.
            if node <= floor {
                break;
            }
            let parents = self.parents(node);
            // Neighbours in a large room mostly joined under the same rules, and so cite the same events.
            if parents != done {
                for parent in parents {
                    open.insert(*parent);
                    chain.insert(*parent);
                }
                done = parents;
            }
            below = u64::from(node);
        }
        chain
    }

    /// Every node on a path between two of `conflicted`, these included: the descendants of some of them that are also
    /// ancestors of some. Room version 12, "conflicted state subgraph".
    pub fn subgraph(&self, conflicted: &Bits) -> Bits {
        let mut upward = self.chain(conflicted);
        upward.union_with(conflicted);
        let mut subgraph = Bits::new();
        for node in upward.iter_ascending() {
            let between = || self.parents(node).iter().any(|parent| subgraph.contains(*parent));
            if conflicted.contains(node) || between() {
                subgraph.insert(node);
            }
        }
        subgraph
    }
}

//! What is dear to make and can be made again, remembered up to a weight.
//!
//! Two generations stand in for an exact order of use: what was not asked for while a generation filled up is forgotten with
//! the next. Invariant: the weight of what is held is bounded, whatever a peer sends.

use std::{collections::HashMap, hash::Hash};

/// A memory of values by key. A value is cheap to clone.
#[derive(Debug)]
pub(crate) struct Memory<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_weight: usize,
    generation_max: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Memory<K, V> {
    /// A memory that holds values of this weight in all.
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_weight: 0, generation_max: weight_max / 2 }
    }

    /// A value, if it is still known.
    pub(crate) fn find(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = self.old.remove(key)?;
        self.keep(key.clone(), value.clone(), weight);
        Some(value)
    }

    /// Remembers a value. One that is heavier than a generation is not worth all the others.
    pub(crate) fn keep(&mut self, key: K, value: V, weight: usize) {
        self.forget(&key);
        if weight > self.generation_max {
            return;
        }
        if self.young_weight + weight > self.generation_max {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += weight;
        self.young.insert(key, (value, weight));
    }

    /// Forgets a value.
    pub(crate) fn forget(&mut self, key: &K) {
        if let Some((_, weight)) = self.young.remove(key) {
            self.young_weight -= weight;
        }
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn what_is_used_stays_and_the_weight_is_bounded() {
        let mut memory = Memory::new(20);
        for key in 0..100_u32 {
            memory.keep(key, key * 2, 3);
            assert_eq!(memory.find(&0), Some(0), "what is asked for again and again stays");
            let held = memory.young.values().chain(memory.old.values()).map(|(_, weight)| weight).sum::<usize>();
            assert!(held <= 20, "{held}");
        }
        assert_eq!(memory.find(&99), Some(198));
        assert_eq!(memory.find(&50), None);
        memory.keep(7, 7, 11);
        assert_eq!(memory.find(&7), None, "too heavy to be kept");
        memory.forget(&99);
        assert_eq!(memory.find(&99), None);
    }
}

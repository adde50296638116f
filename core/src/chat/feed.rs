//! Lists that a UI watches: a `Reset` first, then batches of diffs, computed from what it was shown last.
//!
//! Nothing is queued for a UI that is slow. It asks for the next batch when it is ready, and gets the difference between what
//! it has and what there is by then, so its memory and ours are bounded by the list itself. A difference that is larger than
//! the list becomes a `Reset`.

use std::{collections::HashMap, hash::Hash};

/// A row of a list.
pub trait Item: Clone + PartialEq {
    /// What stays the same while the row changes.
    type Id: Clone + Eq + Hash;

    /// The row's id, unique in its list.
    fn id(&self) -> Self::Id;
}

/// One change of a list. Indices count in the list as the diffs before it in the batch have left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diff<T> {
    /// The whole list anew.
    Reset(Vec<T>),
    /// A row comes in before the one that has this index now.
    Insert {
        /// Where.
        index: usize,
        /// What.
        item: T,
    },
    /// A row changes in its place.
    Set {
        /// Where.
        index: usize,
        /// What it is now.
        item: T,
    },
    /// A row goes.
    Remove {
        /// Where.
        index: usize,
    },
}

/// The diffs that lead from one list to another. Empty when they are the same.
pub fn between<T: Item>(old: &[T], new: &[T]) -> Vec<Diff<T>> {
    let places: HashMap<T::Id, usize> = new.iter().enumerate().map(|(index, item)| (item.id(), index)).collect();
    let mut diffs = Vec::new();
    // First what goes, from the end so that indices stay true; then the rest is walked in the new order.
    let mut have: Vec<&T> = Vec::with_capacity(old.len());
    for (index, item) in old.iter().enumerate().rev() {
        match places.contains_key(&item.id()) {
            true => have.push(item),
            false => diffs.push(Diff::Remove { index }),
        }
    }
    have.reverse();
    let mut ids: Vec<T::Id> = have.iter().map(|item| item.id()).collect();
    let known: HashMap<T::Id, &T> = have.into_iter().map(|item| (item.id(), item)).collect();
    for (index, item) in new.iter().enumerate() {
        let id = item.id();
        if ids.get(index) == Some(&id) {
            if known.get(&id).is_some_and(|shown| **shown != *item) {
                diffs.push(Diff::Set { index, item: item.clone() });
            }
            continue;
        }
        if known.contains_key(&id)
            && let Some(at) = ids.iter().skip(index).position(|other| *other == id)
        {
            ids.remove(index + at);
            diffs.push(Diff::Remove { index: index + at });
        }
        ids.insert(index, id);
        diffs.push(Diff::Insert { index, item: item.clone() });
    }
    if diffs.len() > new.len().max(1) { vec![Diff::Reset(new.to_vec())] } else { diffs }
}

/// Does to a list what diffs say, as a UI does.
///
/// # Panics
/// Never: an index that is not there is passed over.
pub fn apply<T: Clone>(list: &mut Vec<T>, diffs: &[Diff<T>]) {
    for diff in diffs {
        match diff {
            Diff::Reset(items) => list.clone_from(items),
            Diff::Insert { index, item } if *index <= list.len() => list.insert(*index, item.clone()),
            Diff::Set { index, item } => {
                if let Some(slot) = list.get_mut(*index) {
                    *slot = item.clone();
                }
            }
            Diff::Remove { index } if *index < list.len() => {
                list.remove(*index);
            }
            Diff::Insert { .. } | Diff::Remove { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Item for (u8, u8) {
        type Id = u8;

        fn id(&self) -> u8 {
            self.0
        }
    }

    fn list() -> impl Strategy<Value = Vec<(u8, u8)>> {
        proptest::collection::vec((0..12_u8, 0..3_u8), 0..12).prop_map(|mut items| {
            let mut seen = std::collections::HashSet::new();
            items.retain(|(id, _)| seen.insert(*id));
            items
        })
    }

    proptest! {
        #[test]
        fn diffs_lead_from_any_list_to_any_other(old in list(), new in list()) {
            let diffs = between(&old, &new);
            let mut shown = old.clone();
            apply(&mut shown, &diffs);
            prop_assert_eq!(&shown, &new);
            prop_assert_eq!(diffs.is_empty(), old == new);
            prop_assert!(diffs.len() <= new.len().max(1));
        }
    }

    #[test]
    fn a_new_row_at_the_top_of_a_long_list_is_one_diff() {
        let old: Vec<(u8, u8)> = (0..100).map(|id| (id, 0)).collect();
        let new: Vec<(u8, u8)> = std::iter::once((200, 0)).chain(old.iter().copied()).collect();
        assert_eq!(between(&old, &new), [Diff::Insert { index: 0, item: (200, 0) }]);
        let mut moved = old.clone();
        moved.insert(0, (50, 1));
        moved.remove(51);
        assert_eq!(between(&old, &moved), [Diff::Remove { index: 50 }, Diff::Insert { index: 0, item: (50, 1) }]);
    }
}

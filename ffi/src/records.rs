//! What crosses to an app as plain data, and how it comes out of the client's own types.

mod item;
mod room;

pub use self::{item::*, room::*};

use hearth_core::chat::feed::Diff;

/// Milliseconds since the Unix epoch.
pub(crate) type Timestamp = u64;

/// A change of a list as an app gets it, for each kind of list. uniffi knows no generic types.
macro_rules! diffs {
    ($(#[doc = $doc:literal])* $name:ident of $item:ty) => {
        $(#[doc = $doc])*
        ///
        /// Indices count in the list as the changes before it in the batch have left it.
        #[derive(Clone, Debug, PartialEq, uniffi::Enum)]
        pub enum $name {
            /// The whole list anew.
            Reset {
                /// The rows.
                items: Vec<$item>,
            },
            /// A row comes in before the one that has this index now.
            Insert {
                /// Where.
                index: u32,
                /// What.
                item: $item,
            },
            /// A row changes in its place.
            Set {
                /// Where.
                index: u32,
                /// What it is now.
                item: $item,
            },
            /// A row goes.
            Remove {
                /// Where.
                index: u32,
            },
        }

        impl $name {
            /// A batch in the form that crosses.
            pub(crate) fn batch<T>(diffs: Vec<Diff<T>>) -> Vec<Self>
            where
                $item: From<T>,
            {
                diffs.into_iter().map(Self::from).collect()
            }
        }

        impl<T> From<Diff<T>> for $name
        where
            $item: From<T>,
        {
            fn from(diff: Diff<T>) -> Self {
                // A list that a phone shows has fewer rows than 2^32.
                let short = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
                match diff {
                    Diff::Reset(items) => Self::Reset { items: items.into_iter().map(Into::into).collect() },
                    Diff::Insert { index, item } => Self::Insert { index: short(index), item: item.into() },
                    Diff::Set { index, item } => Self::Set { index: short(index), item: item.into() },
                    Diff::Remove { index } => Self::Remove { index: short(index) },
                }
            }
        }
    };
}
diffs!(
    /// A change of the list of rooms.
    RoomDiff of RoomSummary
);
diffs!(
    /// A change of a timeline.
    TimelineDiff of TimelineItem
);
diffs!(
    /// A change of the list of verifications.
    VerificationDiff of crate::verification::VerificationInfo
);

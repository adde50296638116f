//! How keys and values lie in the file: as bytes whose order is that of what they mean.
//!
//! All tables are of one type to redb, bytes to bytes, because it compiles its trees anew for each pair of types: with fifty
//! pairs that was a megabyte of code. Integers are big-endian, so that comparing bytes compares numbers. Bytes of any length
//! are preceded by their length where something follows them: rows that share what comes before lie together all the same,
//! and among names of different lengths the shorter one comes first.

use smallvec::SmallVec;

/// Room for the keys that are made of numbers and a hash; a longer one is put on the heap.
pub(super) type Buffer = SmallVec<[u8; 64]>;

/// A key or a value: a number, bytes, or up to four of them.
pub trait Coded: 'static {
    /// What it is in the program.
    type Of<'a>: Copy;

    /// Appends it. `last` when nothing follows.
    fn put(of: Self::Of<'_>, last: bool, into: &mut Buffer);

    /// Takes it off the beginning. What is missing, because the file is damaged, is zero or empty.
    fn take<'a>(bytes: &mut &'a [u8], last: bool) -> Self::Of<'a>;
}

/// As bytes.
pub(super) fn encoded<T: Coded>(of: T::Of<'_>) -> Buffer {
    let mut buffer = Buffer::new();
    T::put(of, true, &mut buffer);
    buffer
}

/// From bytes.
pub(super) fn decoded<T: Coded>(mut bytes: &[u8]) -> T::Of<'_> {
    T::take(&mut bytes, true)
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Coded for $number {
            type Of<'a> = $number;

            fn put(of: Self, _: bool, into: &mut Buffer) {
                into.extend_from_slice(&of.to_be_bytes());
            }

            fn take(bytes: &mut &[u8], last: bool) -> Self {
                <$number>::from_be_bytes(*<&[u8; size_of::<$number>()]>::take(bytes, last))
            }
        }
    )*};
}
numbers!(u8, u32, u64);

impl<const N: usize> Coded for &'static [u8; N] {
    type Of<'a> = &'a [u8; N];

    fn put(of: Self::Of<'_>, _: bool, into: &mut Buffer) {
        into.extend_from_slice(of);
    }

    fn take<'a>(bytes: &mut &'a [u8], _: bool) -> Self::Of<'a> {
        match bytes.split_first_chunk() {
            Some((first, rest)) => {
                *bytes = rest;
                first
            }
            None => &[0; N],
        }
    }
}

/// Names and records. A name in the middle of a key is never nearly as long as its length can say.
impl Coded for &'static [u8] {
    type Of<'a> = &'a [u8];

    fn put(of: Self::Of<'_>, last: bool, into: &mut Buffer) {
        if !last {
            u32::put(u32::try_from(of.len()).unwrap_or(u32::MAX), false, into);
        }
        into.extend_from_slice(of);
    }

    fn take<'a>(bytes: &mut &'a [u8], last: bool) -> Self::Of<'a> {
        let length = if last { bytes.len() } else { u32::take(bytes, false) as usize };
        let (first, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        *bytes = rest;
        first
    }
}

macro_rules! rows {
    ($($($part:ident $of:ident),*;)*) => {$(
        impl<$($part: Coded,)*> Coded for ($($part,)*) {
            type Of<'a> = ($($part::Of<'a>,)*);

            fn put(of: Self::Of<'_>, last: bool, into: &mut Buffer) {
                let ($($of,)*) = of;
                let mut following = [$(stringify!($of)),*].len();
                $(
                    following -= 1;
                    $part::put($of, last && following == 0, into);
                )*
            }

            fn take<'a>(bytes: &mut &'a [u8], last: bool) -> Self::Of<'a> {
                let mut following = [$(stringify!($of)),*].len();
                $(
                    following -= 1;
                    let $of = $part::take(bytes, last && following == 0);
                )*
                ($($of,)*)
            }
        }
    )*};
}
rows! {
    A a, B b;
    A a, B b, C c;
    A a, B b, C c, D d;
}

impl Coded for () {
    type Of<'a> = ();

    fn put((): Self, _: bool, _: &mut Buffer) {}

    fn take(_: &mut &[u8], _: bool) -> Self {}
}

#[cfg(test)]
mod tests {
    use super::*;

    type Key = (u8, &'static [u8], u64);

    fn key(of: (u8, &[u8], u64)) -> Buffer {
        encoded::<Key>(of)
    }

    #[test]
    fn what_is_put_is_taken() {
        let name = "@a:b".repeat(60);
        for of in [(0, b"".as_slice(), 0), (7, b"DEVICE", u64::MAX), (255, name.as_bytes(), 1 << 40)] {
            assert_eq!(decoded::<Key>(&key(of)), of);
        }
        let row = (5_u32, [9; 16], 1_u8, 77_u64);
        let bytes = encoded::<(u32, &[u8; 16], u8, u64)>((row.0, &row.1, row.2, row.3));
        assert_eq!(decoded::<(u32, &[u8; 16], u8, u64)>(&bytes), (row.0, &row.1, row.2, row.3));
        assert_eq!(encoded::<(u64, &[u8])>((1, b"x")).len(), 9, "what comes last needs no length");
        assert!(encoded::<()>(()).is_empty());
    }

    #[test]
    fn the_order_of_bytes_is_the_order_of_numbers_and_names_lie_together() {
        let mut keys = vec![
            (1, b"a".as_slice(), 0),
            (1, b"a", 255),
            (1, b"a", 256),
            (1, b"a", u64::MAX),
            (1, b"b", 0),
            (1, b"aa", 3),
            (2, b"", 0),
        ];
        let wanted = keys.clone();
        keys.reverse();
        keys.sort_by_key(|of| key(*of));
        assert_eq!(keys, wanted);
        assert!(key((1, b"", 0)) < key((1, b"a", 0)));
        assert!(
            encoded::<(u8, &[u8])>((1, b"ab")) < encoded::<(u8, &[u8])>((1, b"b")),
            "the last name in its own order"
        );
    }

    #[test]
    fn a_damaged_row_is_no_panic() {
        let whole = key((1, b"DEVICE", 5));
        for length in 0..whole.len() {
            let (kind, name, number) = decoded::<Key>(&whole[..length]);
            assert!(kind <= 1 && name.len() <= 6 && number <= 5);
        }
        assert_eq!(decoded::<&[u8; 16]>(b"short"), &[0; 16]);
    }
}

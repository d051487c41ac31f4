//! Several tensors in one vector, so that what is done to all of them is one operation.

#[cfg(feature = "train")]
use std::ops::Range;

/// Values between two places where a tensor may begin: views of a GPU's buffers begin at multiples of 256 bytes.
pub(crate) const ALIGNMENT: usize = 64;

/// The most tensors that are packed at a time.
#[cfg(feature = "train")]
pub(crate) const MOST_PACKED: usize = 8;

/// As many as are packed at a time: the last one is repeated, where there are fewer.
#[cfg(feature = "train")]
pub(crate) fn filled<T: Clone>(values: &[T]) -> [T; MOST_PACKED] {
    std::array::from_fn(|index| values[index.min(values.len() - 1)].clone())
}

/// How many values a tensor of so many takes in the vector, with zeros up to where the next one begins.
pub(crate) fn padded(count: usize) -> usize {
    count.next_multiple_of(ALIGNMENT)
}

/// Where tensors of so many values are.
#[cfg(feature = "train")]
pub(crate) fn places(
    counts: impl IntoIterator<Item = usize>,
) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    counts.into_iter().map(move |count| {
        let place = start..start + count;
        start += padded(count);
        place
    })
}

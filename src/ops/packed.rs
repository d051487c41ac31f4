//! Several tensors in one vector, so that what is done to all of them is one operation.

use std::ops::Range;

/// Values between two places where a tensor may begin: views of a GPU's buffers begin at multiples of 256 bytes.
pub(crate) const ALIGNMENT: usize = 64;

/// How many values a tensor of so many takes in the vector, with zeros up to where the next one begins.
pub(crate) fn padded(count: usize) -> usize {
    count.next_multiple_of(ALIGNMENT)
}

/// Where tensors of so many values are.
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

use super::size::same_size;
use crate::error::Result;
use image::RgbImage;

/// The lightness order error (LOE): the number of other points relative to which a point has changed
/// its order (at least as light, or darker), averaged over all points. It is 0 where enhancement has
/// kept the order of the dark picture everywhere; less is better.
///
/// Wang, Zheng, Hu and Li: *Naturalness preserved enhancement algorithm for non-uniform illumination
/// images*, IEEE TIP 2013. A point's lightness is the largest of its three channels. As in the paper,
/// the points are those of a reduced picture: the lightness is averaged over squares of `n`×`n`
/// pixels, where `n` is a fiftieth of the shorter side, rounded down, and at least 1. Incomplete
/// squares at the right and the bottom are left out. There are many ways to reduce a picture, so
/// figures from other programs are not comparable.
///
/// The changes are counted by sorting, in `O(n log n)` for `n` points, so that a long and thin
/// picture, which is not reduced, takes little time as well.
///
/// # Errors
///
/// [`Error::Argument`](crate::Error::Argument) if the two pictures differ in size.
#[doc(alias = "LOE")]
pub fn lightness_order_error(picture: &RgbImage, dark: &RgbImage) -> Result<f64> {
    same_size(picture, "dark", dark)?;
    let side = (dark.width().min(dark.height()) / 50).max(1);
    let (before, after) = (lightness(dark, side), lightness(picture, side));
    Ok(order_changes(&before, &after) as f64 / before.len().max(1) as f64)
}

/// The lightness, summed over each square: sums have the order of the means, and are exact.
fn lightness(picture: &RgbImage, side: u32) -> Vec<u32> {
    let [columns, rows] = [picture.width() / side, picture.height() / side];
    let mut squares = vec![0; columns as usize * rows as usize];
    for (x, y, pixel) in picture.enumerate_pixels() {
        let [column, row] = [x / side, y / side];
        if column < columns && row < rows {
            let square = row as usize * columns as usize + column as usize;
            squares[square] += u32::from(pixel.0.into_iter().max().unwrap_or_default());
        }
    }
    squares
}

/// The number of ordered pairs `(p, q)` of points for which `before[p] >= before[q]` is not what
/// `after[p] >= after[q]` is.
fn order_changes(before: &[u32], after: &[u32]) -> u64 {
    let mut levels = after.to_vec();
    levels.sort_unstable();
    levels.dedup();
    let rank = |value: &u32| levels.partition_point(|level| level < value);
    let mut points: Vec<_> = before.iter().zip(after.iter().map(rank)).collect();
    points.sort_unstable();

    // A pair changes either from `<` to `>=` or from `>=` to `<`. Both are counted at the point `q`
    // that was the lighter one before, or equally light, as the points are met in that order.
    let mut darker = RankCounts::new(levels.len());
    let mut changes = 0;
    for equal in points.chunk_by(|(one, _), (other, _)| one == other) {
        for (_, rank) in equal {
            changes += darker.total - darker.below(*rank);
        }
        for (_, rank) in equal {
            darker.add(*rank);
        }
        for (_, rank) in equal {
            changes += darker.total - darker.below(rank + 1);
        }
    }
    changes
}

/// How many points of each rank have been met: a Fenwick tree, in which counting all points below a
/// rank takes logarithmic time.
struct RankCounts {
    tree: Vec<u64>,
    total: u64,
}

impl RankCounts {
    fn new(ranks: usize) -> Self {
        Self { tree: vec![0; ranks + 1], total: 0 }
    }

    fn add(&mut self, rank: usize) {
        self.total += 1;
        let mut node = rank + 1;
        while node < self.tree.len() {
            self.tree[node] += 1;
            node += node & node.wrapping_neg();
        }
    }

    /// The number of points whose rank is less than `rank`.
    fn below(&self, rank: usize) -> u64 {
        let (mut node, mut count) = (rank, 0);
        while node > 0 {
            count += self.tree[node];
            node &= node - 1;
        }
        count
    }
}

#[cfg(all(test, feature = "photo"))]
mod tests {
    use super::super::tests::{check, pairs};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loe_is_that_of_the_formula_in_numpy() {
        // n = max(1, min(h, w) // 50)
        // def cells(p):
        //     l = p.max(axis=2).astype(int)[:h//n*n, :w//n*n]
        //     return l.reshape(h//n, n, w//n, n).sum((1, 3)).ravel()
        // d, b = cells(dark), cells(picture)
        // sum(((v >= d) != (u >= b)).sum() for v, u in zip(d, b)) / len(d)
        let loe = |a: &RgbImage, b: &RgbImage| lightness_order_error(a, b).unwrap();
        check(loe, [334.256557, 20.033600, 35.863915], 1e-6);
    }

    #[test]
    fn two_points_that_change_places() {
        // Each changes its order to the other: one pair each, of two points.
        let row =
            |levels: [u8; 2]| RgbImage::from_fn(2, 1, |x, _| image::Rgb([levels[x as usize]; 3]));
        assert_eq!(lightness_order_error(&row([9, 5]), &row([1, 2])).unwrap(), 1.0);
        // Equal ones that become unequal: only the darker one is no longer as light as the other.
        assert_eq!(lightness_order_error(&row([9, 5]), &row([2, 2])).unwrap(), 0.5);
    }

    #[test]
    fn brightening_that_keeps_the_order_costs_nothing() {
        let [[_, dark], ..] = pairs();
        let mut bright = dark.clone();
        bright.iter_mut().for_each(|level| *level += 100);
        assert_eq!(lightness_order_error(&bright, &dark).unwrap(), 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn sorting_counts_what_comparing_every_pair_does(
            points in prop::collection::vec((0..12u32, 0..12u32), 0..60),
        ) {
            let (before, after): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
            let pairs = points.iter().flat_map(|p| points.iter().map(move |q| (p, q)));
            let changed = pairs.filter(|(p, q)| (p.0 >= q.0) != (p.1 >= q.1)).count();
            prop_assert_eq!(order_changes(&before, &after), changed as u64);
        }
    }

    /// The number of steps bounds the time: comparing every pair of these takes 10¹¹ of them, minutes
    /// in which a test runner gives up.
    #[test]
    fn thin_pictures_with_many_points_are_finished_soon() {
        for [width, height] in [[5000, 60], [20000, 3], [3, 20000], [1, 100_000]] {
            let level = |x: u32, y: u32| (x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) % 251;
            let dark = RgbImage::from_fn(width, height, |x, y| image::Rgb([level(x, y) as u8; 3]));
            let mut inverse = dark.clone();
            inverse.iter_mut().for_each(|level| *level = 250 - *level);
            assert_eq!(lightness_order_error(&dark, &dark).unwrap(), 0.0);
            // Every pair of unequal points changes, once from each side.
            let mut counts = [0u64; 256];
            dark.pixels().for_each(|pixel| counts[usize::from(pixel.0[0])] += 1);
            let points = u64::from(width) * u64::from(height);
            let unequal: u64 = counts.iter().map(|count| count * (points - count)).sum();
            let expected = unequal as f64 / points as f64;
            let found = lightness_order_error(&inverse, &dark).unwrap();
            assert!((found - expected).abs() < 1e-6, "{width}×{height}: {found}, not {expected}");
        }
    }
}

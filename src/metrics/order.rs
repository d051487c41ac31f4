use super::same_size;
use crate::error::Result;
use image::RgbImage;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// The lightness order error (LOE): to how many other points a point has changed its order, lighter or
/// not, on average over all points. 0 where enhancement has kept the dark picture's order everywhere.
///
/// Wang, Zheng, Hu and Li: *Naturalness preserved enhancement algorithm for non-uniform illumination
/// images*, IEEE TIP 2013. A point's lightness is the brightest of its three channels. As in the
/// paper, points are those of a reduced picture, since every one is compared with every other: here
/// the lightness is averaged over squares of `n`×`n` pixels, where `n` is a fiftieth of the shorter side,
/// rounded down, and at least 1. What is left over at the right and the bottom does not count. There
/// are many ways of reducing a picture, so figures from elsewhere are not comparable with these.
///
/// # Errors
///
/// [`Error::Setting`](crate::Error::Setting) where the two differ in size.
#[doc(alias = "LOE")]
pub fn lightness_order_error(picture: &RgbImage, dark: &RgbImage) -> Result<f64> {
    same_size(picture, "dark", dark)?;
    let side = (dark.width().min(dark.height()) / 50).max(1);
    let (before, after) = (lightness(dark, side), lightness(picture, side));
    let changed = |(before_here, after_here): (u32, u32)| {
        let others = before.iter().zip(&after);
        let changes = others
            .map(|(before, after)| u64::from((before_here >= *before) != (after_here >= *after)));
        changes.sum::<u64>()
    };
    let points = (0..before.len()).into_par_iter().map(|here| (before[here], after[here]));
    let changes: u64 = points.map(changed).sum();
    Ok(changes as f64 / before.len().max(1) as f64)
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

#[cfg(test)]
mod tests {
    use super::super::tests::{check, pairs};
    use super::*;

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
}

//! The points of a picture that the strength of [`Exposure::Auto`](super::Exposure::Auto) is found
//! from.
//!
//! They depend on the size of the picture alone, so that the CPU kernel, tensors and tiles use the
//! same ones.

use crate::ops::Piece;

/// The most points of a sample.
pub(super) const MOST_POINTS: usize = 4096;

/// A picture of up to so many pixels is computed whole, in pieces of [`BAND`] rows.
const WHOLE: usize = 1 << 14;
const BAND: usize = 32;

/// Rows and columns of a piece of a larger picture: with the three columns at each side that the
/// published network sees as well, a row fills whole vectors.
const PIECE: [usize; 2] = [4, 42];
/// A larger picture is divided into cells of about so many rows and columns, with one piece each, so
/// that computing the pieces takes a small part of the time of enhancing.
const CELL: [usize; 2] = [48, 168];
/// The cells are smaller where there would be fewer of them, and larger where there would be more.
const CELLS: [usize; 2] = [96, 512];

/// The steps of a sequence in the plane that covers the unit square evenly: powers of the inverse of
/// the plastic number, `x³ = x + 1`.
const SPREAD: [f64; 2] = [0.754_877_666_246_693, 0.569_840_290_998_053];

/// The pieces of a picture of `[height, width]` with the points in them: at most [`MOST_POINTS`]
/// points in all, and at least one unless the picture is empty.
///
/// The picture is divided into a grid of cells. Each has one piece, of which every cell has another
/// part, and the points are spread over the pieces, so that neither rows, columns nor a regular
/// pattern in the picture is preferred.
pub(super) fn pieces(size: [usize; 2]) -> Vec<Piece> {
    let mut pieces = grid(size);
    let pixels: usize = pieces.iter().map(|piece| piece.rows.len() * piece.columns.len()).sum();
    // One point from each group of so many consecutive pixels, not at the same place in each.
    let step = pixels.div_ceil(MOST_POINTS).max(1);
    let in_group = |group: usize| group * step + scaled(group, SPREAD[0], step);
    let mut before = 0;
    for piece in &mut pieces {
        let (left, width) = (piece.columns.start, piece.columns.len());
        let end = before + piece.rows.len() * width;
        // The first group may have begun in the piece before, and the last may end in the next.
        let groups = before / step..end.div_ceil(step);
        let pixels = groups.map(in_group).filter(|pixel| (before..end).contains(pixel));
        let point = |pixel: usize| {
            let pixel = pixel - before;
            [piece.rows.start + pixel / width, left + pixel % width]
        };
        piece.points = pixels.map(point).collect();
        before = end;
    }
    pieces
}

/// The pieces without points.
fn grid([height, width]: [usize; 2]) -> Vec<Piece> {
    if height == 0 || width == 0 {
        return Vec::new();
    }
    let small = height * width <= WHOLE;
    let [rows, columns] = match small {
        true => [height.div_ceil(BAND), 1],
        false => cells([height, width]),
    };
    let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| [row, column]));
    let piece = |[row, column]: [usize; 2]| {
        // Where in the cell the piece is differs from cell to cell.
        let part = |index: usize, count: usize, length: usize, most: usize, other: usize| {
            let (start, end) = (index * length / count, (index + 1) * length / count);
            let part = if small { end - start } else { most.min(end - start) };
            let start = start + scaled(row + rows * column, SPREAD[other], end - start - part + 1);
            start..start + part
        };
        Piece {
            rows: part(row, rows, height, PIECE[0], 1),
            columns: part(column, columns, width, PIECE[1], 0),
            points: Vec::new(),
        }
    };
    cells.map(piece).collect()
}

/// The number of rows and columns of cells of a large picture.
fn cells([height, width]: [usize; 2]) -> [usize; 2] {
    let [least, most] = CELLS;
    let usual = height as f64 * width as f64 / (CELL[0] * CELL[1]) as f64;
    let growth = (usual / usual.clamp(least as f64, most as f64)).sqrt();
    let fit = |length: usize, cell: usize, most: usize| {
        ((length as f64 / (cell as f64 * growth)) as usize).clamp(1, most.min(length))
    };
    let rows = fit(height, CELL[0], most);
    [rows, fit(width, CELL[1], most / rows)]
}

/// A number below `length`: that at `index` in a sequence that covers them evenly.
fn scaled(index: usize, step: f64, length: usize) -> usize {
    let fraction = (index as f64 * step).fract();
    ((fraction * length as f64) as usize).min(length - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// Sizes of all shapes and magnitudes, those around the thresholds among them.
    fn sizes() -> impl Strategy<Value = [usize; 2]> {
        let side = || prop_oneof![1..9usize, 1..140usize, 1..5000usize];
        let around = |pixels: usize| {
            (1..400usize, 0..3usize).prop_map(move |(height, more)| {
                [height, (pixels / height + more).saturating_sub(1).max(1)]
            })
        };
        let turned = (
            any::<bool>(),
            prop_oneof![
                3 => (side(), side()).prop_map(|(height, width)| [height, width]),
                1 => (1..9usize, 1..30_000usize).prop_map(|(height, width)| [height, width]),
                1 => around(MOST_POINTS),
                1 => around(WHOLE),
                1 => around(CELLS[1] * CELL[0] * CELL[1]),
            ],
        );
        turned.prop_map(
            |(turn, [height, width])| if turn { [width, height] } else { [height, width] },
        )
    }

    fn points(size: [usize; 2]) -> Vec<[usize; 2]> {
        pieces(size).into_iter().flat_map(|piece| piece.points).collect()
    }

    /// The longest run of rows or columns without a point.
    fn gap(length: usize, mut taken: Vec<usize>) -> usize {
        taken.sort_unstable();
        let before = [None].into_iter().chain(taken.iter().map(|at| Some(*at)));
        let after = taken.iter().copied().chain([length]);
        before.zip(after).map(|(a, b)| b.saturating_sub(a.map_or(0, |a| a + 1))).max().unwrap()
    }

    fn check([height, width]: [usize; 2]) -> Result<(), TestCaseError> {
        let pieces = pieces([height, width]);
        for piece in &pieces {
            prop_assert!(piece.rows.end <= height && piece.columns.end <= width);
            prop_assert!(piece.points.is_sorted());
            for [y, x] in &piece.points {
                prop_assert!(piece.rows.contains(y) && piece.columns.contains(x));
            }
        }
        let points = points([height, width]);
        let pixels = height * width;
        prop_assert!(points.len() <= MOST_POINTS, "{}", points.len());
        prop_assert!(points.len() >= pixels.min(1500), "{} of {}", points.len(), pixels);
        prop_assert_eq!(points.iter().collect::<HashSet<_>>().len(), points.len());
        if pixels <= MOST_POINTS {
            prop_assert_eq!(points.len(), pixels);
        }
        // Every quarter of the picture in both directions, one sixteenth of it, has its share.
        if height >= 4 && width >= 4 {
            for [row, column] in (0..16).map(|index| [index / 4, index % 4]) {
                let [rows, columns] = [(row, height), (column, width)]
                    .map(|(index, length)| index * length / 4..(index + 1) * length / 4);
                let found = points.iter().filter(|[y, x]| rows.contains(y) && columns.contains(x));
                let (found, area) = (found.count(), rows.len() * columns.len());
                let share = (points.len() * area) as f64 / pixels as f64;
                prop_assert!(
                    found as f64 > share * 0.3 - 8.0,
                    "{} of {} in {}, {}",
                    found,
                    share,
                    row,
                    column
                );
                prop_assert!(
                    (found as f64) < share * 2.0 + 8.0,
                    "{} of {} in {}, {}",
                    found,
                    share,
                    row,
                    column
                );
            }
        }
        let rows = gap(height, points.iter().map(|[y, _]| *y).collect());
        let columns = gap(width, points.iter().map(|[_, x]| *x).collect());
        prop_assert!(rows <= 40 + height / 12, "{} rows without a point", rows);
        prop_assert!(columns <= 8 + width / 8, "{} columns without a point", columns);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_sample_is_bounded_and_spread(size in sizes()) {
            check(size)?;
        }
    }

    #[test]
    fn a_sample_of_any_named_shape_is_bounded_and_spread() {
        for [height, width] in [
            [1, 1],
            [1, 2],
            [7, 10_000],
            [3, 20_000],
            [1, 100_000],
            [1, 1 << 24],
            [36, 48],
            [64, 64],
            [65, 64],
            [256, 256],
            [257, 256],
            [400, 600],
            [1080, 1920],
            [2160, 3840],
            [8640, 11_600],
        ] {
            for size in [[height, width], [width, height]] {
                check(size).unwrap_or_else(|error| panic!("{size:?}: {error}"));
            }
        }
        assert!(points([0, 5]).is_empty() && points([5, 0]).is_empty());
    }
}

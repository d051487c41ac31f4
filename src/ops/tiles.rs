//! The tiles that a picture is divided into where it is too large for the buffers of a device (those of WebGPU
//! are limited to 128 MiB).

use std::ops::Range;

/// The most numbers in a tensor, 48 MiB of them.
const TILE_VALUES: usize = 12 << 20;

/// The most pixels of a tile with its border, for an estimator of so many channels: each layer's
/// features fit into one buffer.
pub(crate) fn tile_pixels(channels: usize) -> usize {
    (TILE_VALUES / channels.max(3)).max(1)
}

/// A rectangle of a picture that is computed at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tile {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// The tile with its border: the pixels around it that the network sees. With them it is computed
    /// as if it had not been cut out.
    pub(crate) outer_rows: Range<usize>,
    pub(crate) outer_columns: Range<usize>,
}

impl Tile {
    /// Height and width with the border.
    pub(crate) fn outer_size(&self) -> [usize; 2] {
        [self.outer_rows.len(), self.outer_columns.len()]
    }

    /// Where the tile without its border is in the one with it.
    pub(crate) fn inner(&self) -> [Range<usize>; 2] {
        let within = |inner: &Range<usize>, outer: &Range<usize>| {
            inner.start - outer.start..inner.end - outer.start
        };
        [within(&self.rows, &self.outer_rows), within(&self.columns, &self.outer_columns)]
    }

    /// The place of a point of the picture among the pixels of the tile with its border, if it is in
    /// the tile without it.
    pub(crate) fn place(&self, [y, x]: [usize; 2]) -> Option<usize> {
        (self.rows.contains(&y) && self.columns.contains(&x)).then(|| {
            (y - self.outer_rows.start) * self.outer_columns.len() + x - self.outer_columns.start
        })
    }
}

/// The tiles of a picture of `[height, width]`, which is not empty, for a network that sees `reach`
/// pixels to each side. Each has at most `pixels` pixels with its border, unless that is too few for
/// one pixel and its border.
pub(crate) fn tiles(
    [height, width]: [usize; 2],
    reach: usize,
    pixels: usize,
) -> impl Iterator<Item = Tile> {
    let border = reach.saturating_mul(2);
    // Whole rows, where a tile of them is at least twice as high as its border.
    let least_rows = border.saturating_mul(2).saturating_add(1).min(height);
    let columns = match pixels / least_rows {
        most if width <= most => width,
        most => most.saturating_sub(border).max(1),
    };
    let outer_columns = columns.saturating_add(border).min(width);
    let rows = match pixels / outer_columns {
        most if height <= most => height,
        most => most.saturating_sub(border).max(1),
    };
    let parts = move |length: usize, part: usize| {
        (0..length).step_by(part).map(move |start| {
            let range = start..start.saturating_add(part).min(length);
            let outer = start.saturating_sub(reach)..range.end.saturating_add(reach).min(length);
            (range, outer)
        })
    };
    parts(height, rows).flat_map(move |(rows, outer_rows)| {
        parts(width, columns).map(move |(columns, outer_columns)| Tile {
            rows: rows.clone(),
            columns,
            outer_rows: outer_rows.clone(),
            outer_columns,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn tiles_cover_a_picture_once_and_are_small(
            height in 1..150usize, width in 1..150usize, reach in 3..6usize, pixels in 200..4000usize,
        ) {
            let mut covered = vec![0; height * width];
            for tile in tiles([height, width], reach, pixels) {
                for y in tile.rows.clone() {
                    covered[y * width..][tile.columns.clone()].iter_mut().for_each(|n| *n += 1);
                }
                let [outer_height, outer_width] = tile.outer_size();
                prop_assert!(outer_height * outer_width <= pixels, "{:?}", tile);
                let border = |inner: &Range<usize>, outer: &Range<usize>, length: usize| {
                    outer.start == inner.start.saturating_sub(reach)
                        && outer.end == (inner.end + reach).min(length)
                };
                prop_assert!(border(&tile.rows, &tile.outer_rows, height));
                prop_assert!(border(&tile.columns, &tile.outer_columns, width));
            }
            prop_assert!(covered.iter().all(|times| *times == 1));
        }
    }

    #[test]
    fn feature_maps_fit_into_a_buffer_of_a_webgpu_device() {
        for (channels, size) in [(3, [8640, 11_600]), (64, [8640, 11_600]), (64, [7, 200_000])] {
            let largest = tiles(size, 3, tile_pixels(channels))
                .map(|tile| tile.outer_size().iter().product::<usize>() * channels * 4)
                .max();
            assert!(largest < Some(128 << 20), "{channels} channels: {largest:?} bytes");
        }
    }
}

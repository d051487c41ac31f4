//! How the pictures are divided among workgroups and units.

use super::limits::{SHARED_FLOATS, UNITS};
use burn_cubecl::cubecl::prelude::{Const, Vector};

/// The rows and columns of a strip: the pixels that a unit computes together, in registers.
pub(super) const ROWS: usize = 4;
pub(super) const COLUMNS: usize = 4;

/// A row of a strip. Operations on whole rows keep the programs short, whose compilation takes a time that is
/// quadratic in their length.
pub(super) type Row = Vector<f32, Const<COLUMNS>>;

/// The part of a picture that a workgroup computes, and its planes in workgroup memory: the pixels of the
/// tile and `reach` pixels around it.
///
/// Layer by layer the part that is computed shrinks by one pixel at each side; layer 0 is what was loaded.
/// A layer's strips may go over its right and lower edge, where they compute what nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// A multiple of [`ROWS`].
    pub(crate) rows: usize,
    /// A multiple of [`COLUMNS`].
    pub(crate) columns: usize,
    /// Layers, and pixels that they see to each side.
    pub(crate) reach: usize,
    /// Planes in workgroup memory.
    pub(crate) channels: usize,
}

impl Tile {
    /// The tile that a workgroup computes with the least work at its border; `None` if only one with much work
    /// there fits into the workgroup's memory.
    pub(crate) fn largest(reach: usize, channels: usize) -> Option<Self> {
        let sizes = (1..32).flat_map(|rows| (1..32).map(move |columns| [rows, columns]));
        let tiles = sizes.map(|[rows, columns]| Self {
            rows: rows * ROWS,
            columns: columns * COLUMNS,
            reach,
            channels,
        });
        let fitting = tiles.filter(|tile| tile.fits());
        let best = fitting.max_by(|a, b| a.share().total_cmp(&b.share()))?;
        // Below that, layer by layer was faster.
        (best.share() > 0.6).then_some(best)
    }

    /// The tile that a sample is computed in; `None` if not even a small one fits. Most pieces of a sample have 4×42
    /// pixels, of which it takes all if it can.
    pub(crate) fn of_sample(reach: usize, channels: usize) -> Option<Self> {
        let columns = (1..=11).rev().map(|strips| strips * COLUMNS);
        let mut tiles = columns.map(|columns| Self { rows: ROWS, columns, reach, channels });
        tiles.find(|tile| tile.fits())
    }

    /// The tile of a kernel that reads what a workgroup computes from a buffer, and needs no planes in its memory.
    pub(crate) const fn of_one_layer() -> Self {
        Self { rows: 8 * ROWS, columns: 8 * COLUMNS, reach: 1, channels: 0 }
    }

    fn fits(self) -> bool {
        self.floats() <= SHARED_FLOATS && self.units() <= UNITS
    }

    /// The pixels of the tile as a share of those that the layers compute on average.
    fn share(self) -> f64 {
        let computed: usize =
            (0..=self.reach).map(|layer| self.strips(layer) * ROWS * COLUMNS).sum();
        (self.rows * self.columns * (self.reach + 1)) as f64 / computed as f64
    }

    /// Rows and columns.
    pub(super) fn size(self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Rows of strips in a layer.
    fn strip_rows(self, layer: usize) -> usize {
        (self.rows + 2 * (self.reach - layer)).div_ceil(ROWS)
    }

    /// Columns of strips in a layer.
    pub(super) fn strip_columns(self, layer: usize) -> usize {
        (self.columns + 2 * (self.reach - layer)).div_ceil(COLUMNS)
    }

    /// Strips of a layer.
    pub(super) fn strips(self, layer: usize) -> usize {
        self.strip_rows(layer) * self.strip_columns(layer)
    }

    /// Rows in workgroup memory. The strips of a layer begin `layer` pixels from the first row and column.
    fn height(self) -> usize {
        let end = |layer| layer + ROWS * self.strip_rows(layer);
        (1..self.reach).map(end).fold(self.outer_rows(), usize::max)
    }

    /// From a pixel in workgroup memory to the one below it: no strip reaches into the next row.
    pub(super) fn pitch(self) -> usize {
        let end = |layer| layer + COLUMNS * self.strip_columns(layer);
        (1..self.reach).map(end).fold(self.outer_columns(), usize::max)
    }

    /// From a plane in workgroup memory to the next.
    pub(super) fn plane(self) -> usize {
        self.pitch() * self.height()
    }

    /// The floats in workgroup memory, with those after the last row that strips read, for pixels that nobody
    /// needs.
    pub(super) fn floats(self) -> usize {
        self.channels * self.plane() + ROWS * self.pitch()
    }

    /// Rows and columns with the border.
    pub(super) fn outer_rows(self) -> usize {
        self.rows + 2 * self.reach
    }

    pub(super) fn outer_columns(self) -> usize {
        self.columns + 2 * self.reach
    }

    /// The units of a workgroup, one for each strip of the first layer.
    pub(super) fn units(self) -> usize {
        self.strips(1.min(self.reach)).next_multiple_of(32)
    }
}

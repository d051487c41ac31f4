//! 3×3 convolutions with zero padding, of batches of any number of channels, as the forward and the backward pass
//! share them.
//!
//! A workgroup computes the outputs of a tile, up to 64 of them, a few input planes at a time in its memory. A unit
//! computes strips of some outputs in registers.

use super::super::estimate::taps;
use super::super::limits::{SHARED_FLOATS, UNITS};
use super::super::tile::{self, Row};
use burn_cubecl::cubecl::{self, prelude::*};

/// Rows and columns of a strip: the pixels that a unit computes together.
pub(super) const ROWS: usize = 8;
pub(super) const COLUMNS: usize = tile::COLUMNS;
/// The most outputs that a unit computes together.
const GROUP: usize = 4;
/// Rows and columns of a workgroup's tile.
pub(super) const TILE: [usize; 2] = [16, 32];
/// Strips of a tile.
pub(super) const STRIPS: usize = TILE[0] / ROWS * (TILE[1] / COLUMNS);
/// Rows and columns of a tile with its border.
const OUTER: [usize; 2] = [TILE[0] + 2, TILE[1] + 2];
/// Floats of an input plane in a workgroup's memory.
pub(super) const PLANE: usize = OUTER[0] * OUTER[1];
/// Floats of a [`Moments`](super::moments::Moments).
pub(super) const MOMENTS: usize = 3;
/// Numbers by which the values of an input plane are changed where they are loaded.
pub(super) const COEFFICIENTS: usize = 6;

/// What a convolution is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Convolution {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Whether the weights are those of the opposite convolution, `[inputs, outputs, 3, 3]`: then this is its
    /// gradient with respect to the images, and has no biases.
    pub(super) transposed: bool,
}

impl Convolution {
    /// Outputs that a unit computes together.
    pub(super) fn group(self) -> usize {
        self.outputs.min(GROUP)
    }

    /// Groups of outputs that a workgroup computes.
    fn groups(self) -> usize {
        self.outputs.div_ceil(self.group()).min(UNITS / STRIPS)
    }

    /// Workgroups for each tile.
    pub(super) fn parts(self) -> usize {
        self.outputs.div_ceil(self.workgroup_outputs())
    }

    pub(super) fn units(self) -> usize {
        STRIPS * self.groups()
    }

    /// Input planes that are in a workgroup's memory at a time, with their coefficients and the weights of its
    /// outputs.
    pub(super) fn planes(self) -> usize {
        let each = PLANE + COEFFICIENTS + self.plane_weights();
        let rounds = self.inputs.div_ceil(SHARED_FLOATS / each);
        self.inputs.div_ceil(rounds)
    }

    /// Units that work together on the coefficients of an input plane.
    pub(super) fn lanes(self) -> usize {
        self.units() / self.planes()
    }

    /// Outputs that a workgroup computes.
    pub(super) fn workgroup_outputs(self) -> usize {
        self.group() * self.groups()
    }

    /// Weights of an input plane for a workgroup's outputs.
    fn plane_weights(self) -> usize {
        self.workgroup_outputs() * 9
    }

    /// Where the weights begin in a workgroup's memory.
    fn weights_at(self) -> usize {
        self.planes() * PLANE
    }

    /// Where the coefficients begin in a workgroup's memory.
    pub(super) fn coefficients_at(self) -> usize {
        self.weights_at() + self.planes() * self.plane_weights()
    }

    /// Floats in a workgroup's memory: input planes with what belongs to them, or later [`MOMENTS`] of each output of
    /// each strip.
    pub(super) fn floats(self) -> usize {
        let planes = self.coefficients_at() + self.planes() * COEFFICIENTS;
        planes.max(self.workgroup_outputs() * STRIPS * MOMENTS)
    }
}

/// Images `[batch, channels, height, width]`, whatever their channels.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Size {
    pub(super) batch: usize,
    pub(super) height: i32,
    pub(super) width: i32,
}

#[cube]
impl Size {
    /// Pixels of an image.
    pub(super) fn area(&self) -> usize {
        (self.height * self.width) as usize
    }

    pub(super) fn contains(&self, y: i32, x: i32) -> bool {
        y >= 0 && y < self.height && x >= 0 && x < self.width
    }
}

/// What a unit computes.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Strip {
    /// The image of the batch.
    pub(super) n: usize,
    /// Row and column of the tile's first pixel.
    pub(super) top: i32,
    pub(super) left: i32,
    /// Row and column of the strip's first pixel in the tile.
    row: usize,
    column: usize,
    /// Which of the tile's strips it is.
    pub(super) index: usize,
    /// The workgroup's first output, and that of the unit, counted from there.
    pub(super) first_output: usize,
    pub(super) own: usize,
}

#[cube]
impl Strip {
    /// This unit's.
    pub(super) fn new(#[comptime] kernel: Convolution) -> Strip {
        let parts = comptime!(kernel.parts());
        let index = UNIT_POS as usize % STRIPS;
        Strip {
            n: CUBE_POS_Z as usize / parts,
            top: CUBE_POS_Y as i32 * comptime!(TILE[0] as i32),
            left: CUBE_POS_X as i32 * comptime!(TILE[1] as i32),
            row: index / comptime!(TILE[1] / COLUMNS) * ROWS,
            column: index % comptime!(TILE[1] / COLUMNS) * COLUMNS,
            index,
            first_output: CUBE_POS_Z as usize % parts * comptime!(kernel.workgroup_outputs()),
            own: UNIT_POS as usize / STRIPS * comptime!(kernel.group()),
        }
    }

    /// The unit's first output.
    pub(super) fn output(&self) -> usize {
        self.first_output + self.own
    }

    /// Row and column, in the image, of the strip's first pixel.
    pub(super) fn y(&self) -> i32 {
        self.top + self.row as i32
    }

    pub(super) fn x(&self) -> i32 {
        self.left + self.column as i32
    }
}

/// This workgroup's tile among those of the whole batch.
#[cube]
pub(super) fn tile_index(strip: &Strip) -> usize {
    (strip.n * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize) * CUBE_COUNT_X as usize
        + CUBE_POS_X as usize
}

/// Where a float of the tile's input planes belongs in an image.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Place {
    /// Whether it is in the image.
    pub(super) inside: bool,
    /// Whether it is in the tile itself, and not in its border.
    pub(super) of_tile: bool,
    /// The index of the pixel in the image, or of the first one, if it is outside.
    pub(super) pixel: usize,
}

#[cube]
pub(super) fn place(at: usize, strip: &Strip, size: &Size) -> Place {
    let row = i32::cast_from(at % PLANE / comptime!(OUTER[1])) - 1;
    let column = i32::cast_from(at % PLANE % comptime!(OUTER[1])) - 1;
    let (y, x) = (strip.top + row, strip.left + column);
    let inside = size.contains(y, x);
    let of_tile = row >= 0
        && row < comptime!(TILE[0] as i32)
        && column >= 0
        && column < comptime!(TILE[1] as i32);
    Place { inside, of_tile, pixel: select(inside, y * size.width + x, 0i32) as usize }
}

/// Loads the weights of some input planes for the outputs of this workgroup.
#[cube]
pub(super) fn load_weights(
    parameters: &[f32],
    shared: &mut [f32],
    strip: &Strip,
    weights: usize,
    first: usize,
    planes: usize,
    #[comptime] kernel: Convolution,
) {
    let (inputs, outputs) = comptime!((kernel.inputs, kernel.outputs));
    let plane_weights = comptime!(kernel.plane_weights());
    let count = planes * plane_weights;
    for at in range_stepped(UNIT_POS as usize, count, comptime!(kernel.units())) {
        let input = first + at / plane_weights;
        let output =
            usize::min(strip.first_output + at % plane_weights / 9, comptime!(outputs - 1));
        let tap = at % 9;
        let from = if comptime!(kernel.transposed) {
            (input * outputs + output) * 9 + 8 - tap
        } else {
            (output * inputs + input) * 9 + tap
        };
        shared[comptime!(kernel.weights_at()) + at] = parameters[weights + from];
    }
}

/// Adds what the input planes in the workgroup's memory contribute to the outputs of a strip: `ROWS` rows of sums for
/// each output of the group.
#[cube]
pub(super) fn convolve(
    shared: &[f32],
    strip: &Strip,
    planes: usize,
    sums: &mut Array<Row>,
    #[comptime] kernel: Convolution,
) {
    let group = comptime!(kernel.group());
    let mut weights = Array::<f32>::new(comptime!(group * 9));
    for plane in 0..planes {
        let start = comptime!(kernel.weights_at())
            + plane * comptime!(kernel.plane_weights())
            + strip.own * 9;
        #[unroll]
        for index in 0..comptime!(group * 9) {
            weights[index] = shared[start + index];
        }
        // The pixel above and left of the strip's first one.
        let at = plane * PLANE + strip.row * comptime!(OUTER[1]) + strip.column;
        #[unroll]
        for row in 0..comptime!(ROWS + 2) {
            let taps = taps(shared, at + comptime!(row * OUTER[1]));
            #[unroll]
            for y in 0..ROWS {
                if comptime!(row >= y && row < y + 3) {
                    #[unroll]
                    for tap in 0..3 {
                        #[unroll]
                        for o in 0..group {
                            let weight = weights[comptime!(o * 9 + (row - y) * 3 + tap)];
                            sums[comptime!(o * ROWS + y)] += Row::new(weight) * taps[tap];
                        }
                    }
                }
            }
        }
    }
}

/// Ones for the pixels of a row of the strip that are in the image, zeros for the others.
#[cube]
pub(super) fn ones(strip: &Strip, size: &Size, #[comptime] y: usize) -> Row {
    let mut ones = Row::new(0.0f32);
    let inside = strip.y() + comptime!(y as i32) < size.height;
    #[unroll]
    for x in 0..COLUMNS {
        let one = select(inside && strip.x() + comptime!(x as i32) < size.width, 1.0f32, 0.0f32);
        ones.insert(x, one);
    }
    ones
}

/// The sum of a row's values.
#[cube]
pub(super) fn row_sum(row: Row) -> f32 {
    (row.extract(0usize) + row.extract(1usize)) + (row.extract(2usize) + row.extract(3usize))
}

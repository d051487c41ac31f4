//! 3×3 convolutions with zero padding, of batches of any number of channels, and their gradients.
//!
//! Forward, a workgroup computes the outputs of a tile, up to 64 of them, a few input planes at a time in its
//! memory. A unit computes strips of some outputs in registers.

use super::limits::{SHARED_FLOATS, UNITS};
use super::network::taps;
use super::tile::{self, Row};
use burn_cubecl::cubecl::{self, prelude::*};

/// Rows and columns of a strip: the pixels that a unit computes together.
const ROWS: usize = 8;
const COLUMNS: usize = tile::COLUMNS;
/// The most outputs that a unit computes together.
const GROUP: usize = 4;
/// Rows and columns of a workgroup's tile.
pub(super) const TILE: [usize; 2] = [16, 32];
const STRIPS: usize = TILE[0] / ROWS * (TILE[1] / COLUMNS);
const OUTER: [usize; 2] = [TILE[0] + 2, TILE[1] + 2];
const PLANE: usize = OUTER[0] * OUTER[1];

/// What a convolution is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Convolution {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Whether the weights are those of the opposite convolution, `[inputs, outputs, 3, 3]`: then this is its
    /// gradient with respect to the images.
    pub(super) transposed: bool,
    /// Whether there are biases.
    pub(super) biased: bool,
}

impl Convolution {
    /// Outputs that a unit computes together.
    fn group(self) -> usize {
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

    /// Input planes that are in a workgroup's memory at a time, with the weights of its outputs.
    fn planes(self) -> usize {
        let rounds = self.inputs.div_ceil(SHARED_FLOATS / (PLANE + self.plane_weights()));
        self.inputs.div_ceil(rounds)
    }

    /// Outputs that a workgroup computes.
    fn workgroup_outputs(self) -> usize {
        self.group() * self.groups()
    }

    /// Weights of an input plane for a workgroup's outputs.
    fn plane_weights(self) -> usize {
        self.workgroup_outputs() * 9
    }

    pub(super) fn floats(self) -> usize {
        self.planes() * (PLANE + self.plane_weights())
    }
}

/// The convolution of images `[batch, inputs, height, width]`.
#[cube(launch_unchecked)]
pub(super) fn forward(
    image: &[f32],
    weight: &[f32],
    bias: &[f32],
    result: &mut [f32],
    height: i32,
    width: i32,
    #[comptime] kernel: Convolution,
) {
    let (inputs, outputs) = comptime!((kernel.inputs, kernel.outputs));
    let (group, parts) = comptime!((kernel.group(), kernel.parts()));
    let area = (height * width) as usize;
    let n = CUBE_POS_Z as usize / parts;
    let part = CUBE_POS_Z as usize % parts;
    let top = CUBE_POS_Y as i32 * comptime!(TILE[0] as i32);
    let left = CUBE_POS_X as i32 * comptime!(TILE[1] as i32);
    let strip = UNIT_POS as usize % STRIPS;
    let first_output = part * comptime!(kernel.workgroup_outputs());
    let own = UNIT_POS as usize / STRIPS * group;
    let output = first_output + own;
    let row = strip / comptime!(TILE[1] / COLUMNS) * ROWS;
    let column = strip % comptime!(TILE[1] / COLUMNS) * COLUMNS;

    let mut sums = Array::<Row>::new(comptime!(group * ROWS));
    #[unroll]
    for o in 0..group {
        let start = if comptime!(kernel.biased) {
            bias[usize::min(output + o, comptime!(outputs - 1))]
        } else {
            0.0f32.runtime()
        };
        #[unroll]
        for y in 0..ROWS {
            sums[comptime!(o * ROWS + y)] = Row::new(start);
        }
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(kernel.floats()));
    let mut weights = Array::<f32>::new(comptime!(group * 9));
    for first in range_stepped(0usize, inputs, comptime!(kernel.planes())) {
        let planes = usize::min(comptime!(kernel.planes()), inputs - first);
        sync_cube();
        for at in range_stepped(UNIT_POS as usize, planes * PLANE, comptime!(kernel.units())) {
            let y = top + i32::cast_from(at % PLANE / comptime!(OUTER[1])) - 1;
            let x = left + i32::cast_from(at % PLANE % comptime!(OUTER[1])) - 1;
            let inside = y >= 0 && y < height && x >= 0 && x < width;
            let pixel = select(inside, y * width + x, 0i32) as usize;
            let plane = (n * inputs + first + at / PLANE) * area;
            shared[at] = select(inside, image[plane + pixel], 0.0f32);
        }
        let plane_weights = comptime!(kernel.plane_weights());
        let weights_at = comptime!(kernel.planes() * PLANE);
        let count = planes * plane_weights;
        for at in range_stepped(UNIT_POS as usize, count, comptime!(kernel.units())) {
            let input = first + at / plane_weights;
            let output = usize::min(first_output + at % plane_weights / 9, comptime!(outputs - 1));
            let tap = at % 9;
            let from = if comptime!(kernel.transposed) {
                (input * outputs + output) * 9 + 8 - tap
            } else {
                (output * inputs + input) * 9 + tap
            };
            shared[weights_at + at] = weight[from];
        }
        sync_cube();
        for plane in 0..planes {
            let start = weights_at + plane * plane_weights + own * 9;
            #[unroll]
            for index in 0..comptime!(group * 9) {
                weights[index] = shared[start + index];
            }
            let at = plane * PLANE + row * comptime!(OUTER[1]) + column;
            accumulate(&shared, at, &weights, &mut sums, group);
        }
    }
    #[unroll]
    for y in 0..ROWS {
        #[unroll]
        for x in 0..COLUMNS {
            let image_y = top + row as i32 + comptime!(y as i32);
            let image_x = left + column as i32 + comptime!(x as i32);
            if image_y < height && image_x < width {
                let pixel = (image_y * width + image_x) as usize;
                #[unroll]
                for o in 0..group {
                    if output + o < outputs {
                        let to = (n * outputs + output + o) * area + pixel;
                        result[to] = sums[comptime!(o * ROWS + y)].extract(x);
                    }
                }
            }
        }
    }
}

/// Adds what a plane contributes to the outputs of a strip, with the pixel above and left of it.
#[cube]
fn accumulate(
    shared: &[f32],
    at: usize,
    weights: &Array<f32>,
    sums: &mut Array<Row>,
    #[comptime] group: usize,
) {
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

/// Outputs and inputs whose weights' gradients a workgroup computes.
const BLOCK: [usize; 2] = [4, 2];
/// Sums of a unit: the weights of a block, and its biases.
const SUMS: usize = BLOCK[0] * BLOCK[1] * 9 + BLOCK[0];
/// Rows of units and units side by side; each walks down so many rows of pixels.
const SIDE: [usize; 2] = [4, 32];
const WALK: usize = 16;
/// Rows and columns of pixels of a workgroup.
pub(super) const REGION: [usize; 2] = [SIDE[0] * WALK, SIDE[1] * COLUMNS];
/// Units of a workgroup for the weights' gradients.
pub(super) const WALKERS: usize = SIDE[0] * SIDE[1];
/// Sums that are in a workgroup's memory at a time. A quarter of the units' are added by each unit.
const BATCH: usize = SHARED_FLOATS / WALKERS;
pub(super) const WALKER_FLOATS: usize = BATCH * WALKERS;
const PARTS: usize = WALKERS / BATCH;

/// The gradients of a convolution's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WeightGradient {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl WeightGradient {
    fn input_blocks(self) -> usize {
        self.inputs.div_ceil(BLOCK[1])
    }

    /// Blocks of outputs and inputs.
    pub(super) fn blocks(self) -> usize {
        self.outputs.div_ceil(BLOCK[0]) * self.input_blocks()
    }

    /// The sums of all blocks, of which a workgroup gives [`PARTS`] parts.
    pub(super) fn sums(self) -> usize {
        self.blocks() * SUMS
    }

    /// Parts of each sum for a picture of so many workgroups.
    pub(super) fn parts(regions: usize) -> usize {
        regions * PARTS
    }
}

/// The parts of each sum from the regions of the images: `[regions, parts, blocks, sums]`.
#[cube(launch_unchecked)]
pub(super) fn weight_gradient_parts(
    image: &[f32],
    gradient: &[f32],
    partial: &mut [f32],
    height: i32,
    width: i32,
    #[comptime] kernel: WeightGradient,
) {
    let (inputs, outputs) = comptime!((kernel.inputs, kernel.outputs));
    let area = (height * width) as usize;
    let block = CUBE_POS_X as usize;
    let output = block / comptime!(kernel.input_blocks()) * comptime!(BLOCK[0]);
    let input = block % comptime!(kernel.input_blocks()) * comptime!(BLOCK[1]);
    let across = div_ceil::<u32>(width as u32, comptime!(REGION[1] as u32));
    let top = (CUBE_POS_Y / across * comptime!(REGION[0] as u32)) as i32
        + (UNIT_POS / comptime!(SIDE[1] as u32) * comptime!(WALK as u32)) as i32;
    let left = (CUBE_POS_Y % across * comptime!(REGION[1] as u32)) as i32
        + (UNIT_POS % comptime!(SIDE[1] as u32) * comptime!(COLUMNS as u32)) as i32;
    let n = CUBE_POS_Z as usize;

    let mut sums = Array::<f32>::new(SUMS);
    #[unroll]
    for index in 0..SUMS {
        sums[index] = 0.0f32;
    }
    // Three rows of each input plane, the newest last.
    let row = comptime!(COLUMNS + 2);
    let mut window = Array::<f32>::new(comptime!(BLOCK[1] * 3 * row));
    #[unroll]
    for index in 0..comptime!(BLOCK[1] * 3 * row) {
        window[index] = 0.0f32;
    }
    for step in 0..comptime!(WALK + 2) {
        let y = top + step as i32 - 1;
        let y_inside = y >= 0 && y < height;
        #[unroll]
        for i in 0..comptime!(BLOCK[1]) {
            let plane = (n * inputs + usize::min(input + i, comptime!(inputs - 1))) * area;
            #[unroll]
            for x in 0..row {
                #[unroll]
                for down in 0..2 {
                    window[comptime!((i * 3 + down) * row + x)] =
                        window[comptime!((i * 3 + down + 1) * row + x)];
                }
                let column = left + comptime!(x as i32 - 1);
                let inside = y_inside && column >= 0 && column < width;
                let pixel = select(inside, y * width + column, 0i32) as usize;
                window[comptime!((i * 3 + 2) * row + x)] =
                    select(inside, image[plane + pixel], 0.0f32);
            }
        }
        // The gradient of the row above, whose window is complete.
        if step >= 2 {
            let y = y - 1;
            #[unroll]
            for o in 0..comptime!(BLOCK[0]) {
                let plane = (n * outputs + usize::min(output + o, comptime!(outputs - 1))) * area;
                #[unroll]
                for x in 0..COLUMNS {
                    let column = left + comptime!(x as i32);
                    let inside = y < height && column < width;
                    let pixel = select(inside, y * width + column, 0i32) as usize;
                    let value = select(inside, gradient[plane + pixel], 0.0f32);
                    sums[comptime!(BLOCK[0] * BLOCK[1] * 9 + o)] += value;
                    #[unroll]
                    for i in 0..comptime!(BLOCK[1]) {
                        #[unroll]
                        for tap in 0..9 {
                            sums[comptime!((o * BLOCK[1] + i) * 9 + tap)] +=
                                value * window[comptime!((i * 3 + tap / 3) * row + x + tap % 3)];
                        }
                    }
                }
            }
        }
    }

    let mut shared = Shared::<[f32]>::new_slice(WALKER_FLOATS);
    let unit = UNIT_POS as usize;
    let (index, part) = (unit % BATCH, unit / BATCH);
    let region = n * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize;
    let start = ((region * PARTS + part) * CUBE_COUNT_X as usize + block) * SUMS;
    #[unroll]
    for batch in 0..comptime!(SUMS.div_ceil(BATCH)) {
        let first = comptime!(batch * BATCH);
        let count = comptime!((SUMS - first).min(BATCH));
        sync_cube();
        #[unroll]
        for a in 0..count {
            shared[unit + comptime!(a * WALKERS)] = sums[comptime!(first + a)];
        }
        sync_cube();
        if index < count {
            let mut sum = 0.0f32;
            for k in 0..BATCH {
                // Each unit begins at another place, so that they do not wait for the same memory bank.
                sum += shared[index * WALKERS + part * BATCH + (k + index) % BATCH];
            }
            partial[start + first + index] = sum;
        }
    }
}

/// Adds the parts up: weights' and biases' gradients, a unit for each sum.
#[cube(launch_unchecked)]
pub(super) fn weight_gradient_sums(
    partial: &[f32],
    weight: &mut [f32],
    bias: &mut [f32],
    parts: usize,
    #[comptime] kernel: WeightGradient,
) {
    let (inputs, outputs) = comptime!((kernel.inputs, kernel.outputs));
    let at = ABSOLUTE_POS;
    if at < comptime!(kernel.sums()) {
        let mut sum = 0.0f32;
        for part in 0..parts {
            sum += partial[part * comptime!(kernel.sums()) + at];
        }
        let (block, index) = (at / SUMS, at % SUMS);
        let output = block / comptime!(kernel.input_blocks()) * comptime!(BLOCK[0]);
        let input = block % comptime!(kernel.input_blocks()) * comptime!(BLOCK[1]);
        if index < comptime!(BLOCK[0] * BLOCK[1] * 9) {
            let output = output + index / comptime!(9 * BLOCK[1]);
            let input = input + index / 9 % comptime!(BLOCK[1]);
            if output < outputs && input < inputs {
                weight[(output * inputs + input) * 9 + index % 9] = sum;
            }
        } else {
            let output = output + index - comptime!(BLOCK[0] * BLOCK[1] * 9);
            if input == 0 && output < outputs {
                bias[output] = sum;
            }
        }
    }
}

//! The gradients with respect to a network's parameters: parts of those of each layer's convolution, which walk over
//! the pictures, and the sums of all parts, in one launch.

use super::super::limits::SHARED_FLOATS;
use super::super::tile::COLUMNS;
use super::convolution::Size;
use super::moments::{PASSED, passed_start};
use crate::ops::network::ConvLayer;
use burn_cubecl::cubecl::{self, prelude::*};
use std::ops::Range;

/// Outputs and inputs whose weights' gradients a workgroup computes.
const BLOCK: [usize; 2] = [4, 2];
/// Sums of a unit: the weights of a block, and its biases.
const SUMS: usize = BLOCK[0] * BLOCK[1] * 9 + BLOCK[0];
/// Rows of units and units side by side; each walks down so many rows of pixels.
const SIDE: [usize; 2] = [4, 32];
const WALK: usize = 32;
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
    inputs: usize,
    outputs: usize,
}

impl WeightGradient {
    pub(super) fn of(layer: &ConvLayer) -> Self {
        Self { inputs: layer.inputs, outputs: layer.outputs }
    }

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
}

/// The floats of the parts of so many sums, for so many regions.
pub(super) fn floats(sums: usize, regions: usize) -> usize {
    sums * regions * PARTS
}

/// The parts of each sum from the regions of the images: `[regions, parts, blocks, sums]`, from `first` on in `partial`.
#[cube(launch_unchecked)]
pub(super) fn weight_gradient_parts(
    image: &[f32],
    gradient: &[f32],
    partial: &mut [f32],
    size: Size,
    first: usize,
    #[comptime] kernel: WeightGradient,
) {
    let (inputs, outputs) = comptime!((kernel.inputs, kernel.outputs));
    let (height, width) = (size.height, size.width);
    let area = size.area();
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
    let mut values = Array::<f32>::new(COLUMNS);
    // As far as the image goes.
    let rows = i32::min(comptime!(WALK as i32), height - top);
    let steps = select(rows > 0, rows + 2, 0i32) as usize;
    for step in 0..steps {
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
                    let inside = column < width;
                    let pixel = select(inside, y * width + column, 0i32) as usize;
                    values[x] = select(inside, gradient[plane + pixel], 0.0f32);
                    sums[comptime!(BLOCK[0] * BLOCK[1] * 9 + o)] += values[x];
                }
                // A sum is taken up once for all columns, since there are more of them than registers.
                #[unroll]
                for i in 0..comptime!(BLOCK[1]) {
                    #[unroll]
                    for tap in 0..9 {
                        #[unroll]
                        for x in 0..COLUMNS {
                            sums[comptime!((o * BLOCK[1] + i) * 9 + tap)] += values[x]
                                * window[comptime!((i * 3 + tap / 3) * row + x + tap % 3)];
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
    let start = first + ((region * PARTS + part) * CUBE_COUNT_X as usize + block) * SUMS;
    #[unroll]
    for batch in 0..comptime!(SUMS.div_ceil(BATCH)) {
        let from = comptime!(batch * BATCH);
        let count = comptime!((SUMS - from).min(BATCH));
        sync_cube();
        #[unroll]
        for a in 0..count {
            shared[unit + comptime!(a * WALKERS)] = sums[comptime!(from + a)];
        }
        sync_cube();
        if index < count {
            let mut sum = 0.0f32;
            for k in 0..BATCH {
                // Each unit begins at another place, so that they do not wait for the same memory bank.
                sum += shared[index * WALKERS + part * BATCH + (k + index) % BATCH];
            }
            partial[start + from + index] = sum;
        }
    }
}

/// What the gradients with respect to a tensor of parameters are the sums of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Parts {
    /// Of the convolution whose sums have so many others before them.
    Weights {
        kernel: WeightGradient,
        before: usize,
    },
    Biases {
        kernel: WeightGradient,
        before: usize,
    },
    /// One of the two sums of what passed the ReLU of the normalization that has so many channels before it.
    Passed {
        number: usize,
        before: usize,
    },
}

/// The parts for each tensor in its place among the parameters. Those that are used several times have several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan(pub(super) Vec<(Range<usize>, Parts)>);

/// Units of a workgroup that adds up.
pub(super) const ADDERS: usize = 64;

/// Adds all parts up, a unit for each parameter.
#[cube(launch_unchecked)]
pub(super) fn parameter_gradients(
    partial: &[f32],
    passed: &[f32],
    gradient: &mut [f32],
    regions: usize,
    tiles: usize,
    #[comptime] plan: Plan,
) {
    let at = CUBE_POS * ADDERS + UNIT_POS as usize;
    if at < gradient.len() {
        let mut sum = 0.0f32;
        #[unroll]
        for index in 0..comptime!(plan.0.len()) {
            let (start, end) = comptime!((plan.0[index].0.start, plan.0[index].0.end));
            if at >= start && at < end {
                let parts = comptime!(plan.0[index].1);
                sum += add_parts(partial, passed, at - start, regions, tiles, parts);
            }
        }
        gradient[at] = sum;
    }
}

/// The sum of the parts for one parameter of a tensor.
#[cube]
fn add_parts(
    partial: &[f32],
    passed: &[f32],
    at: usize,
    regions: usize,
    tiles: usize,
    #[comptime] parts: Parts,
) -> f32 {
    let mut sum = 0.0f32;
    match comptime!(parts) {
        Parts::Weights { kernel, before } => {
            let inputs = comptime!(kernel.inputs);
            let (output, input) = (at / comptime!(inputs * 9), at / 9 % inputs);
            let pair =
                output % comptime!(BLOCK[0]) * comptime!(BLOCK[1]) + input % comptime!(BLOCK[1]);
            let from =
                before * regions * PARTS + block(output, input, kernel) * SUMS + pair * 9 + at % 9;
            for part in 0..regions * PARTS {
                sum += partial[from + part * comptime!(kernel.sums())];
            }
        }
        Parts::Biases { kernel, before } => {
            let own = comptime!(BLOCK[0] * BLOCK[1] * 9) + at % comptime!(BLOCK[0]);
            let from = before * regions * PARTS + block(at, 0usize, kernel) * SUMS + own;
            for part in 0..regions * PARTS {
                sum += partial[from + part * comptime!(kernel.sums())];
            }
        }
        Parts::Passed { number, before } => {
            let from = passed_start(before + at, tiles) + number;
            for tile in 0..tiles {
                sum += passed[from + tile * PASSED];
            }
        }
    }
    sum
}

/// The block of an output and an input.
#[cube]
fn block(output: usize, input: usize, #[comptime] kernel: WeightGradient) -> usize {
    output / comptime!(BLOCK[0]) * comptime!(kernel.input_blocks()) + input / comptime!(BLOCK[1])
}

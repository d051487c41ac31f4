//! The smoothness loss and its gradients: one launch over the pixels, each of which gathers what its 24
//! neighbors contribute, and one that adds up. No sum depends on the order of the workgroups, so the bits are
//! the same in every run.

use super::limits::{SHARED_FLOATS, UNITS};
use super::sum::add_up;
use crate::ops::Weighting;
use burn_cubecl::cubecl::{self, prelude::*};

/// The distance to the farthest neighbors.
const REACH: usize = 2;
/// Rows and columns of the pixels that a unit computes together.
const ROWS: usize = 2;
const COLUMNS: usize = 4;
const STRIP: usize = ROWS * COLUMNS;
/// Rows and columns of a workgroup's tile.
pub(super) const TILE: [usize; 2] = [16, 24];
const OUTER: [usize; 2] = [TILE[0] + 2 * REACH, TILE[1] + 2 * REACH];
const PLANE: usize = OUTER[0] * OUTER[1];
/// Three planes of colors and three of illumination; later the units' parts of the loss.
pub(super) const FLOATS: usize = 6 * PLANE;
/// Units of a workgroup, one for each strip.
pub(super) const WORKERS: usize = TILE[0] / ROWS * (TILE[1] / COLUMNS);
const _: () = assert!(FLOATS <= SHARED_FLOATS && WORKERS <= UNITS);

/// Units of a workgroup that adds up.
pub(super) const ADDERS: usize = 128;

/// The colors of a [`Weighting`] as constants of a kernel, which are compared by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    matrix: [[u32; 3]; 3],
    offset: [u32; 3],
    pub(super) per_pixel: bool,
}

impl Constants {
    pub(super) fn new(weighting: Weighting) -> Self {
        Self {
            matrix: weighting.matrix.map(|row| row.map(f32::to_bits)),
            offset: weighting.offset.map(f32::to_bits),
            per_pixel: weighting.per_pixel,
        }
    }

    fn factor(self, input: usize, component: usize) -> f32 {
        f32::from_bits(self.matrix[input][component])
    }

    fn offset(self, component: usize) -> f32 {
        f32::from_bits(self.offset[component])
    }
}

/// The loss of each tile and, if `gradients` are wanted, those with respect to the illumination and the colors;
/// to the inputs instead of the colors if the colors are made per pixel. The exponent is `−1 / 2σ²`.
#[cube(launch_unchecked)]
pub(super) fn tiles(
    input: &[f32],
    illumination: &[f32],
    losses: &mut [f32],
    color_gradient: &mut [f32],
    light_gradient: &mut [f32],
    batch: i32,
    height: i32,
    width: i32,
    exponent: f32,
    #[comptime] constants: Constants,
    #[comptime] gradients: bool,
) {
    let area = (height * width) as usize;
    let first = CUBE_POS_Z as usize * area * 3;
    let top = CUBE_POS_Y as i32 * comptime!(TILE[0] as i32);
    let left = CUBE_POS_X as i32 * comptime!(TILE[1] as i32);
    let mut shared = Shared::<[f32]>::new_slice(FLOATS);
    load(input, illumination, &mut shared, first, top, left, height, width, constants);
    sync_cube();

    let across = comptime!(TILE[1] / COLUMNS);
    let row = UNIT_POS as usize / across * ROWS;
    let column = UNIT_POS as usize % across * COLUMNS;
    let mut own = Array::<f32>::new(comptime!(6 * STRIP));
    #[unroll]
    for p in 0..STRIP {
        let at = (row + comptime!(p / COLUMNS + REACH)) * comptime!(OUTER[1])
            + column
            + comptime!(p % COLUMNS + REACH);
        #[unroll]
        for c in 0..6 {
            own[comptime!(c * STRIP + p)] = shared[at + comptime!(c * PLANE)];
        }
    }
    let mut gradient = Array::<f32>::new(comptime!(6 * STRIP));
    #[unroll]
    for index in 0..comptime!(6 * STRIP) {
        gradient[index] = 0.0f32;
    }
    // One over the number of pairs of each distance.
    let mut row_shares = Array::<f32>::new(comptime!(REACH + 1));
    let mut column_shares = Array::<f32>::new(comptime!(REACH + 1));
    #[unroll]
    for distance in 0..comptime!(REACH + 1) {
        row_shares[distance] = 1.0f32 / f32::cast_from(batch * (height - comptime!(distance as i32)));
        column_shares[distance] = 1.0f32 / f32::cast_from(width - comptime!(distance as i32));
    }
    let mut loss = 0.0f32;
    let y = top + row as i32;
    let x = left + column as i32;
    let mut other = Array::<f32>::new(6usize);
    #[unroll]
    for down in 0..comptime!(ROWS + 2 * REACH) {
        let other_y = y + comptime!(down as i32 - REACH as i32);
        #[unroll]
        for right in 0..comptime!(COLUMNS + 2 * REACH) {
            let other_x = x + comptime!(right as i32 - REACH as i32);
            let inside = other_y >= 0 && other_y < height && other_x >= 0 && other_x < width;
            let counted = select(inside, 1.0f32, 0.0f32);
            let at = (row + down) * comptime!(OUTER[1]) + column + right;
            #[unroll]
            for c in 0..6 {
                other[c] = shared[at + comptime!(c * PLANE)];
            }
            #[unroll]
            for p in 0..STRIP {
                let vertical = comptime!((p / COLUMNS + REACH).abs_diff(down));
                let horizontal = comptime!((p % COLUMNS + REACH).abs_diff(right));
                if comptime!(vertical <= REACH && horizontal <= REACH && vertical + horizontal > 0) {
                    let share = counted * row_shares[vertical] * column_shares[horizontal];
                    let part = pair(&own, &other, &mut gradient, p, share, exponent, gradients);
                    // Strips may go over the edge of the image.
                    let here = y + comptime!((p / COLUMNS) as i32) < height
                        && x + comptime!((p % COLUMNS) as i32) < width;
                    loss += select(here, part, 0.0f32);
                }
            }
        }
    }
    if comptime!(gradients) {
        #[unroll]
        for p in 0..STRIP {
            let y = y + comptime!((p / COLUMNS) as i32);
            let x = x + comptime!((p % COLUMNS) as i32);
            if y < height && x < width {
                let pixel = first + (y * width + x) as usize;
                #[unroll]
                for c in 0..3 {
                    let color = comptime!(c);
                    let to = pixel + c * area;
                    light_gradient[to] = gradient[comptime!((c + 3) * STRIP + p)];
                    if comptime!(constants.per_pixel) {
                        let mut sum = gradient[p] * comptime!(constants.factor(color, 0));
                        #[unroll]
                        for k in 1..3 {
                            sum += gradient[comptime!(k * STRIP + p)]
                                * comptime!(constants.factor(color, k));
                        }
                        color_gradient[to] = sum;
                    } else {
                        color_gradient[to] = gradient[comptime!(c * STRIP + p)];
                    }
                }
            }
        }
    }
    sync_cube();
    let total = add_up(&mut shared, loss, WORKERS);
    if UNIT_POS == 0 {
        let tile = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) * CUBE_COUNT_X + CUBE_POS_X;
        losses[tile as usize] = total;
    }
}

/// Loads colors and illumination; zeros outside the image.
#[cube]
fn load(
    input: &[f32],
    illumination: &[f32],
    shared: &mut [f32],
    first: usize,
    top: i32,
    left: i32,
    height: i32,
    width: i32,
    #[comptime] constants: Constants,
) {
    let area = (height * width) as usize;
    let mut values = Array::<f32>::new(3usize);
    for at in range_stepped(UNIT_POS as usize, PLANE, WORKERS) {
        let y = top + i32::cast_from(at / comptime!(OUTER[1])) - comptime!(REACH as i32);
        let x = left + i32::cast_from(at % comptime!(OUTER[1])) - comptime!(REACH as i32);
        let inside = y >= 0 && y < height && x >= 0 && x < width;
        let pixel = first + select(inside, y * width + x, 0i32) as usize;
        if comptime!(constants.per_pixel) {
            #[unroll]
            for c in 0..3 {
                values[c] = input[pixel + c * area];
            }
        }
        #[unroll]
        for c in 0..3 {
            let color = if comptime!(constants.per_pixel) {
                component(&values, c, constants)
            } else {
                let index = pixel + c * area;
                #[unroll]
                for k in 0..3 {
                    values[k] = input[index / 3 * 3 + k];
                }
                let first = component(&values, 0usize, constants);
                let second = component(&values, 1usize, constants);
                let third = component(&values, 2usize, constants);
                select(index % 3 == 0, first, select(index % 3 == 1, second, third))
            };
            shared[at + comptime!(c * PLANE)] = select(inside, color, 0.0f32);
            let light = illumination[pixel + c * area];
            shared[at + comptime!((c + 3) * PLANE)] = select(inside, light, 0.0f32);
        }
    }
}

/// A component of the color of three values.
#[cube]
fn component(values: &Array<f32>, #[comptime] c: usize, #[comptime] constants: Constants) -> f32 {
    values[0] * comptime!(constants.factor(0, c))
        + values[1] * comptime!(constants.factor(1, c))
        + values[2] * comptime!(constants.factor(2, c))
        + comptime!(constants.offset(c))
}

/// What a pixel of the strip and another one contribute to the loss. Adds their part of the gradients with
/// respect to the strip's pixel; the pair counts once from each side.
#[cube]
fn pair(
    own: &Array<f32>,
    other: &Array<f32>,
    gradient: &mut Array<f32>,
    #[comptime] p: usize,
    share: f32,
    exponent: f32,
    #[comptime] gradients: bool,
) -> f32 {
    let mut differences = Array::<f32>::new(6usize);
    #[unroll]
    for c in 0..6 {
        differences[c] = own[comptime!(c * STRIP + p)] - other[c];
    }
    let distance = differences[0] * differences[0]
        + differences[1] * differences[1]
        + differences[2] * differences[2];
    let weight = f32::exp(distance * exponent) * share;
    let change = f32::abs(differences[3]) + f32::abs(differences[4]) + f32::abs(differences[5]);
    let loss = weight * change;
    if comptime!(gradients) {
        let by_color = loss * 4.0f32 * exponent;
        #[unroll]
        for c in 0..3 {
            gradient[comptime!(c * STRIP + p)] += by_color * differences[c];
            let light = differences[comptime!(c + 3)];
            let slope = weight * 2.0f32;
            let falling = select(light < 0.0, -slope, 0.0f32);
            gradient[comptime!((c + 3) * STRIP + p)] += select(light > 0.0, slope, falling);
        }
    }
    loss
}

/// The first workgroup adds the tiles' losses up. The others turn the gradients with respect to colors, where
/// these are made of neighbors in memory, into those with respect to the inputs: a unit for each three.
#[cube(launch_unchecked)]
pub(super) fn finish(
    losses: &[f32],
    loss: &mut [f32],
    color_gradient: &[f32],
    input_gradient: &mut [f32],
    #[comptime] constants: Constants,
) {
    let mut shared = Shared::<[f32]>::new_slice(ADDERS);
    if CUBE_POS == 0 {
        let mut sum = 0.0f32;
        for index in range_stepped(UNIT_POS as usize, losses.len(), ADDERS) {
            sum += losses[index];
        }
        let total = add_up(&mut shared, sum, ADDERS);
        if UNIT_POS == 0 {
            loss[0] = total;
        }
    } else {
        let start = ((CUBE_POS - 1) * ADDERS + UNIT_POS as usize) * 3;
        if start < input_gradient.len() {
            #[unroll]
            for k in 0..3 {
                let mut sum = color_gradient[start] * comptime!(constants.factor(k, 0));
                #[unroll]
                for c in 1..3 {
                    sum += color_gradient[start + c] * comptime!(constants.factor(k, c));
                }
                input_gradient[start + k] = sum;
            }
        }
    }
}

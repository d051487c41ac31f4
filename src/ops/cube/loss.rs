//! The loss, fidelity and smoothness, and its gradients: one launch over the pixels, each of which gathers what its 24
//! neighbors contribute, and one that adds up. No sum depends on the order of the workgroups, so the bits are
//! the same in every run.

use super::limits::{SHARED_FLOATS, UNITS};
use super::sum::add_up;
use super::tile::{self, Row};
use crate::ops::Weighting;
use burn_cubecl::cubecl::{self, prelude::*};

/// The distance to the farthest neighbors.
const REACH: usize = 2;
/// Rows and columns of the pixels that a unit computes together.
const ROWS: usize = 2;
const COLUMNS: usize = tile::COLUMNS;
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

/// The sum of the squared differences and the smoothness of each tile, `[tiles, 2]`, and, if `gradients` are wanted,
/// those with respect to the illumination and the colors; to the inputs instead of the colors if the colors are made per
/// pixel. The exponent is `−1 / 2σ²`, the slope twice the fidelity's weight for each value.
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
    slope: f32,
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
    let (y, x) = (top + row as i32, left + column as i32);
    // Colors and illumination of the strip, the gradients with respect to them, and the strip's loss.
    let mut own = Array::<Row>::new(comptime!(6 * ROWS));
    let mut gradient = Array::<Row>::new(comptime!(6 * ROWS));
    #[unroll]
    for strip_row in 0..ROWS {
        let at = (row + comptime!(strip_row + REACH)) * comptime!(OUTER[1]) + column + REACH;
        #[unroll]
        for c in 0..6 {
            let mut values = Row::empty();
            #[unroll]
            for k in 0..COLUMNS {
                values.insert(k, shared[at + comptime!(k + c * PLANE)]);
            }
            own[comptime!(c * ROWS + strip_row)] = values;
            gradient[comptime!(c * ROWS + strip_row)] = Row::new(0.0f32);
        }
    }
    let mut losses_row = Row::new(0.0f32);
    // Two rows of the strip and the columns of its neighbors: where they are in the image.
    let mut counted = Array::<Row>::new(comptime!(2 * REACH + 1));
    #[unroll]
    for right in 0..comptime!(2 * REACH + 1) {
        let distance = comptime!(right.abs_diff(REACH) as i32);
        let share = 1.0f32 / f32::cast_from(width - distance);
        let mut row = Row::empty();
        #[unroll]
        for k in 0..COLUMNS {
            let own_x = x + comptime!(k as i32);
            let other_x = own_x + comptime!(right as i32 - REACH as i32);
            let inside = own_x < width && other_x >= 0 && other_x < width;
            row.insert(k, select(inside, share, 0.0f32));
        }
        counted[right] = row;
    }
    #[unroll]
    for down in 0..comptime!(ROWS + 2 * REACH) {
        let other_y = y + comptime!(down as i32 - REACH as i32);
        let mut others = Array::<f32>::new(comptime!(6 * (COLUMNS + 2 * REACH)));
        #[unroll]
        for right in 0..comptime!(COLUMNS + 2 * REACH) {
            let at = (row + down) * comptime!(OUTER[1]) + column + right;
            #[unroll]
            for c in 0..6 {
                others[comptime!(c * (COLUMNS + 2 * REACH) + right)] =
                    shared[at + comptime!(c * PLANE)];
            }
        }
        #[unroll]
        for right in 0..comptime!(2 * REACH + 1) {
            let mut other = Array::<Row>::new(6usize);
            #[unroll]
            for c in 0..6 {
                let mut values = Row::empty();
                #[unroll]
                for k in 0..COLUMNS {
                    let from = comptime!(c * (COLUMNS + 2 * REACH) + right + k);
                    values.insert(k, others[from]);
                }
                other[c] = values;
            }
            #[unroll]
            for strip_row in 0..ROWS {
                let vertical = comptime!((strip_row + REACH).abs_diff(down));
                if comptime!(vertical <= REACH && vertical + right.abs_diff(REACH) > 0) {
                    let own_y = y + comptime!(strip_row as i32);
                    let inside = own_y < height && other_y >= 0 && other_y < height;
                    let pairs = f32::cast_from(batch * (height - comptime!(vertical as i32)));
                    let share = counted[right] * Row::new(select(inside, 1.0f32 / pairs, 0.0f32));
                    losses_row +=
                        pair(&own, &other, &mut gradient, strip_row, share, exponent, gradients);
                }
            }
        }
    }
    let mut loss = 0.0f32;
    #[unroll]
    for k in 0..COLUMNS {
        loss += losses_row.extract(k);
    }
    let mut squares = 0.0f32;
    #[unroll]
    for strip_row in 0..ROWS {
        #[unroll]
        for k in 0..COLUMNS {
            let own_y = y + comptime!(strip_row as i32);
            let own_x = x + comptime!(k as i32);
            if own_y < height && own_x < width {
                let pixel = first + (own_y * width + own_x) as usize;
                #[unroll]
                for c in 0..3 {
                    let to = pixel + c * area;
                    let light = own[comptime!((c + 3) * ROWS + strip_row)].extract(k);
                    let difference = light - input[to];
                    squares += difference * difference;
                    if comptime!(gradients) {
                        let pull = slope * difference;
                        light_gradient[to] =
                            gradient[comptime!((c + 3) * ROWS + strip_row)].extract(k) + pull;
                        if comptime!(constants.per_pixel) {
                            let mut sum = 0.0f32;
                            #[unroll]
                            for component in 0..3 {
                                sum += gradient[comptime!(component * ROWS + strip_row)].extract(k)
                                    * comptime!(constants.factor(c, component));
                            }
                            color_gradient[to] = sum - pull;
                        } else {
                            color_gradient[to] =
                                gradient[comptime!(c * ROWS + strip_row)].extract(k);
                        }
                    }
                }
            }
        }
    }
    sync_cube();
    let smoothness = add_up(&mut shared, loss, WORKERS);
    sync_cube();
    let squares = add_up(&mut shared, squares, WORKERS);
    if UNIT_POS == 0 {
        let tile = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) * CUBE_COUNT_X + CUBE_POS_X;
        losses[tile as usize * 2] = squares;
        losses[tile as usize * 2 + 1] = smoothness;
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
                let part = index % 3;
                select(part == 0, first, select(part == 1, second, third))
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

/// What the pixels of a row of the strip and others contribute to the loss. Adds their part of the gradients
/// with respect to the strip's pixels; a pair counts once from each side.
#[cube]
fn pair(
    own: &Array<Row>,
    other: &Array<Row>,
    gradient: &mut Array<Row>,
    #[comptime] row: usize,
    share: Row,
    exponent: f32,
    #[comptime] gradients: bool,
) -> Row {
    let mut differences = Array::<Row>::new(6usize);
    #[unroll]
    for c in 0..6 {
        differences[c] = own[comptime!(c * ROWS + row)] - other[c];
    }
    let distance = differences[0] * differences[0]
        + differences[1] * differences[1]
        + differences[2] * differences[2];
    let weight = Row::exp(distance * Row::new(exponent)) * share;
    let change = Row::abs(differences[3]) + Row::abs(differences[4]) + Row::abs(differences[5]);
    let loss = weight * change;
    if comptime!(gradients) {
        let by_color = loss * Row::new(exponent * 4.0f32);
        let slope = weight + weight;
        let zero = Row::new(0.0f32);
        #[unroll]
        for c in 0..3 {
            gradient[comptime!(c * ROWS + row)] += by_color * differences[c];
            let light = differences[comptime!(c + 3)];
            let rising = select_many(light.greater_than(&zero), slope, zero);
            let falling = select_many(light.less_than(&zero), slope, zero);
            gradient[comptime!((c + 3) * ROWS + row)] += rising - falling;
        }
    }
    loss
}

/// The first workgroup adds the tiles' losses up. The others turn the gradients with respect to colors, where
/// these are made of neighbors in memory, into those with respect to the inputs: a unit for each three.
#[cube(launch_unchecked)]
pub(super) fn finish(
    losses: &[f32],
    input: &[f32],
    illumination: &[f32],
    color_gradient: &[f32],
    loss: &mut [f32],
    terms: &mut [f32],
    input_gradient: &mut [f32],
    fidelity_weight: f32,
    slope: f32,
    #[comptime] constants: Constants,
) {
    let mut shared = Shared::<[f32]>::new_slice(ADDERS);
    if CUBE_POS == 0 {
        let mut squares = 0.0f32;
        let mut smoothness = 0.0f32;
        for tile in range_stepped(UNIT_POS as usize, losses.len() / 2, ADDERS) {
            squares += losses[tile * 2];
            smoothness += losses[tile * 2 + 1];
        }
        let squares = add_up(&mut shared, squares, ADDERS);
        sync_cube();
        let smoothness = add_up(&mut shared, smoothness, ADDERS);
        if UNIT_POS == 0 {
            let fidelity = squares / f32::cast_from(input.len());
            let weighted = select(fidelity_weight == 0.0, 0.0f32, fidelity_weight * fidelity);
            loss[0] = weighted + smoothness;
            terms[0] = fidelity;
            terms[1] = smoothness;
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
                let difference = illumination[start + k] - input[start + k];
                input_gradient[start + k] = sum - slope * difference;
            }
        }
    }
}

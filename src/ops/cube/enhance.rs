//! From dark images to bright ones, and the sample that the exposure is found from: in one launch with the estimator,
//! or after its layers.

use super::estimate::{Estimate, Place, estimate, strip_start};
use super::format::{Pixels, read_pixel, write_pixels};
use super::tile::{COLUMNS, ROWS, Row, Tile};
use crate::ops::Rendering;
use burn_cubecl::cubecl::{self, prelude::*};

/// How pixels are rendered, as far as it is a constant of a kernel: see [`Rendering`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) kept: bool,
    pub(crate) curve: bool,
}

impl Look {
    pub(super) fn new(rendering: Rendering) -> Self {
        Self { kept: rendering.kept, curve: rendering.has_curve() }
    }
}

/// The results of a batch of images as planes; with their illuminations, if they are `lit`.
#[cube(launch_unchecked)]
pub(super) fn enhance_planes(
    source: &[u32],
    parameters: &[f32],
    illumination: &mut [f32],
    result: &mut [f32],
    height: i32,
    width: i32,
    strength: f32,
    power: f32,
    #[comptime] kernel: Estimate,
    #[comptime] look: Look,
    #[comptime] lit: bool,
) {
    let tile = comptime!(kernel.tile);
    let area = (height * width) as usize;
    // In values, of which there are three of a pixel.
    let first = CUBE_POS_Z as i32 * height * width * 3;
    let place = tile_place(height, width, first, tile);
    let mut shared = Shared::<[f32]>::new_slice(comptime!(tile.floats()));
    let mut sums = Array::<Row>::new(comptime!(3 * ROWS));
    estimate(source, parameters, area, &mut shared, &place, &mut sums, comptime!(kernel.clone()));
    let strip = strip_start(comptime!(tile.reach), tile);
    let own = (UNIT_POS as usize) < comptime!(tile.strips(tile.reach));
    let mut color = Array::<f32>::new(3usize);
    let mut light = Array::<f32>::new(3usize);
    #[unroll]
    for y in 0..ROWS {
        #[unroll]
        for x in 0..COLUMNS {
            let (row, column) = (row(strip, &place, tile), column(strip, &place, tile));
            let (row, column) = (row + comptime!(y as i32), column + comptime!(x as i32));
            if own && place.contains(row, column) {
                let pixel = place.index(row, column);
                read_pixel(source, area, pixel, &mut color, comptime!(kernel.source));
                #[unroll]
                for c in 0..3 {
                    light[c] = sums[comptime!(c * ROWS + y)].extract(x);
                }
                render(&mut color, &mut light, strength, power, look);
                #[unroll]
                for c in 0..3 {
                    result[pixel + c * area] = color[c];
                    if comptime!(lit) {
                        illumination[pixel + c * area] = light[c];
                    }
                }
            }
        }
    }
}

/// A picture of bytes from a picture of bytes.
#[cube(launch_unchecked)]
pub(super) fn enhance_pixels(
    source: &[u32],
    parameters: &[f32],
    target: &mut [u32],
    height: i32,
    width: i32,
    strength: f32,
    power: f32,
    #[comptime] kernel: Estimate,
    #[comptime] look: Look,
    #[comptime] pixels: Pixels,
) {
    let tile = comptime!(kernel.tile);
    let place = tile_place(height, width, 0i32, tile);
    let mut shared = Shared::<[f32]>::new_slice(comptime!(tile.floats()));
    let mut sums = Array::<Row>::new(comptime!(3 * ROWS));
    estimate(source, parameters, 0usize, &mut shared, &place, &mut sums, comptime!(kernel.clone()));
    let strip = strip_start(comptime!(tile.reach), tile);
    let left = column(strip, &place, tile);
    let own = (UNIT_POS as usize) < comptime!(tile.strips(tile.reach));
    let mut color = Array::<f32>::new(3usize);
    let mut light = Array::<f32>::new(3usize);
    let mut colors = Array::<f32>::new(comptime!(3 * COLUMNS));
    let mut old = Array::<usize>::new(COLUMNS);
    #[unroll]
    for y in 0..ROWS {
        let row = row(strip, &place, tile) + comptime!(y as i32);
        if own && place.contains(row, left) {
            #[unroll]
            for x in 0..COLUMNS {
                let pixel = place.index(row, i32::min(left + comptime!(x as i32), width - 1));
                old[x] = pixel;
                read_pixel(source, 0usize, pixel, &mut color, comptime!(kernel.source));
                #[unroll]
                for c in 0..3 {
                    light[c] = sums[comptime!(c * ROWS + y)].extract(x);
                }
                render(&mut color, &mut light, strength, power, look);
                #[unroll]
                for c in 0..3 {
                    colors[comptime!(c * COLUMNS + x)] = color[c];
                }
            }
            let to = target_index(row, left, width);
            write_pixels(target, to, &colors, source, &old, pixels);
        }
    }
}

/// Pixels with their illuminations, six numbers for each point, from the pixels around the points: for each
/// workgroup a tile with its border. Its row and column, the first of its points and the one after the last
/// are in `tiles`. A point is a pixel of its tile, with its index in the output.
#[cube(launch_unchecked)]
pub(super) fn sample_pixels(
    source: &[u32],
    parameters: &[f32],
    tiles: &[u32],
    points: &[u32],
    output: &mut [f32],
    height: i32,
    width: i32,
    #[comptime] kernel: Estimate,
) {
    let tile = comptime!(kernel.tile);
    let reach = comptime!(tile.reach as i32);
    let index = CUBE_POS_X as usize;
    let top = tiles[index * 4] as i32;
    let left = tiles[index * 4 + 1] as i32;
    let pitch = comptime!((tile.columns + 2 * tile.reach) as i32);
    let before = CUBE_POS_X as i32 * pitch * comptime!(tile.outer_rows() as i32);
    let first = before - (top - reach) * pitch - (left - reach);
    let place = Place { top, left, height, width, first, pitch };
    let mut shared = Shared::<[f32]>::new_slice(comptime!(tile.floats()));
    if comptime!(kernel.network.is_some()) {
        let mut sums = Array::<Row>::new(comptime!(3 * ROWS));
        estimate(
            source,
            parameters,
            0usize,
            &mut shared,
            &place,
            &mut sums,
            comptime!(kernel.clone()),
        );
        // The sums take the place of the features that they were made from.
        sync_cube();
        let strip = strip_start(comptime!(tile.reach), tile);
        if (UNIT_POS as usize) < comptime!(tile.strips(tile.reach)) {
            #[unroll]
            for y in 0..ROWS {
                #[unroll]
                for x in 0..COLUMNS {
                    let offset = comptime!((y + 1) * tile.pitch() + x + 1);
                    #[unroll]
                    for c in 0..3 {
                        let sum = sums[comptime!(c * ROWS + y)].extract(x);
                        shared[strip + comptime!(offset + c * tile.plane())] = sum;
                    }
                }
            }
        }
        sync_cube();
    }
    let mut color = Array::<f32>::new(3usize);
    let begin = tiles[index * 4 + 2] as usize + UNIT_POS as usize;
    for point in range_stepped(begin, tiles[index * 4 + 3] as usize, comptime!(tile.units())) {
        let at = points[point * 2] as usize;
        let (down, across) = (at / comptime!(tile.columns), at % comptime!(tile.columns));
        let pixel = place.index(top + down as i32, left + across as i32);
        read_pixel(source, 0usize, pixel, &mut color, comptime!(kernel.source));
        let to = points[point * 2 + 1] as usize * 6;
        let (down, across) = (down + comptime!(tile.reach), across + comptime!(tile.reach));
        #[unroll]
        for c in 0..3 {
            output[to + c] = color[c];
            let sum = if comptime!(kernel.network.is_some()) {
                shared[down * comptime!(tile.pitch()) + across + comptime!(c * tile.plane())]
            } else {
                let plane = (index * 3 + c) * comptime!(tile.outer_rows() * tile.outer_columns());
                parameters[plane + down * comptime!(tile.outer_columns()) + across]
            };
            output[to + comptime!(c + 3)] = illumination_of(sum, color[c]);
        }
    }
}

/// This workgroup's tile of an image whose first pixel has the index `first`.
#[cube]
fn tile_place(height: i32, width: i32, first: i32, #[comptime] tile: Tile) -> Place {
    let top = CUBE_POS_Y as i32 * comptime!(tile.rows as i32);
    let left = CUBE_POS_X as i32 * comptime!(tile.columns as i32);
    Place { top, left, height, width, first, pitch: width }
}

/// The row of a strip of the last layer, from the pixel above and left of it.
#[cube]
fn row(strip: usize, place: &Place, #[comptime] tile: Tile) -> i32 {
    let row = i32::cast_from(strip / comptime!(tile.pitch()));
    place.top + row - comptime!(tile.reach as i32 - 1)
}

#[cube]
fn column(strip: usize, place: &Place, #[comptime] tile: Tile) -> i32 {
    let column = i32::cast_from(strip % comptime!(tile.pitch()));
    place.left + column - comptime!(tile.reach as i32 - 1)
}

/// The index of a pixel in a target of bytes, whose rows are of as many pixels as fill whole words, whatever
/// their format.
#[cube]
pub(super) fn target_index(y: i32, x: i32, width: i32) -> usize {
    (y * ((width + 3) / 4 * 4) + x) as usize
}

/// The illumination of a pixel's channel.
#[cube]
fn illumination_of(sum: f32, value: f32) -> f32 {
    let sigmoid = 1.0f32 / (1.0f32 + f32::exp(-sum));
    f32::clamp(sigmoid + value, 1e-4f32, 1.0f32)
}

/// [`Rendering::pixel`]: the color of a pixel becomes the result, and its sums of the last convolution the
/// illumination that it was divided by.
#[cube]
fn render(
    color: &mut Array<f32>,
    light: &mut Array<f32>,
    strength: f32,
    power: f32,
    #[comptime] look: Look,
) {
    #[unroll]
    for c in 0..3 {
        light[c] = illumination_of(light[c], color[c]);
    }
    if comptime!(look.kept) {
        let most_light = f32::max(f32::max(light[0], light[1]), light[2]);
        let weakened = 1.0f32 - strength + strength * most_light;
        let most = f32::max(f32::max(color[0], color[1]), color[2]);
        let bright = curve(f32::clamp(most / weakened, 0.0f32, 1.0f32), power, look);
        let shift = comptime!(Rendering::SRGB_SHIFT);
        let scale = (bright + shift) / (f32::max(most, 0.0f32) + shift);
        #[unroll]
        for c in 0..3 {
            light[c] = weakened;
            color[c] = f32::clamp(scale * color[c] + (scale - 1.0f32) * shift, 0.0f32, 1.0f32);
        }
    } else {
        #[unroll]
        for c in 0..3 {
            let weakened = 1.0f32 - strength + strength * light[c];
            light[c] = weakened;
            color[c] = curve(f32::clamp(color[c] / weakened, 0.0f32, 1.0f32), power, look);
        }
    }
}

/// A value in `[0, 1]` times the curve's factor for it.
#[cube]
fn curve(value: f32, power: f32, #[comptime] look: Look) -> f32 {
    if comptime!(look.curve) {
        let toe = comptime!(Rendering::TOE);
        value * f32::powf((value + toe) / comptime!(1.0 + Rendering::TOE), power)
    } else {
        value
    }
}

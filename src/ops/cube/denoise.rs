//! The noise filter of [`plain::denoise`](crate::ops::plain::denoise) in one launch.
//!
//! A workgroup's memory holds the luminance, the two color differences and the luminance of the dark image; the
//! models that are found from them take their place.

use super::enhance::target_index;
use super::format::{Format, Pixels, read_pixel, write_pixels};
use super::limits::{SHARED_FLOATS, UNITS};
use super::network::Place;
use crate::metrics::LUMINANCE;
use crate::ops::Rendering;
use burn_cubecl::cubecl::{self, prelude::*};

/// Half a window.
const RADIUS: usize = Rendering::FILTER_REACH / 2;
const WINDOW: usize = 2 * RADIUS + 1;
/// Rows and columns of the pixels that a unit computes together.
const ROWS: usize = 2;
const COLUMNS: usize = super::tile::COLUMNS;
const STRIP: usize = ROWS * COLUMNS;

/// The side of a workgroup's tile; with the windows around it, it fills the workgroup's memory.
pub(super) const TILE: usize = 24;
/// The side of the part that models are found for, and of the part that is loaded.
const MODELED: usize = TILE + 2 * RADIUS;
const LOADED: usize = TILE + 4 * RADIUS;
/// Luminance, two color differences, dark luminance.
const PLANES: usize = 4;
/// What the planes become is `slope · plane + shift`: the slopes of the luminance and of the two differences,
/// and the shifts of all three.
const MODELS: usize = 5;
/// What is summed over windows to find them: three planes, the squares of the luminance and of the two
/// differences, and the dark luminance.
const SUMS: usize = 6;

pub(super) const FLOATS: usize = PLANES * LOADED * LOADED;
pub(super) const STRIPS: usize = MODELED / ROWS * (MODELED / COLUMNS);
pub(super) const WORKERS: usize = STRIPS.next_multiple_of(32);
const _: () = assert!(FLOATS <= SHARED_FLOATS && MODELS * MODELED * MODELED <= FLOATS);
const _: () = assert!(WORKERS <= UNITS);

/// Filters a batch of images, planes in and out.
#[cube(launch_unchecked)]
pub(super) fn denoise_planes(
    dark: &[u32],
    bright: &[f32],
    result: &mut [f32],
    height: i32,
    width: i32,
    noise: f32,
) {
    let area = (height * width) as usize;
    let place = tile_place(height, width, CUBE_POS_Z as i32 * height * width * 3);
    let mut colors = Array::<f32>::new(comptime!(3 * STRIP));
    let format = comptime!(Format::Planes);
    filter(dark, bright, &place, noise, &mut colors, format);
    #[unroll]
    for p in 0..STRIP {
        let y = place.top + strip_row() + comptime!((p / COLUMNS) as i32);
        let x = place.left + strip_column() + comptime!((p % COLUMNS) as i32);
        if UNIT_POS < comptime!((TILE / ROWS * (TILE / COLUMNS)) as u32) && place.contains(y, x) {
            #[unroll]
            for c in 0..3 {
                result[place.index(y, x) + c * area] = colors[comptime!(c * STRIP + p)];
            }
        }
    }
}

/// Filters an image of planes, made from one of bytes, to bytes.
#[cube(launch_unchecked)]
pub(super) fn denoise_pixels(
    dark: &[u32],
    bright: &[f32],
    target: &mut [u32],
    height: i32,
    width: i32,
    noise: f32,
    #[comptime] pixels: Pixels,
) {
    let place = tile_place(height, width, 0i32);
    let mut colors = Array::<f32>::new(comptime!(3 * STRIP));
    filter(dark, bright, &place, noise, &mut colors, comptime!(Format::Pixels(pixels)));
    let mut old = Array::<usize>::new(COLUMNS);
    let left = place.left + strip_column();
    #[unroll]
    for row in 0..ROWS {
        let y = place.top + strip_row() + comptime!(row as i32);
        #[unroll]
        for column in 0..COLUMNS {
            let x = i32::min(left + comptime!(column as i32), width - 1);
            old[column] = place.index(i32::min(y, height - 1), x);
        }
        if UNIT_POS < comptime!((TILE / ROWS * (TILE / COLUMNS)) as u32) && place.contains(y, left) {
            let to = target_index(y, left, width);
            let first = comptime!(row * COLUMNS);
            write_pixels(target, to, &colors, first, STRIP, dark, &old, pixels);
        }
    }
}

#[cube]
fn tile_place(height: i32, width: i32, first: i32) -> Place {
    let top = CUBE_POS_Y as i32 * comptime!(TILE as i32);
    let left = CUBE_POS_X as i32 * comptime!(TILE as i32);
    Place { top, left, height, width, first, pitch: width }
}

/// The row of this unit's strip in the tile.
#[cube]
fn strip_row() -> i32 {
    (UNIT_POS / comptime!((TILE / COLUMNS) as u32) * comptime!(ROWS as u32)) as i32
}

#[cube]
fn strip_column() -> i32 {
    (UNIT_POS % comptime!((TILE / COLUMNS) as u32) * comptime!(COLUMNS as u32)) as i32
}

/// The filtered colors of this unit's strip. Needs all units.
#[cube]
fn filter(
    dark: &[u32],
    bright: &[f32],
    place: &Place,
    noise: f32,
    colors: &mut Array<f32>,
    #[comptime] format: Format,
) {
    let mut shared = Shared::<[f32]>::new_slice(FLOATS);
    load(dark, bright, &mut shared, place, format);
    sync_cube();
    model(&mut shared, place, noise);
    sync_cube();
    apply(&shared, bright, place, colors);
}

/// Loads the planes; zeros outside the image.
#[cube]
fn load(
    dark: &[u32],
    bright: &[f32],
    shared: &mut [f32],
    place: &Place,
    #[comptime] format: Format,
) {
    let area = (place.height * place.width) as usize;
    let mut color = Array::<f32>::new(3usize);
    let plane = comptime!(LOADED * LOADED);
    for at in range_stepped(UNIT_POS as usize, plane, WORKERS) {
        let y = place.top + i32::cast_from(at / LOADED) - comptime!(2 * RADIUS as i32);
        let x = place.left + i32::cast_from(at % LOADED) - comptime!(2 * RADIUS as i32);
        let inside = place.contains(y, x);
        let pixel = select(inside, place.index(y, x), 0usize);
        read_pixel(dark, area, pixel, &mut color, format);
        let before = luminance(&color);
        #[unroll]
        for c in 0..3 {
            color[c] = bright[pixel + c * area];
        }
        let luma = luminance(&color);
        shared[at] = select(inside, luma, 0.0f32);
        shared[at + plane] = select(inside, color[0] - luma, 0.0f32);
        shared[at + comptime!(2 * plane)] = select(inside, color[2] - luma, 0.0f32);
        shared[at + comptime!(3 * plane)] = select(inside, before, 0.0f32);
    }
}

#[cube]
fn luminance(color: &Array<f32>) -> f32 {
    let [red, green, blue] = comptime!(LUMINANCE);
    red * color[0] + green * color[1] + blue * color[2]
}

/// Puts the models in the place of the planes; zeros outside the image.
#[cube]
fn model(shared: &mut [f32], place: &Place, noise: f32) {
    let across = comptime!(MODELED / COLUMNS);
    let plane = comptime!(LOADED * LOADED);
    let strip = usize::min(UNIT_POS as usize, comptime!(STRIPS - 1));
    let (row, column) = (strip / across * ROWS, strip % across * COLUMNS);
    let mut sums = zeros(comptime!(SUMS * STRIP));
    #[unroll]
    for x in 0..comptime!(COLUMNS + WINDOW - 1) {
        let mut values = Array::<f32>::new(comptime!(SUMS * (ROWS + WINDOW - 1)));
        #[unroll]
        for y in 0..comptime!(ROWS + WINDOW - 1) {
            let at = (row + y) * LOADED + column + x;
            let luma = shared[at];
            let red = shared[at + plane];
            let blue = shared[at + comptime!(2 * plane)];
            let first = comptime!(y * SUMS);
            values[first] = luma;
            values[comptime!(first + 1)] = red;
            values[comptime!(first + 2)] = blue;
            values[comptime!(first + 3)] = luma * luma;
            values[comptime!(first + 4)] = red * red + blue * blue;
            values[comptime!(first + 5)] = shared[at + comptime!(3 * plane)];
        }
        add_column(&values, &mut sums, x, SUMS);
    }
    sync_cube();
    #[unroll]
    for p in 0..STRIP {
        let y = row + comptime!(p / COLUMNS);
        let x = column + comptime!(p % COLUMNS);
        let image_y = place.top + i32::cast_from(y) - comptime!(RADIUS as i32);
        let image_x = place.left + i32::cast_from(x) - comptime!(RADIUS as i32);
        let inside = place.contains(image_y, image_x);
        let share = 1.0f32
            / f32::cast_from(window_length(image_y, place.height) * window_length(image_x, place.width));
        let luma = sums[p] * share;
        let red = sums[comptime!(STRIP + p)] * share;
        let blue = sums[comptime!(2 * STRIP + p)] * share;
        let luma_squares = sums[comptime!(3 * STRIP + p)] * share;
        let color_squares = sums[comptime!(4 * STRIP + p)] * share;
        let dark = sums[comptime!(5 * STRIP + p)] * share;
        let least = comptime!(Rendering::LEAST_SIGNAL) * noise;
        let gain = f32::max(luma / f32::max(dark, least), 1.0f32);
        let seen = comptime!(Rendering::DEVIATIONS) * noise;
        let epsilon = (gain * gain - 1.0f32) * seen * seen;
        let luma_slope = slope(luma_squares - luma * luma, epsilon);
        let color_noise = epsilon * comptime!(Rendering::COLOR_FACTOR);
        let color_slope = slope(color_squares - (red * red + blue * blue), color_noise);
        let to = y * MODELED + x;
        if (UNIT_POS as usize) < STRIPS {
            put(shared, to, 0usize, luma_slope, inside);
            put(shared, to, 1usize, color_slope, inside);
            put(shared, to, 2usize, luma - luma_slope * luma, inside);
            put(shared, to, 3usize, red - color_slope * red, inside);
            put(shared, to, 4usize, blue - color_slope * blue, inside);
        }
    }
}

#[cube]
fn put(shared: &mut [f32], at: usize, #[comptime] model: usize, value: f32, inside: bool) {
    shared[at + comptime!(model * MODELED * MODELED)] = select(inside, value, 0.0f32);
}

/// How many rows (or columns) of the window around `at` are in an image of so many.
#[cube]
fn window_length(at: i32, length: i32) -> i32 {
    let radius = comptime!(RADIUS as i32);
    let rows = i32::min(at + radius + 1, length) - i32::max(at - radius, 0i32);
    i32::max(rows, 1i32)
}

/// What is kept of the distance from the mean where it has this variance, some of which is noise.
#[cube]
fn slope(variance: f32, noise: f32) -> f32 {
    let variance = f32::max(variance, 0.0f32);
    variance / (variance + (noise + comptime!(Rendering::LEAST_VARIANCE)))
}

/// The results of this unit's strip.
#[cube]
fn apply(shared: &[f32], bright: &[f32], place: &Place, colors: &mut Array<f32>) {
    let area = (place.height * place.width) as usize;
    let strips = comptime!((TILE / ROWS * (TILE / COLUMNS)) as i32);
    let inside = i32::cast_from(UNIT_POS) < strips;
    let row = select(inside, strip_row(), 0i32);
    let column = select(inside, strip_column(), 0i32);
    let mut sums = zeros(comptime!(MODELS * STRIP));
    #[unroll]
    for x in 0..comptime!(COLUMNS + WINDOW - 1) {
        let mut values = Array::<f32>::new(comptime!(MODELS * (ROWS + WINDOW - 1)));
        #[unroll]
        for y in 0..comptime!(ROWS + WINDOW - 1) {
            let at = (row as usize + y) * MODELED + column as usize + x;
            #[unroll]
            for model in 0..MODELS {
                values[comptime!(y * MODELS + model)] = shared[at + comptime!(model * MODELED * MODELED)];
            }
        }
        add_column(&values, &mut sums, x, MODELS);
    }
    let mut color = Array::<f32>::new(3usize);
    #[unroll]
    for p in 0..STRIP {
        let y = i32::min(place.top + row + comptime!((p / COLUMNS) as i32), place.height - 1);
        let x = i32::min(place.left + column + comptime!((p % COLUMNS) as i32), place.width - 1);
        #[unroll]
        for c in 0..3 {
            color[c] = bright[place.index(y, x) + c * area];
        }
        let share = 1.0f32
            / f32::cast_from(window_length(y, place.height) * window_length(x, place.width));
        let luma = luminance(&color);
        let luma_slope = sums[p];
        let color_slope = sums[comptime!(STRIP + p)];
        let new_luma = (luma_slope * luma + sums[comptime!(2 * STRIP + p)]) * share;
        let red = (color_slope * (color[0] - luma) + sums[comptime!(3 * STRIP + p)]) * share;
        let blue = (color_slope * (color[2] - luma) + sums[comptime!(4 * STRIP + p)]) * share;
        let (red_part, blue_part) = comptime!((-LUMINANCE[0] / LUMINANCE[1], -LUMINANCE[2] / LUMINANCE[1]));
        let green = red * red_part + blue * blue_part;
        colors[p] = f32::clamp(new_luma + red, 0.0f32, 1.0f32);
        colors[comptime!(STRIP + p)] = f32::clamp(new_luma + green, 0.0f32, 1.0f32);
        colors[comptime!(2 * STRIP + p)] = f32::clamp(new_luma + blue, 0.0f32, 1.0f32);
    }
}

#[cube]
fn zeros(#[comptime] length: usize) -> Array<f32> {
    let mut array = Array::<f32>::new(length);
    #[unroll]
    for index in 0..length {
        array[index] = 0.0f32;
    }
    array
}

/// Adds column `x` of the values around a strip, `count` of each pixel, to the windows of the strip's pixels
/// that it is in.
#[cube]
fn add_column(
    values: &Array<f32>,
    sums: &mut Array<f32>,
    #[comptime] x: usize,
    #[comptime] count: usize,
) {
    #[unroll]
    for index in 0..count {
        // What the windows of both rows share.
        let mut common = values[comptime!(count + index)];
        #[unroll]
        for y in 2..WINDOW {
            common += values[comptime!(y * count + index)];
        }
        let above = values[index] + common;
        let below = values[comptime!(WINDOW * count + index)] + common;
        #[unroll]
        for p in 0..COLUMNS {
            if comptime!(x >= p && x < p + WINDOW) {
                sums[comptime!(index * STRIP + p)] += above;
                sums[comptime!(index * STRIP + COLUMNS + p)] += below;
            }
        }
    }
}

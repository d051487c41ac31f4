//! The noise filter of [`plain::denoise`](crate::ops::plain::denoise) in one launch.
//!
//! A workgroup's memory holds the luminance, the two color differences and the luminance of the dark image; the
//! models that are found from them take their place.

use super::enhance::target_index;
use super::estimate::Place;
use super::format::{Format, Pixels, read_pixel, write_pixels};
use super::limits::{SHARED_FLOATS, UNITS};
use super::tile::{self, Row};
use crate::metrics::LUMINANCE;
use crate::ops::Rendering;
use burn_cubecl::cubecl::{self, prelude::*};

/// Half a window.
const RADIUS: usize = Rendering::FILTER_REACH / 2;
const WINDOW: usize = 2 * RADIUS + 1;
/// Rows and columns of the pixels that a unit computes together.
const ROWS: usize = 2;
const COLUMNS: usize = tile::COLUMNS;

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
    let mut colors = Array::<Row>::new(comptime!(3 * ROWS));
    filter(dark, bright, &place, noise, &mut colors, comptime!(Format::Planes));
    let own = UNIT_POS < comptime!((TILE / ROWS * (TILE / COLUMNS)) as u32);
    #[unroll]
    for y in 0..ROWS {
        #[unroll]
        for x in 0..COLUMNS {
            let row = place.top + strip_row() + comptime!(y as i32);
            let column = place.left + strip_column() + comptime!(x as i32);
            if own && place.contains(row, column) {
                #[unroll]
                for c in 0..3 {
                    let to = place.index(row, column) + c * area;
                    result[to] = colors[comptime!(c * ROWS + y)].extract(x);
                }
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
    let mut colors = Array::<Row>::new(comptime!(3 * ROWS));
    filter(dark, bright, &place, noise, &mut colors, comptime!(Format::Pixels(pixels)));
    let own = UNIT_POS < comptime!((TILE / ROWS * (TILE / COLUMNS)) as u32);
    let left = place.left + strip_column();
    let mut row_colors = Array::<f32>::new(comptime!(3 * COLUMNS));
    let mut old = Array::<usize>::new(COLUMNS);
    #[unroll]
    for y in 0..ROWS {
        let row = place.top + strip_row() + comptime!(y as i32);
        if own && place.contains(row, left) {
            #[unroll]
            for x in 0..COLUMNS {
                old[x] = place.index(row, i32::min(left + comptime!(x as i32), width - 1));
                #[unroll]
                for c in 0..3 {
                    row_colors[comptime!(c * COLUMNS + x)] =
                        colors[comptime!(c * ROWS + y)].extract(x);
                }
            }
            let to = target_index(row, left, width);
            write_pixels(target, to, &row_colors, dark, &old, pixels);
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
    colors: &mut Array<Row>,
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
    let own = (UNIT_POS as usize) < STRIPS;
    let (row, column) = (UNIT_POS as usize / across * ROWS, UNIT_POS as usize % across * COLUMNS);
    let mut sums = Array::<Row>::new(comptime!(SUMS * ROWS));
    if own {
        planes_sums(&*shared, row * LOADED + column, &mut sums);
    }
    sync_cube();
    if own {
        #[unroll]
        for y in 0..ROWS {
            let image_y = place.top + i32::cast_from(row + y) - comptime!(RADIUS as i32);
            #[unroll]
            for x in 0..COLUMNS {
                let image_x = place.left + i32::cast_from(column + x) - comptime!(RADIUS as i32);
                let inside = place.contains(image_y, image_x);
                let share = window_share(image_y, image_x, place);
                let luma = sums[y].extract(x) * share;
                let red = sums[comptime!(ROWS + y)].extract(x) * share;
                let blue = sums[comptime!(2 * ROWS + y)].extract(x) * share;
                let luma_squares = sums[comptime!(3 * ROWS + y)].extract(x) * share;
                let color_squares = sums[comptime!(4 * ROWS + y)].extract(x) * share;
                let dark = sums[comptime!(5 * ROWS + y)].extract(x) * share;
                let least = comptime!(Rendering::LEAST_SIGNAL) * noise;
                let gain = f32::max(luma / f32::max(dark, least), 1.0f32);
                let seen = comptime!(Rendering::DEVIATIONS) * noise;
                let epsilon = (gain * gain - 1.0f32) * seen * seen;
                let luma_slope = slope(luma_squares - luma * luma, epsilon);
                let color_noise = epsilon * comptime!(Rendering::COLOR_FACTOR);
                let color_slope = slope(color_squares - (red * red + blue * blue), color_noise);
                let to = (row + y) * MODELED + column + x;
                put(shared, to, 0usize, luma_slope, inside);
                put(shared, to, 1usize, color_slope, inside);
                put(shared, to, 2usize, luma - luma_slope * luma, inside);
                put(shared, to, 3usize, red - color_slope * red, inside);
                put(shared, to, 4usize, blue - color_slope * blue, inside);
            }
        }
    }
}

#[cube]
fn put(shared: &mut [f32], at: usize, #[comptime] model: usize, value: f32, inside: bool) {
    shared[at + comptime!(model * MODELED * MODELED)] = select(inside, value, 0.0f32);
}

/// One over the number of pixels of the window around a pixel that are in the image.
#[cube]
fn window_share(y: i32, x: i32, place: &Place) -> f32 {
    1.0f32 / f32::cast_from(window_length(y, place.height) * window_length(x, place.width))
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
fn apply(shared: &[f32], bright: &[f32], place: &Place, colors: &mut Array<Row>) {
    let area = (place.height * place.width) as usize;
    if UNIT_POS < comptime!((TILE / ROWS * (TILE / COLUMNS)) as u32) {
        let (row, column) = (strip_row(), strip_column());
        let mut sums = Array::<Row>::new(comptime!(MODELS * ROWS));
        let at = row as usize * MODELED + column as usize;
        models_sums(shared, at, &mut sums);
        let mut color = Array::<f32>::new(3usize);
        #[unroll]
        for y in 0..ROWS {
            let image_y = i32::min(place.top + row + comptime!(y as i32), place.height - 1);
            #[unroll]
            for x in 0..COLUMNS {
                let image_x = i32::min(place.left + column + comptime!(x as i32), place.width - 1);
                #[unroll]
                for c in 0..3 {
                    color[c] = bright[place.index(image_y, image_x) + c * area];
                }
                let share = window_share(image_y, image_x, place);
                let luma = luminance(&color);
                let color_slope = sums[comptime!(ROWS + y)].extract(x);
                let luma_shift = sums[comptime!(2 * ROWS + y)].extract(x);
                let red_shift = sums[comptime!(3 * ROWS + y)].extract(x);
                let blue_shift = sums[comptime!(4 * ROWS + y)].extract(x);
                let new_luma = (sums[y].extract(x) * luma + luma_shift) * share;
                let red = (color_slope * (color[0] - luma) + red_shift) * share;
                let blue = (color_slope * (color[2] - luma) + blue_shift) * share;
                let green = red * comptime!(-LUMINANCE[0] / LUMINANCE[1])
                    + blue * comptime!(-LUMINANCE[2] / LUMINANCE[1]);
                insert(colors, y, x, f32::clamp(new_luma + red, 0.0f32, 1.0f32));
                insert(
                    colors,
                    comptime!(ROWS + y),
                    x,
                    f32::clamp(new_luma + green, 0.0f32, 1.0f32),
                );
                insert(
                    colors,
                    comptime!(2 * ROWS + y),
                    x,
                    f32::clamp(new_luma + blue, 0.0f32, 1.0f32),
                );
            }
        }
    }
}

#[cube]
fn insert(rows: &mut Array<Row>, #[comptime] row: usize, #[comptime] x: usize, value: f32) {
    let mut changed = rows[row];
    changed.insert(x, value);
    rows[row] = changed;
}

/// Four values side by side.
#[cube]
fn load_row(shared: &[f32], at: usize) -> Row {
    let mut row = Row::empty();
    #[unroll]
    for x in 0..COLUMNS {
        row.insert(x, shared[at + x]);
    }
    row
}

/// The sums over the windows of a strip's pixels of what models are found from. Windows begin at `at`.
#[cube]
fn planes_sums(shared: &[f32], at: usize, sums: &mut Array<Row>) {
    let plane = comptime!(LOADED * LOADED);
    // Sums over five rows: for each row of the strip, the columns' left half and their right half.
    let mut columns = Array::<Row>::new(comptime!(SUMS * ROWS * 2));
    #[unroll]
    for index in 0..comptime!(SUMS * ROWS * 2) {
        columns[index] = Row::new(0.0f32);
    }
    #[unroll]
    for half in 0..2 {
        #[unroll]
        for y in 0..comptime!(ROWS + WINDOW - 1) {
            let at = at + comptime!(y * LOADED + half * COLUMNS);
            let luma = load_row(shared, at);
            let red = load_row(shared, at + plane);
            let blue = load_row(shared, at + comptime!(2 * plane));
            let dark = load_row(shared, at + comptime!(3 * plane));
            #[unroll]
            for row in 0..ROWS {
                if comptime!(y >= row && y < row + WINDOW) {
                    let first = comptime!(row * 2 + half);
                    columns[first] += luma;
                    columns[comptime!(2 * ROWS + first)] += red;
                    columns[comptime!(4 * ROWS + first)] += blue;
                    columns[comptime!(6 * ROWS + first)] += luma * luma;
                    columns[comptime!(8 * ROWS + first)] += red * red + blue * blue;
                    columns[comptime!(10 * ROWS + first)] += dark;
                }
            }
        }
    }
    #[unroll]
    for index in 0..comptime!(SUMS * ROWS) {
        sums[index] = across(columns[comptime!(2 * index)], columns[comptime!(2 * index + 1)]);
    }
}

/// The sums over the windows of a strip's pixels of the models. Windows begin at `at`.
#[cube]
fn models_sums(shared: &[f32], at: usize, sums: &mut Array<Row>) {
    #[unroll]
    for model in 0..MODELS {
        let mut columns = Array::<Row>::new(comptime!(ROWS * 2));
        #[unroll]
        for index in 0..comptime!(ROWS * 2) {
            columns[index] = Row::new(0.0f32);
        }
        #[unroll]
        for half in 0..2 {
            #[unroll]
            for y in 0..comptime!(ROWS + WINDOW - 1) {
                let start = comptime!(model * MODELED * MODELED + y * MODELED + half * COLUMNS);
                let values = load_row(shared, at + start);
                #[unroll]
                for row in 0..ROWS {
                    if comptime!(y >= row && y < row + WINDOW) {
                        columns[comptime!(row * 2 + half)] += values;
                    }
                }
            }
        }
        #[unroll]
        for row in 0..ROWS {
            sums[comptime!(model * ROWS + row)] =
                across(columns[comptime!(2 * row)], columns[comptime!(2 * row + 1)]);
        }
    }
}

/// The sums over five columns each of eight, given as two halves.
#[cube]
fn across(left: Row, right: Row) -> Row {
    let inner = left.extract(1usize) + left.extract(2usize) + left.extract(3usize);
    let outer = right.extract(0usize) + right.extract(1usize) + right.extract(2usize);
    let mut sums = Row::empty();
    sums.insert(0usize, left.extract(0usize) + inner + right.extract(0usize));
    sums.insert(1usize, inner + right.extract(0usize) + right.extract(1usize));
    sums.insert(2usize, left.extract(2usize) + left.extract(3usize) + outer);
    sums.insert(3usize, left.extract(3usize) + outer + right.extract(3usize));
    sums
}

//! What was done before there were networks: short reference implementations to compare with.

use image::imageops::fast_blur;
use image::{ImageBuffer, Luma, Rgb, RgbImage};
use std::array;

/// A dark photograph in, a brighter one out.
pub type Method = fn(&RgbImage) -> RgbImage;

/// Each with its name.
pub const CLASSICAL: [(&str, Method); 3] =
    [("gamma", gamma), ("CLAHE", clahe), ("Retinex", retinex)];

/// The same curve everywhere: levels in `[0, 1]` to the power of 1 / 2.2.
pub fn gamma(photo: &RgbImage) -> RgbImage {
    let curve: [u8; 256] =
        array::from_fn(|level| ((level as f32 / 255.0).powf(1.0 / 2.2) * 255.0).round() as u8);
    let mut bright = photo.clone();
    bright.iter_mut().for_each(|level| *level = curve[usize::from(*level)]);
    bright
}

/// Tiles along each side, and how many times as high as a flat one a tile's histogram may be: what
/// OpenCV's tutorial has.
const TILES: usize = 8;
const CLIP_LIMIT: f32 = 2.0;

/// Contrast-limited adaptive histogram equalization of the luma: Zuiderveld, *Graphics Gems IV*, 1994.
/// Cb and Cr stay as they are, and so the differences between the channels: what was pale in the dark is
/// paler when it is bright.
pub fn clahe(photo: &RgbImage) -> RgbImage {
    let [width, height] = [photo.width() as usize, photo.height() as usize];
    let [columns, rows] = [width, height].map(|side| side.min(TILES));
    let mut histograms = vec![[0f32; 256]; columns * rows];
    for (x, y, pixel) in photo.enumerate_pixels() {
        let tile = (y as usize * rows / height) * columns + x as usize * columns / width;
        histograms[tile][luma(pixel).round() as usize] += 1.0;
    }
    let curves: Vec<[f32; 256]> = histograms.into_iter().map(equalizing_curve).collect();
    let mut bright = photo.clone();
    for (x, y, pixel) in bright.enumerate_pixels_mut() {
        let old = luma(pixel);
        let (left, right, x) = between(x, width, columns);
        let (top, bottom, y) = between(y, height, rows);
        let curve =
            |row: usize, column: usize| curves[row * columns + column][old.round() as usize];
        let upper = mix(curve(top, left), curve(top, right), x);
        let lower = mix(curve(bottom, left), curve(bottom, right), x);
        let gain = mix(upper, lower, y) - old;
        pixel.0 = pixel.0.map(|level| (f32::from(level) + gain).round() as u8);
    }
    bright
}

/// A tile's share of pixels up to each level, times 255. What exceeds the limit is spread evenly.
fn equalizing_curve(histogram: [f32; 256]) -> [f32; 256] {
    let pixels: f32 = histogram.iter().sum();
    let limit = CLIP_LIMIT * pixels / 256.0;
    let excess: f32 = histogram.iter().map(|count| (count - limit).max(0.0)).sum();
    let mut sum = 0.0;
    histogram.map(|count| {
        sum += count.min(limit) + excess / 256.0;
        sum / pixels * 255.0
    })
}

/// The two tiles whose centers a place lies between, and how far it is toward the second.
fn between(place: u32, side: usize, tiles: usize) -> (usize, usize, f32) {
    let tile = (place as f32 + 0.5) * tiles as f32 / side as f32 - 0.5;
    let tile = tile.clamp(0.0, (tiles - 1) as f32);
    let first = tile as usize;
    (first, (first + 1).min(tiles - 1), tile.fract())
}

fn mix(first: f32, second: f32, share: f32) -> f32 {
    first + (second - first) * share
}

/// BT.601, which YCbCr is made with.
fn luma(pixel: &Rgb<u8>) -> f32 {
    let [red, green, blue] = pixel.0.map(f32::from);
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// What the surroundings of a point are taken to be, in pixels.
const SCALES: [f32; 3] = [15.0, 80.0, 250.0];

/// The share of points that may become black, and white.
const TAIL: f32 = 0.01;

/// Multi-scale Retinex: Jobson, Rahman and Woodell, IEEE TIP 1997. Done to the brightest channel, with
/// the others in proportion, it has no colors to restore.
pub fn retinex(photo: &RgbImage) -> RgbImage {
    let brightest = |pixel: &Rgb<u8>| pixel.0.into_iter().max().map_or(0.0, f32::from);
    let plane: Vec<f32> = photo.pixels().map(|pixel| brightest(pixel) / 255.0).collect();
    let plane = ImageBuffer::<Luma<f32>, _>::from_raw(photo.width(), photo.height(), plane)
        .expect("as many values as pixels");
    // One level more, since black has no logarithm.
    let log = |value: f32| (value * 255.0 + 1.0).ln();
    let mut retinex = vec![0.0; plane.len()];
    for scale in SCALES {
        let surroundings = fast_blur(&plane, scale);
        for ((sum, here), around) in retinex.iter_mut().zip(plane.iter()).zip(surroundings.iter()) {
            *sum += log(*here) - log(*around);
        }
    }
    let [black, white] = tails(&retinex);
    let mut bright = photo.clone();
    for (pixel, value) in bright.pixels_mut().zip(retinex) {
        let target = ((value - black) / (white - black).max(f32::EPSILON)).clamp(0.0, 1.0) * 255.0;
        let gain = target / brightest(pixel).max(1.0);
        pixel.0 = pixel.0.map(|level| (f32::from(level) * gain).round() as u8);
    }
    bright
}

/// The values that a hundredth of all is below, and above.
fn tails(values: &[f32]) -> [f32; 2] {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |share: f32| {
        let index = (share * sorted.len().saturating_sub(1) as f32) as usize;
        sorted.get(index).copied().unwrap_or_default()
    };
    [at(TAIL), at(1.0 - TAIL)]
}

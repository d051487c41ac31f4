//! Pixels in a GPU's buffers, which are made of words of 32 bits.

use super::tile::COLUMNS;
use burn_cubecl::cubecl::{self, prelude::*};

/// How an image lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Floats: a batch of images, `[batch, 3, height, width]`.
    Planes,
    /// Bytes: samples of a pixel side by side, pixel after pixel, row after row.
    Pixels(Pixels),
}

/// The samples of a pixel: red, green and blue, or gray; then alpha, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pixels {
    /// Samples of a pixel, from 1 to 4.
    pub(crate) channels: usize,
    /// Bytes of a sample, 1 or 2, the lowest first.
    pub(crate) depth: usize,
}

impl Pixels {
    /// Bytes of a pixel.
    pub(super) fn bytes(self) -> usize {
        self.channels * self.depth
    }

    /// The highest level.
    fn white(self) -> f32 {
        if self.depth == 1 { 255.0 } else { 65535.0 }
    }

    fn is_gray(self) -> bool {
        self.channels < 3
    }

    /// The sample that is alpha.
    fn alpha(self) -> Option<usize> {
        self.channels.is_multiple_of(2).then(|| self.channels - 1)
    }

    /// The word and the bit in it where a sample of a pixel begins, counted from a pixel that begins a word.
    fn place(self, pixel: usize, sample: usize) -> [usize; 2] {
        let byte = (pixel * self.channels + sample) * self.depth;
        [byte / 4, byte % 4 * 8]
    }

    fn mask(self) -> u32 {
        if self.depth == 1 { 0xff } else { 0xffff }
    }
}

/// The level of a sample of the pixel at an index.
#[cube]
fn level(
    source: &[u32],
    pixel: usize,
    #[comptime] sample: usize,
    #[comptime] pixels: Pixels,
) -> u32 {
    // Samples do not go over the edges of words.
    let byte = pixel * comptime!(pixels.bytes()) + comptime!(sample * pixels.depth);
    let shift = u32::cast_from(byte % 4) * 8;
    (source[byte / 4] >> shift) & comptime!(pixels.mask())
}

/// Red, green and blue of the pixel at an index, in `[0, 1]`. Planes are of `area` pixels.
#[cube]
pub(super) fn read_pixel(
    source: &[u32],
    area: usize,
    pixel: usize,
    color: &mut Array<f32>,
    #[comptime] format: Format,
) {
    match comptime!(format) {
        Format::Planes =>
        {
            #[unroll]
            for c in 0..3 {
                color[c] = f32::reinterpret(source[pixel + c * area]);
            }
        }
        Format::Pixels(pixels) => {
            let scale = comptime!(1.0 / pixels.white());
            if comptime!(pixels.is_gray()) {
                let gray = f32::cast_from(level(source, pixel, 0usize, pixels)) * scale;
                #[unroll]
                for c in 0..3 {
                    color[c] = gray;
                }
            } else {
                #[unroll]
                for c in 0..3 {
                    color[c] = f32::cast_from(level(source, pixel, c, pixels)) * scale;
                }
            }
        }
    }
}

/// The nearest level of a value; black for a NaN.
#[cube]
fn nearest(value: f32, #[comptime] pixels: Pixels) -> u32 {
    let white = comptime!(pixels.white());
    let inside = select(value > 0.0, value, 0.0f32);
    u32::cast_from(f32::min(inside, 1.0f32) * white + 0.5f32)
}

/// Writes a row of a strip, `COLUMNS` pixels from the index `pixel` on, which is a multiple of their number.
/// `colors` are the reds of the row, its greens and its blues, `old` the indices of the pixels in the source, whose
/// alpha is kept.
#[cube]
pub(super) fn write_pixels(
    target: &mut [u32],
    pixel: usize,
    colors: &Array<f32>,
    source: &[u32],
    old: &Array<usize>,
    #[comptime] pixels: Pixels,
) {
    let count = comptime!(pixels.bytes() * COLUMNS / 4);
    let mut words = Array::<u32>::new(count);
    #[unroll]
    for w in 0..count {
        words[w] = 0u32;
    }
    #[unroll]
    for x in 0..COLUMNS {
        let red = colors[x];
        let green = colors[comptime!(COLUMNS + x)];
        let blue = colors[comptime!(2 * COLUMNS + x)];
        if comptime!(pixels.is_gray()) {
            // The luma (ITU-R BT.601), as on a CPU.
            let gray = 0.299f32 * red + 0.587f32 * green + 0.114f32 * blue;
            put(&mut words, x, 0usize, nearest(gray, pixels), pixels);
        } else {
            put(&mut words, x, 0usize, nearest(red, pixels), pixels);
            put(&mut words, x, 1usize, nearest(green, pixels), pixels);
            put(&mut words, x, 2usize, nearest(blue, pixels), pixels);
        }
        if comptime!(pixels.alpha().is_some()) {
            let alpha = comptime!(pixels.alpha().unwrap_or_default());
            put(&mut words, x, alpha, level(source, old[x], alpha, pixels), pixels);
        }
    }
    let start = pixel / COLUMNS * count;
    #[unroll]
    for w in 0..count {
        target[start + w] = words[w];
    }
}

#[cube]
fn put(
    words: &mut Array<u32>,
    #[comptime] pixel: usize,
    #[comptime] sample: usize,
    level: u32,
    #[comptime] pixels: Pixels,
) {
    let word = comptime!(pixels.place(pixel, sample)[0]);
    let shift = comptime!(pixels.place(pixel, sample)[1] as u32);
    words[word] |= level << shift;
}

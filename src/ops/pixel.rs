//! The pixel formats that are enhanced without a conversion of the whole image.

use burn::tensor::Element;
use image::{Luma, LumaA, Pixel, Primitive, Rgb, Rgba};
use std::ops::Range;

/// A pixel format that is enhanced directly: RGB and gray, with and without alpha (which is kept), of 8
/// or 16 bits. Its module is private, so that nobody else can name or implement it.
pub trait EnhancePixel: Pixel<Subpixel: Level> {
    /// Converts the pixels of a row to red, green and blue planes in `[0, 1]`, at their beginnings.
    fn load(pixels: &[Self::Subpixel], planes: [&mut [f32]; 3]);

    /// Converts planes to the pixels of a row. Values are clamped and rounded to the nearest level.
    /// `old` are the pixels that were loaded, whose alpha is kept.
    fn store(planes: [&[f32]; 3], old: &[Self::Subpixel], pixels: &mut [Self::Subpixel]);
}

/// A sample of a pixel: one of the levels `0 ..= WHITE`.
pub trait Level: Primitive + Element + Into<f32> {
    /// The highest level.
    const WHITE: f32;
    /// The level in the lowest bits.
    fn from_bits(bits: u32) -> Self;
    /// Appends the bytes of some samples, the lowest of each first.
    fn extend_bytes(samples: &[Self], bytes: &mut Vec<u8>);
    /// The opposite: samples from as many bytes as they have.
    fn copy_bytes(bytes: &[u8], samples: &mut [Self]);
}

impl Level for u8 {
    const WHITE: f32 = 255.0;

    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as u8
    }

    fn extend_bytes(samples: &[Self], bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(samples);
    }

    fn copy_bytes(bytes: &[u8], samples: &mut [Self]) {
        samples.copy_from_slice(bytes);
    }
}

impl Level for u16 {
    const WHITE: f32 = 65535.0;

    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as u16
    }

    fn extend_bytes(samples: &[Self], bytes: &mut Vec<u8>) {
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    }

    fn copy_bytes(bytes: &[u8], samples: &mut [Self]) {
        for (sample, bytes) in samples.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *sample = Self::from_le_bytes(*bytes);
        }
    }
}

/// Pixels that are converted at a time, in two steps: samples to planes of samples, and those to floats,
/// since a compiler makes good vector code of each but not of both together.
const CHUNK: usize = 256;

/// Loads pixels of `N` samples, of which `channels` are red, green and blue.
#[inline(always)]
fn load<T: Level, const N: usize>(pixels: &[T], mut planes: [&mut [f32]; 3], channels: [usize; 3]) {
    let mut levels = [[T::from_bits(0); CHUNK]; 3];
    for (index, pixels) in pixels.as_chunks::<N>().0.chunks(CHUNK).enumerate() {
        for (x, pixel) in pixels.iter().enumerate() {
            for (plane, channel) in levels.iter_mut().zip(channels) {
                plane[x] = pixel[channel];
            }
        }
        for (plane, levels) in planes.iter_mut().zip(&levels) {
            let plane = &mut plane[index * CHUNK..][..pixels.len()];
            for (value, level) in plane.iter_mut().zip(levels) {
                let level: f32 = (*level).into();
                *value = level * (1.0 / T::WHITE);
            }
        }
    }
}

/// The nearest level; a NaN is black.
///
/// Adding 2²³ rounds to an integer, which it leaves in the low bits. A plain cast gives the same,
/// but compilers make no vector code of it.
#[inline(always)]
#[allow(clippy::manual_clamp, reason = "clamp would keep a NaN")]
fn nearest<T: Level>(value: f32) -> T {
    T::from_bits((value.max(0.0).min(1.0) * T::WHITE + 8_388_608.0).to_bits())
}

/// The levels of some pixels of each plane.
#[inline(always)]
fn levels<T: Level>(levels: &mut [[T; CHUNK]; 3], planes: [&[f32]; 3], pixels: Range<usize>) {
    for (levels, plane) in levels.iter_mut().zip(planes) {
        for (level, value) in levels.iter_mut().zip(&plane[pixels.clone()]) {
            *level = nearest(*value);
        }
    }
}

/// The luma (ITU-R BT.601) of an enhanced gray image.
#[inline(always)]
fn luma(red: f32, green: f32, blue: f32) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

impl<T: Level> EnhancePixel for Rgb<T>
where
    Self: Pixel<Subpixel = T>,
{
    #[inline(always)]
    fn load(pixels: &[T], planes: [&mut [f32]; 3]) {
        load::<T, 3>(pixels, planes, [0, 1, 2]);
    }

    #[inline(always)]
    fn store(planes: [&[f32]; 3], _: &[T], pixels: &mut [T]) {
        let mut chunk = [[T::from_bits(0); CHUNK]; 3];
        for (index, pixels) in pixels.as_chunks_mut::<3>().0.chunks_mut(CHUNK).enumerate() {
            let part = index * CHUNK..index * CHUNK + pixels.len();
            levels(&mut chunk, planes, part);
            let [r, g, b] = &chunk;
            for (x, pixel) in pixels.iter_mut().enumerate() {
                *pixel = [r[x], g[x], b[x]];
            }
        }
    }
}

impl<T: Level> EnhancePixel for Rgba<T>
where
    Self: Pixel<Subpixel = T>,
{
    #[inline(always)]
    fn load(pixels: &[T], planes: [&mut [f32]; 3]) {
        load::<T, 4>(pixels, planes, [0, 1, 2]);
    }

    #[inline(always)]
    fn store(planes: [&[f32]; 3], old: &[T], pixels: &mut [T]) {
        let mut chunk = [[T::from_bits(0); CHUNK]; 3];
        let old = old.as_chunks::<4>().0.chunks(CHUNK);
        let chunks = pixels.as_chunks_mut::<4>().0.chunks_mut(CHUNK);
        for (index, (pixels, old)) in chunks.zip(old).enumerate() {
            let part = index * CHUNK..index * CHUNK + pixels.len();
            levels(&mut chunk, planes, part);
            let [r, g, b] = &chunk;
            for (x, (pixel, old)) in pixels.iter_mut().zip(old).enumerate() {
                *pixel = [r[x], g[x], b[x], old[3]];
            }
        }
    }
}

impl<T: Level> EnhancePixel for Luma<T>
where
    Self: Pixel<Subpixel = T>,
{
    #[inline(always)]
    fn load(pixels: &[T], planes: [&mut [f32]; 3]) {
        load::<T, 1>(pixels, planes, [0, 0, 0]);
    }

    #[inline(always)]
    fn store([red, green, blue]: [&[f32]; 3], _: &[T], pixels: &mut [T]) {
        let planes = red.iter().zip(green).zip(blue);
        for (pixel, ((red, green), blue)) in pixels.iter_mut().zip(planes) {
            *pixel = nearest(luma(*red, *green, *blue));
        }
    }
}

impl<T: Level> EnhancePixel for LumaA<T>
where
    Self: Pixel<Subpixel = T>,
{
    #[inline(always)]
    fn load(pixels: &[T], planes: [&mut [f32]; 3]) {
        load::<T, 2>(pixels, planes, [0, 0, 0]);
    }

    #[inline(always)]
    fn store([red, green, blue]: [&[f32]; 3], old: &[T], pixels: &mut [T]) {
        let planes = red.iter().zip(green).zip(blue);
        let pixels = pixels.as_chunks_mut::<2>().0.iter_mut().zip(old.as_chunks::<2>().0);
        for ((pixel, old), ((red, green), blue)) in pixels.zip(planes) {
            *pixel = [nearest(luma(*red, *green, *blue)), old[1]];
        }
    }
}

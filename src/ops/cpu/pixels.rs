//! Images in memory, as the one-pass enhancement reads and writes them: interleaved samples of a
//! photograph, or the planes of a tensor.

use super::Lit;
use super::enhance::Band;
use image::{Luma, LumaA, Pixel, Rgb, Rgba};
use std::ops::Range;

/// A pixel type that is enhanced without a detour: RGB and gray, with and without alpha (which is
/// kept), of 8 or 16 bits.
pub trait EnhancePixel: Pixel<Subpixel: Send + Sync> + sealed::Rows {}

impl EnhancePixel for Rgb<u8> {}
impl EnhancePixel for Rgb<u16> {}
impl EnhancePixel for Rgba<u8> {}
impl EnhancePixel for Rgba<u16> {}
impl EnhancePixel for Luma<u8> {}
impl EnhancePixel for Luma<u16> {}
impl EnhancePixel for LumaA<u8> {}
impl EnhancePixel for LumaA<u16> {}

pub(crate) mod sealed {
    /// Converts the pixels of a row to planes in `[0, 1]` and back.
    pub trait Rows: image::Pixel {
        fn load(pixels: &[Self::Subpixel], planes: [&mut [f32]; 3]);
        /// `old` are the pixels that were loaded. Values are clamped and rounded to nearest.
        fn store(planes: [&[f32]; 3], old: &[Self::Subpixel], pixels: &mut [Self::Subpixel]);
    }

    /// A sample of a pixel: one of the levels `0 ..= WHITE`.
    pub trait Level: image::Primitive + Into<f32> {
        const WHITE: f32;
        /// The lowest bits.
        fn from_bits(bits: u32) -> Self;
    }
}

use sealed::Level;

impl Level for u8 {
    const WHITE: f32 = 255.0;

    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as u8
    }
}

impl Level for u16 {
    const WHITE: f32 = 65535.0;

    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as u16
    }
}

/// Pixels that are taken apart at a time. In two steps, samples to planes of samples and those to
/// floats, since a compiler makes good vector code of each but not of both together.
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

/// The luma (ITU-R BT.601) of what the network makes of a gray picture.
#[inline(always)]
fn luma(red: f32, green: f32, blue: f32) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

impl<T: Level> sealed::Rows for Rgb<T>
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

impl<T: Level> sealed::Rows for Rgba<T>
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

impl<T: Level> sealed::Rows for Luma<T> {
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

impl<T: Level> sealed::Rows for LumaA<T> {
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

/// Asks the memory for some samples that will be wanted soon.
#[inline(always)]
fn prefetch<T>(samples: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in samples.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: the address is that of a sample, and nothing is read or written there.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = samples;
}

/// A band of a photograph.
pub(super) struct Interleaved<'a, P: EnhancePixel> {
    /// The whole photograph.
    pub(super) source: &'a [P::Subpixel],
    pub(super) source_stride: usize,
    /// The band of the result that begins with row `top`.
    pub(super) target: &'a mut [P::Subpixel],
    pub(super) target_stride: usize,
    pub(super) top: usize,
}

impl<P: EnhancePixel> Interleaved<'_, P> {
    /// Where some columns of a row are, given the distance of rows in samples.
    fn samples(y: usize, columns: &Range<usize>, stride: usize) -> Range<usize> {
        let channels = usize::from(P::CHANNEL_COUNT);
        y * stride + columns.start * channels..y * stride + columns.end * channels
    }
}

impl<P: EnhancePixel> Band for Interleaved<'_, P> {
    const ILLUMINATION: bool = false;

    #[inline(always)]
    fn load(&mut self, y: usize, columns: Range<usize>, planes: [&mut [f32]; 3]) {
        P::load(&self.source[Self::samples(y, &columns, self.source_stride)], planes);
        // By the time that a row is asked for, the memory has long been told so.
        let next = Self::samples(y + 1, &columns, self.source_stride);
        prefetch(self.source.get(next).unwrap_or_default());
    }

    #[inline(always)]
    fn store(&mut self, y: usize, columns: Range<usize>, _: [&[f32]; 3], reflectance: [&[f32]; 3]) {
        let old = &self.source[Self::samples(y, &columns, self.source_stride)];
        let new = Self::samples(y - self.top, &columns, self.target_stride);
        P::store(reflectance, old, &mut self.target[new]);
    }
}

/// A [`Piece`](super::Piece) of a photograph.
pub(super) struct Sampled<'a, P: EnhancePixel> {
    /// The whole photograph.
    pub(super) source: &'a [P::Subpixel],
    pub(super) stride: usize,
    /// Row and column of each wanted point, in ascending order.
    pub(super) points: &'a [[usize; 2]],
    /// One for each point.
    pub(super) found: &'a mut [Lit],
}

impl<P: EnhancePixel> Band for Sampled<'_, P> {
    const ILLUMINATION: bool = true;

    #[inline(always)]
    fn load(&mut self, y: usize, columns: Range<usize>, planes: [&mut [f32]; 3]) {
        let samples = Interleaved::<P>::samples(y, &columns, self.stride);
        P::load(&self.source[samples], planes);
    }

    #[inline(always)]
    fn store(&mut self, y: usize, columns: Range<usize>, light: [&[f32]; 3], _: [&[f32]; 3]) {
        let end = self.points.partition_point(|point| *point < [y, columns.end]);
        let start = self.points[..end].partition_point(|point| *point < [y, columns.start]);
        for (found, &[_, x]) in self.found[start..end].iter_mut().zip(&self.points[start..end]) {
            let pixel = Interleaved::<P>::samples(y, &(x..x + 1), self.stride);
            let mut planes = [[0.0]; 3];
            let [red, green, blue] = &mut planes;
            P::load(&self.source[pixel], [red, green, blue]);
            *found = [planes.map(|[value]| value), light.map(|plane| plane[x - columns.start])];
        }
    }
}

/// A band of the three planes of an image in a tensor.
pub(super) struct Planar<'a> {
    /// The whole image.
    pub(super) image: &'a [f32],
    pub(super) size: [usize; 2],
    /// For each plane, the band that begins with row `top`.
    pub(super) illumination: Vec<&'a mut [f32]>,
    pub(super) reflectance: Vec<&'a mut [f32]>,
    pub(super) top: usize,
}

impl Band for Planar<'_> {
    const ILLUMINATION: bool = true;

    #[inline(always)]
    fn load(&mut self, y: usize, columns: Range<usize>, planes: [&mut [f32]; 3]) {
        let [height, width] = self.size;
        for (channel, plane) in planes.into_iter().enumerate() {
            let row = (channel * height + y) * width;
            plane.copy_from_slice(&self.image[row + columns.start..row + columns.end]);
        }
    }

    #[inline(always)]
    fn store(
        &mut self,
        y: usize,
        columns: Range<usize>,
        illumination: [&[f32]; 3],
        reflectance: [&[f32]; 3],
    ) {
        let row = (y - self.top) * self.size[1];
        let part = row + columns.start..row + columns.end;
        for channel in 0..3 {
            self.illumination[channel][part.clone()].copy_from_slice(illumination[channel]);
            self.reflectance[channel][part.clone()].copy_from_slice(reflectance[channel]);
        }
    }
}

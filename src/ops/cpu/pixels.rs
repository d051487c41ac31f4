//! Images as the one-pass enhancement reads and writes them: interleaved samples in host memory, or the
//! planes of a tensor.

use super::enhance::Band;
use crate::ops::pixel::EnhancePixel;
use crate::ops::{Lit, Piece};
use std::ops::Range;

/// Hints that some samples will be read soon.
#[inline(always)]
#[allow(unsafe_code, reason = "the standard library has no safe function for it")]
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

/// A band of an image of interleaved samples.
pub(super) struct Interleaved<'a, P: EnhancePixel> {
    /// The whole image.
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
    const LEVELS: bool = true;

    #[inline(always)]
    fn load(&mut self, y: usize, columns: Range<usize>, planes: [&mut [f32]; 3]) {
        P::load(&self.source[Self::samples(y, &columns, self.source_stride)], planes);
        // The next row is on its way to the cache by the time it is read.
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

/// A [`Piece`](super::Piece) of an image of interleaved samples.
pub(super) struct Sampled<'a, P: EnhancePixel> {
    /// The whole image.
    pub(super) source: &'a [P::Subpixel],
    pub(super) stride: usize,
    /// Row and column of each wanted point, in ascending order.
    pub(super) points: &'a [[usize; 2]],
    /// One for each point.
    pub(super) found: &'a mut [Lit],
}

impl<P: EnhancePixel> Sampled<'_, P> {
    /// Hints that a piece of an image of `[height, width]` will be read soon, with so many pixels around
    /// it.
    pub(super) fn prefetch(&self, piece: &Piece, around: usize, [height, width]: [usize; 2]) {
        let columns =
            piece.columns.start.saturating_sub(around)..(piece.columns.end + around).min(width);
        for y in piece.rows.start.saturating_sub(around)..(piece.rows.end + around).min(height) {
            prefetch(&self.source[Interleaved::<P>::samples(y, &columns, self.stride)]);
        }
    }
}

impl<P: EnhancePixel> Band for Sampled<'_, P> {
    const ILLUMINATION: bool = true;
    const LEVELS: bool = true;

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
    const LEVELS: bool = false;

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

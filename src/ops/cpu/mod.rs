//! SIMD kernels for tensors and images in host memory.
//!
//! Each kernel is one portable source, compiled for several instruction sets by the crate `pulp` and
//! chosen once at run time. Threads are rayon's, of the pool that the caller is in. Results do not
//! depend on the number of threads.

mod conv;
mod denoise;
mod enhance;
#[cfg(feature = "train")]
pub(super) mod images;
#[cfg(feature = "train")]
pub(super) mod loss;
#[cfg(feature = "train")]
pub(super) mod memory;
#[cfg(feature = "train")]
pub(super) mod network;
mod pixels;
#[cfg(feature = "train")]
pub(super) mod pixelwise;
mod rows;
mod simd;

pub(super) use enhance::PackedEstimator;

use super::pixel::EnhancePixel;
use super::{Lit, Piece, Rendering, Samples};
use enhance::{band_rows, enhance_bands};
use pixels::{Interleaved, Planar, Sampled};
use rayon::prelude::*;

/// Enhances an image of `[height, width]`. Both sides are large enough for the size.
pub(crate) fn enhance_pixels<P: EnhancePixel>(
    network: &PackedEstimator,
    size: [usize; 2],
    rendering: Rendering,
    source: Samples<&[P::Subpixel]>,
    target: Samples<&mut [P::Subpixel]>,
) {
    let [height, width] = size;
    if height == 0 || width == 0 {
        return;
    }
    let rows = band_rows(height);
    let row = width * usize::from(P::CHANNEL_COUNT);
    // A single row has no next one, and its stride may be anything.
    let stride = |stride: usize| if height == 1 { row } else { stride };
    let (source_stride, target_stride) = (stride(source.stride), stride(target.stride));
    let used = (height - 1) * target_stride + row;
    let bands = target.samples[..used].par_chunks_mut(rows * target_stride).enumerate();
    let bands = bands.map(|(index, band)| {
        let top = index * rows;
        let band = Interleaved::<P> {
            source: source.samples,
            source_stride,
            target: band,
            target_stride,
            top,
        };
        (top..(top + rows).min(height), 0..width, band)
    });
    enhance_bands(network, size, rendering, bands);
}

/// The pixels at the points of some pieces of a photograph of `[height, width]`, with their
/// illuminations, in the order of the points. Only the pieces and the pixels around them that the
/// network sees are computed.
pub(crate) fn sample_pixels<P: EnhancePixel>(
    network: &PackedEstimator,
    size: [usize; 2],
    source: Samples<&[P::Subpixel]>,
    pieces: &[Piece],
) -> Vec<Lit> {
    let mut samples: Vec<Vec<Lit>> =
        pieces.iter().map(|piece| vec![Lit::default(); piece.points.len()]).collect();
    let following = pieces.iter().skip(1).map(Some).chain([None]).collect::<Vec<_>>();
    let bands = samples.par_iter_mut().zip(pieces).zip(following).map(|((found, piece), next)| {
        let (source, stride) = (source.samples, source.stride);
        let band = Sampled::<P> { source, stride, points: &piece.points, found };
        // The pieces are far apart: the next one comes from memory while this one is computed.
        if let Some(next) = next {
            band.prefetch(next, network.reach(), size);
        }
        (piece.rows.clone(), piece.columns.clone(), band)
    });
    enhance_bands(network, size, Rendering::FULL, bands);
    samples.concat()
}

/// The illumination and the result of a batch of images, `[batch, 3, height, width]`.
pub(crate) fn enhance_planes(
    network: &PackedEstimator,
    [batch, _, height, width]: [usize; 4],
    rendering: Rendering,
    images: &[f32],
) -> [Vec<f32>; 2] {
    let mut illumination = vec![0.0; images.len()];
    let mut reflectance = vec![0.0; images.len()];
    let (size, rows, plane) = ([height, width], band_rows(height), 3 * height * width);
    if plane == 0 {
        return [illumination, reflectance];
    }
    for n in 0..batch {
        let image = n * plane..(n + 1) * plane;
        let illumination = rows::bands(&mut illumination[image.clone()], 3, size, rows);
        let reflectance = rows::bands(&mut reflectance[image.clone()], 3, size, rows);
        let bands = illumination.into_par_iter().zip(reflectance).enumerate();
        let bands = bands.map(|(index, (illumination, reflectance))| {
            let (image, top) = (&images[image.clone()], index * rows);
            let band = Planar { image, size, illumination, reflectance, top };
            (top..(top + rows).min(height), 0..width, band)
        });
        enhance_bands(network, size, rendering, bands);
    }
    [illumination, reflectance]
}

//! SIMD kernels for tensors and images in host memory.
//!
//! Each kernel is one portable source, compiled for several instruction sets by the crate `pulp` and
//! chosen once at run time. Threads are rayon's, of the pool that the caller is in. Results do not
//! depend on the number of threads.

mod conv;
#[cfg(feature = "train")]
pub(super) mod conv3x3;
mod enhance;
#[cfg(feature = "train")]
pub(super) mod norm;
mod pixels;
mod rows;
mod simd;
#[cfg(feature = "train")]
pub(super) mod smoothness;

pub(super) use enhance::Network;

use super::pixel::EnhancePixel;
use super::{Lit, Samples};
use enhance::{band_rows, enhance_bands};
use pixels::{Interleaved, Planar, Sampled};
use rayon::prelude::*;

/// Enhances an image of `[height, width]`. Both sides are large enough for the size.
pub(crate) fn enhance_pixels<P: EnhancePixel>(
    network: &Network,
    size: [usize; 2],
    strength: f32,
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
    enhance_bands(network, size, strength, bands);
}

/// Pixels of a photograph, no more than `most`, with their illuminations: of a small one from all
/// over it, of a large one from pieces of two rows, spread so that with the pixels that the network
/// sees around them they are some tenth of the work of enhancing.
pub(crate) fn sample_pixels<P: EnhancePixel>(
    network: &Network,
    [height, width]: [usize; 2],
    source: Samples<&[P::Subpixel]>,
    most: usize,
) -> Vec<Lit> {
    /// Rows of a piece, and its columns: what with those around them fills whole vectors.
    const PIECE: [usize; 2] = [2, 138];
    /// A piece every so many rows, in every so-many-th of the columns, each time in the next.
    const EVERY: [usize; 2] = [16, 4];
    /// Photographs up to so many pixels are small.
    const SMALL: usize = 1 << 16;
    let pieces: Vec<_> = if height * width <= SMALL {
        vec![(0..height, 0..width)]
    } else {
        let rows = (0..height).step_by(EVERY[0]).enumerate();
        rows.flat_map(|(index, top)| {
            let top = top + (EVERY[0] - PIECE[0]) / 2;
            let rows = top.min(height)..(top + PIECE[0]).min(height);
            let first = index % EVERY[1] * PIECE[1];
            let columns = (first..width).step_by(EVERY[1] * PIECE[1]);
            columns.map(move |left| (rows.clone(), left..(left + PIECE[1]).min(width)))
        })
        .collect()
    };
    let pixels: usize = pieces.iter().map(|(rows, columns)| rows.len() * columns.len()).sum();
    let step = pixels.div_ceil(most).max(1);
    let mut samples: Vec<Vec<Lit>> = vec![Vec::new(); pieces.len()];
    let bands = samples.par_iter_mut().zip(pieces).map(|(found, (rows, columns))| {
        let (source, stride) = (source.samples, source.stride);
        (rows, columns, Sampled::<P> { source, stride, step, found })
    });
    enhance_bands(network, [height, width], 1.0, bands);
    samples.concat()
}

/// Illumination and reflectance of a batch of images, `[batch, 3, height, width]`.
pub(crate) fn enhance_planes(
    network: &Network,
    [batch, _, height, width]: [usize; 4],
    strength: f32,
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
        enhance_bands(network, size, strength, bands);
    }
    [illumination, reflectance]
}

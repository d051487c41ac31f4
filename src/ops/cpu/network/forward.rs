//! One layer's convolution, of activations that are computed on the way, with the statistics of its result.

use super::super::rows::{LEFT, pitch};
use super::super::simd::arch;
use super::activations::Activations;
use super::maps::{Band, Maps};
use super::moments::Moments;
use super::scratch::{Scratch, Window};
use super::winograd::{Addend, PairKernel, Target};
use crate::ops::network::ConvLayer;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Convolves the activations and returns each channel's moments, if they are wanted. `kept` is where the activations
/// themselves go, if they are to be kept.
pub(super) fn convolve<const G: usize>(
    layer: &ConvLayer,
    kernel: &PairKernel<G>,
    source: Activations,
    kept: Option<&mut Maps>,
    results: &mut Maps,
    scratch: &Scratch,
) -> Vec<Moments> {
    let bands = results.size().bands();
    let mut kept = kept.map(Maps::bands_mut);
    let bands: Vec<_> = bands
        .zip(results.bands_mut())
        .map(|(band, target)| {
            let kept = kept.as_mut().map(|bands| bands.next().expect("as many bands"));
            (band, target, kept)
        })
        .collect();
    let parts: Vec<Vec<Moments>> = bands
        .into_par_iter()
        .map(|(band, target, kept)| {
            scratch.with(|rows| {
                let window = &mut rows.activations;
                arch().dispatch(ForwardBand { band, layer, kernel, source, target, kept, window })
            })
        })
        .collect();
    let none = vec![Moments::default(); layer.outputs];
    parts.into_iter().fold(none, |sum, part| {
        sum.into_iter().zip(part).map(|(sum, part)| sum.and(part)).collect()
    })
}

struct ForwardBand<'a, const G: usize> {
    band: Band,
    layer: &'a ConvLayer,
    kernel: &'a PairKernel<G>,
    source: Activations<'a>,
    target: &'a mut [f32],
    kept: Option<&'a mut [f32]>,
    window: &'a mut Window,
}

impl<const G: usize> WithSimd for ForwardBand<'_, G> {
    type Output = Vec<Moments>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<Moments> {
        let Self { band, layer, kernel, source, target, mut kept, window } = self;
        let Band { size, image, top, bottom } = band;
        let ConvLayer { inputs, outputs, .. } = *layer;
        let (width, stride) = (size.width, size.stride());
        let pitch = pitch(width, S::F32_LANES);
        window.arrange(inputs, pitch);
        let mut moments = vec![Moments::default(); outputs];
        for (y, new) in band.pairs() {
            for next in new {
                let row = window.rows.row_mut(next);
                source.load(size, [image, next], row, pitch);
                if let Some(kept) = kept.as_mut().filter(|_| (top..bottom).contains(&next)) {
                    let to = &mut kept[(next - top) * inputs * stride..][..inputs * stride];
                    for (channel, to) in to.chunks_exact_mut(stride).enumerate() {
                        to.copy_from_slice(&row[channel * pitch + LEFT..][..stride]);
                    }
                }
            }
            window.transform(y, size.height, pitch);
            let targets = target[(y - top) * outputs * stride..].chunks_mut(outputs * stride);
            let mut targets: Vec<Target> =
                targets.take(2).map(|row| Target { row, addend: Addend::None }).collect();
            kernel.apply(simd, &window.transformed, pitch, width, &mut targets, stride);
            if layer.norm.is_none() {
                continue;
            }
            for (y, target) in (y..).zip(targets) {
                for (moments, row) in moments.iter_mut().zip(target.row.chunks_exact(stride)) {
                    let near = if y > top { moments.mean() } else { row[width / 2] };
                    *moments = moments.and(Moments::of_row(simd, row, width, near));
                }
            }
        }
        moments
    }
}

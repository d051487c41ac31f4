//! The gradients of one layer, in one pass: with respect to the activations that it was applied to, and to its
//! convolution's weights and biases.

use super::super::rows::pitch;
use super::super::simd::{arch, load};
use super::activations::{Activations, Norm, Rectified, channels};
use super::maps::{Band, Maps, Size};
use super::scratch::{Rows, Scratch};
use super::winograd::{Addend, PairKernel, Target, WeightSums};
use crate::ops::network::ConvLayer;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// How the gradient with respect to a layer's activations becomes that with respect to its convolution's result.
#[derive(Clone, Copy)]
pub(super) struct Undo<'a> {
    pub(super) rectified: Rectified<'a>,
    /// For each channel the means of the gradient that passes the ReLU, and of its product with the normalized
    /// value; zeros without normalization.
    pub(super) means: &'a [[f32; 2]],
}

/// The gradient with respect to a layer's input.
pub(super) struct InputGradient<'a, const G: usize> {
    /// The layer's weights, rotated, for [`Maps`] of its inputs.
    pub(super) kernel: PairKernel<G>,
    pub(super) target: &'a mut Maps,
    /// What else is added to it.
    pub(super) added: Added<'a>,
    /// The input itself, if it comes out of a normalization, for whose gradient sums are wanted.
    pub(super) normalized: Option<Rectified<'a>>,
}

/// What is added to a gradient.
#[derive(Clone, Copy)]
pub(super) enum Added<'a> {
    None,
    /// What the target holds already.
    Target,
    Maps(&'a Maps),
}

/// What a layer's backward pass gives besides the gradient with respect to its input.
#[derive(Debug)]
pub(super) struct Sums {
    /// The gradients with respect to the convolution's weights, then its biases.
    pub(super) conv: Vec<f64>,
    /// For each input channel the sums of the gradient that passes its ReLU, and of its product with the
    /// normalized value. Empty where they are not wanted.
    pub(super) norm: Vec<[f64; 2]>,
}

/// `gradient` is that with respect to the layer's activations, or with respect to its convolution's result if there
/// is nothing to undo. `GI` and `GO` are how many inputs and outputs are computed together.
pub(super) fn backward<const GI: usize, const GO: usize>(
    layer: &ConvLayer,
    source: Activations,
    gradient: &Maps,
    undo: Option<Undo>,
    input: Option<InputGradient<GI>>,
    scratch: &Scratch,
) -> Sums {
    let ConvLayer { inputs, outputs, .. } = *layer;
    let (kernel, target, added, normalized) = match input {
        Some(InputGradient { kernel, target, added, normalized }) => {
            (Some(kernel), Some(target), added, normalized)
        }
        None => (None, None, Added::None, None),
    };
    let mut targets = target.map(Maps::bands_mut);
    let bands: Vec<_> = gradient
        .size()
        .bands()
        .map(|band| {
            let target = targets.as_mut().map(|bands| bands.next().expect("as many bands"));
            let kernel = kernel.as_ref();
            let input = kernel.zip(target).map(|(kernel, target)| BandInputGradient {
                kernel,
                target,
                added,
                normalized,
            });
            (band, input)
        })
        .collect();
    let parts: Vec<BandSums> = bands
        .into_par_iter()
        .map(|(band, input)| {
            scratch.with(|rows| {
                arch().dispatch(BackwardBand::<GI, GO> {
                    band,
                    layer,
                    source,
                    gradient,
                    undo,
                    input,
                    rows,
                })
            })
        })
        .collect();
    // In order, and with room for the sum of many pixels.
    let mut conv = vec![0.0; parts.first().map_or(0, |part| part.conv.len())];
    let mut norm = vec![[0.0; 2]; if normalized.is_some() { inputs } else { 0 }];
    for part in parts {
        for (sum, part) in conv.iter_mut().zip(part.conv) {
            *sum += f64::from(part);
        }
        for (sum, part) in norm.iter_mut().zip(part.norm) {
            *sum = [sum[0] + part[0], sum[1] + part[1]];
        }
    }
    Sums { conv: WeightSums::<GO>::gradients(&conv, inputs, outputs), norm }
}

struct BandInputGradient<'a, const G: usize> {
    kernel: &'a PairKernel<G>,
    target: &'a mut [f32],
    added: Added<'a>,
    normalized: Option<Rectified<'a>>,
}

struct BackwardBand<'a, const GI: usize, const GO: usize> {
    band: Band,
    layer: &'a ConvLayer,
    source: Activations<'a>,
    gradient: &'a Maps,
    undo: Option<Undo<'a>>,
    input: Option<BandInputGradient<'a, GI>>,
    rows: &'a mut Rows,
}

/// A band's part of [`Sums`].
struct BandSums {
    /// See [`WeightSums::totals`].
    conv: Vec<f32>,
    norm: Vec<[f64; 2]>,
}

impl<const GI: usize, const GO: usize> WithSimd for BackwardBand<'_, GI, GO> {
    type Output = BandSums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> BandSums {
        let Self { band, layer, source, gradient, undo, mut input, rows } = self;
        let Band { size, image, top, .. } = band;
        let ConvLayer { inputs, outputs, .. } = *layer;
        let (height, width, stride) = (size.height, size.width, size.stride());
        let pitch = pitch(width, S::F32_LANES);
        // With channels of zeros, where there are fewer than in all groups.
        let groups = outputs.div_ceil(GO);
        let Rows { activations, gradients, halves, sums } = rows;
        activations.arrange(inputs, pitch);
        gradients.arrange(groups * GO, pitch);
        let mut sums = WeightSums::<GO>::new::<S>(sums, halves, inputs, groups, pitch);
        let normalized = input.as_ref().and_then(|input| input.normalized);
        let mut norm = vec![[0.0; 2]; if normalized.is_some() { inputs } else { 0 }];
        for (y, new) in band.pairs() {
            for next in new {
                source.load(size, [image, next], activations.rows.row_mut(next), pitch);
                let row = gradients.rows.row_mut(next);
                load_gradient(gradient, undo, size, [image, next], row, pitch);
                row[outputs * pitch..].fill(0.0);
            }
            activations.transform(y, height, pitch);
            let both = [0, 1].map(|below| gradients.rows.neighbor(y, below, height));
            sums.add(simd, both, &activations.transformed, pitch, width);
            let Some(input) = &mut input else { continue };
            gradients.transform(y, height, pitch);
            let targets = input.target[(y - top) * inputs * stride..].chunks_mut(inputs * stride);
            let mut targets: Vec<Target> = (y..)
                .zip(targets.take(2))
                .map(|(y, row)| {
                    let addend = match input.added {
                        Added::None => Addend::None,
                        Added::Target => Addend::Target,
                        Added::Maps(maps) => Addend::Row(maps.row(image, y)),
                    };
                    Target { row, addend }
                })
                .collect();
            input.kernel.apply(simd, &gradients.transformed, pitch, width, &mut targets, stride);
            let Some(Rectified { results, norms }) = normalized else { continue };
            for (y, target) in (y..).zip(targets) {
                let results = results.row(image, y).chunks_exact(stride);
                let rows = target.row.chunks_exact(stride).zip(results);
                for ((sums, channel), (gradient, results)) in norm.iter_mut().zip(norms).zip(rows) {
                    let part = passed_sums(simd, *channel, gradient, results, width);
                    *sums = [sums[0] + part[0], sums[1] + part[1]];
                }
            }
        }
        BandSums { conv: sums.totals(simd), norm }
    }
}

/// Writes a row of the gradient with respect to the convolution's result to a padded row.
#[inline(always)]
fn load_gradient(
    gradient: &Maps,
    undo: Option<Undo>,
    size: Size,
    [image, y]: [usize; 2],
    row: &mut [f32],
    pitch: usize,
) {
    let from = gradient.row(image, y);
    let Some(Undo { rectified: Rectified { results, norms }, means }) = undo else {
        return channels(row, pitch, from, size, |_, to, from| to.copy_from_slice(from));
    };
    let stride = size.stride();
    let results = results.row(image, y);
    channels(row, pitch, from, size, |channel, to, from| {
        let norm = norms[channel];
        let [mean_gradient, mean_product] = means[channel];
        let values = &results[channel * stride..][..stride];
        for (to, (gradient, value)) in to.iter_mut().zip(from.iter().zip(values)) {
            let passed = if norm.apply(*value) > 0.0 { *gradient } else { 0.0 };
            let normalized = (value - norm.mean) * norm.rate;
            *to = norm.scale * (passed - mean_gradient - normalized * mean_product);
        }
    });
}

/// The sums of the gradient that passes a channel's ReLU, and of its product with the normalized value.
#[inline(always)]
fn passed_sums<S: Simd>(
    simd: S,
    norm: Norm,
    gradient: &[f32],
    results: &[f32],
    width: usize,
) -> [f64; 2] {
    let zero = simd.splat_f32s(0.0);
    let [scale, shift, mean] = [norm.scale, norm.shift, norm.mean].map(|v| simd.splat_f32s(v));
    let (mut sum, mut product) = (zero, zero);
    let whole = width / S::F32_LANES * S::F32_LANES;
    for x in (0..whole).step_by(S::F32_LANES) {
        let [[gradient], [value]] = [load::<S, 1>(gradient, x), load::<S, 1>(results, x)];
        // As Norm::apply does it.
        let normalized = simd.add_f32s(simd.mul_f32s(value, scale), shift);
        let on = simd.greater_than_f32s(normalized, zero);
        let passed = simd.select_f32s(on, gradient, zero);
        sum = simd.add_f32s(sum, passed);
        product = simd.mul_add_e_f32s(passed, simd.sub_f32s(value, mean), product);
    }
    let mut sums = [simd.reduce_sum_f32s(sum), simd.reduce_sum_f32s(product)];
    for (gradient, value) in gradient[whole..width].iter().zip(&results[whole..]) {
        if norm.apply(*value) > 0.0 {
            sums = [sums[0] + gradient, sums[1] + gradient * (value - norm.mean)];
        }
    }
    [f64::from(sums[0]), f64::from(sums[1]) * f64::from(norm.rate)]
}

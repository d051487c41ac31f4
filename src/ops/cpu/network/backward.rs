//! The gradients of one layer, in one pass: with respect to the activations that it was applied to, and to its
//! convolution's weights and biases.

use super::super::conv::{Addend, Kernel};
use super::super::rows::{LEFT, Ring, pitch};
use super::super::simd::{arch, load, store};
use super::activations::{Activations, Norm, Rectified, channels};
use super::maps::{Band, Maps, Size};
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
    pub(super) kernel: Kernel<G>,
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
    size: Size,
) -> Sums {
    let ConvLayer { inputs, outputs, .. } = *layer;
    let (kernel, target, added, normalized) = match input {
        Some(InputGradient { kernel, target, added, normalized }) => {
            (Some(kernel), Some(target), added, normalized)
        }
        None => (None, None, Added::None, None),
    };
    let mut targets = target.map(Maps::bands_mut);
    let bands: Vec<_> = size
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
            BackwardBand::<GI, GO> { band, layer, source, gradient, undo, input }
        })
        .collect();
    let parts: Vec<BandSums> = bands.into_par_iter().map(|band| arch().dispatch(band)).collect();
    // In order, and with room for the sum of many pixels.
    let mut conv = vec![0.0; outputs * (inputs * 9 + 1)];
    let mut norm = vec![[0.0; 2]; if normalized.is_some() { inputs } else { 0 }];
    for part in parts {
        for (sum, part) in conv.iter_mut().zip(part.conv) {
            *sum += f64::from(part);
        }
        for (sum, part) in norm.iter_mut().zip(part.norm) {
            *sum = [sum[0] + part[0], sum[1] + part[1]];
        }
    }
    Sums { conv, norm }
}

struct BandInputGradient<'a, const G: usize> {
    kernel: &'a Kernel<G>,
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
}

/// A band's part of [`Sums`].
struct BandSums {
    conv: Vec<f32>,
    norm: Vec<[f64; 2]>,
}

impl<const GI: usize, const GO: usize> WithSimd for BackwardBand<'_, GI, GO> {
    type Output = BandSums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> BandSums {
        let Self { band, layer, source, gradient, undo, mut input } = self;
        let Band { size, image, top, .. } = band;
        let ConvLayer { inputs, outputs, .. } = *layer;
        let (width, stride) = (size.width, size.stride());
        let pitch = pitch(width, S::F32_LANES);
        let groups = outputs.div_ceil(GO);
        let mut activations = Ring::default();
        activations.reset(3, inputs, pitch);
        // With channels of zeros, where there are fewer than in all groups.
        let mut gradients = Ring::default();
        gradients.reset(3, groups * GO, pitch);
        let mut sums = WeightSums::<GO>::new::<S>(inputs, groups);
        let normalized = input.as_ref().and_then(|input| input.normalized);
        let mut norm = vec![[0.0; 2]; if normalized.is_some() { inputs } else { 0 }];
        for (next, complete) in band.walk() {
            if next < size.height {
                source.load(size, [image, next], activations.row_mut(next), pitch);
                let row = gradients.row_mut(next);
                load_gradient(gradient, undo, size, [image, next], row, pitch);
            }
            let Some(y) = complete else { continue };
            let around = gradients.around(y, size.height);
            sums.add(simd, around[1], activations.around(y, size.height), pitch, width);
            let Some(input) = &mut input else { continue };
            let target = &mut input.target[(y - top) * inputs * stride..][..inputs * stride];
            let addend = match input.added {
                Added::None => Addend::None,
                Added::Target => Addend::Target,
                Added::Maps(maps) => Addend::Row(maps.row(image, y)),
            };
            input.kernel.row(simd, around, pitch, width, target, stride, addend);
            let Some(Rectified { results, norms }) = normalized else { continue };
            let rows = target.chunks_exact(stride).zip(results.row(image, y).chunks_exact(stride));
            for ((sums, channel), (gradient, results)) in norm.iter_mut().zip(norms).zip(rows) {
                let part = passed_sums(simd, *channel, gradient, results, width);
                *sums = [sums[0] + part[0], sums[1] + part[1]];
            }
        }
        BandSums { conv: sums.reduced(simd, outputs), norm }
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

/// The gradients with respect to weights and biases, as vectors of sums: for each group of outputs, each input and
/// each row of taps one for each output and tap, and at the end one for each output's bias.
struct WeightSums<const G: usize> {
    sums: Vec<f32>,
    inputs: usize,
    groups: usize,
}

impl<const G: usize> WeightSums<G> {
    #[inline(always)]
    fn new<S: Simd>(inputs: usize, groups: usize) -> Self {
        Self { sums: vec![0.0; (inputs * 9 + 1) * groups * G * S::F32_LANES], inputs, groups }
    }

    /// Adds the products of a row of the gradient with the rows around it.
    #[inline(always)]
    fn add<S: Simd>(
        &mut self,
        simd: S,
        gradient: &[f32],
        around: [&[f32]; 3],
        pitch: usize,
        width: usize,
    ) {
        let weights = self.inputs * 9 * self.groups * G * S::F32_LANES;
        let (weights, biases) = self.sums.split_at_mut(weights);
        let mut blocks = weights.chunks_exact_mut(G * 3 * S::F32_LANES);
        for outputs in gradient.chunks_exact(G * pitch) {
            for input in 0..self.inputs {
                for row in around {
                    let row = &row[input * pitch..(input + 1) * pitch];
                    let block = blocks.next().expect("a block for each");
                    correlate::<S, G>(simd, outputs, row, block, pitch, width);
                }
            }
        }
        for (sum, gradient) in
            biases.chunks_exact_mut(S::F32_LANES).zip(gradient.chunks_exact(pitch))
        {
            let [mut total] = load::<S, 1>(sum, 0);
            for x in (0..width).step_by(S::F32_LANES) {
                let [value] = load::<S, 1>(gradient, LEFT + x);
                total = simd.add_f32s(total, value);
            }
            store::<S, 1>(sum, 0, [total]);
        }
    }

    /// The sums for all weights, `[outputs, inputs, 3, 3]`, then those for all biases.
    #[inline(always)]
    fn reduced<S: Simd>(&self, simd: S, outputs: usize) -> Vec<f32> {
        let Self { sums, inputs, groups } = self;
        let weights = inputs * 9 * groups * G;
        let mut reduced = vec![0.0; outputs * (inputs * 9 + 1)];
        for (index, sum) in sums.chunks_exact(S::F32_LANES).enumerate() {
            let [sum] = load::<S, 1>(sum, 0);
            let (output, place) = if index < weights {
                let (block, output, right) = (index / (G * 3), index / 3 % G, index % 3);
                let (group, input, down) = (block / (inputs * 3), block / 3 % inputs, block % 3);
                let output = group * G + output;
                (output, (output * inputs + input) * 9 + down * 3 + right)
            } else {
                let output = index - weights;
                (output, outputs * inputs * 9 + output)
            };
            if output < outputs {
                reduced[place] = simd.reduce_sum_f32s(sum);
            }
        }
        reduced
    }
}

/// Adds to `sums` the products of some gradient channels with an image row moved by −1, 0 and 1.
#[inline(always)]
fn correlate<S: Simd, const G: usize>(
    simd: S,
    outputs: &[f32],
    row: &[f32],
    sums: &mut [f32],
    pitch: usize,
    width: usize,
) {
    let mut totals = [[simd.splat_f32s(0.0); 3]; G];
    for (output, totals) in totals.iter_mut().enumerate() {
        *totals = load::<S, 3>(sums, output * 3 * S::F32_LANES);
    }
    for x in (0..width).step_by(S::F32_LANES) {
        let mut moved = [simd.splat_f32s(0.0); 3];
        for (right, moved) in moved.iter_mut().enumerate() {
            [*moved] = load::<S, 1>(row, LEFT - 1 + x + right);
        }
        for (output, totals) in totals.iter_mut().enumerate() {
            let [gradient] = load::<S, 1>(outputs, output * pitch + LEFT + x);
            for (total, moved) in totals.iter_mut().zip(moved) {
                *total = simd.mul_add_e_f32s(gradient, moved, *total);
            }
        }
    }
    for (output, totals) in totals.into_iter().enumerate() {
        store::<S, 3>(sums, output * 3 * S::F32_LANES, totals);
    }
}

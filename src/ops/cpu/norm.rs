//! Batch normalization followed by a ReLU, and its gradients. A channel belongs to one thread,
//! which finds its plane in the cache when it comes back to it.

use super::images::Images;
use super::simd::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Mean and biased variance of each channel.
pub(crate) fn statistics(Images { values, shape }: Images) -> [Vec<f32>; 2] {
    let [batch, channels, height, width] = shape;
    let plane = height * width;
    let count = (batch * plane) as f64;
    let planes =
        |channel: usize| (0..batch).map(move |n| plane_of(values, n * channels + channel, plane));
    let (mean, variance) = (0..channels)
        .into_par_iter()
        .map(|channel| {
            let sum: f64 = planes(channel).map(|p| arch().dispatch(Squares(p, None))).sum();
            let mean = sum / count;
            let squares: f64 =
                planes(channel).map(|p| arch().dispatch(Squares(p, Some(mean as f32)))).sum();
            (mean as f32, (squares / count) as f32)
        })
        .unzip();
    [mean, variance]
}

fn plane_of(values: &[f32], index: usize, plane: usize) -> &[f32] {
    &values[index * plane..(index + 1) * plane]
}

/// How a channel is normalized: `scale · x + shift`, where the batch has mean 0 and variance 1 in
/// `(x − mean) · rate`.
#[derive(Clone, Copy)]
struct Channel {
    scale: f32,
    shift: f32,
    mean: f32,
    rate: f32,
}

/// The layer's weights and the batch's statistics, a value for each channel.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) mean: &'a [f32],
    pub(crate) variance: &'a [f32],
    pub(crate) epsilon: f32,
}

impl Norm<'_> {
    fn channel(&self, channel: usize) -> Channel {
        let rate = (self.variance[channel] + self.epsilon).sqrt().recip();
        let (mean, scale) = (self.mean[channel], self.weight[channel] * rate);
        Channel { scale, shift: self.bias[channel] - mean * scale, mean, rate }
    }
}

/// `relu(norm(images))`, plus `residual` if there is one.
pub(crate) fn norm_relu(
    Images { values, shape }: Images,
    norm: Norm,
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let [_, channels, height, width] = shape;
    let plane = height * width;
    let mut result = vec![0.0; values.len()];
    result.par_chunks_mut(plane).enumerate().for_each(|(index, result)| {
        let channel = norm.channel(index % channels);
        let values = plane_of(values, index, plane);
        let residual = residual.map(|residual| plane_of(residual, index, plane));
        arch().dispatch(NormForward { values, channel, residual, result });
    });
    result
}

/// The gradients with respect to images, weights and biases.
pub(crate) struct NormGradients {
    pub(crate) image: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// The gradients of [`norm_relu`]. That with respect to its residual is the output's gradient itself.
pub(crate) fn norm_relu_backward(
    Images { values, shape }: Images,
    norm: Norm,
    gradient: &[f32],
) -> NormGradients {
    let [batch, channels, height, width] = shape;
    let plane = height * width;
    let count = (batch * plane) as f64;
    let sums: Vec<[f64; 2]> = (0..channels)
        .into_par_iter()
        .map(|index| {
            let channel = norm.channel(index);
            (0..batch).fold([0.0; 2], |sums, n| {
                let values = plane_of(values, n * channels + index, plane);
                let gradient = plane_of(gradient, n * channels + index, plane);
                let part = arch().dispatch(Sums { values, gradient, channel });
                [sums[0] + part[0], sums[1] + part[1]]
            })
        })
        .collect();
    let mut result = vec![0.0; values.len()];
    result.par_chunks_mut(plane).enumerate().for_each(|(index, result)| {
        let channel = norm.channel(index % channels);
        let means = sums[index % channels].map(|sum| (sum / count) as f32);
        let values = plane_of(values, index, plane);
        let gradient = plane_of(gradient, index, plane);
        arch().dispatch(NormBackward { values, gradient, channel, means, result });
    });
    NormGradients {
        image: result,
        weight: sums.iter().map(|sums| sums[1] as f32).collect(),
        bias: sums.iter().map(|sums| sums[0] as f32).collect(),
    }
}

/// Pixels whose float32 sums are added up before they go to a float64.
const BLOCK: usize = 1 << 12;

/// The sum of a plane, or of its squared differences from a mean.
struct Squares<'a>(&'a [f32], Option<f32>);

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let Self(plane, mean) = self;
        let mut total = 0.0;
        for block in plane.chunks(BLOCK) {
            let (vectors, rest) = S::as_simd_f32s(block);
            let mut sum = simd.splat_f32s(0.0);
            let mut tail = 0.0;
            if let Some(mean) = mean {
                let center = simd.splat_f32s(mean);
                for vector in vectors {
                    let difference = simd.sub_f32s(*vector, center);
                    sum = simd.mul_add_e_f32s(difference, difference, sum);
                }
                for value in rest {
                    tail += (value - mean) * (value - mean);
                }
            } else {
                for vector in vectors {
                    sum = simd.add_f32s(sum, *vector);
                }
                for value in rest {
                    tail += value;
                }
            }
            total += f64::from(simd.reduce_sum_f32s(sum)) + f64::from(tail);
        }
        total
    }
}

/// Keeps a NaN, which `max` would make a 0: training must notice it.
#[inline(always)]
fn relu(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
}

struct NormForward<'a> {
    values: &'a [f32],
    channel: Channel,
    residual: Option<&'a [f32]>,
    result: &'a mut [f32],
}

impl WithSimd for NormForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Channel { scale, shift, .. } = self.channel;
        if let Some(residual) = self.residual {
            let values = self.values.iter().zip(residual);
            for (result, (value, residual)) in self.result.iter_mut().zip(values) {
                *result = relu(value * scale + shift) + residual;
            }
        } else {
            for (result, value) in self.result.iter_mut().zip(self.values) {
                *result = relu(value * scale + shift);
            }
        }
    }
}

/// The sums of the gradient that passes the ReLU, and of its product with the normalized value.
struct Sums<'a> {
    values: &'a [f32],
    gradient: &'a [f32],
    channel: Channel,
}

impl WithSimd for Sums<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        let Channel { scale, shift, mean, rate } = self.channel;
        let zero = simd.splat_f32s(0.0);
        let [scales, shifts, means] = [scale, shift, mean].map(|value| simd.splat_f32s(value));
        let mut totals = [0.0; 2];
        for (values, gradient) in self.values.chunks(BLOCK).zip(self.gradient.chunks(BLOCK)) {
            let (vectors, rest) = S::as_simd_f32s(values);
            let (gradients, gradient_rest) = S::as_simd_f32s(gradient);
            let (mut sum, mut product) = (zero, zero);
            for (value, gradient) in vectors.iter().zip(gradients) {
                // Rounded twice, as everywhere here: all must agree on which side of 0 it is.
                let output = simd.add_f32s(simd.mul_f32s(*value, scales), shifts);
                let on = simd.greater_than_f32s(output, zero);
                let passed = simd.select_f32s(on, *gradient, zero);
                sum = simd.add_f32s(sum, passed);
                let difference = simd.sub_f32s(*value, means);
                product = simd.mul_add_e_f32s(passed, difference, product);
            }
            let mut tails = [0.0; 2];
            for (value, gradient) in rest.iter().zip(gradient_rest) {
                if value * scale + shift > 0.0 {
                    tails[0] += gradient;
                    tails[1] += gradient * (value - mean);
                }
            }
            totals[0] += f64::from(simd.reduce_sum_f32s(sum)) + f64::from(tails[0]);
            totals[1] += f64::from(simd.reduce_sum_f32s(product)) + f64::from(tails[1]);
        }
        [totals[0], totals[1] * f64::from(rate)]
    }
}

struct NormBackward<'a> {
    values: &'a [f32],
    gradient: &'a [f32],
    channel: Channel,
    /// Of the gradient that passes the ReLU, and of its product with the normalized value.
    means: [f32; 2],
    result: &'a mut [f32],
}

impl WithSimd for NormBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Channel { scale, shift, mean, rate } = self.channel;
        let [mean_gradient, mean_product] = self.means;
        let values = self.values.iter().zip(self.gradient);
        for (result, (value, gradient)) in self.result.iter_mut().zip(values) {
            let passed = if value * scale + shift > 0.0 { *gradient } else { 0.0 };
            let normalized = (value - mean) * rate;
            *result = scale * (passed - mean_gradient - normalized * mean_product);
        }
    }
}

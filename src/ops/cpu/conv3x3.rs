//! 3×3 convolution of few channels for training: forward, and the gradients with respect to image,
//! weights and biases. Direct: no matrix of image patches is made.

use super::conv::Kernel;
use super::images::Images;
use super::rows::{LEFT, Ring, bands, pitch};
use super::simd::{arch, load, store};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Vectors of pixels that are computed together.
const V: usize = 3;
/// Output channels that are computed together, if their number allows, and otherwise.
const G: usize = 4;
const ODD_G: usize = 3;
/// Rows of a band. Fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 16;

/// `[batch, outputs, height, width]` of images, weights `[outputs, inputs, 3, 3]` and biases.
pub(crate) fn forward(images: Images, weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let inputs = images.shape[1];
    let weight = |o: usize, i: usize, tap: usize| weight[(o * inputs + i) * 9 + tap];
    convolve(images, bias.len(), weight, |o| bias[o])
}

/// The gradient with respect to the images: the output's gradient convolved with the weights
/// rotated by 180°.
pub(crate) fn backward_images(gradient: Images, weight: &[f32], inputs: usize) -> Vec<f32> {
    let rotated = |i: usize, o: usize, tap: usize| weight[(o * inputs + i) * 9 + 8 - tap];
    convolve(gradient, inputs, rotated, |_| 0.0)
}

fn convolve(
    images: Images,
    outputs: usize,
    weight: impl Fn(usize, usize, usize) -> f32,
    bias: impl Fn(usize) -> f32,
) -> Vec<f32> {
    let inputs = images.shape[1];
    if outputs.is_multiple_of(G) {
        convolve_by(images, outputs, &Kernel::<G>::new(outputs, inputs, weight, bias))
    } else {
        convolve_by(images, outputs, &Kernel::<ODD_G>::new(outputs, inputs, weight, bias))
    }
}

fn convolve_by<const G: usize>(images: Images, outputs: usize, kernel: &Kernel<G>) -> Vec<f32> {
    struct ConvBand<'a, const G: usize> {
        images: Images<'a>,
        kernel: &'a Kernel<G>,
        image: usize,
        top: usize,
        target: Vec<&'a mut [f32]>,
    }
    impl<const G: usize> WithSimd for ConvBand<'_, G> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(mut self, simd: S) {
            let [_, inputs, height, width] = self.images.shape;
            let step = V * S::F32_LANES;
            let pitch = pitch(width, step);
            let mut rows = Ring::default();
            rows.reset(3, inputs, pitch);
            let mut result = vec![0.0; self.kernel.groups() * G * pitch];
            let bottom = (self.top + ROWS).min(height);
            for next in self.top.saturating_sub(1)..=bottom {
                if next < height {
                    self.images.copy_row(self.image, next, rows.row_mut(next), pitch);
                }
                let Some(y) = next.checked_sub(1).filter(|y| *y >= self.top) else { continue };
                let source = rows.around(y, height);
                for x in (0..width).step_by(step) {
                    for group in 0..self.kernel.groups() {
                        let sums = self.kernel.tile::<S, V>(simd, group, source, pitch, x);
                        for (lane, sums) in sums.into_iter().enumerate() {
                            store::<S, V>(&mut result, (group * G + lane) * pitch + LEFT + x, sums);
                        }
                    }
                }
                for (channel, target) in self.target.iter_mut().enumerate() {
                    target[(y - self.top) * width..][..width]
                        .copy_from_slice(&result[channel * pitch + LEFT..][..width]);
                }
            }
        }
    }

    let [batch, _, height, width] = images.shape;
    let mut result = vec![0.0; batch * outputs * height * width];
    let per_image = height.div_ceil(ROWS);
    bands(&mut result, outputs, [height, width], ROWS).into_par_iter().enumerate().for_each(
        |(index, target)| {
            let (image, top) = (index / per_image, index % per_image * ROWS);
            arch().dispatch(ConvBand { images, kernel, image, top, target });
        },
    );
    result
}

/// The gradients with respect to weights and biases.
pub(crate) fn backward_weights(images: Images, gradient: Images) -> [Vec<f32>; 2] {
    let [batch, inputs, height, _] = images.shape;
    let outputs = gradient.shape[1];
    let per_image = height.div_ceil(ROWS);
    let parts: Vec<Vec<f32>> = (0..batch * per_image)
        .into_par_iter()
        .map(|index| {
            let (image, top) = (index / per_image, index % per_image * ROWS);
            arch().dispatch(WeightGradientBand { images, gradient, image, top })
        })
        .collect();
    // In order, and with room for the sum of many pixels.
    let mut sums = vec![0.0f64; outputs * (inputs * 9 + 1)];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += f64::from(part);
        }
    }
    let (weight, bias) = sums.split_at(outputs * inputs * 9);
    [weight, bias].map(|sums| sums.iter().map(|sum| *sum as f32).collect())
}

/// Some rows' part of the weights' and biases' gradients.
struct WeightGradientBand<'a> {
    images: Images<'a>,
    gradient: Images<'a>,
    image: usize,
    top: usize,
}

impl WithSimd for WeightGradientBand<'_> {
    type Output = Vec<f32>;

    /// The sums for all weights, then those for all biases.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let [_, inputs, height, width] = self.images.shape;
        let outputs = self.gradient.shape[1];
        let groups = outputs.div_ceil(G);
        let pitch = pitch(width, S::F32_LANES);
        let mut rows = Ring::default();
        rows.reset(3, inputs, pitch);
        let mut gradient = Ring::default();
        gradient.reset(1, groups * G, pitch);

        // For each group of outputs, each input and each row of taps: a vector of sums for each
        // output and tap, and at the end one for each output's bias.
        let weights = groups * inputs * 3;
        let mut sums = vec![0.0; (weights * G * 3 + groups * G) * S::F32_LANES];
        let bottom = (self.top + ROWS).min(height);
        for next in self.top.saturating_sub(1)..=bottom {
            if next < height {
                self.images.copy_row(self.image, next, rows.row_mut(next), pitch);
            }
            let Some(y) = next.checked_sub(1).filter(|y| *y >= self.top) else { continue };
            self.gradient.copy_row(self.image, y, gradient.row_mut(0), pitch);
            let gradient = gradient.row(0);
            let (weight_sums, bias_sums) = sums.split_at_mut(weights * G * 3 * S::F32_LANES);
            let mut blocks = weight_sums.chunks_exact_mut(G * 3 * S::F32_LANES);
            for group in 0..groups {
                let outputs = &gradient[group * G * pitch..(group + 1) * G * pitch];
                for input in 0..inputs {
                    for row in rows.around(y, height) {
                        let row = &row[input * pitch..(input + 1) * pitch];
                        let block = blocks.next().expect("a block for each");
                        correlate(simd, outputs, row, block, pitch, width);
                    }
                }
            }
            for (channel, sum) in bias_sums.chunks_exact_mut(S::F32_LANES).enumerate() {
                let [mut total] = load::<S, 1>(sum, 0);
                for x in (0..width).step_by(S::F32_LANES) {
                    let [value] = load::<S, 1>(gradient, channel * pitch + LEFT + x);
                    total = simd.add_f32s(total, value);
                }
                store::<S, 1>(sum, 0, [total]);
            }
        }

        let mut reduced = vec![0.0; outputs * (inputs * 9 + 1)];
        for (index, sum) in sums.chunks_exact(S::F32_LANES).enumerate() {
            let [sum] = load::<S, 1>(sum, 0);
            let (output, place) = if index < weights * G * 3 {
                let (block, output, right) = (index / (G * 3), index / 3 % G, index % 3);
                let (group, input, down) = (block / (inputs * 3), block / 3 % inputs, block % 3);
                let output = group * G + output;
                (output, (output * inputs + input) * 9 + down * 3 + right)
            } else {
                let output = index - weights * G * 3;
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
fn correlate<S: Simd>(
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

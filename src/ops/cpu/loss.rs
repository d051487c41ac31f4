//! The loss, fidelity and smoothness, and its gradients, fused: every pixel reads its 24 neighbors once, and no weight
//! is stored. Each pair of pixels is visited from both ends, as the loss counts it anyway, so that every
//! pixel's gradient is written by one thread only.

use super::images::Images;
use super::rows::{LEFT, Ring, bands, pitch};
use super::simd::{Lanes, arch, load, store};
use crate::ops::Weighting;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Rows of a band. Fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 32;
/// Rows and columns to each side of a pixel.
const REACH: usize = 2;

/// A loss and its terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) total: f32,
    /// Fidelity and smoothness.
    pub(crate) terms: [f32; 2],
}

/// The loss of stage inputs and illuminations, both `[batch, 3, height, width]` with sizes of at least 3.
pub(crate) fn loss(input: Images, illumination: Images, weighting: Weighting) -> Loss {
    let [batch, _, height, _] = input.shape;
    let color = convert(input, weighting.per_pixel, weighting.matrix, weighting.offset);
    let bands = (0..batch * height.div_ceil(ROWS)).into_par_iter().map(|_| [const { vec![] }; 2]);
    sum::<false>(&color, input, illumination, weighting, bands)
}

/// The same loss, and its gradients with respect to input and illumination.
pub(crate) fn loss_and_gradients(
    input: Images,
    illumination: Images,
    weighting: Weighting,
) -> (Loss, [Vec<f32>; 2]) {
    let Images { shape, .. } = input;
    let [_, _, height, width] = shape;
    let Weighting { matrix, offset, per_pixel, .. } = weighting;
    let color = convert(input, per_pixel, matrix, offset);

    let mut color_gradient = vec![0.0; color.len()];
    let mut gradient = vec![0.0; color.len()];
    let size = [height, width];
    let targets = bands(&mut color_gradient, 3, size, ROWS)
        .into_par_iter()
        .zip(bands(&mut gradient, 3, size, ROWS))
        .map(|(color_gradient, gradient)| [color_gradient, gradient]);
    let loss = sum::<true>(&color, input, illumination, weighting, targets);

    let [a, b, c] = matrix;
    let transposed = std::array::from_fn(|i| [a[i], b[i], c[i]]);
    let color_gradient = Images { values: &color_gradient, shape };
    let mut input_gradient = convert(color_gradient, per_pixel, transposed, [0.0; 3]);
    if weighting.fidelity != 0.0 {
        let slope = 2.0 * weighting.fidelity / input.values.len() as f32;
        let chunks = |values| <[f32]>::par_chunks(values, CHUNK);
        let values = chunks(input.values).zip(chunks(illumination.values));
        let targets = input_gradient.par_chunks_mut(CHUNK).zip(gradient.par_chunks_mut(CHUNK));
        targets.zip(values).for_each(|((of_input, of_illumination), (input, illumination))| {
            let targets = of_input.iter_mut().zip(of_illumination);
            for ((of_input, of_illumination), (input, illumination)) in
                targets.zip(input.iter().zip(illumination))
            {
                let pull = slope * (illumination - input);
                *of_input -= pull;
                *of_illumination += pull;
            }
        });
    }
    (loss, [input_gradient, gradient])
}

/// The loss over all bands. `targets` are, for each band, where the gradients with respect to colors and
/// illumination go; without `GRADIENTS` they are empty.
fn sum<'a, const GRADIENTS: bool>(
    color: &[f32],
    input: Images,
    illumination: Images,
    weighting: Weighting,
    targets: impl IndexedParallelIterator<Item = [Vec<&'a mut [f32]>; 2]>,
) -> Loss {
    let [batch, _, height, width] = illumination.shape;
    let plane = height * width;
    let losses: Vec<[f64; 2]> = targets
        .enumerate()
        .map(|(index, [color_gradient, illumination_gradient])| {
            let (image, band) = (index / height.div_ceil(ROWS), index % height.div_ceil(ROWS));
            let image = image * 3 * plane..(image + 1) * 3 * plane;
            arch().dispatch(LossBand::<GRADIENTS> {
                size: [height, width],
                color: &color[image.clone()],
                input: &input.values[image.clone()],
                illumination: &illumination.values[image],
                top: band * ROWS,
                batch,
                sigma: weighting.sigma as f32,
                color_gradient,
                illumination_gradient,
            })
        })
        .collect();
    let [squares, smoothness] =
        [0, 1].map(|term| losses.iter().map(|loss| loss[term]).sum::<f64>());
    let fidelity = squares / input.values.len() as f64;
    let total = match weighting.fidelity {
        0.0 => smoothness,
        weight => f64::from(weight) * fidelity + smoothness,
    };
    Loss { total: total as f32, terms: [fidelity as f32, smoothness as f32] }
}

fn convert(images: Images, per_pixel: bool, matrix: [[f32; 3]; 3], offset: [f32; 3]) -> Vec<f32> {
    let [_, _, height, width] = images.shape;
    match per_pixel {
        true => convert_planes(images.values, height * width, matrix, offset),
        false => convert_triples(images.values, matrix, offset),
    }
}

/// Values that a thread converts at a time: whole triples.
const CHUNK: usize = 3 << 12;

fn convert_triples(values: &[f32], matrix: [[f32; 3]; 3], offset: [f32; 3]) -> Vec<f32> {
    let mut converted = vec![0.0; values.len()];
    converted.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(to, from)| {
        let pairs = to.as_chunks_mut::<3>().0.iter_mut().zip(from.as_chunks::<3>().0);
        for (to, [r, g, b]) in pairs {
            for (m, to) in to.iter_mut().enumerate() {
                *to = r * matrix[0][m] + g * matrix[1][m] + b * matrix[2][m] + offset[m];
            }
        }
    });
    converted
}

fn convert_planes(
    values: &[f32],
    plane: usize,
    matrix: [[f32; 3]; 3],
    offset: [f32; 3],
) -> Vec<f32> {
    let mut converted = vec![0.0; values.len()];
    converted.par_chunks_mut(plane).enumerate().for_each(|(index, to)| {
        let (image, m) = (index / 3 * 3 * plane, index % 3);
        let [r, g, b] = [0, 1, 2].map(|c| &values[image + c * plane..][..plane]);
        for (to, ((r, g), b)) in to.iter_mut().zip(r.iter().zip(g).zip(b)) {
            *to = r * matrix[0][m] + g * matrix[1][m] + b * matrix[2][m] + offset[m];
        }
    });
    converted
}

/// Some rows of an image, from `top` on, and where their gradients go.
struct LossBand<'a, const GRADIENTS: bool> {
    size: [usize; 2],
    color: &'a [f32],
    input: &'a [f32],
    illumination: &'a [f32],
    top: usize,
    batch: usize,
    sigma: f32,
    color_gradient: Vec<&'a mut [f32]>,
    illumination_gradient: Vec<&'a mut [f32]>,
}

impl<const GRADIENTS: bool> WithSimd for LossBand<'_, GRADIENTS> {
    type Output = [f64; 2];

    /// Writes the smoothness' gradients, if they are wanted, and returns the band's sum of squared differences and its
    /// part of the smoothness.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> [f64; 2] {
        let [height, width] = self.size;
        let pitch = pitch(width, S::F32_LANES);
        // Three channels of color, then three of illumination.
        let mut rows = Ring::default();
        rows.reset(2 * REACH + 1, 6, pitch);
        // One where there is a pixel, so that neighbors outside count nothing.
        let mut inside = vec![0.0; pitch];
        inside[LEFT..LEFT + width].fill(1.0);
        let mut gradients = vec![0.0; if GRADIENTS { 6 * pitch } else { 0 }];

        let bottom = (self.top + ROWS).min(height);
        let (mut squares, mut loss) = (0.0, 0.0);
        for next in self.top.saturating_sub(REACH)..bottom + REACH {
            if next < height {
                let row = rows.row_mut(next);
                for channel in 0..3 {
                    let from = (channel * height + next) * width;
                    for (plane, values) in [(0, self.color), (3, self.illumination)] {
                        row[(plane + channel) * pitch + LEFT..][..width]
                            .copy_from_slice(&values[from..from + width]);
                    }
                }
            }
            let Some(y) = next.checked_sub(REACH).filter(|y| *y >= self.top) else { continue };
            loss += f64::from(self.row(simd, y, &rows, &inside, &mut gradients, pitch));
            for channel in 0..3 {
                let from = (channel * height + y) * width;
                let [input, light] =
                    [self.input, self.illumination].map(|values| &values[from..][..width]);
                squares += f64::from(squared_distance(simd, input, light));
            }
            if !GRADIENTS {
                continue;
            }
            let from = (y - self.top) * width;
            for channel in 0..3 {
                let of = |plane: usize| &gradients[(plane + channel) * pitch + LEFT..][..width];
                self.color_gradient[channel][from..from + width].copy_from_slice(of(0));
                self.illumination_gradient[channel][from..from + width].copy_from_slice(of(3));
            }
        }
        [squares, loss]
    }
}

/// The sum of the squared differences of two rows.
#[inline(always)]
fn squared_distance<S: Simd>(simd: S, first: &[f32], second: &[f32]) -> f32 {
    let ((first, first_rest), (second, second_rest)) =
        (S::as_simd_f32s(first), S::as_simd_f32s(second));
    let mut sums = simd.splat_f32s(0.0);
    for (first, second) in first.iter().zip(second) {
        let difference = simd.sub_f32s(*first, *second);
        sums = simd.mul_add_e_f32s(difference, difference, sums);
    }
    let mut sum = simd.reduce_sum_f32s(sums);
    for (first, second) in first_rest.iter().zip(second_rest) {
        sum += (first - second) * (first - second);
    }
    sum
}

impl<const GRADIENTS: bool> LossBand<'_, GRADIENTS> {
    /// One row's gradients, if they are wanted, and its part of the smoothness.
    #[inline(always)]
    fn row<S: Simd>(
        &self,
        simd: S,
        y: usize,
        rows: &Ring,
        inside: &[f32],
        gradients: &mut [f32],
        pitch: usize,
    ) -> f32 {
        let [height, width] = self.size;
        let [zero, one, minus_one] = [0.0, 1.0, -1.0].map(|value| simd.splat_f32s(value));
        // Turns any difference but zero into one with a size of at least 1.
        let huge = simd.splat_f32s(3e38);
        let decay = simd.splat_f32s(-0.5 / (self.sigma * self.sigma));
        let center = rows.row(y);
        let mut loss = zero;
        for x in (0..width).step_by(S::F32_LANES) {
            let at = |channel: usize| channel * pitch + LEFT + x;
            let mut here = [zero; 6];
            for (channel, here) in here.iter_mut().enumerate() {
                [*here] = load::<S, 1>(center, at(channel));
            }
            let mut gradient = [zero; 6];
            let mut tile_loss = zero;
            for down in -2isize..=2 {
                let Some(v) = y.checked_add_signed(down).filter(|v| *v < height) else { continue };
                let row = rows.row(v);
                for right in 0..=2 * REACH {
                    let apart = right.abs_diff(REACH);
                    if down == 0 && apart == 0 {
                        continue;
                    }
                    let [share] = load::<S, 1>(inside, LEFT - REACH + x + right);
                    let pixels = self.batch * (height - down.unsigned_abs()) * (width - apart);
                    let share = simd.mul_f32s(share, simd.splat_f32s(1.0 / pixels as f32));

                    let mut difference = [zero; 6];
                    for (channel, difference) in difference.iter_mut().enumerate() {
                        let [there] = load::<S, 1>(row, at(channel) - REACH + right);
                        *difference = simd.sub_f32s(here[channel], there);
                    }
                    let mut distance = zero;
                    let mut change = zero;
                    for channel in 0..3 {
                        let color = difference[channel];
                        distance = simd.mul_add_e_f32s(color, color, distance);
                        change = simd.add_f32s(change, simd.abs_f32s(difference[3 + channel]));
                    }
                    let exponent = simd.mul_f32s(distance, decay);
                    let [weight] = Lanes::new(simd, [exponent]).exp().vectors();
                    // The exponential is always finite; a distance that is not must not get lost.
                    let weight = simd.mul_add_e_f32s(distance, zero, weight);
                    let weight = simd.mul_f32s(weight, share);
                    let part = simd.mul_f32s(weight, change);
                    tile_loss = simd.add_f32s(tile_loss, part);
                    if !GRADIENTS {
                        continue;
                    }
                    for channel in 0..3 {
                        gradient[channel] =
                            simd.mul_add_e_f32s(part, difference[channel], gradient[channel]);
                        let sign = simd.mul_f32s(difference[3 + channel], huge);
                        let sign = simd.max_f32s(simd.min_f32s(sign, one), minus_one);
                        gradient[3 + channel] =
                            simd.mul_add_e_f32s(weight, sign, gradient[3 + channel]);
                    }
                }
            }
            // Where the last tile goes over the edge, its center is no pixel.
            let [real] = load::<S, 1>(inside, LEFT + x);
            loss = simd.mul_add_e_f32s(tile_loss, real, loss);
            if !GRADIENTS {
                continue;
            }
            // Each pair counts twice; the derivative of the exponent brings 2·decay.
            let two = simd.splat_f32s(2.0);
            let steep = simd.mul_f32s(simd.splat_f32s(4.0), decay);
            for (channel, gradient) in gradient.into_iter().enumerate() {
                let factor = if channel < 3 { steep } else { two };
                store::<S, 1>(gradients, at(channel), [simd.mul_f32s(gradient, factor)]);
            }
        }
        simd.reduce_sum_f32s(loss)
    }
}

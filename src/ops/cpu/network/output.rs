//! What a network makes of its last convolution's result and of its image, and the gradients of that.

use super::super::images::Images;
use super::super::rows;
use super::super::simd::{Lanes, arch};
use super::maps::{Band, Maps, Size};
use crate::ops::network::Output;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// The network's result, `[batch, outputs, height, width]`.
pub(super) fn finish(output: Output, image: Images, results: &Maps) -> Vec<f32> {
    if output == Output::Conv {
        return results.to_planes();
    }
    let size = image.size();
    let mut planes = vec![0.0; image.values.len()];
    let targets = planes_by_band(&mut planes, size);
    size.bands().zip(targets).collect::<Vec<_>>().into_par_iter().for_each(|(band, target)| {
        arch().dispatch(Finish { output, image, results, band, target });
    });
    planes
}

/// The gradient with respect to the last convolution's result, and that part of the gradient with respect to the
/// image which does not come through the network.
pub(super) fn gradients(
    output: Output,
    image: Images,
    results: &Maps,
    gradient: Images,
) -> (Maps, Option<Vec<f32>>) {
    let size = image.size();
    let [_, channels, ..] = gradient.shape;
    let mut of_results = Maps::new(size, channels);
    let mut direct = (output != Output::Conv).then(|| vec![0.0; image.values.len()]);
    let mut targets = direct.as_mut().map(|direct| planes_by_band(direct, size).into_iter());
    let bands: Vec<_> = size
        .bands()
        .zip(of_results.bands_mut())
        .map(|(band, of_results)| {
            let direct = targets.as_mut().map(|bands| bands.next().expect("as many bands"));
            FinishBackward { output, image, results, gradient, band, of_results, direct }
        })
        .collect();
    bands.into_par_iter().for_each(|band| arch().dispatch(band));
    (of_results, direct)
}

/// For each band its part of each of the image's planes.
fn planes_by_band(planes: &mut [f32], size: Size) -> Vec<Vec<&mut [f32]>> {
    let count = planes.len() / size.pixels().max(1);
    rows::bands(planes, count, [size.height, size.width], Size::ROWS)
}

struct Finish<'a> {
    output: Output,
    image: Images<'a>,
    results: &'a Maps,
    band: Band,
    target: Vec<&'a mut [f32]>,
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { output, image, results, band, mut target } = self;
        let Band { size: Size { width, .. }, top, bottom, .. } = band;
        let stride = band.size.stride();
        let mut row = vec![0.0; stride];
        for y in top..bottom {
            let results = results.row(band.image, y).chunks_exact(stride);
            for (channel, (results, target)) in results.zip(&mut target).enumerate() {
                row[..width].copy_from_slice(image.row(band.image, channel, y));
                for x in (0..stride).step_by(S::F32_LANES) {
                    let [image, y] = [&*row, results].map(|row| Lanes::<S, 1>::load(simd, row, x));
                    let value = match output {
                        Output::Conv => y,
                        Output::Sum => image + y,
                        Output::MinusSigmoid => image - sigmoid(y),
                        Output::ClampedSigmoid { least } => {
                            let [least, one] = [least, 1.0].map(|value| Lanes::splat(simd, value));
                            let sum = image + sigmoid(y);
                            // A NaN is neither too small nor too great.
                            let sum = least.if_greater(sum, least, sum);
                            sum.if_greater(one, one, sum)
                        }
                    };
                    value.store(&mut row, x);
                }
                target[(y - top) * width..][..width].copy_from_slice(&row[..width]);
            }
        }
    }
}

struct FinishBackward<'a> {
    output: Output,
    image: Images<'a>,
    results: &'a Maps,
    gradient: Images<'a>,
    band: Band,
    of_results: &'a mut [f32],
    /// Where the gradient with respect to the image goes.
    direct: Option<Vec<&'a mut [f32]>>,
}

impl WithSimd for FinishBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { output, image, results, gradient, band, of_results, mut direct } = self;
        let Band { size: Size { width, .. }, top, bottom, .. } = band;
        let stride = band.size.stride();
        let [mut pixels, mut passed] = [vec![0.0; stride], vec![0.0; stride]];
        let [_, channels, ..] = gradient.shape;
        let zero = Lanes::<S, 1>::splat(simd, 0.0);
        for y in top..bottom {
            let results = results.row(band.image, y).chunks_exact(stride);
            let targets = of_results[(y - top) * channels * stride..].chunks_exact_mut(stride);
            for (channel, (results, target)) in results.zip(targets).enumerate() {
                passed[..width].copy_from_slice(gradient.row(band.image, channel, y));
                if let Output::ClampedSigmoid { .. } = output {
                    pixels[..width].copy_from_slice(image.row(band.image, channel, y));
                }
                for x in (0..stride).step_by(S::F32_LANES) {
                    let load = |row: &[f32]| Lanes::<S, 1>::load(simd, row, x);
                    let [y, mut gradient] = [load(results), load(&passed)];
                    let inner = match output {
                        Output::Conv | Output::Sum => gradient,
                        Output::MinusSigmoid => {
                            let sigmoid = sigmoid(y);
                            gradient * sigmoid * (sigmoid - 1.0)
                        }
                        Output::ClampedSigmoid { least } => {
                            let [least, one] = [least, 1.0].map(|value| Lanes::splat(simd, value));
                            let sigmoid = sigmoid(y);
                            let sum = load(&pixels) + sigmoid;
                            gradient = least.if_greater(sum, zero, gradient);
                            gradient = sum.if_greater(one, zero, gradient);
                            gradient * sigmoid * (one - sigmoid)
                        }
                    };
                    inner.store(target, x);
                    gradient.store(&mut passed, x);
                }
                if let Some(direct) = &mut direct {
                    direct[channel][(y - top) * width..][..width].copy_from_slice(&passed[..width]);
                }
            }
        }
    }
}

/// `1 / (1 + exp(−y))`. What is not finite becomes NaN.
#[inline(always)]
fn sigmoid<S: Simd>(y: Lanes<S, 1>) -> Lanes<S, 1> {
    // The exponential is always finite; a value that is not must not get lost.
    let lost = y * 0.0;
    ((y * -1.0).exp() + 1.0).recip() + lost
}

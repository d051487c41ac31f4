//! The operations on Burn's high-level tensors, and where there is no kernel, in its functions.

use super::SciOps;
use super::cpu::{Network, Weighting};
use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor};
use std::sync::Arc;

/// Whether the kernels for main memory run on a device, be it an autodiff device or not.
pub(crate) fn on_cpu(device: &Device) -> bool {
    match device.clone().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[allow(unreachable_patterns, reason = "where these are the only backends")]
        _ => false,
    }
}

/// Whether there are kernels for a tensor. On an autodiff device they come with training.
pub(crate) fn has_kernel(tensor: &Tensor<4>) -> bool {
    let device = tensor.device();
    let differentiable = cfg!(feature = "train") || !device.is_autodiff();
    tensor.dtype() == DType::F32 && differentiable && on_cpu(&device)
}

/// Illumination and reflectance of images, both `[batch, 3, height, width]`. The image
/// [has a kernel](has_kernel) and is not on an autodiff device.
pub(crate) fn enhance(image: Tensor<4>, network: Arc<Network>) -> [Tensor<4>; 2] {
    let (illumination, reflectance) = Dispatch::enhance(image.into_dispatch(), network);
    [illumination, reflectance].map(Tensor::from_dispatch)
}

/// The smoothness loss of stage input and illumination, `[batch, 3, height, width]`. They
/// [have a kernel](has_kernel).
pub(crate) fn smoothness(
    input: Tensor<4>,
    illumination: Tensor<4>,
    weighting: Weighting,
) -> Tensor<1> {
    let (input, illumination) = (input.into_dispatch(), illumination.into_dispatch());
    Tensor::from_dispatch(Dispatch::smoothness(input, illumination, weighting))
}

/// A 3×3 convolution with zero padding 1.
pub(crate) fn conv3x3(image: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    if !has_kernel(&image) {
        return conv3x3_plain(image, weight, bias);
    }
    let [image, weight] = [image, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::conv3x3(image, weight, bias.into_dispatch()))
}

fn conv3x3_plain(image: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    conv2d(image, weight, Some(bias), ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
}

/// A ReLU behind a batch normalisation with the batch's own statistics, plus a residual; and the
/// batch's mean and biased variance.
pub(crate) fn norm_relu(
    image: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    if !has_kernel(&image) {
        return norm_relu_plain(image, weight, bias, residual, epsilon);
    }
    let add = residual.is_some();
    // Something has to stand there; it is neither read nor differentiated.
    let residual = residual.unwrap_or_else(|| image.clone().detach());
    let [image, residual] = [image, residual].map(Tensor::into_dispatch);
    let [weight, bias] = [weight, bias].map(Tensor::into_dispatch);
    let (result, mean, variance) =
        Dispatch::norm_relu(image, weight, bias, residual, add, epsilon as f32);
    (Tensor::from_dispatch(result), [mean, variance].map(Tensor::from_dispatch))
}

fn norm_relu_plain(
    image: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let normalised = batch_norm_train(image, weight, bias, epsilon);
    let result = relu(normalised.output);
    let result = match residual {
        Some(residual) => residual + result,
        None => result,
    };
    (result, [normalised.mean, normalised.variance])
}

#[cfg(all(test, feature = "flex", feature = "train"))]
mod tests {
    use super::*;
    use crate::loss::{SmoothnessLossConfig, YcbcrLayout};
    use burn::tensor::TensorData;
    use proptest::prelude::*;

    /// Random numbers in `[-1, 1)`, the same for a seed.
    fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
    }

    fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.try_into_vec_as().unwrap()
    }

    /// The L2 norm of the difference over that of the second.
    fn error(found: &[f32], expected: &[f32]) -> f64 {
        assert_eq!(found.len(), expected.len());
        let square = |value: f32| f64::from(value) * f64::from(value);
        let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
        let size: f64 = expected.iter().map(|value| square(*value)).sum();
        (difference / size.max(1e-12)).sqrt()
    }

    /// Result and gradients of a function of two images and two vectors, weighted with a random
    /// tensor so that every element has a gradient of its own.
    fn run(
        seed: u64,
        [image, other]: [[usize; 4]; 2],
        [first, second]: [usize; 2],
        function: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1>) -> Tensor<4>,
    ) -> Vec<Vec<f32>> {
        let (a, b) = (random(seed, image).require_grad(), random(seed + 1, other).require_grad());
        let (c, d) = (random(seed + 2, [first]), random(seed + 3, [second]));
        let (c, d) = (c.require_grad(), d.require_grad());
        let result = function(a.clone(), b.clone(), c.clone(), d.clone());
        let weights = random(seed + 4, result.dims());
        let gradients = (result.clone() * weights).sum().backward();
        let images = [a, b].map(|tensor| tensor.grad(&gradients).map(host).unwrap_or_default());
        let vectors = [c, d].map(|tensor| tensor.grad(&gradients).map(host).unwrap_or_default());
        [host(result)].into_iter().chain(images).chain(vectors).collect()
    }

    type NormRelu =
        fn(Tensor<4>, Tensor<1>, Tensor<1>, Option<Tensor<4>>, f64) -> (Tensor<4>, [Tensor<1>; 2]);

    fn agree(fast: &[Vec<f32>], plain: &[Vec<f32>], tolerance: f64) {
        for (index, (fast, plain)) in fast.iter().zip(plain).enumerate() {
            let error = error(fast, plain);
            assert!(error < tolerance, "{index}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

        #[test]
        fn convolution_and_its_gradients(
            batch in 1..4usize, inputs in 1..18usize, outputs in 1..18usize,
            height in 1..40usize, width in 1..80usize, seed in 0..1u64 << 40,
        ) {
            let shapes = [[batch, inputs, height, width], [outputs, inputs, 3, 3]];
            let of = |function: fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>| {
                run(seed, shapes, [outputs, 1], |image, weight, bias, _| function(image, weight, bias))
            };
            agree(&of(conv3x3), &of(conv3x3_plain), 1e-5);
        }

        #[test]
        fn normalisation_and_its_gradients(
            batch in 1..4usize, channels in 1..18usize, height in 1..90usize, width in 2..90usize,
            add in any::<bool>(), seed in 0..1u64 << 40,
        ) {
            let shape = [batch, channels, height, width];
            let of = |function: NormRelu| {
                run(seed, [shape; 2], [channels; 2], |image, residual, weight, bias| {
                    function(image, weight, bias, add.then_some(residual), 1e-5).0
                })
            };
            let (fast, plain) = (of(norm_relu), of(norm_relu_plain));
            // A value on the kink of the ReLU may fall to either side, and its gradient with it.
            agree(&fast[..1], &plain[..1], 1e-5);
            agree(&fast[1..], &plain[1..], 2e-2);
            let statistics = |function: NormRelu| {
                let (weight, bias) = (random(seed + 2, [channels]), random(seed + 3, [channels]));
                let (_, statistics) = function(random(seed, shape), weight, bias, None, 1e-5);
                statistics.map(host).to_vec()
            };
            agree(&statistics(norm_relu), &statistics(norm_relu_plain), 1e-4);
        }

        #[test]
        fn smoothness_and_its_gradients(
            batch in 1..4usize, height in 3..90usize, width in 3..90usize,
            sigma in 0.05..12.0f64, per_pixel in any::<bool>(), seed in 0..1u64 << 40,
        ) {
            let shape = [batch, 3, height, width];
            let ycbcr = if per_pixel { YcbcrLayout::PerPixel } else { YcbcrLayout::Reference };
            let loss = SmoothnessLossConfig { sigma, ycbcr }.init().unwrap();
            let of = |plain: bool| {
                run(seed, [shape; 2], [1; 2], |input, illumination, _, _| {
                    let loss = match plain {
                        true => loss.forward_plain(input, illumination),
                        false => loss.forward(input, illumination),
                    };
                    loss.reshape([1; 4])
                })
            };
            agree(&of(false), &of(true), 2e-4);
        }

        #[test]
        fn threads_do_not_change_a_bit(
            height in 3..70usize, width in 3..70usize, seed in 0..1u64 << 40,
        ) {
            let results = [1, 2, 5].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let shapes = [[2, 8, height, width], [3, 8, 3, 3]];
                    run(seed, shapes, [3, 8], |image, weight, bias, shift| {
                        let scale = shift.clone() + 2.0;
                        let (image, _) = norm_relu(image.clone(), scale, shift, Some(image), 1e-5);
                        let image = conv3x3(image, weight, bias);
                        let loss = SmoothnessLossConfig::new().init().unwrap();
                        loss.forward(image.clone(), image).reshape([1; 4])
                    })
                })
            });
            prop_assert!(results[0] == results[1] && results[0] == results[2]);
        }
    }

    /// The change of the result when one argument moves a little, against its gradient.
    fn finite_differences(
        shapes: [[usize; 4]; 2],
        vectors: [usize; 2],
        function: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1>) -> Tensor<4>,
    ) {
        let seed = 77;
        let gradients = run(seed, shapes, vectors, &function);
        let sizes = [shapes[0].to_vec(), shapes[1].to_vec(), vec![vectors[0]], vec![vectors[1]]];
        let arguments: Vec<Vec<f32>> = vec![
            host(random(seed, shapes[0])),
            host(random(seed + 1, shapes[1])),
            host(random(seed + 2, [vectors[0]])),
            host(random(seed + 3, [vectors[1]])),
        ];
        let value = |arguments: &[Vec<f32>]| -> f64 {
            let device = Device::flex();
            let data =
                |index: usize| TensorData::new(arguments[index].clone(), sizes[index].clone());
            let result = function(
                Tensor::from_data(data(0), &device),
                Tensor::from_data(data(1), &device),
                Tensor::from_data(data(2), &device),
                Tensor::from_data(data(3), &device),
            );
            let weights = host(random(seed + 4, result.dims()));
            host(result).iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
        };
        for (argument, gradient) in gradients[1..].iter().enumerate() {
            for index in (0..gradient.len()).step_by(gradient.len() / 7 + 1) {
                let moved = |step: f32| {
                    let mut arguments = arguments.clone();
                    arguments[argument][index] += step;
                    value(&arguments)
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                let gradient = f64::from(gradient[index]);
                let size = slope.abs().max(gradient.abs()).max(0.05);
                assert!(
                    (slope - gradient).abs() < 0.03 * size,
                    "argument {argument}, element {index}: {gradient} is not {slope}"
                );
            }
        }
    }

    #[test]
    fn gradients_are_the_slopes() {
        finite_differences([[2, 3, 5, 7], [4, 3, 3, 3]], [4, 1], |image, weight, bias, _| {
            conv3x3(image, weight, bias)
        });
        // With a shift that keeps every value away from the kink of the ReLU.
        finite_differences([[2, 2, 5, 6]; 2], [2; 2], |image, residual, weight, bias| {
            norm_relu(image, weight * 0.2, bias * 0.1 + 3.0, Some(residual), 1e-5).0
        });
        for ycbcr in [YcbcrLayout::Reference, YcbcrLayout::PerPixel] {
            let loss = SmoothnessLossConfig { sigma: 0.7, ycbcr }.init().unwrap();
            finite_differences([[1, 3, 4, 5]; 2], [1; 2], |input, illumination, _, _| {
                // Spread out, so that a step leads over no kink of an absolute value.
                loss.forward(input, illumination * 10.0).reshape([1; 4])
            });
        }
    }
}

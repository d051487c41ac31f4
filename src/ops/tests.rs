//! The kernels against the plain functions, on every backend with kernels that is compiled in.

use super::functions::{
    conv_network, conv3x3, enhance_pixels, has_kernel, loss, norm_relu, pack, reflectance, unpack,
    update_running,
};
use super::network::{ConvLayer, ConvNetwork, Momentum, Output};
use super::packed::padded;
use super::{FoldedEstimator, Operation, Rendering, Samples, Weighting, Weights, plain};
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use std::sync::Arc;

fn devices() -> Vec<Device> {
    let devices =
        crate::device_names().into_iter().filter_map(|name| crate::open_device(name).ok());
    devices.filter(|device| has_kernel(Operation::Loss, device)).collect()
}

/// The devices for one of many cases: those that are slow take part in a few.
fn devices_for(seed: u64) -> Vec<Device> {
    let some = seed.is_multiple_of(5);
    devices().into_iter().filter(|device| some || *device == Device::flex()).collect()
}

/// Colors as the loss converts them, nearly.
fn weighting(sigma: f64, per_pixel: bool) -> Weighting {
    let matrix = [[0.26, -0.15, 0.44], [0.56, -0.29, -0.37], [0.1, 0.44, -0.07]];
    Weighting { matrix, offset: [0.06, 0.5, 0.5], per_pixel, sigma, fidelity: 1.5 }
}

fn in_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Random numbers in `[-1, 1)`, the same for a seed.
fn random<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// What the operations are tested on: two images and two vectors, from a seed.
#[derive(Clone, Copy)]
struct Arguments {
    seed: u64,
    images: [[usize; 4]; 2],
    vectors: [usize; 2],
}

impl Arguments {
    /// Result and gradients of a function, weighted with a random tensor so that every element has
    /// a gradient of its own. An argument that is not used has an empty gradient.
    fn run(
        self,
        device: &Device,
        function: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1>) -> Tensor<4>,
    ) -> Vec<Vec<f32>> {
        let device = &device.clone().autodiff();
        let Self { seed, images: [a, b], vectors: [c, d] } = self;
        let [a, b] =
            [(seed, a), (seed + 1, b)].map(|(seed, s)| random(seed, s, device).require_grad());
        let [c, d] = [(seed + 2, c), (seed + 3, d)]
            .map(|(seed, n)| random(seed, [n], device).require_grad());
        let result = function(a.clone(), b.clone(), c.clone(), d.clone());
        let weights = random(seed + 4, result.dims(), device);
        let gradients = (result.clone() * weights).sum().backward();
        let images = [a, b].map(|tensor| tensor.grad(&gradients).map(host).unwrap_or_default());
        let vectors = [c, d].map(|tensor| tensor.grad(&gradients).map(host).unwrap_or_default());
        [host(result)].into_iter().chain(images).chain(vectors).collect()
    }

    /// Compares the gradients with central finite differences.
    fn check_by_differences(
        self,
        device: &Device,
        function: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1>) -> Tensor<4>,
    ) {
        let gradients = self.run(device, &function);
        let Self { seed, images: [a, b], vectors: [c, d] } = self;
        let sizes = [a.to_vec(), b.to_vec(), vec![c], vec![d]];
        let arguments = vec![
            host(random(seed, a, device)),
            host(random(seed + 1, b, device)),
            host(random(seed + 2, [c], device)),
            host(random(seed + 3, [d], device)),
        ];
        let value = |arguments: &[Vec<f32>]| -> f64 {
            let data = |i: usize| TensorData::new(arguments[i].clone(), sizes[i].clone());
            let result = function(
                Tensor::from_data(data(0), device),
                Tensor::from_data(data(1), device),
                Tensor::from_data(data(2), device),
                Tensor::from_data(data(3), device),
            );
            let weights = host(random(seed + 4, result.dims(), device));
            host(result).iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
        };
        for (argument, gradient) in gradients[1..].iter().enumerate() {
            for index in (0..gradient.len()).step_by(gradient.len() / 7 + 1) {
                let moved = |step: f32| {
                    let mut arguments = arguments.clone();
                    arguments[argument][index] += step;
                    value(&arguments)
                };
                let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                let gradient = f64::from(gradient[index]);
                let size = difference.abs().max(gradient.abs()).max(0.05);
                assert!(
                    (difference - gradient).abs() < 0.03 * size,
                    "argument {argument}, element {index}: {gradient} is not {difference}"
                );
            }
        }
    }
}

/// Each list differs from its counterpart by at most `tolerance` of that one's L2 norm, or of what it
/// would be if every element were of size `least`: sums may cancel out, their rounding errors do not.
fn agree(fast: &[Vec<f32>], plain: &[Vec<f32>], tolerance: f64, least: f64) {
    for (index, (fast, plain)) in fast.iter().zip(plain).enumerate() {
        assert_eq!(fast.len(), plain.len());
        let square = |value: f32| f64::from(value) * f64::from(value);
        let difference: f64 = fast.iter().zip(plain).map(|(a, b)| square(a - b)).sum();
        let size: f64 = plain.iter().map(|value| square(*value)).sum();
        let error = (difference / size.max(least * least * plain.len().max(1) as f64)).sqrt();
        assert!(error < tolerance, "{index}: {error}");
    }
}

/// Networks of the form that those of the models have.
#[derive(Clone, Copy, Debug)]
struct Shape {
    inputs: usize,
    channels: usize,
    blocks: usize,
    /// The layers of a block.
    depth: usize,
    /// Whether blocks have the same parameters.
    shared: bool,
    normalized: bool,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let numbers = (1..6usize, 1..18usize, 0..4usize, 1..3usize, any::<[bool; 2]>());
    numbers.prop_map(|(inputs, channels, blocks, depth, [shared, normalized])| Shape {
        inputs,
        channels,
        blocks,
        depth,
        shared,
        normalized,
    })
}

impl Shape {
    fn network(self, output: Output) -> ConvNetwork {
        let Self { inputs, channels, blocks, depth, shared, normalized } = self;
        let mut place = 0;
        let mut layer = |inputs: usize, outputs: usize, normalized: bool| {
            let conv = place;
            place += padded(outputs * inputs * 9) + padded(outputs);
            let norm = normalized.then_some(place);
            place += 2 * padded(outputs);
            ConvLayer { inputs, outputs, conv, norm, residual: None }
        };
        let mut layers = vec![layer(inputs, channels, normalized)];
        for block in 0..blocks {
            for number in 0..depth {
                let mut new = match shared && block > 0 {
                    true => layers[1 + number].clone(),
                    false => layer(channels, channels, normalized),
                };
                new.residual = (number + 1 == depth).then_some(block * depth);
                layers.push(new);
            }
        }
        layers.push(layer(channels, inputs, false));
        ConvNetwork { layers, epsilon: 1e-5, output }
    }

    fn count(self, network: &ConvNetwork) -> usize {
        let ends = network
            .layers
            .iter()
            .map(|layer| layer.norm().map_or(layer.biases().end, |[_, shifts]| shifts.end));
        ends.max().unwrap()
    }

    /// Whether a parameter decides on which side of 0 the values of a channel are.
    fn is_shift(self, network: &ConvNetwork, index: usize) -> bool {
        let (_, hidden) = network.layers.split_last().unwrap();
        hidden.iter().any(|layer| {
            let shifts = layer.norm().map_or(layer.biases(), |[_, shifts]| shifts);
            shifts.contains(&index)
        })
    }

    /// Whether a parameter is a weight between hidden layers that no normalization follows: without it, values grow
    /// from layer to layer.
    fn is_growing(self, network: &ConvNetwork, index: usize) -> bool {
        let hidden = &network.layers[1..network.layers.len() - 1];
        !self.normalized && hidden.iter().any(|layer| layer.weights().contains(&index))
    }
}

/// Shifts so far from 0 that each channel is wholly passed or wholly cut off: no value is near the ReLU's kink, where
/// rounding decides its gradient. Weights are at most 0.3, so a first layer's sums are at most 13.5 for 5 inputs in
/// `[-1, 1]`. Where values [would grow](Shape::is_growing), the magnitudes of the weights in one sum add up to at most
/// 0.2: hidden layers of three blocks read values below 95, and their sums, without the shifts, stay below 19.
/// Normalized values would have to be 66 standard deviations from their mean.
const FAR_SHIFT: f32 = 20.0;

type Network = fn(Tensor<4>, Tensor<1>, &ConvNetwork) -> (Tensor<4>, Tensor<1>);
type Loss = fn(Tensor<4>, Tensor<4>, Weighting) -> (Tensor<1>, Tensor<1>);
type Conv = fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>;

/// Compares a network that is applied as a whole with Burn's operations, layer by layer: results, statistics, and both
/// gradients.
fn check_network(
    shape: Shape,
    output: Output,
    [batch, height, width]: [usize; 3],
    seed: u64,
    device: &Device,
) {
    let network = shape.network(output);
    let image = [batch, shape.inputs, height, width];
    let count = shape.count(&network);
    let weights = [batch, network.outputs(), height, width];
    let of = |function: Network, device: &Device, shift: f32| {
        let device = device.clone().autodiff();
        let image = random(seed, image, &device).require_grad();
        let vector = random(seed + 1, [count], &device).require_grad();
        let scale = host(vector.clone().inner());
        let shifts = (0..count).map(|n| if shape.is_shift(&network, n) { shift } else { 0.0 });
        let shifts: Vec<f32> = shifts.zip(&scale).map(|(s, v)| s * v.signum()).collect();
        let small = 0.2 / (9 * shape.channels) as f32;
        // Weights of some size, so that few sigmoids are saturated without shifts.
        let sizes: Vec<f32> = (0..count)
            .map(|n| if shift > 0.0 && shape.is_growing(&network, n) { small } else { 0.3 })
            .collect();
        let [sizes, shifts] =
            [sizes, shifts].map(|values| Tensor::<1>::from_data(values.as_slice(), &device));
        let parameters = vector.clone() * sizes + shifts;
        let (result, statistics) = function(image.clone(), parameters, &network);
        let loss = (result.clone() * random(seed + 2, weights, &device)).sum();
        let gradients = loss.backward();
        // A backend may give a number where there are none.
        let statistics = host(statistics)[..network.statistics()].to_vec();
        let image = host(image.grad(&gradients).unwrap());
        let vector = host(vector.grad(&gradients).unwrap());
        vec![host(result), statistics, image, vector]
    };
    let fast: Network = |image, parameters, network| {
        conv_network(&image, &Arc::new(network.clone()), &parameters).unwrap()
    };
    let plain: Network =
        |image, parameters, network| plain::conv_network(image, parameters, network);
    let sum = ((batch * height * width) as f64).sqrt();
    // Burn's fusion on wgpu gives wrong gradients for some of the small ones, layer by layer.
    let host = Device::flex();
    let (whole, layers) = (of(fast, device, FAR_SHIFT), of(plain, &host, FAR_SHIFT));
    agree(&whole[..3], &layers[..3], 2e-4, 0.1);
    agree(&whole[3..], &layers[3..], 2e-4, sum);
    agree(&of(fast, device, 0.0)[..2], &of(plain, &host, 0.0)[..2], 2e-4, 0.1);
}

#[test]
fn networks_of_many_channels() {
    for device in devices() {
        for (inputs, channels, blocks) in [(1, 17, 0), (2, 64, 1), (3, 45, 2), (4, 64, 0)] {
            for normalized in [false, true] {
                let shape = Shape { inputs, channels, blocks, depth: 2, shared: true, normalized };
                check_network(shape, Output::Sum, [2, 21, 37], 7, &device);
            }
        }
    }
}

/// Sizes that random ones seldom are, on every device.
#[test]
fn the_smallest_and_the_narrowest_images() {
    let shape =
        Shape { inputs: 3, channels: 5, blocks: 2, depth: 2, shared: true, normalized: false };
    for device in devices() {
        for size @ [batch, height, width] in
            [[1, 1, 1], [3, 1, 1], [1, 1, 2], [2, 2, 1], [1, 1, 70], [2, 70, 1], [2, 17, 33]]
        {
            for output in [Output::Conv, Output::ClampedSigmoid { least: 0.2 }] {
                check_network(shape, output, size, 5, &device);
            }
            // There is no variance in a single pixel.
            if batch * height * width > 2 {
                check_network(Shape { normalized: true, ..shape }, Output::Sum, size, 5, &device);
            }
            let images = [[batch, 3, height, width], [4, 3, 3, 3]];
            let arguments = Arguments { seed: 3, images, vectors: [4, 1] };
            let of = |function: Conv| {
                arguments.run(&device, |image, weight, bias, _| function(image, weight, bias))
            };
            agree(&of(conv3x3), &of(plain::conv3x3), 1e-5, 0.1);
            let arguments = Arguments { images: [images[0]; 2], ..arguments };
            let of = |function: fn(Tensor<4>, Tensor<4>) -> Tensor<4>| {
                arguments.run(&device, |image, light, _, _| function(image, light.abs() + 0.3))
            };
            agree(&of(reflectance)[..3], &of(plain::reflectance)[..3], 1e-5, 0.1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn convolution_and_its_gradients(
        batch in 1..4usize, inputs in 1..18usize, outputs in 1..18usize,
        height in 1..40usize, width in 1..80usize, seed in 0..1u64 << 40,
    ) {
        let images = [[batch, inputs, height, width], [outputs, inputs, 3, 3]];
        let arguments = Arguments { seed, images, vectors: [outputs, 1] };
        for device in devices_for(seed) {
            let of = |function: Conv| {
                arguments.run(&device, |image, weight, bias, _| function(image, weight, bias))
            };
            let (fast, plain) = (of(conv3x3), of(plain::conv3x3));
            agree(&fast[..2], &plain[..2], 1e-5, 0.1);
            // Sums over all pixels of the batch.
            agree(&fast[2..], &plain[2..], 1e-5, ((batch * height * width) as f64).sqrt());
        }
    }

    #[test]
    fn networks_and_their_gradients(
        batch in 1..4usize, height in 1..40usize, width in 1..80usize, shape in shapes(),
        output in prop_oneof![
            Just(Output::Conv), Just(Output::Sum), Just(Output::MinusSigmoid),
            Just(Output::ClampedSigmoid { least: 0.2 }),
        ],
        seed in 0..1u64 << 40,
    ) {
        for device in devices_for(seed) {
            check_network(shape, output, [batch, height, width], seed, &device);
        }
    }

    #[test]
    fn loss_and_its_gradients(
        batch in 1..4usize, height in 3..90usize, width in 3..90usize,
        sigma in 0.05..12.0f64, per_pixel in any::<bool>(), fidelity in any::<bool>(),
        seed in 0..1u64 << 40,
    ) {
        let images = [[batch, 3, height, width]; 2];
        let arguments = Arguments { seed, images, vectors: [1; 2] };
        let fidelity = if fidelity { 1.5 } else { 0.0 };
        let weighting = Weighting { fidelity, ..weighting(sigma, per_pixel) };
        for device in devices_for(seed) {
            let of = |function: Loss| {
                arguments.run(&device, |input, illumination, _, _| {
                    function(input, illumination, weighting).0.reshape([1; 4])
                })
            };
            agree(&of(loss), &of(plain::loss), 2e-4, 1e-6);
            let terms = |function: Loss| {
                let [input, light] = [0, 1].map(|n| random(seed + n, images[0], &device));
                host(function(input, light, weighting).1)
            };
            agree(&[terms(loss)], &[terms(plain::loss)], 1e-5, 1e-6);
        }
    }

    #[test]
    fn reflectance_and_its_gradients(
        batch in 1..4usize, height in 1..40usize, width in 1..40usize, seed in 0..1u64 << 40,
    ) {
        let arguments =
            Arguments { seed, images: [[batch, 3, height, width]; 2], vectors: [1; 2] };
        for device in devices_for(seed) {
            let of = |function: fn(Tensor<4>, Tensor<4>) -> Tensor<4>| {
                arguments.run(&device, |image, light, _, _| {
                    // Some are cut off at either end; no divisor is near 0.
                    function(image, light.abs() + 0.3)
                })
            };
            agree(&of(reflectance)[..3], &of(plain::reflectance)[..3], 1e-5, 0.1);
        }
    }

    #[test]
    fn tensors_are_packed_and_unpacked(
        counts in prop::collection::vec(1..200usize, 1..40), seed in 0..1u64 << 40,
    ) {
        for device in devices_for(seed) {
            let device = device.autodiff();
            let tensor = |(n, count): (usize, &usize)| random(seed + n as u64, [*count], &device);
            let tensors: Vec<_> =
                counts.iter().enumerate().map(tensor).map(Tensor::require_grad).collect();
            let packed = pack(tensors.clone());
            prop_assert_eq!(host(packed.clone()), host(plain::pack(tensors.clone())));
            let weights = random(seed + 99, packed.dims(), &device);
            let gradients = (packed.clone() * weights.clone()).sum().backward();
            let parts = unpack(packed.without_autodiff(), &counts).into_iter();
            let weights = unpack(weights.without_autodiff(), &counts);
            for ((tensor, part), weight) in tensors.into_iter().zip(parts).zip(weights) {
                let gradient = tensor.grad(&gradients).unwrap();
                prop_assert_eq!(host(tensor), host(part));
                prop_assert_eq!(host(gradient), host(weight));
            }
        }
    }

    #[test]
    fn running_statistics_follow_each_layer(shape in shapes(), seed in 0..1u64 << 40) {
        let network = Arc::new(shape.network(Output::Conv));
        let modules = network.running();
        prop_assume!(!modules.is_empty());
        let momentum = Momentum { weight: 0.1, unbiased: 1.25 };
        let count = padded(shape.channels) * 2 * modules.len();
        for device in devices_for(seed) {
            let old = random(seed, [count], &device);
            let batch = random(seed + 1, [network.statistics()], &device);
            let new = host(update_running(old.clone(), batch.clone(), &network, momentum));
            // As PyTorch does it, layer by layer.
            let (mut expected, batch) = (host(old), host(batch));
            let normalized = network.layers.iter().filter_map(|layer| layer.norm);
            let mut places: Vec<usize> = vec![];
            for (layer, norm) in normalized.enumerate() {
                if !places.contains(&norm) {
                    places.push(norm);
                }
                let module = places.iter().position(|place| *place == norm).unwrap();
                for (part, factor) in [(0, 1.0), (1, 1.25)] {
                    for channel in 0..shape.channels {
                        let from = (2 * layer + part) * shape.channels + channel;
                        let to = (2 * module + part) * padded(shape.channels) + channel;
                        expected[to] = 0.9 * expected[to] + 0.1 * factor * batch[from];
                    }
                }
            }
            agree(&[new], &[expected], 1e-6, 0.1);
        }
    }

    #[test]
    fn threads_do_not_change_a_bit(
        height in 3..70usize, width in 3..70usize, seed in 0..1u64 << 40,
    ) {
        let images = [[2, 8, height, width], [3, 8, 3, 3]];
        let arguments = Arguments { seed, images, vectors: [3, 8] };
        let shape = Shape {
            inputs: 8, channels: 5, blocks: 2, depth: 2, shared: true, normalized: true,
        };
        let network = &Arc::new(shape.network(Output::MinusSigmoid));
        let parameters = |device: &Device| random(seed + 7, [shape.count(network)], device).require_grad();
        for device in devices_for(seed) {
            let results = [1, 2, 5].map(|threads| in_threads(threads, || {
                arguments.run(&device, |image, weight, bias, shift| {
                    let scale = shift.clone() + 2.0;
                    let (image, _) = norm_relu(image.clone(), scale, shift, Some(image), 1e-5);
                    let parameters = parameters(&image.device());
                    let (image, _) = conv_network(&image, network, &parameters).unwrap();
                    let image = conv3x3(image, weight, bias);
                    loss(image.clone(), image, weighting(10.0, false)).0.reshape([1; 4])
                })
            }));
            prop_assert!(results[0] == results[1] && results[0] == results[2]);
        }
    }
}

#[test]
fn the_loss_is_the_same_with_and_without_autodiff() {
    for device in devices() {
        for (seed, [height, width]) in [[3, 3], [33, 17], [70, 130]].into_iter().enumerate() {
            for per_pixel in [false, true] {
                let loss = |input, light| loss(input, light, weighting(0.3, per_pixel)).0;
                let images = |device: &Device| {
                    [0, 9].map(|n| random(seed as u64 + n, [2, 3, height, width], device))
                };
                let [input, light] = images(&device);
                let alone = host(loss(input, light))[0];
                let [input, light] = images(&device.clone().autodiff());
                let tracked = host(loss(input.clone().require_grad(), light.clone()))[0];
                let untracked = host(loss(input, light))[0];
                let bits = [alone, tracked, untracked].map(f32::to_bits);
                assert!(bits[0] == bits[1] && bits[0] == bits[2], "{alone} {tracked} {untracked}");
            }
        }
    }
}

/// A kernel is listed only where every step of it can run.
#[test]
fn kernels_are_asked_for_by_operation() {
    let device = Device::flex();
    for operation in [Operation::EnhancePlanes, Operation::EnhancePixels, Operation::Loss] {
        assert!(
            has_kernel(operation, &device) && has_kernel(operation, &device.clone().autodiff())
        );
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let seed = 77;
    for device in devices() {
        let images = [[2, 3, 5, 7], [4, 3, 3, 3]];
        Arguments { seed, images, vectors: [4, 1] }
            .check_by_differences(&device, |image, weight, bias, _| conv3x3(image, weight, bias));
        // With a shift that keeps every value away from the kink of the ReLU, on both of its sides.
        for side in [3.0, -3.0] {
            Arguments { seed, images: [[2, 2, 5, 6]; 2], vectors: [2; 2] }.check_by_differences(
                &device,
                |image, residual, weight, bias| {
                    norm_relu(image, weight * 0.2, bias * 0.1 + side, Some(residual), 1e-5).0
                },
            );
        }
        // A network, whose channels are shifted in the same way.
        let shape =
            Shape { inputs: 2, channels: 3, blocks: 2, depth: 1, shared: false, normalized: true };
        let network = &Arc::new(shape.network(Output::MinusSigmoid));
        let count = shape.count(network);
        for side in [3.0, -3.0] {
            let shifts = (0..count).map(|n| if shape.is_shift(network, n) { side } else { 0.0 });
            let shifts: Vec<f32> = shifts.collect();
            Arguments { seed, images: [[2, 2, 4, 6], [1; 4]], vectors: [count, 1] }
                .check_by_differences(&device, |image, _, parameters, _| {
                    let shifts = TensorData::new(shifts.clone(), [count]);
                    let shifts = Tensor::<1>::from_data(shifts, &image.device());
                    conv_network(&image, network, &(parameters * 0.3 + shifts)).unwrap().0
                });
        }
        for per_pixel in [false, true] {
            Arguments { seed, images: [[1, 3, 4, 5]; 2], vectors: [1; 2] }.check_by_differences(
                &device,
                |input, illumination, _, _| {
                    // Spread out, so that a step leads over no kink of an absolute value.
                    loss(input, illumination * 10.0, weighting(0.7, per_pixel)).0.reshape([1; 4])
                },
            );
        }
    }
}

/// Training must notice what is not a number, as it does with Burn's own operations.
#[test]
fn what_is_not_a_number_is_not_swallowed() {
    for device in devices() {
        for bad in [f32::NAN, f32::INFINITY] {
            let image = random(1, [1, 3, 9, 20], &device);
            let mut values = host(image.clone());
            values[9 * 20 + 4 * 20 + 10] = bad;
            let broken: Tensor<4> =
                Tensor::from_data(TensorData::new(values, [1, 3, 9, 20]), &device);
            let unreal = |tensor: Tensor<4>| -> Vec<bool> {
                host(tensor).iter().map(|value| !value.is_finite()).collect()
            };

            let (weight, bias) = (random(2, [4, 3, 3, 3], &device), random(3, [4], &device));
            let of =
                |function: Conv| unreal(function(broken.clone(), weight.clone(), bias.clone()));
            assert_eq!(of(conv3x3), of(plain::conv3x3));
            assert_eq!(of(conv3x3).iter().filter(|unreal| **unreal).count(), 4 * 9);

            // The statistics of a channel are lost, and with them its values.
            let shape = Shape {
                inputs: 3,
                channels: 4,
                blocks: 0,
                depth: 1,
                shared: false,
                normalized: true,
            };
            let network = Arc::new(shape.network(Output::Conv));
            let parameters = random(4, [shape.count(&network)], &device);
            let (result, _) = conv_network(&broken, &network, &parameters).unwrap();
            assert!(unreal(result).iter().all(|unreal| *unreal));

            let divided = reflectance(broken.clone().autodiff(), image.clone().abs().autodiff());
            let expected = plain::reflectance(broken.clone(), image.clone().abs());
            assert_eq!(unreal(divided), unreal(expected));

            for (input, light) in [(&broken, &image), (&image, &broken)] {
                let value = host(loss(input.clone(), light.clone(), weighting(10.0, false)).0);
                assert!(!value[0].is_finite(), "{value:?}");
                // Its gradients are lost where Burn's are.
                for fidelity in [0.0, 1.5] {
                    let gradients = |function: Loss| {
                        let [input, light] =
                            [input, light].map(|image| image.clone().autodiff().require_grad());
                        let weighting = Weighting { fidelity, ..weighting(10.0, false) };
                        let loss = function(input.clone(), light.clone(), weighting).0;
                        let gradients = loss.backward();
                        [input, light].map(|image| unreal(image.grad(&gradients).unwrap()))
                    };
                    let (found, expected) = (gradients(loss), gradients(plain::loss));
                    for (found, expected) in found.iter().zip(&expected) {
                        let lost = found.iter().zip(expected).filter(|(f, e)| **e && !**f);
                        assert_eq!(lost.count(), 0, "{bad} {fidelity}");
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "the image has another number of channels")]
fn a_convolution_of_another_number_of_channels_panics() {
    let device = Device::flex();
    let [image, weight] = [[1, 1, 5, 5], [4, 3, 3, 3]].map(|shape| random(1, shape, &device));
    conv3x3(image, weight, random(2, [4], &device));
}

#[test]
#[should_panic(expected = "the residual has another shape")]
fn a_residual_of_another_shape_panics() {
    let device = Device::flex();
    let [image, residual] = [[1, 2, 5, 5], [1, 2, 5, 4]].map(|shape| random(1, shape, &device));
    let vector = random(2, [2], &device);
    norm_relu(image, vector.clone(), vector, Some(residual), 1e-5);
}

/// A convolution of zeros.
fn zeros(outputs: usize, inputs: usize) -> Weights {
    Weights { weight: vec![0.0; outputs * inputs * 9], bias: vec![0.0; outputs] }
}

#[test]
#[should_panic(expected = "the weights of an estimator with 4 layers do not fit together")]
fn an_estimator_whose_layers_do_not_fit_panics() {
    FoldedEstimator::new(vec![zeros(4, 3), zeros(4, 4), zeros(4, 3), zeros(3, 4)]);
}

#[test]
#[should_panic(expected = "35 samples are too few for 4×3 pixels")]
fn an_image_with_too_few_samples_panics() {
    let estimator = FoldedEstimator::new(vec![zeros(4, 3), zeros(4, 4), zeros(3, 4)]);
    let source = Samples { samples: &[0; 35][..], stride: 12 };
    let target = Samples { samples: &mut [0; 36][..], stride: 12 };
    let routing = Tensor::zeros([1], &Device::flex());
    enhance_pixels::<image::Rgb<u8>>(routing, &estimator, [3, 4], Rendering::FULL, source, target)
        .unwrap();
}

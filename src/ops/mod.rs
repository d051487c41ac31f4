//! What Burn's own operations do too slowly: one trait over Burn's [`Backend`], with kernels for the
//! CPU backends.
//!
//! The functions in [`functions`] are what the model and the loss call. Each takes the fast way
//! where the device has a kernel, and otherwise the plain one, written in Burn's tensor functions.
//! A backend gets kernels by implementing [`SciOps`], and [`SciGradients`] to be trained on.

#![cfg_attr(
    feature = "ndarray",
    allow(deprecated, reason = "deprecated by Burn 0.22, still supported here")
)]

#[cfg(feature = "train")]
mod autodiff;
pub(crate) mod cpu;
pub(crate) mod functions;
mod tensors;
#[cfg(all(test, feature = "flex", feature = "train"))]
mod tests;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use cpu::{Network, Weighting};
use std::sync::{Arc, OnceLock};

/// An estimator's weights for inference, with the block's normalization folded into its convolution.
#[derive(Debug)]
pub(crate) struct FoldedEstimator {
    /// The convolutions into the features, of the block, and out of the features.
    pub(crate) layers: [Weights; 3],
    /// How often the block is applied.
    pub(crate) blocks: usize,
    /// The same, arranged for the kernel in main memory.
    cpu: OnceLock<Network>,
}

/// A 3×3 convolution's weights, `[outputs, inputs, 3, 3]`, and biases.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl FoldedEstimator {
    pub(crate) fn new(layers: [Weights; 3], blocks: usize) -> Self {
        Self { layers, blocks, cpu: OnceLock::new() }
    }

    /// The network for the kernel in main memory.
    pub(crate) fn cpu(&self) -> &Network {
        self.cpu.get_or_init(|| Network::new(&self.layers, self.blocks))
    }
}

/// Operations with a kernel of their own. Tensors are float32.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Autodiff: cfg(feature = "train")
)]
pub(crate) trait SciOps: Backend {
    /// Illumination and reflectance of images, both `[batch, 3, height, width]`, in one pass. In
    /// place of the illumination `i` it works with `1 − strength · (1 − i)`. Not differentiable.
    fn enhance(
        image: FloatTensor<Self>,
        estimator: Arc<FoldedEstimator>,
        strength: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The smoothness loss, `[1]`, of stage input and illumination, both `[batch, 3, height, width]`
    /// with sizes of at least 3.
    fn smoothness(
        input: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        weighting: Weighting,
    ) -> FloatTensor<Self>;

    /// A 3×3 convolution with zero padding 1: images `[batch, in, height, width]`, weights
    /// `[out, in, 3, 3]`, biases `[out]`.
    fn conv3x3(
        image: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// A ReLU behind a batch normalization with the batch's own statistics, plus the residual if
    /// `add` says so (otherwise any tensor does): images and residual
    /// `[batch, channels, height, width]`, weight and bias `[channels]`. Gives the result and the
    /// batch's mean and biased variance, which are not differentiable.
    fn norm_relu(
        image: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        add: bool,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The operations' backward passes.
pub(crate) trait SciGradients: Backend {
    /// The smoothness loss, and its gradients with respect to input and illumination.
    fn smoothness_gradients(
        input: FloatTensor<Self>,
        illumination: FloatTensor<Self>,
        weighting: Weighting,
    ) -> [FloatTensor<Self>; 3];

    /// The gradient with respect to the images of a convolution.
    fn conv3x3_backward_image(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The gradients with respect to the weights and biases of a convolution.
    fn conv3x3_backward_weight(
        image: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];

    /// The gradients with respect to images, weight and bias, given the batch's mean and variance.
    fn norm_relu_backward(
        image: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        statistics: [FloatTensor<Self>; 2],
        epsilon: f32,
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];
}

/// Implements the operations for a backend whose tensors are in main memory.
macro_rules! on_cpu {
    ($backend:ty) => {
        impl SciOps for $backend {
            fn enhance(
                image: FloatTensor<Self>,
                estimator: Arc<FoldedEstimator>,
                strength: f32,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                let image = Host::<Self, 4>::new(image);
                let [illumination, reflectance] =
                    cpu::enhance_planes(estimator.cpu(), image.shape, strength, image.values());
                let tensor = |values| Host::<Self, 4>::tensor(values, image.shape);
                (tensor(illumination), tensor(reflectance))
            }

            fn smoothness(
                input: FloatTensor<Self>,
                illumination: FloatTensor<Self>,
                weighting: Weighting,
            ) -> FloatTensor<Self> {
                let [loss, ..] = Self::smoothness_gradients(input, illumination, weighting);
                loss
            }

            fn conv3x3(
                image: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                let image = Host::<Self, 4>::new(image);
                let weight = Host::<Self, 4>::new(weight);
                let bias = Host::<Self, 1>::new(bias);
                let result = conv3x3::forward(image.images(), weight.values(), bias.values());
                let [batch, _, height, width] = image.shape;
                Host::<Self, 4>::tensor(result, [batch, bias.shape[0], height, width])
            }

            fn norm_relu(
                image: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                residual: FloatTensor<Self>,
                add: bool,
                epsilon: f32,
            ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
                let image = Host::<Self, 4>::new(image);
                let weight = Host::<Self, 1>::new(weight);
                let bias = Host::<Self, 1>::new(bias);
                let residual = add.then(|| Host::<Self, 4>::new(residual));
                let [mean, variance] = norm::statistics(image.values(), image.shape);
                let norm = norm::Norm {
                    weight: weight.values(),
                    bias: bias.values(),
                    mean: &mean,
                    variance: &variance,
                    epsilon,
                };
                let residual = residual.as_ref().map(|residual| residual.values());
                let result = norm::norm_relu(image.values(), image.shape, norm, residual);
                let statistic = |values| Host::<Self, 1>::tensor(values, weight.shape);
                let result = Host::<Self, 4>::tensor(result, image.shape);
                (result, statistic(mean), statistic(variance))
            }
        }

        impl SciGradients for $backend {
            fn smoothness_gradients(
                input: FloatTensor<Self>,
                illumination: FloatTensor<Self>,
                weighting: Weighting,
            ) -> [FloatTensor<Self>; 3] {
                let input = Host::<Self, 4>::new(input);
                let illumination = Host::<Self, 4>::new(illumination);
                let result =
                    cpu::smoothness(input.shape, input.values(), illumination.values(), weighting);
                let loss = Host::<Self, 1>::tensor(vec![result.loss], [1]);
                let [input, illumination] = [result.input, result.illumination]
                    .map(|values| Host::<Self, 4>::tensor(values, input.shape));
                [loss, input, illumination]
            }

            fn conv3x3_backward_image(
                weight: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                let weight = Host::<Self, 4>::new(weight);
                let gradient = Host::<Self, 4>::new(gradient);
                let [_, inputs, ..] = weight.shape;
                let result = conv3x3::backward_images(gradient.images(), weight.values(), inputs);
                let [batch, _, height, width] = gradient.shape;
                Host::<Self, 4>::tensor(result, [batch, inputs, height, width])
            }

            fn conv3x3_backward_weight(
                image: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
            ) -> [FloatTensor<Self>; 2] {
                let image = Host::<Self, 4>::new(image);
                let gradient = Host::<Self, 4>::new(gradient);
                let [weight, bias] = conv3x3::backward_weights(image.images(), gradient.images());
                let [inputs, outputs] = [image.shape[1], gradient.shape[1]];
                [
                    Host::<Self, 4>::tensor(weight, [outputs, inputs, 3, 3]),
                    Host::<Self, 1>::tensor(bias, [outputs]),
                ]
            }

            fn norm_relu_backward(
                image: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                statistics: [FloatTensor<Self>; 2],
                epsilon: f32,
                gradient: FloatTensor<Self>,
            ) -> [FloatTensor<Self>; 3] {
                let image = Host::<Self, 4>::new(image);
                let gradient = Host::<Self, 4>::new(gradient);
                let [weight, bias] = [weight, bias].map(Host::<Self, 1>::new);
                let [mean, variance] = statistics.map(Host::<Self, 1>::new);
                let norm = norm::Norm {
                    weight: weight.values(),
                    bias: bias.values(),
                    mean: mean.values(),
                    variance: variance.values(),
                    epsilon,
                };
                let result =
                    norm::norm_relu_backward(image.values(), image.shape, norm, gradient.values());
                let parameter = |values| Host::<Self, 1>::tensor(values, weight.shape);
                [
                    Host::<Self, 4>::tensor(result.values, image.shape),
                    parameter(result.weight),
                    parameter(result.bias),
                ]
            }
        }
    };
}

#[cfg(any(feature = "flex", feature = "ndarray"))]
use {
    cpu::{conv3x3, norm},
    tensors::Host,
};
#[cfg(feature = "flex")]
on_cpu!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_cpu!(burn::backend::NdArray);

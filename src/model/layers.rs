//! The layers of the networks: Burn's convolution and batch normalization, reduced to what the papers
//! use, with the published initializations and PyTorch's running statistics.

use crate::ops::functions::{conv3x3, norm_relu};
use crate::ops::network::Momentum;
use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::activation::relu;
use burn::tensor::module::batch_norm;
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// Makes the initial weights of a module. They are drawn on the host, in the order of the modules'
/// fields, so that a seed gives the same weights on every device and no device's own generator is
/// advanced.
pub(super) struct Initializer<'a> {
    random: ChaCha8Rng,
    device: &'a Device,
}

impl<'a> Initializer<'a> {
    /// The standard deviation of every random value of SCI (`weights_init` in the authors' code).
    const DEVIATION: f32 = 0.02;

    pub(super) fn new(seed: u64, device: &'a Device) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), device }
    }

    /// A convolution with weights from N(0, 0.02) and biases of 0.
    pub(super) fn conv(&mut self, [input, output]: [usize; 2]) -> Conv3x3 {
        Conv3x3 {
            weight: self.normal(0.0, [output, input, 3, 3]),
            bias: Param::from_tensor(Tensor::zeros([output], self.device)),
        }
    }

    /// A normalization with scales from N(1, 0.02), shifts of 0, a running mean of 0 and a running
    /// variance of 1.
    pub(super) fn norm(&mut self, channels: usize) -> BatchNorm {
        BatchNorm {
            weight: self.normal(1.0, [channels]),
            bias: Param::from_tensor(Tensor::zeros([channels], self.device)),
            training: Param::from_bool(true),
            running_mean: RunningState::new(Tensor::zeros([channels], self.device)),
            running_var: RunningState::new(Tensor::ones([channels], self.device)),
        }
    }

    /// A convolution with weights and biases from the uniform distribution in ±1/√(9 · inputs):
    /// PyTorch's default, which SCI++ keeps.
    pub(super) fn uniform_conv(&mut self, [input, output]: [usize; 2]) -> Conv3x3 {
        let bound = 1.0 / (9.0 * input as f32).sqrt();
        Conv3x3 {
            weight: self.uniform(bound, [output, input, 3, 3]),
            bias: self.uniform(bound, [output]),
        }
    }

    /// As many convolutions of [`uniform_conv`](Self::uniform_conv), from `channels` to `channels`.
    pub(super) fn uniform_convs(&mut self, count: usize, channels: usize) -> Vec<Conv3x3> {
        (0..count).map(|_| self.uniform_conv([channels; 2])).collect()
    }

    fn normal<const D: usize>(&mut self, mean: f32, shape: [usize; D]) -> Param<Tensor<D>> {
        self.draw(shape, |random| mean + Self::DEVIATION * random.sample::<f32, _>(StandardNormal))
    }

    fn uniform<const D: usize>(&mut self, bound: f32, shape: [usize; D]) -> Param<Tensor<D>> {
        self.draw(shape, |random| random.random_range(-bound..bound))
    }

    fn draw<const D: usize>(
        &mut self,
        shape: [usize; D],
        mut value: impl FnMut(&mut ChaCha8Rng) -> f32,
    ) -> Param<Tensor<D>> {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| value(&mut self.random)).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), self.device))
    }
}

/// A 3×3 convolution with stride 1, zero padding 1 and a bias: the size of the image is kept.
#[derive(Module, Debug)]
pub struct Conv3x3 {
    /// Kernels, `[channels out, channels in, 3, 3]`.
    pub weight: Param<Tensor<4>>,
    /// Biases, `[channels out]`.
    pub bias: Param<Tensor<1>>,
}

impl Conv3x3 {
    /// Applies the convolution.
    ///
    /// # Shapes
    /// - `input`: `[batch, channels in, height, width]`
    /// - output: `[batch, channels out, height, width]`
    ///
    /// # Panics
    /// If the number of channels differs from the weight's.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        conv3x3(input, self.weight.val(), self.bias.val())
    }
}

/// Batch normalization over `[batch, channels, height, width]` with epsilon 1e-5 and momentum 0.1, and
/// the ReLU that always follows it in SCI.
///
/// It normalizes with the batch's own statistics, and updates the running ones, exactly when the
/// input is on an autodiff device and the module is in training mode; otherwise it uses the running
/// statistics. The running variance follows the *unbiased* batch variance, as in PyTorch
/// (`burn::nn::BatchNorm` follows the biased one).
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Whether the layer is in training mode, which matters for inputs on an autodiff device only.
    pub training: Param<Flag>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running variance, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
}

impl BatchNorm {
    /// Added to the variance before the square root is taken.
    pub const EPSILON: f64 = 1e-5;
    /// The weight of the current batch in the running statistics.
    pub const MOMENTUM: f64 = 0.1;

    /// Normalizes each channel, applies the ReLU, and adds the residual, if there is one.
    ///
    /// # Shapes
    /// - `input`, `residual`, output: `[batch, channels, height, width]`
    ///
    /// # Panics
    /// If the number of channels differs from the weight's, or the residual's shape from the input's.
    pub fn forward_relu(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        if let Some(residual) = &residual {
            assert_eq!(input.dims(), residual.dims(), "the residual's shape differs");
        }
        if input.device().is_autodiff() && self.is_training() {
            return self.forward_train(input, residual);
        }
        let normalized = relu(batch_norm(
            input,
            self.weight.val(),
            self.bias.val(),
            self.running_mean.value_sync(),
            self.running_var.value_sync(),
            Self::EPSILON,
        ));
        match residual {
            Some(residual) => residual + normalized,
            None => normalized,
        }
    }

    fn forward_train(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        let [batch, _, height, width] = input.dims();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let (output, [mean, variance]) = norm_relu(input, weight, bias, residual, Self::EPSILON);

        self.update([mean, variance], batch * height * width);
        output
    }

    /// Whether the layer is in training mode.
    pub(super) fn is_training(&self) -> bool {
        self.training.is_enabled()
    }

    /// How the running statistics follow those of a batch of so many pixels.
    pub(super) fn momentum(pixels: usize) -> Momentum {
        let pixels = pixels as f64;
        let unbiased = (pixels / (pixels - 1.0).max(1.0)) as f32;
        Momentum { weight: Self::MOMENTUM as f32, unbiased }
    }

    /// Moves the running statistics toward the mean and the biased variance of a batch of so many pixels.
    fn update(&self, [mean, variance]: [Tensor<1>; 2], pixels: usize) {
        update(&self.running_mean, mean);
        update(&self.running_var, variance * Self::momentum(pixels).unbiased);
    }
}

/// Moves a running statistic toward that of the current batch.
fn update(running: &RunningState<Tensor<1>>, current: Tensor<1>) {
    let current = current.detach();
    let old = running.value_sync().to_device(&current.device());
    let value = old * (1.0 - BatchNorm::MOMENTUM) + current * BatchNorm::MOMENTUM;
    running.update(value.detach());
}

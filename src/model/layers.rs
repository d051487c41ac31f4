//! The two layers that everything is made of. They are Burn's convolution and batch normalization
//! narrowed to what SCI uses, with the published initialization and PyTorch's statistics.

use crate::ops::functions::{conv3x3, norm_relu};
use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::activation::relu;
use burn::tensor::module::batch_norm;
use burn::tensor::{Device, Distribution, Tensor};

/// The standard deviation of every random initial value (the reference's `weights_init`).
const INITIAL_DEVIATION: f64 = 0.02;

fn normal<const D: usize>(mean: f64, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    // Drawn at once, not at first use, so that a seed gives the same weights whatever runs first.
    let distribution = Distribution::Normal(mean, INITIAL_DEVIATION);
    Param::from_tensor(Tensor::random(shape, distribution, device))
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
    /// Weights from N(0, 0.02), biases 0.
    pub(crate) fn init([input, output]: [usize; 2], device: &Device) -> Self {
        Self {
            weight: normal(0.0, [output, input, 3, 3], device),
            bias: Param::from_tensor(Tensor::zeros([output], device)),
        }
    }

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
    /// Whether the layer trains, given an input on an autodiff device.
    pub training: Param<Flag>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running variance, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
}

impl BatchNorm {
    /// Added to the variance before its root is taken.
    pub const EPSILON: f64 = 1e-5;
    /// The weight of the newest batch in the running statistics.
    pub const MOMENTUM: f64 = 0.1;

    /// Scale from N(1, 0.02), shift 0, running mean 0 and variance 1.
    pub(crate) fn init(channels: usize, device: &Device) -> Self {
        Self {
            weight: normal(1.0, [channels], device),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            training: Param::from_bool(true),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
        }
    }

    /// Normalizes each channel, cuts off what is negative, and adds the residual, if any.
    ///
    /// # Shapes
    /// - `input`, `residual`, output: `[batch, channels, height, width]`
    ///
    /// # Panics
    /// If the number of channels differs from the weight's.
    pub fn forward_relu(&self, input: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
        if input.device().is_autodiff() && self.training.is_enabled() {
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

        let samples = (batch * height * width) as f64;
        let unbiased = variance * (samples / (samples - 1.0).max(1.0));
        follow(&self.running_mean, mean);
        follow(&self.running_var, unbiased);
        output
    }
}

/// Moves a running statistic towards the newest batch's.
fn follow(running: &RunningState<Tensor<1>>, newest: Tensor<1>) {
    let newest = newest.detach();
    let old = running.value_sync().to_device(&newest.device());
    let value = old * (1.0 - BatchNorm::MOMENTUM) + newest * BatchNorm::MOMENTUM;
    running.update(value.detach());
}

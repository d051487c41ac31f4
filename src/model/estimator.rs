use super::layers::{BatchNorm, Conv3x3, Initializer};
use super::limits::{MAX_BLOCKS, MAX_CHANNELS, check_count};
use crate::error::Result;
use crate::ops::{FoldedEstimator, Weights};
use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};

/// Configuration of an [`IlluminationEstimator`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct IlluminationEstimatorConfig {
    /// How often the residual block is applied, with the same weights each time. 1 to 16.
    #[config(default = 1)]
    pub blocks: usize,
    /// Channels of the features. 1 to 64.
    #[config(default = 3)]
    pub channels: usize,
}

impl IlluminationEstimatorConfig {
    /// An estimator with the published random initialization, drawn with seed 0: the same weights
    /// every time.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where `blocks` or `channels` is out of its range.
    pub fn init(&self, device: &Device) -> Result<IlluminationEstimator> {
        self.init_with_seed(0, device)
    }

    /// As [`init`](Self::init), with the weights that belong to `seed`. They are drawn on the host
    /// and are equal on every device.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn init_with_seed(&self, seed: u64, device: &Device) -> Result<IlluminationEstimator> {
        self.check()?;
        Ok(self.init_with(&mut Initializer::new(seed, device)))
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_count("blocks", self.blocks, MAX_BLOCKS)?;
        check_count("channels", self.channels, MAX_CHANNELS)
    }

    /// The module of a configuration that has been checked.
    pub(super) fn init_with(&self, initializer: &mut Initializer) -> IlluminationEstimator {
        // The order of the fields is the order in which their weights are drawn.
        IlluminationEstimator {
            input_conv: initializer.conv([3, self.channels]),
            block_conv: initializer.conv([self.channels; 2]),
            block_norm: initializer.norm(self.channels),
            output_conv: initializer.conv([self.channels, 3]),
            blocks: self.blocks,
        }
    }
}

/// Estimates the illumination of an image: the network `H` of the paper's section 3.1, the only one
/// that is needed after training.
///
/// With the published configuration it has 258 trainable parameters and sees 7×7 pixels, so a tile
/// with a border of three pixels is computed exactly.
#[doc(alias = "EnhanceNetwork")]
#[derive(Module, Debug)]
pub struct IlluminationEstimator {
    /// From the image to the features.
    pub input_conv: Conv3x3,
    /// The residual block's convolution.
    pub block_conv: Conv3x3,
    /// The residual block's normalization.
    pub block_norm: BatchNorm,
    /// From the features to the illumination.
    pub output_conv: Conv3x3,
    /// How often the residual block is applied.
    pub blocks: usize,
}

impl IlluminationEstimator {
    /// The smallest illumination, so that the image is never divided by zero.
    pub const MIN_ILLUMINATION: f64 = 1e-4;

    /// The configuration that gives an estimator of this shape.
    pub fn config(&self) -> IlluminationEstimatorConfig {
        let [channels, ..] = self.input_conv.weight.dims();
        IlluminationEstimatorConfig { blocks: self.blocks, channels }
    }

    /// The illumination of `image`.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    /// - output: `[batch, 3, height, width]`, in `[1e-4, 1]`
    ///
    /// # Panics
    /// If the image does not have three channels.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let mut features = relu(self.input_conv.forward(image.clone()));
        for _ in 0..self.blocks {
            let block = self.block_conv.forward(features.clone());
            features = self.block_norm.forward_relu(block, Some(features));
        }
        let residual = sigmoid(self.output_conv.forward(features));
        (residual + image).clamp(Self::MIN_ILLUMINATION, 1.0)
    }

    /// The weights for inference, with the block's normalization folded into its convolution.
    ///
    /// # Panics
    /// If they cannot be read from the device.
    pub(crate) fn folded(&self) -> FoldedEstimator {
        let mut block = weights(&self.block_conv);
        let norm = &self.block_norm;
        let [scale, shift] = [&norm.weight, &norm.bias].map(|param| host(param.val()));
        let mean = host(norm.running_mean.value_sync());
        let variance = host(norm.running_var.value_sync());
        let kernel_size = block.weight.len() / block.bias.len();
        for (channel, kernel) in block.weight.chunks_mut(kernel_size).enumerate() {
            let factor = scale[channel] / (variance[channel] + BatchNorm::EPSILON as f32).sqrt();
            kernel.iter_mut().for_each(|weight| *weight *= factor);
            block.bias[channel] = (block.bias[channel] - mean[channel]) * factor + shift[channel];
        }
        let [input, output] = [&self.input_conv, &self.output_conv].map(weights);
        FoldedEstimator::new([input, block, output], self.blocks)
    }
}

fn weights(conv: &Conv3x3) -> Weights {
    Weights { weight: host(conv.weight.val()), bias: host(conv.bias.val()) }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap_or_else(|error| panic!("weights cannot be read: {error}"))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn has_258_trainable_parameters() {
        let estimator = IlluminationEstimatorConfig::new().init(&Device::flex()).unwrap();
        // Burn counts the running statistics too: a mean and a variance for each of 3 channels.
        assert_eq!(estimator.num_params(), 258 + 6);
        assert_eq!(estimator.config(), IlluminationEstimatorConfig::new());
    }

    #[test]
    fn illumination_is_never_below_the_image_nor_out_of_range() {
        let device = Device::flex();
        let estimator = IlluminationEstimatorConfig::new().init(&device).unwrap();
        let image = Tensor::random([1, 3, 5, 7], Distribution::Uniform(0.0, 1.0), &device);
        let illumination = estimator.forward(image.clone());
        assert!(illumination.clone().greater_equal(image).all().into_scalar::<bool>());
        assert!(illumination.lower_equal_scalar(1.0).all().into_scalar::<bool>());
    }

    #[test]
    fn zero_blocks_and_zero_channels_are_refused() {
        let config = IlluminationEstimatorConfig::new();
        let refused = |config: IlluminationEstimatorConfig| {
            config.init(&Device::flex()).unwrap_err().to_string()
        };
        assert!(refused(config.clone().with_blocks(0)).contains("`blocks`"));
        assert!(refused(config.with_channels(0)).contains("`channels`"));
    }
}

use super::Method;
use super::layers::{BatchNorm, Conv3x3, Initializer};
use super::limits::check_network;
use super::network::{Layer, Network};
use crate::error::{Error, Result};
use crate::ops::network::Output;
use crate::ops::{FoldedEstimator, Weights};
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Configuration of an [`IlluminationEstimator`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct IlluminationEstimatorConfig {
    /// The number of residual blocks. 1 to 16.
    #[config(default = 1)]
    pub blocks: usize,
    /// Channels of the features. 1 to 64.
    #[config(default = 3)]
    pub channels: usize,
    /// The form of the residual blocks: in [`Method::Sci`] they share one set of weights, with batch
    /// normalization; in [`Method::SciPlusPlus`] each has its own, without.
    #[config(default = "Method::Sci")]
    pub method: Method,
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
        check_network(self.blocks, self.channels)
    }

    /// [`check`](Self::check), and refuses the estimator of the other method.
    pub(super) fn check_of(&self, method: Method) -> Result<()> {
        if self.method != method {
            let [is, must] = [self.method, method].map(Method::name);
            let reason = format!("is {is}, must be {must} in this cascade");
            return Err(Error::setting("method", reason));
        }
        self.check()
    }

    /// The module of a configuration that has been checked.
    pub(super) fn init_with(&self, initializer: &mut Initializer) -> IlluminationEstimator {
        let (channels, blocks) = (self.channels, self.blocks);
        // The order of the fields is the order in which their weights are drawn.
        match self.method {
            Method::Sci => IlluminationEstimator {
                input_conv: initializer.conv([3, channels]),
                block_convs: vec![initializer.conv([channels; 2])],
                block_norm: Some(initializer.norm(channels)),
                output_conv: initializer.conv([channels, 3]),
                blocks,
            },
            Method::SciPlusPlus => IlluminationEstimator {
                input_conv: initializer.uniform_conv([3, channels]),
                block_convs: initializer.uniform_convs(blocks, channels),
                block_norm: None,
                output_conv: initializer.uniform_conv([channels, 3]),
                blocks,
            },
        }
    }
}

/// Estimates the illumination of an image: the network `H` of section 3.1 of the first paper, `Hₐ` of the
/// second, and the only one that is needed after training.
///
/// With the published configuration it has 258 trainable parameters, in SCI++ 252, and sees 7×7 pixels,
/// so a tile with a border of three pixels is computed exactly.
#[doc(alias = "EnhanceNetwork")]
#[doc(alias = "EnhanceNetwork_Ha")]
#[derive(Module, Debug)]
pub struct IlluminationEstimator {
    /// From the image to the features.
    pub input_conv: Conv3x3,
    /// The residual blocks' convolutions: in SCI the one that they share, in SCI++ one for each block.
    pub block_convs: Vec<Conv3x3>,
    /// The residual blocks' normalization, which only SCI has.
    pub block_norm: Option<BatchNorm>,
    /// From the features to the illumination.
    pub output_conv: Conv3x3,
    /// The number of residual blocks.
    pub blocks: usize,
}

impl IlluminationEstimator {
    /// The smallest illumination, so that the image is never divided by zero.
    pub const MIN_ILLUMINATION: f64 = 1e-4;

    /// The configuration that gives an estimator of this shape.
    pub fn config(&self) -> IlluminationEstimatorConfig {
        let [channels, ..] = self.input_conv.weight.dims();
        IlluminationEstimatorConfig { blocks: self.blocks, channels, method: self.method() }
    }

    /// The method that the estimator belongs to.
    pub fn method(&self) -> Method {
        match self.block_norm {
            Some(_) => Method::Sci,
            None => Method::SciPlusPlus,
        }
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
        self.network().forward(image)
    }

    /// All of it, to be applied.
    pub(super) fn network(&self) -> Network<'_> {
        let block = |conv| vec![Layer { conv, norm: self.block_norm.as_ref() }];
        Network::new(
            Layer::plain(&self.input_conv),
            self.block_convs().map(block).collect(),
            &self.output_conv,
            Output::ClampedSigmoid { least: Self::MIN_ILLUMINATION as f32 },
        )
    }

    /// The convolution of every block, in the order in which they are applied.
    fn block_convs(&self) -> impl Iterator<Item = &Conv3x3> {
        self.block_convs.iter().cycle().take(self.blocks)
    }

    /// The weights for inference, with the blocks' normalization folded into their convolutions.
    ///
    /// # Panics
    /// If they cannot be read from the device.
    pub(crate) fn folded(&self) -> FoldedEstimator {
        let mut convs: Vec<_> = self.block_convs.iter().map(weights).collect();
        if let Some(norm) = &self.block_norm {
            convs.iter_mut().for_each(|conv| fold(norm, conv));
        }
        let blocks = convs.iter().cycle().take(self.blocks).cloned();
        let [input, output] = [&self.input_conv, &self.output_conv].map(weights);
        FoldedEstimator::new([input].into_iter().chain(blocks).chain([output]).collect())
    }
}

/// Changes a convolution's weights to give what the normalization, with its running statistics, would make
/// of the convolution's result.
fn fold(norm: &BatchNorm, conv: &mut Weights) {
    let [scale, shift] = [&norm.weight, &norm.bias].map(|param| host(param.val()));
    let mean = host(norm.running_mean.value_sync());
    let variance = host(norm.running_var.value_sync());
    let kernel_size = conv.weight.len() / conv.bias.len();
    for (channel, kernel) in conv.weight.chunks_mut(kernel_size).enumerate() {
        let factor = scale[channel] / (variance[channel] + BatchNorm::EPSILON as f32).sqrt();
        kernel.iter_mut().for_each(|weight| *weight *= factor);
        conv.bias[channel] = (conv.bias[channel] - mean[channel]) * factor + shift[channel];
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
    fn has_252_parameters_in_sci_plus_plus_and_blocks_of_their_own() {
        let config = IlluminationEstimatorConfig::new().with_method(Method::SciPlusPlus);
        let estimator = config.init(&Device::flex()).unwrap();
        assert_eq!(estimator.num_params(), 252);
        let larger = config.with_blocks(3).with_channels(4);
        let estimator = larger.init(&Device::flex()).unwrap();
        let [first, second, _] = &*estimator.block_convs else { panic!("three blocks") };
        let values = |conv: &Conv3x3| host(conv.weight.val());
        assert_ne!(values(first), values(second));
        assert_eq!(estimator.config(), larger);
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

use crate::error::Result;
use crate::model::layers::{Conv3x3, Initializer};
use crate::model::limits::check_network;
use crate::model::network::{Layer, Network};
use crate::ops::network::Output;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Configuration of an [`IlluminationIncrement`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct IlluminationIncrementConfig {
    /// The number of residual blocks, each with weights of its own. 1 to 16.
    #[config(default = 3)]
    pub blocks: usize,
    /// Channels of the features. 1 to 64.
    #[config(default = 16)]
    pub channels: usize,
}

impl IlluminationIncrementConfig {
    /// A network with the published random initialization, drawn with seed 0: the same weights every
    /// time.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where `blocks` or `channels` is out of its range.
    pub fn init(&self, device: &Device) -> Result<IlluminationIncrement> {
        self.init_with_seed(0, device)
    }

    /// As [`init`](Self::init), with the weights that belong to `seed`. They are drawn on the host
    /// and are equal on every device.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn init_with_seed(&self, seed: u64, device: &Device) -> Result<IlluminationIncrement> {
        self.check()?;
        Ok(self.init_with(&mut Initializer::new(seed, device)))
    }

    pub(super) fn check(&self) -> Result<()> {
        check_network(self.blocks, self.channels)
    }

    /// The module of a configuration that has been checked.
    pub(super) fn init_with(&self, initializer: &mut Initializer) -> IlluminationIncrement {
        // The order of the fields is the order in which their weights are drawn.
        IlluminationIncrement {
            input_conv: initializer.uniform_conv([3, self.channels]),
            block_convs: initializer.uniform_convs(self.blocks, self.channels),
            output_conv: initializer.uniform_conv([self.channels, 3]),
        }
    }
}

/// Computes from a calibration what a later stage of SCI++ adds to the illumination: the network `H_b`.
/// It has the layers of the estimator of SCI++, but its result is neither limited nor added to its input.
/// Needed for training only.
#[doc(alias = "EnhanceNetwork_Hb")]
#[derive(Module, Debug)]
pub struct IlluminationIncrement {
    /// From the calibration to the features.
    pub input_conv: Conv3x3,
    /// The convolution of each residual block.
    pub block_convs: Vec<Conv3x3>,
    /// From the features to the increment.
    pub output_conv: Conv3x3,
}

impl IlluminationIncrement {
    /// The configuration that gives a network of this shape.
    pub fn config(&self) -> IlluminationIncrementConfig {
        let [channels, ..] = self.input_conv.weight.dims();
        IlluminationIncrementConfig { blocks: self.block_convs.len(), channels }
    }

    /// The increment, which may be of any size and sign.
    ///
    /// # Shapes
    /// - `calibration`, output: `[batch, 3, height, width]`
    ///
    /// # Panics
    /// If the calibration does not have three channels.
    pub fn forward(&self, calibration: Tensor<4>) -> Tensor<4> {
        self.network().forward(calibration)
    }

    /// All of it, to be applied.
    pub(super) fn network(&self) -> Network<'_> {
        Network::new(
            Layer::plain(&self.input_conv),
            self.block_convs.iter().map(|conv| vec![Layer::plain(conv)]).collect(),
            &self.output_conv,
            Output::Conv,
        )
    }
}

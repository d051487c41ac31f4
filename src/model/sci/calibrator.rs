use crate::error::Result;
use crate::model::layers::{BatchNorm, Conv3x3, Initializer};
use crate::model::limits::check_network;
use crate::model::network::{Layer, Network};
use crate::ops::network::Output;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`SelfCalibrator`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct SelfCalibratorConfig {
    /// How often the residual block is applied, with the same weights each time. 1 to 16.
    #[config(default = 3)]
    pub blocks: usize,
    /// Channels of the features. 1 to 64.
    #[config(default = 16)]
    pub channels: usize,
}

impl SelfCalibratorConfig {
    /// A calibrator with the published random initialization, drawn with seed 0: the same weights
    /// every time.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where `blocks` or `channels` is out of its range.
    pub fn init(&self, device: &Device) -> Result<SelfCalibrator> {
        self.init_with_seed(0, device)
    }

    /// As [`init`](Self::init), with the weights that belong to `seed`. They are drawn on the host
    /// and are equal on every device.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn init_with_seed(&self, seed: u64, device: &Device) -> Result<SelfCalibrator> {
        self.check()?;
        Ok(self.init_with(&mut Initializer::new(seed, device)))
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_network(self.blocks, self.channels)
    }

    /// The module of a configuration that has been checked.
    pub(super) fn init_with(&self, initializer: &mut Initializer) -> SelfCalibrator {
        // The order of the fields is the order in which their weights are drawn.
        SelfCalibrator {
            input_conv: initializer.conv([3, self.channels]),
            input_norm: initializer.norm(self.channels),
            block_conv_1: initializer.conv([self.channels; 2]),
            block_norm_1: initializer.norm(self.channels),
            block_conv_2: initializer.conv([self.channels; 2]),
            block_norm_2: initializer.norm(self.channels),
            output_conv: initializer.conv([self.channels, 3]),
            blocks: self.blocks,
        }
    }
}

/// Computes the next stage's input from a stage's result, so that all stages converge to the same
/// illumination: the network `K` of the first paper's section 3.2. Needed for training only.
#[doc(alias = "CalibrateNetwork")]
#[derive(Module, Debug)]
pub struct SelfCalibrator {
    /// From the reflectance to the features.
    pub input_conv: Conv3x3,
    /// Normalization of the first features.
    pub input_norm: BatchNorm,
    /// The residual block's first convolution.
    pub block_conv_1: Conv3x3,
    /// The residual block's first normalization.
    pub block_norm_1: BatchNorm,
    /// The residual block's second convolution.
    pub block_conv_2: Conv3x3,
    /// The residual block's second normalization.
    pub block_norm_2: BatchNorm,
    /// From the features to the calibration.
    pub output_conv: Conv3x3,
    /// How often the residual block is applied.
    pub blocks: usize,
}

impl SelfCalibrator {
    /// The configuration that gives a calibrator of this shape.
    pub fn config(&self) -> SelfCalibratorConfig {
        let [channels, ..] = self.input_conv.weight.dims();
        SelfCalibratorConfig { blocks: self.blocks, channels }
    }

    /// The calibration that is added to the dark image to give the next stage's input.
    ///
    /// # Shapes
    /// - `reflectance`: `[batch, 3, height, width]`, in `[0, 1]`
    /// - output: `[batch, 3, height, width]`, in `(-1, 1)`
    ///
    /// # Panics
    /// If the reflectance does not have three channels.
    pub fn forward(&self, reflectance: Tensor<4>) -> Tensor<4> {
        self.network().forward(reflectance)
    }

    /// All of it, to be applied.
    pub(super) fn network(&self) -> Network<'_> {
        let block = vec![
            Layer::normalized(&self.block_conv_1, &self.block_norm_1),
            Layer::normalized(&self.block_conv_2, &self.block_norm_2),
        ];
        Network::new(
            Layer::normalized(&self.input_conv, &self.input_norm),
            vec![block; self.blocks],
            &self.output_conv,
            Output::MinusSigmoid,
        )
    }
}

use crate::error::Result;
use crate::model::layers::{Conv3x3, Initializer};
use crate::model::limits::check_network;
use crate::model::network::{Layer, Network};
use crate::ops::network::Output;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`SciPlusPlusCalibrator`].
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct SciPlusPlusCalibratorConfig {
    /// The number of residual blocks, each with weights of its own. 1 to 16.
    #[config(default = 3)]
    pub blocks: usize,
    /// Channels of the features. 1 to 64.
    #[config(default = 16)]
    pub channels: usize,
}

impl SciPlusPlusCalibratorConfig {
    /// A calibrator with the published random initialization, drawn with seed 0: the same weights
    /// every time.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where `blocks` or `channels` is out of its range.
    pub fn init(&self, device: &Device) -> Result<SciPlusPlusCalibrator> {
        self.init_with_seed(0, device)
    }

    /// As [`init`](Self::init), with the weights that belong to `seed`. They are drawn on the host
    /// and are equal on every device.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn init_with_seed(&self, seed: u64, device: &Device) -> Result<SciPlusPlusCalibrator> {
        self.check()?;
        Ok(self.init_with(&mut Initializer::new(seed, device)))
    }

    pub(super) fn check(&self) -> Result<()> {
        check_network(self.blocks, self.channels)
    }

    /// The module of a configuration that has been checked.
    pub(super) fn init_with(&self, initializer: &mut Initializer) -> SciPlusPlusCalibrator {
        // The order of the fields is the order in which their weights are drawn.
        SciPlusPlusCalibrator {
            input_conv: initializer.uniform_conv([3, self.channels]),
            block_convs_1: initializer.uniform_convs(self.blocks, self.channels),
            block_convs_2: initializer.uniform_convs(self.blocks, self.channels),
            output_conv: initializer.uniform_conv([self.channels, 3]),
        }
    }
}

/// Computes from a stage's result the calibration that the next stage of SCI++ adds to the illumination,
/// as it is and once more through the
/// [`IlluminationIncrement`](super::IlluminationIncrement): the network `K`. Needed for training
/// only.
///
/// In the authors' code the training of the estimator does not depend on it: it shows how far a single
/// estimate is from what a cascade converges to.
#[doc(alias = "CalibrateNetwork")]
#[derive(Module, Debug)]
pub struct SciPlusPlusCalibrator {
    /// From the reflectance to the features.
    pub input_conv: Conv3x3,
    /// The first convolution of each residual block.
    pub block_convs_1: Vec<Conv3x3>,
    /// The second convolution of each residual block.
    pub block_convs_2: Vec<Conv3x3>,
    /// From the features to what is added to the reflectance.
    pub output_conv: Conv3x3,
}

impl SciPlusPlusCalibrator {
    /// The configuration that gives a calibrator of this shape.
    pub fn config(&self) -> SciPlusPlusCalibratorConfig {
        let [channels, ..] = self.input_conv.weight.dims();
        SciPlusPlusCalibratorConfig { blocks: self.block_convs_1.len(), channels }
    }

    /// The calibration, which may be of any size and sign.
    ///
    /// # Shapes
    /// - `reflectance`: `[batch, 3, height, width]`, in `[0, 1]`
    /// - output: `[batch, 3, height, width]`
    ///
    /// # Panics
    /// If the reflectance does not have three channels.
    pub fn forward(&self, reflectance: Tensor<4>) -> Tensor<4> {
        self.network().forward(reflectance)
    }

    /// All of it, to be applied.
    pub(super) fn network(&self) -> Network<'_> {
        let convs = self.block_convs_1.iter().zip(&self.block_convs_2);
        Network::new(
            Layer::plain(&self.input_conv),
            convs.map(|(first, second)| [first, second].map(Layer::plain).to_vec()).collect(),
            &self.output_conv,
            Output::Sum,
        )
    }
}

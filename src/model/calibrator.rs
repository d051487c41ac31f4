use super::{BatchNorm, Conv3x3, at_least_one, drawing};
use crate::error::Result;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`SelfCalibrator`].
#[derive(Config, Debug, PartialEq)]
pub struct SelfCalibratorConfig {
    /// How often the residual block is applied, with the same weights each time. At least 1.
    #[config(default = 3)]
    pub blocks: usize,
    /// Channels of the features. At least 1.
    #[config(default = 16)]
    pub channels: usize,
}

impl SelfCalibratorConfig {
    /// A calibrator with the published random initialization.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where `blocks` or `channels` is 0.
    pub fn init(&self, device: &Device) -> Result<SelfCalibrator> {
        let _drawing = drawing();
        self.draw(device)
    }

    /// As [`init`](Self::init), for a caller that holds [`drawing`].
    pub(super) fn draw(&self, device: &Device) -> Result<SelfCalibrator> {
        at_least_one("blocks", self.blocks)?;
        at_least_one("channels", self.channels)?;
        Ok(SelfCalibrator {
            input_conv: Conv3x3::init([3, self.channels], device),
            input_norm: BatchNorm::init(self.channels, device),
            block_conv_1: Conv3x3::init([self.channels; 2], device),
            block_norm_1: BatchNorm::init(self.channels, device),
            block_conv_2: Conv3x3::init([self.channels; 2], device),
            block_norm_2: BatchNorm::init(self.channels, device),
            output_conv: Conv3x3::init([self.channels, 3], device),
            blocks: self.blocks,
        })
    }
}

/// Makes the next stage's input out of a stage's result, so that all stages converge to the same
/// illumination: the network `K` of the paper's section 3.2. Needed for training only.
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
    /// If the reflectance has not three channels.
    pub fn forward(&self, reflectance: Tensor<4>) -> Tensor<4> {
        let first = self.input_conv.forward(reflectance.clone());
        let mut features = self.input_norm.forward_relu(first, None);
        for _ in 0..self.blocks {
            let inner = self.block_conv_1.forward(features.clone());
            let inner = self.block_norm_1.forward_relu(inner, None);
            let outer = self.block_conv_2.forward(inner);
            features = self.block_norm_2.forward_relu(outer, Some(features));
        }
        reflectance - sigmoid(self.output_conv.forward(features))
    }
}

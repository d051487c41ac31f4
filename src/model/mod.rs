//! The networks of the paper's figure 2, their cascade, and their configurations.

mod calibrator;
mod cascade;
mod estimator;
mod layers;

pub use calibrator::{SelfCalibrator, SelfCalibratorConfig};
pub use cascade::{Estimate, SciCascade, SciCascadeConfig, Stage};
pub use estimator::{IlluminationEstimator, IlluminationEstimatorConfig};
pub use layers::{BatchNorm, Conv3x3};

use crate::error::{Error, Result};
use burn::tensor::Tensor;

/// The most stages of a cascade. Training keeps the features of every stage in memory.
const MAX_STAGES: usize = 64;

/// The most repetitions of a block. The published model has 3.
const MAX_BLOCKS: usize = 16;

/// The most channels of the features. The published model has 3 and 16.
const MAX_CHANNELS: usize = 64;

/// Refuses a count that is not in `1..=max`.
fn check_count(setting: &'static str, value: usize, max: usize) -> Result<()> {
    match value {
        value if (1..=max).contains(&value) => Ok(()),
        _ => Err(Error::setting(setting, format!("is {value}, must be from 1 to {max}"))),
    }
}

/// The enhanced image `clamp(image / illumination, 0, 1)`: Retinex, equation 1 of the paper.
///
/// # Shapes
/// - `image`, `illumination`, output: `[batch, 3, height, width]`, the output in `[0, 1]`
pub fn reflectance(image: Tensor<4>, illumination: Tensor<4>) -> Tensor<4> {
    (image / illumination).clamp(0.0, 1.0)
}

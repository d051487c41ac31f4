//! The paper's figure 2, one box a file.

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
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held while initial weights are drawn. A device's random numbers belong to the whole process, and
/// a seed would give others if two threads took turns.
fn drawing() -> MutexGuard<'static, ()> {
    static DRAWING: Mutex<()> = Mutex::new(());
    DRAWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses a count that must be at least one.
fn at_least_one(setting: &'static str, value: usize) -> Result<()> {
    match value {
        0 => Err(Error::Setting { setting, reason: "is 0, must be at least 1".to_owned() }),
        _ => Ok(()),
    }
}

/// The enhanced image `clamp(image / illumination, 0, 1)`: Retinex, equation 1 of the paper.
///
/// # Shapes
/// - `image`, `illumination`, output: `[batch, 3, height, width]`, the output in `[0, 1]`
pub fn reflectance(image: Tensor<4>, illumination: Tensor<4>) -> Tensor<4> {
    (image / illumination).clamp(0.0, 1.0)
}

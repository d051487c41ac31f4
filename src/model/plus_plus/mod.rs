//! What SCI++ trains an estimator with: Ma, Ma, Xu, Liu, Fan, Luo, Liu, *Learning with Self-Calibrator
//! for Fast and Robust Low-Light Image Enhancement*, IEEE TPAMI 47(10), 2025. The paper's text was not at
//! hand: this is what the authors' code computes.

mod calibrator;
mod cascade;
mod increment;

pub use calibrator::{SciPlusPlusCalibrator, SciPlusPlusCalibratorConfig};
pub use cascade::{SciPlusPlusCascade, SciPlusPlusCascadeConfig, SciPlusPlusStage};
pub use increment::{IlluminationIncrement, IlluminationIncrementConfig};

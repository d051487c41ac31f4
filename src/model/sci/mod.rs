//! What SCI trains an estimator with: Ma, Ma, Liu, Fan, Luo, *Toward Fast, Flexible, and Robust
//! Low-Light Image Enhancement*, CVPR 2022.

mod calibrator;
mod cascade;

pub use calibrator::{SelfCalibrator, SelfCalibratorConfig};
pub use cascade::{Estimate, SciCascade, SciCascadeConfig, Stage};

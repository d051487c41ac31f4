//! The networks of the paper's figure 2, their cascade, and their configurations.

mod calibrator;
mod cascade;
mod estimator;
mod layers;
mod limits;
mod retinex;

pub use calibrator::{SelfCalibrator, SelfCalibratorConfig};
pub use cascade::{Estimate, SciCascade, SciCascadeConfig, Stage};
pub use estimator::{IlluminationEstimator, IlluminationEstimatorConfig};
pub use layers::{BatchNorm, Conv3x3};
pub use retinex::reflectance;

#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod device;
mod enhance;
mod error;
mod file;
mod loss;
mod model;
mod photo;
#[cfg(feature = "train")]
mod training;
mod weights;

pub use device::{device_names, open_device};
pub use enhance::{Enhanced, Enhancer};
pub use error::{Error, Result};
pub use loss::{
    SciLoss, SciLossConfig, SmoothnessLoss, SmoothnessLossConfig, YcbcrLayout, fidelity, to_ycbcr,
};
pub use model::{
    BatchNorm, Conv3x3, Estimate, IlluminationEstimator, IlluminationEstimatorConfig, SciCascade,
    SciCascadeConfig, SelfCalibrator, SelfCalibratorConfig, Stage, reflectance,
};
pub use photo::{
    Job, PHOTO_EXTENSIONS, find_photos, is_photo, open_photo, photo_to_tensor, plan_jobs,
    save_photo, tensor_to_photo,
};
#[cfg(feature = "train")]
pub use training::{Optimiser, OptimiserConfig, Stepped, cascade_loss};

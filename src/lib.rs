#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "train")]
mod data;
mod device;
mod enhance;
mod error;
mod file;
mod loss;
mod metrics;
mod model;
#[cfg_attr(
    not(any(feature = "flex", feature = "ndarray")),
    allow(dead_code, unused, reason = "the kernels for main memory have no backend then")
)]
mod ops;
mod photo;
#[cfg(feature = "train")]
mod training;
mod weights;

// Their types are part of this crate's interface.
pub use {burn, image};

#[cfg(feature = "train")]
pub use data::{Batch, Darken, Origin, Sampling, SamplingConfig};
pub use device::{device_names, open_device};
pub use enhance::{Enhanced, Enhancer, Frame, FrameMut};
pub use error::{Error, Result};
pub use loss::{
    LossTerms, SciLoss, SciLossConfig, SmoothnessLoss, SmoothnessLossConfig, YcbcrLayout, fidelity,
    to_ycbcr,
};
pub use metrics::{
    clipped_share, colour_cast, entropy, lightness_order_error, mean_luminance,
    measure_of_enhancement, psnr, ssim,
};
pub use model::{
    BatchNorm, Conv3x3, Estimate, IlluminationEstimator, IlluminationEstimatorConfig, SciCascade,
    SciCascadeConfig, SelfCalibrator, SelfCalibratorConfig, Stage, reflectance,
};
pub use ops::cpu::EnhancePixel;
pub use photo::{
    Job, PHOTO_EXTENSIONS, Plan, find_photos, is_photo, open_photo, photo_to_tensor, plan_jobs,
    save_photo, tensor_to_photo,
};
#[cfg(feature = "train")]
pub use training::{
    EpochMetrics, Exposure, FineTuningConfig, Lazy, Listener, Measured, OptimiserConfig, Run,
    StepValues, Trainable, Trained, Training, TrainingConfig, TrainingEvent, Value, Watch,
    fine_tune, train,
};
#[cfg(feature = "presets")]
pub use weights::Preset;

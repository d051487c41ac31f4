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
    not(all(feature = "train", any(feature = "flex", feature = "ndarray"))),
    allow(
        dead_code,
        unused,
        reason = "the kernels lack a backend, or the backward passes a caller"
    )
)]
mod ops;
mod photo;
#[cfg(feature = "train")]
mod training;
mod weights;

// Their types are part of this crate's interface.
pub use {burn, image};

#[cfg(feature = "train")]
pub use data::{Batch, Darken, Origin, SamplingConfig};
pub use device::{device_names, open_device};
pub use enhance::{Enhanced, Enhancer, Exposure, Frame, FrameMut, SteadyExposure};
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
    Job, PHOTO_EXTENSIONS, Photo, Plan, PngCompression, ReadOptions, SaveOptions, find_photos,
    is_photo, open_photo, open_photo_with, photo_to_tensor, plan_jobs, save_photo, save_photo_with,
    tensor_to_photo,
};
#[cfg(feature = "train")]
pub use training::{
    EpochMetrics, FineTuningConfig, Listener, Measurable, Measurement, OptimiserConfig, Pending,
    PhotoMetrics, Run, StepValues, Trainable, Trained, Training, TrainingConfig, TrainingEvent,
    Watch, fine_tune, train,
};
#[cfg(feature = "presets")]
pub use weights::Preset;

// The README's example reads photographs.
#![cfg_attr(all(feature = "photo", feature = "presets"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "photo", feature = "presets")),
    doc = "SCI and SCI++ (self-calibrated illumination learning) brighten dark photographs."
)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "photo")]
mod contain;
mod device;
mod enhance;
mod error;
mod file;
pub mod loss;
pub mod metrics;
pub mod model;
mod ops;
#[cfg(feature = "photo")]
pub mod photo;
#[cfg(feature = "train")]
pub mod train;
mod weights;

// Their types are part of this crate's interface.
pub use {burn, image};

pub use device::{device_names, open_device};
pub use enhance::{
    Color, Denoise, Enhanced, Enhancer, Exposure, Frame, FrameExposure, FrameMut, SteadyExposure,
    Tone,
};
pub use error::{Cause, Error, Result};
#[doc(hidden)]
pub use ops::functions::use_kernels;
#[cfg(feature = "photo")]
#[doc(no_inline)]
pub use photo::{Photo, open_photo, save_photo};
#[cfg(feature = "presets")]
pub use weights::Preset;

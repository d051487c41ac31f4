//! Enhancement of pictures with a trained estimator.

mod color;
mod denoise;
mod enhancer;
mod exposure;
mod noise;
mod sample;
mod steady;
mod tone;
mod view;

pub use color::Color;
pub use denoise::Denoise;
pub use enhancer::{Enhanced, Enhancer};
pub use exposure::Exposure;
pub use steady::{FrameExposure, SteadyExposure};
pub use tone::Tone;
pub use view::{Frame, FrameMut};

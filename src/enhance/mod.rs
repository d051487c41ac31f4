//! Enhancement of pictures with a trained estimator.

mod enhancer;
mod exposure;
mod sample;
mod steady;
mod tiles;
mod view;

pub use enhancer::{Enhanced, Enhancer};
pub use exposure::Exposure;
pub use steady::{FrameExposure, SteadyExposure};
pub use view::{Frame, FrameMut};

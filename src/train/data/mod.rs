//! Photographs for training: read in background threads, and cropped, flipped and darkened at random
//! with a seed.

mod batch;
mod darken;
mod loader;
mod photos;

pub(crate) use batch::loading_error;
pub use batch::{Batch, Origin};
pub use darken::Darken;
pub(crate) use loader::{Held, PhotoLoader};
pub use photos::SamplingConfig;
pub(crate) use photos::{OnRefused, PhotoSet};
